//! From the outbox to the wire: claim, sign, send, judge, settle.
//!
//! ```text
//! claim (committed compare-and-set) -> attempt (no transaction) -> settle (fenced with owner and epoch)
//! ```
//! `worker` keeps them going beside one another, `operations` is its side of the database, `attempt` its side of the
//! wire. What an answer means, and when a delivery is tried again, are pure functions: `classify` and `schedule`.

pub mod attempt;
pub mod classify;
mod operations;
pub mod parts;
pub mod schedule;
pub mod worker;

pub use attempt::Sender;
pub use parts::{BreakerChanges, DispatcherParts};
pub use schedule::Schedule;
pub use worker::{Dispatcher, Step};
