//! From accepted events to profiles: read, fold (pure), write, all of one batch in one transaction.
//!
//! What a batch of events changes is decided by [`crate::event::plan`], without a table; the store locks what a batch
//! touches, runs the plan on it and writes the outcome beside the events' own status. The [`worker`] is one step and a
//! thin loop around it. The [`requeuer`] gives dead letters back to it.

mod meters;
pub mod requeuer;
pub mod worker;

pub use meters::ProjectionMeters;
pub use requeuer::{RequeueStep, Requeuer};
pub use worker::{Projector, Step, WAIT_MAX_MS};
