//! An operation of the database, in a task of its own: a dispatcher has at most one of each kind at a time.

use std::{future::Future, panic};
use tokio::task::JoinSet;

/// The one operation of a kind. Dropping it ends the one that is running.
pub(super) struct Operation<T>(JoinSet<T>);

impl<T: Send + 'static> Operation<T> {
    /// None is running.
    pub(super) fn new() -> Self {
        Self(JoinSet::new())
    }

    pub(super) fn is_running(&self) -> bool {
        !self.0.is_empty()
    }

    /// Begins one; none may be running.
    pub(super) fn begin(&mut self, operation: impl Future<Output = T> + Send + 'static) {
        debug_assert!(!self.is_running(), "one of a kind at a time");
        self.0.spawn(operation);
    }

    /// Waits for the end of the one that is running; for ever when there is none. Cutting the wait loses nothing.
    ///
    /// # Panics
    /// When the operation did: that is a mistake of ours. The process stops, and what it held is taken over after its lease.
    pub(super) async fn ended(&mut self) -> T {
        match self.0.join_next().await {
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
