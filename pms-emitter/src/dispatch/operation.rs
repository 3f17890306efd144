//! An operation of the database, in a task of its own: a dispatcher has at most one of each kind at a time.

use std::{future::Future, panic, time::Duration};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long the next one of a kind waits after one that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The one operation of a kind. Dropping it ends the one that is running.
pub(super) struct Operation<T> {
    running: JoinSet<T>,
    /// None begins before this.
    not_before: Option<Instant>,
}

impl<T: Send + 'static> Operation<T> {
    /// None is running.
    pub(super) fn new() -> Self {
        Self {
            running: JoinSet::new(),
            not_before: None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// When the next one may begin, if one that began before has made it wait.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// Whether none may begin yet.
    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.not_before.is_some_and(|at| at > now)
    }

    /// Whether one may begin.
    pub(super) fn may_begin(&self, now: Instant) -> bool {
        !self.is_running() && !self.is_waiting(now)
    }

    /// None begins before this instant.
    pub(super) fn wait_until(&mut self, at: Instant) {
        self.not_before = Some(at);
    }

    /// One failed: the next one waits.
    pub(super) fn pause(&mut self) {
        self.wait_until(Instant::now() + RETRY_PAUSE);
    }

    /// Begins one; none may be running.
    pub(super) fn begin(&mut self, operation: impl Future<Output = T> + Send + 'static) {
        debug_assert!(!self.is_running(), "one of a kind at a time");
        self.not_before = None;
        self.running.spawn(operation);
    }

    /// Waits for the end of the one that is running; for ever when there is none. Cutting the wait loses nothing.
    ///
    /// # Panics
    /// When the operation did: that is a mistake of ours. The process stops, and what it held is taken over after its lease.
    pub(super) async fn ended(&mut self) -> T {
        match self.running.join_next().await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => match error.try_into_panic() {
                Ok(panicked) => panic::resume_unwind(panicked),
                // The runtime is shutting down.
                Err(_) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}
