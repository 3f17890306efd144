//! The oldest event that waits for a further try, ours or another replica's.
//!
//! Such an event may become due behind a long backlog, where a look for what is due first does not find it. To look for
//! it costs as much as there waits, so that it is done at leisure, and at once only when nothing is due.

use contract::UnixMillis;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How often it is looked for while there is one.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often when there was none: another replica may have put one off.
const LOOK_FOR_OTHERS_EVERY: Duration = Duration::from_secs(10);

/// What is known of it. One task looks.
#[derive(Debug, Default)]
pub struct PutOff(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    oldest: Option<UnixMillis>,
    looked: Option<Instant>,
    /// A try has failed here since the last look began.
    failed: bool,
}

impl PutOff {
    /// A try has failed, and there will be another.
    pub fn failed(&self) {
        self.known().failed = true;
    }

    /// Whether it is to be looked for, `idle` when nothing is due.
    pub fn begin_look(&self, idle: bool) -> bool {
        let mut known = self.known();
        let one = known.failed || known.oldest.is_some();
        let every = if one { LOOK_EVERY } else { LOOK_FOR_OTHERS_EVERY };
        let begins = (idle && one) || known.looked.is_none_or(|looked| looked.elapsed() >= every);
        known.failed &= !begins;
        begins
    }

    /// What the look found.
    pub fn found(&self, oldest: Option<UnixMillis>) {
        let mut known = self.known();
        (known.oldest, known.looked) = (oldest, Some(Instant::now()));
    }

    /// When it was received, if there is one.
    pub fn oldest(&self) -> Option<UnixMillis> {
        self.known().oldest
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
        let put_off = PutOff::default();
        assert!(put_off.begin_look(false), "the first time");
        put_off.found(None);
        assert!(!put_off.begin_look(true), "nothing is known to wait");
        tokio::time::advance(LOOK_FOR_OTHERS_EVERY).await;
        assert!(put_off.begin_look(false), "another replica's");
        put_off.found(None);
        put_off.failed();
        assert!(!put_off.begin_look(false));
        assert!(put_off.begin_look(true));
        put_off.found(Some(UnixMillis(1)));
        tokio::time::advance(LOOK_EVERY).await;
        assert!(put_off.begin_look(false) && put_off.begin_look(true));
        assert_eq!(put_off.oldest(), Some(UnixMillis(1)));
    }
}
