//! Whether events that a run has requeued wait, and when a projector goes on with some of them.
//!
//! The requeuer reports those that it has committed, the projector what it found at each look: while some wait, it lets arrivals
//! go first no more. The requeuer waits here for a projector to take some instead of looking for room again and again: what it
//! commits beside the projector's own transaction shares its flush on SQLite.

use super::Backlog;
use contract::UnixMillis;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, futures::Notified};

/// What is known of the requeued events that wait.
#[derive(Debug, Default)]
pub(super) struct Requeued {
    wait: AtomicBool,
    /// Wakes the requeuer.
    taken: Notify,
}

impl Backlog {
    /// A run has requeued events, in a commit at this instant. Wakes a projector.
    pub fn requeued(&self, at: UnixMillis) {
        self.0.requeued.wait.store(true, Ordering::Relaxed);
        self.accepted(at);
    }

    /// The projector has decided some of them: there is room for more.
    pub fn decided_requeued(&self) {
        self.0.requeued.taken.notify_one();
    }

    /// Whether the projector has found some of them at its look, which it goes on with now.
    pub fn found_requeued(&self, any: bool) {
        self.0.requeued.wait.store(any, Ordering::Relaxed);
        if any {
            self.0.requeued.taken.notify_one();
        }
    }

    /// Whether some wait, as far as is known here.
    pub fn requeued_wait(&self) -> bool {
        self.0.requeued.wait.load(Ordering::Relaxed)
    }

    /// Completes once a projector goes on with some of them, or has decided them, also if it did since this last completed.
    pub fn next_requeued_taken(&self) -> Notified<'_> {
        self.0.requeued.taken.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn the_requeuer_goes_on_with_the_projector_and_not_with_a_look_that_found_none() {
        let backlog = Backlog::default();
        assert!(!backlog.requeued_wait());
        backlog.requeued(UnixMillis(1));
        assert!(backlog.requeued_wait());
        assert!(
            backlog.next_accepted().now_or_never().is_some(),
            "the projector is woken"
        );
        assert!(backlog.next_requeued_taken().now_or_never().is_none());
        backlog.found_requeued(true);
        assert!(backlog.next_requeued_taken().now_or_never().is_some());
        backlog.found_requeued(false);
        assert!(!backlog.requeued_wait());
        assert!(backlog.next_requeued_taken().now_or_never().is_none());
    }
}
