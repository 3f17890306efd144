//! From the outbox to the wire: claim, sign, send, judge, settle.
//!
//! ```text
//! claim (committed compare-and-set) -> attempt (no transaction) -> settle (fenced with owner and epoch)
//! ```
//! Each endpoint has a dispatcher of its own: `worker` is its loop over `claiming`, `sending` and `settling`, each of
//! which owns its state, and `breaker` guards the endpoint. `wakers` wake a dispatcher when events are queued. What an answer
//! means, and when a delivery is tried again, are pure
//! functions: `classify` and `schedule`. Dispatchers share nothing but [`DispatcherParts`], so another endpoint is
//! another row.

pub mod attempt;
mod backlog;
mod breaker;
mod claiming;
pub mod classify;
mod operation;
mod outage;
pub mod parts;
pub mod schedule;
mod sending;
mod settling;
mod wakers;
mod worker;

pub use backlog::expose_pending;
pub use parts::{DeliveryConfig, DispatcherParts};
pub use schedule::Schedule;
pub use sending::AttemptCounters;
pub use settling::SettlementCounters;
pub use wakers::Wakers;
pub use worker::Dispatcher;
