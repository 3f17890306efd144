//! From the outbox to the wire: claim, sign, send, judge, settle.
//!
//! ```text
//! claim (committed compare-and-set) -> attempt (no transaction) -> settle (fenced with owner and epoch)
//! ```
//! What happens now is claimed as it is queued, by the fan-out, as far as there is room for it (`immediate`); what waits, by a look
//! at the tables (`claiming`).
//! Each endpoint has a dispatcher of its own: `worker` is its loop over `claiming`, `sending` and `settling`, each of which
//! owns its state, and `breaker` guards the endpoint. `dispatchers` begins them, and wakes those that have something due. What an
//! answer means, and when a delivery is tried again, are pure functions: `classify` and `schedule`. Dispatchers share nothing
//! but [`DispatcherParts`], of which `places` keeps one from taking all.

pub mod attempt;
mod backlog;
mod breaker;
mod claiming;
pub mod classify;
mod dispatchers;
mod immediate;
mod noticing;
mod operation;
mod outage;
pub mod parts;
mod places;
mod ready;
mod route;
mod runner;
pub mod schedule;
mod sending;
mod settling;
mod testing;
mod worker;

pub use backlog::expose_backlog;
pub use breaker::{Admission, Breakers, EndpointBreaker};
pub use dispatchers::Dispatchers;
pub use noticing::notice;
pub use parts::{DeliveryConfig, DispatcherParts};
pub use places::Places;
pub use runner::{RunStep, Runner};
pub use schedule::Schedule;
pub use sending::AttemptCounters;
pub use settling::SettlementCounters;
pub use testing::Testing;
