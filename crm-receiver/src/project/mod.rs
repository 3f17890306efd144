//! From accepted events to profiles: read, fold (pure), write, all of one batch in one transaction.
//!
//! [`fold`] decides which state of a record stands, [`plan`] what a batch of events comes to, both without a table;
//! the store locks what a batch touches, runs the plan on it and writes the outcome beside the events' own status.
//! The [`worker`] is one step and a thin loop around it; [`lag`] tells how far it is behind.

pub mod event;
pub mod fold;
pub mod lag;
pub mod plan;
mod put_off;
pub mod worker;

pub use worker::{Arrivals, Projector, Step};

#[cfg(test)]
pub mod permutations;
