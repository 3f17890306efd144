//! The oldest event that waits for a further try, by this process or another replica.
//!
//! Such an event may become due behind a long backlog, where a look for what is due first does not find it. A look for it
//! reads all that waits, so that it is rare, and comes at once only when nothing is due.

use contract::UnixMillis;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How often to look while one waits.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often when there was none: a try of another replica may have failed.
const LOOK_FOR_OTHERS_EVERY: Duration = Duration::from_secs(10);

/// What is known of the events that wait for a further try.
#[derive(Debug, Default)]
pub(super) struct Retries(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    oldest_received_at: Option<UnixMillis>,
    looked_at: Option<Instant>,
    /// A try has failed here since the last look began.
    try_failed: bool,
}

impl Retries {
    pub(super) fn try_failed(&self) {
        self.known().try_failed = true;
    }

    pub(super) fn should_look(&self, idle: bool) -> bool {
        let mut known = self.known();
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

    pub(super) fn found(&self, oldest: Option<UnixMillis>) {
        let mut known = self.known();
        (known.oldest_received_at, known.looked_at) = (oldest, Some(Instant::now()));
    }

    pub(super) fn oldest(&self) -> Option<UnixMillis> {
        self.known().oldest_received_at
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_looked_for_at_leisure_and_at_once_when_nothing_is_due() {
        let retries = Retries::default();
        assert!(retries.should_look(false), "the first time");
        retries.found(None);
        assert!(!retries.should_look(true), "nothing is known to wait");
        tokio::time::advance(LOOK_FOR_OTHERS_EVERY).await;
        assert!(retries.should_look(false), "another replica's");
        retries.found(None);
        retries.try_failed();
        assert!(!retries.should_look(false));
        assert!(retries.should_look(true));
        retries.found(Some(UnixMillis(1)));
        tokio::time::advance(LOOK_EVERY).await;
        assert!(retries.should_look(false) && retries.should_look(true));
        assert_eq!(retries.oldest(), Some(UnixMillis(1)));
    }
}
