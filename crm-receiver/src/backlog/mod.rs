//! The backlog that this process knows of: arrivals that are not committed yet, accepted events that are not projected
//! yet, and events that wait for a retry.
//!
//! `ingest` and `project` share it and do not import each other: the lanes report what arrives and what they commit, the
//! projector reports what it finds in the inbox and asks whether arrivals should go first. It reads no table and decides
//! nothing about an event: it says when to look at the inbox, and how old the oldest event there is.

mod arrivals;
mod lag;
mod retries;

pub use arrivals::PendingArrival;

use arrivals::PendingArrivals;
use contract::{Clock, UnixMillis};
use kit::metrics::Metrics;
use lag::Lag;
use retries::Retries;
use std::{sync::Arc, time::Duration};
use tokio::sync::{Notify, futures::Notified};

/// The state of the backlog. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Backlog(Arc<State>);

#[derive(Debug, Default)]
struct State {
    arrivals: PendingArrivals,
    lag: Lag,
    retries: Retries,
    /// Wakes a projector after each commit that accepted events.
    accepted: Notify,
}

impl Backlog {
    /// Counts one more arrival as pending, for as long as the answer lives.
    pub fn add_arrival(&self) -> PendingArrival {
        PendingArrivals::add(&self.0)
    }

    /// How many arrivals are pending: waiting for a batch, or in one that is being committed.
    pub fn pending_arrivals(&self) -> usize {
        self.0.arrivals.pending()
    }

    /// How many arrivals have come since the start: a changed number means that events arrived meanwhile.
    pub fn arrivals_in_all(&self) -> u64 {
        self.0.arrivals.in_all()
    }

    /// Waits for a moment without pending arrivals, at most so long.
    pub async fn wait_for_no_arrivals(&self, at_most: Duration) {
        self.0.arrivals.wait_for_none(at_most).await;
    }

    /// Events were committed as accepted, the oldest of them received at this instant. Wakes a projector.
    pub fn accepted(&self, oldest_received_at: UnixMillis) {
        self.0.lag.accepted(oldest_received_at);
        self.0.accepted.notify_one();
    }

    /// Completes at the next commit that accepts events. Call it before reading the inbox, and await it after: so no
    /// wake-up is missed between the two.
    pub fn next_accepted(&self) -> Notified<'_> {
        self.0.accepted.notified()
    }

    /// Before a look at the inbox: what is accepted from here on may be missed by it.
    pub fn begin_look(&self) {
        self.0.lag.begin_look();
    }

    /// After a look at the inbox: when the oldest of the events that it found was received. The oldest of those that wait
    /// for a further try, which a look for what is due may not find, is added here. A look that fails is not reported.
    pub fn end_look(&self, oldest_found: Option<UnixMillis>) {
        let oldest = oldest_found.into_iter().chain(self.0.retries.oldest()).min();
        self.0.lag.end_look(oldest);
    }

    /// How old the oldest accepted event is that is not projected; zero when none waits.
    pub fn age_of_oldest(&self, now: UnixMillis) -> Duration {
        self.0.lag.age_of_oldest(now)
    }

    /// A try of an event has failed, and there will be another.
    pub fn try_failed(&self) {
        self.0.retries.try_failed();
    }

    /// Whether to look now for the oldest event that waits for a further try; `idle` when nothing is due. What is found is
    /// reported by [`found_retries`](Self::found_retries).
    pub fn should_look_for_retries(&self, idle: bool) -> bool {
        self.0.retries.should_look(idle)
    }

    /// When the oldest event was received that waits for a further try, if there is one.
    pub fn found_retries(&self, oldest: Option<UnixMillis>) {
        self.0.retries.found(oldest);
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
