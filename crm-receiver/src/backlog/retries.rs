//! The oldest event that waits for a further try, by this process or another replica.
//!
//! Such an event may become due behind a long backlog, where a look for what is due first does not find it. A look for it
//! reads all that waits, so that it is rare, and comes at once only when nothing is due.

use super::Backlog;
use contract::UnixMillis;
use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How often to look while one waits.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often when there was none: a try of another replica may have failed.
const LOOK_FOR_OTHERS_EVERY: Duration = Duration::from_secs(10);

/// What is known of the events that wait for a further try.
#[derive(Debug, Default)]
pub(super) struct Retries {
    oldest_received_at: Option<UnixMillis>,
    looked_at: Option<Instant>,
    /// A try has failed here since the last look began.
    try_failed: bool,
}

impl Backlog {
    /// A try of an event has failed, and there will be another.
    pub fn try_failed(&self) {
        self.retries().try_failed = true;
    }

    /// Whether to look now for the oldest event that waits for a further try; `idle` when nothing is due. What is found is
    /// reported by [`found_retries`](Self::found_retries).
    pub fn should_look_for_retries(&self, idle: bool) -> bool {
        let mut known = self.retries();
        let some_wait = known.try_failed || known.oldest_received_at.is_some();
        let every = if some_wait {
            LOOK_EVERY
        } else {
            LOOK_FOR_OTHERS_EVERY
        };
        let should = (idle && some_wait) || known.looked_at.is_none_or(|looked| looked.elapsed() >= every);
        known.try_failed &= !should;
        should
    }

    /// When the oldest event was received that waits for a further try, if there is one.
    pub fn found_retries(&self, oldest: Option<UnixMillis>) {
        let mut known = self.retries();
        (known.oldest_received_at, known.looked_at) = (oldest, Some(Instant::now()));
    }

    pub(super) fn oldest_retry(&self) -> Option<UnixMillis> {
        self.retries().oldest_received_at
    }

    fn retries(&self) -> MutexGuard<'_, Retries> {
        self.0.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_looked_for_at_leisure_and_at_once_when_nothing_is_due() {
        let retries = Backlog::default();
        assert!(retries.should_look_for_retries(false), "the first time");
        retries.found_retries(None);
        assert!(!retries.should_look_for_retries(true), "nothing is known to wait");
        tokio::time::advance(LOOK_FOR_OTHERS_EVERY).await;
        assert!(retries.should_look_for_retries(false), "another replica's");
        retries.found_retries(None);
        retries.try_failed();
        assert!(!retries.should_look_for_retries(false));
        assert!(retries.should_look_for_retries(true));
        retries.found_retries(Some(UnixMillis(1)));
        tokio::time::advance(LOOK_EVERY).await;
        assert!(retries.should_look_for_retries(false) && retries.should_look_for_retries(true));
        assert_eq!(retries.oldest_retry(), Some(UnixMillis(1)));
    }
}
