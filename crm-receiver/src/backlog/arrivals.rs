//! How many arrivals are pending: waiting for a batch, or in one that is being committed.
//!
//! Ingest has priority. Other work on the database that can wait, waits here for a moment without arrivals, but with a
//! bound: under a load without pauses it continues in small steps.

use super::{Backlog, State};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// The arrivals that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct PendingArrivals {
    pending: AtomicUsize,
    /// The number of all arrivals since the start.
    in_all: AtomicU64,
    none_left: Notify,
}

/// One arrival that counts as pending for as long as this lives.
#[derive(Debug)]
pub struct PendingArrival(Arc<State>);

impl Backlog {
    /// Counts one more arrival as pending, for as long as the answer lives.
    pub fn add_arrival(&self) -> PendingArrival {
        let arrivals = &self.0.arrivals;
        arrivals.pending.fetch_add(1, Ordering::AcqRel);
        arrivals.in_all.fetch_add(1, Ordering::Relaxed);
        PendingArrival(Arc::clone(&self.0))
    }

    /// How many arrivals are pending: waiting for a batch, or in one that is being committed.
    pub fn pending_arrivals(&self) -> usize {
        self.0.arrivals.pending.load(Ordering::Acquire)
    }

    /// How many arrivals have come since the start: a changed number means that events arrived meanwhile.
    pub fn arrivals_in_all(&self) -> u64 {
        self.0.arrivals.in_all.load(Ordering::Relaxed)
    }

    /// Waits for a moment without pending arrivals, at most so long.
    pub async fn wait_for_no_arrivals(&self, at_most: Duration) {
        // Registered before the check, so that no wake-up is missed between the two.
        let none_left = self.0.arrivals.none_left.notified();
        if self.pending_arrivals() > 0 {
            drop(timeout(at_most, none_left).await);
        }
    }
}

impl Drop for PendingArrival {
    fn drop(&mut self) {
        let arrivals = &self.0.arrivals;
        if arrivals.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            arrivals.none_left.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::backlog::Backlog;
    use futures::FutureExt;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_with_the_last_arrival_or_in_time() {
        let backlog = Backlog::default();
        backlog.wait_for_no_arrivals(LONG).await;
        let (one, other) = (backlog.add_arrival(), backlog.add_arrival());
        let mut pause = Box::pin(backlog.wait_for_no_arrivals(LONG));
        assert!(pause.as_mut().now_or_never().is_none());
        drop(one);
        assert!(pause.as_mut().now_or_never().is_none());
        drop(other);
        assert!(pause.as_mut().now_or_never().is_some());
        let _third = backlog.add_arrival();
        let began = tokio::time::Instant::now();
        backlog.wait_for_no_arrivals(Duration::from_millis(100)).await;
        assert_eq!(began.elapsed(), Duration::from_millis(100));
        assert_eq!((backlog.pending_arrivals(), backlog.arrivals_in_all()), (1, 3));
    }
}
