//! The live stream: what happens to events, to each client as it happens.
//!
//! The store has one row for each transaction that took events in or decided them, with a place that it got after its commit.
//! One task of a process reads those rows while it has clients ([`Feed`]), and each client ([`Follower`]) goes on from its own
//! [`Place`]: from memory or, further back, from the tables.

mod feed;
mod filter;
mod follower;
mod message;
mod place;

pub use feed::{CLIENTS_MAX, CLIENTS_OF_ONE_MAX, Feed};
pub use filter::StreamFilter;
pub use follower::{Follower, Resumed};
pub use place::Place;
