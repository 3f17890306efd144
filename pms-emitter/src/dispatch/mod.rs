//! From the outbox to the wire: claim, sign, send, judge, settle.
//!
//! ```text
//! claim (committed compare-and-set) -> attempt (no transaction) -> settle (fenced with owner and epoch)
//! ```
//! What an answer means, and when a delivery is tried again, are pure functions: `classify` and `schedule`.

pub mod classify;
pub mod schedule;

pub use schedule::Schedule;
