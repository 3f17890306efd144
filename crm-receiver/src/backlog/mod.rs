//! The backlog that this process knows of: arrivals that are not committed yet, accepted events that are not projected
//! yet, and events that wait for a retry.
//!
//! `ingest` and `project` share it and do not import each other: the lanes report what arrives and what they commit, the
//! projector reports what it finds in the inbox and asks whether arrivals should go first. It reads no table and decides
//! nothing about an event: it says when to look at the inbox, and how old the oldest event there is.

mod arrivals;
mod lag;
mod requeued;
mod retries;

pub use arrivals::PendingArrival;

use arrivals::PendingArrivals;
use contract::Clock;
use kit::metrics::Metrics;
use lag::Lag;
use requeued::Requeued;
use retries::Retries;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, futures::Notified};

/// The state of the backlog. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Backlog(Arc<State>);

#[derive(Debug, Default)]
struct State {
    arrivals: PendingArrivals,
    lag: Lag,
    requeued: Requeued,
    retries: Mutex<Retries>,
    /// Wakes a projector after each commit that accepted events.
    accepted: Notify,
}

impl Backlog {
    /// Completes at the next commit that accepts events. Call it before reading the inbox, and await it after: so no
    /// wake-up is missed between the two.
    pub fn next_accepted(&self) -> Notified<'_> {
        self.0.accepted.notified()
    }

    /// Shows the age of the oldest accepted event as `projection_lag_seconds`.
    pub fn expose(&self, metrics: &Metrics, clock: &Arc<dyn Clock>) {
        let (backlog, clock) = (self.clone(), Arc::clone(clock));
        let help = "Age of the oldest accepted event that is not projected; 0 when none waits.";
        metrics.read_gauge("projection_lag_seconds", help, &[], move || {
            backlog.age_of_oldest(clock.now()).as_secs_f64()
        });
    }
}
