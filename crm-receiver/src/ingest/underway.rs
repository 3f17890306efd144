//! How many arrivals are underway: waiting for a batch, or in one that is being committed.
//!
//! Taking in comes first. Whoever shares the database with it and can wait, waits here for a moment without arrivals,
//! but never for ever: under a load without pauses it goes on in small turns.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// The arrivals that have come and are not decided yet. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Underway(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    arrivals: AtomicUsize,
    /// All that ever came.
    entered: AtomicU64,
    none: Notify,
}

/// One arrival's place; it counts for as long as this lives.
#[derive(Debug)]
pub struct Place(Underway);

impl Underway {
    /// Counts one more.
    pub fn enter(&self) -> Place {
        self.0.arrivals.fetch_add(1, Ordering::AcqRel);
        self.0.entered.fetch_add(1, Ordering::Relaxed);
        Place(self.clone())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.arrivals.load(Ordering::Acquire)
    }

    /// How many have come since the start: whoever finds the number changed knows that some came meanwhile.
    pub fn entered(&self) -> u64 {
        self.0.entered.load(Ordering::Relaxed)
    }

    /// Waits for a moment without arrivals, at most so long.
    pub async fn pause(&self, at_most: Duration) {
        // Registered before the look, so that no wake-up falls between the two.
        let none = self.0.none.notified();
        if self.count() > 0 {
            drop(timeout(at_most, none).await);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let shared = &self.0.0;
        if shared.arrivals.fetch_sub(1, Ordering::AcqRel) == 1 {
            shared.none.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_with_the_last_arrival_or_in_time() {
        let underway = Underway::default();
        underway.pause(LONG).await;
        let (one, other) = (underway.enter(), underway.enter());
        let mut pause = Box::pin(underway.pause(LONG));
        assert!(pause.as_mut().now_or_never().is_none());
        drop(one);
        assert!(pause.as_mut().now_or_never().is_none());
        drop(other);
        assert!(pause.as_mut().now_or_never().is_some());
        let _third = underway.enter();
        let began = tokio::time::Instant::now();
        underway.pause(Duration::from_millis(100)).await;
        assert_eq!(began.elapsed(), Duration::from_millis(100));
        assert_eq!((underway.count(), underway.entered()), (1, 3));
    }
}
