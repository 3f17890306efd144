//! The age of the oldest accepted event that is not projected yet.
//!
//! The lanes report what they committed, the projector what it found at each look. Both store only an instant here, so
//! that the lag also grows while the projector or the database does not respond.

use contract::UnixMillis;
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// Nothing waits.
const NONE: i64 = i64::MAX;

/// When the oldest event that waits was received.
#[derive(Debug)]
pub(super) struct Lag {
    /// Of those accepted since the last look began.
    unseen: AtomicI64,
    /// Of those that the last look found, or that the present one may miss.
    found: AtomicI64,
}

impl Default for Lag {
    fn default() -> Self {
        Self {
            unseen: AtomicI64::new(NONE),
            found: AtomicI64::new(NONE),
        }
    }
}

impl Lag {
    pub(super) fn accepted(&self, received_at: UnixMillis) {
        self.unseen.fetch_min(received_at.0, Ordering::Relaxed);
    }

    pub(super) fn begin_look(&self) {
        let unseen = self.unseen.swap(NONE, Ordering::Relaxed);
        self.found.fetch_min(unseen, Ordering::Relaxed);
    }

    pub(super) fn end_look(&self, oldest: Option<UnixMillis>) {
        let oldest = oldest.map_or(NONE, |at| at.0);
        self.found.store(oldest, Ordering::Relaxed);
    }

    pub(super) fn age_of_oldest(&self, now: UnixMillis) -> Duration {
        let unseen = self.unseen.load(Ordering::Relaxed);
        let oldest = unseen.min(self.found.load(Ordering::Relaxed));
        Duration::from_millis(u64::try_from(now.0.saturating_sub(oldest)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age(lag: &Lag, now: i64) -> u64 {
        u64::try_from(lag.age_of_oldest(UnixMillis(now)).as_millis()).unwrap()
    }

    #[test]
    fn it_grows_until_a_look_finds_nothing_left() {
        let lag = Lag::default();
        assert_eq!(age(&lag, 5_000), 0);
        lag.accepted(UnixMillis(1_000));
        lag.accepted(UnixMillis(2_000));
        assert_eq!(age(&lag, 5_000), 4_000);
        assert_eq!(age(&lag, 500), 0, "a clock that went back");
        lag.begin_look();
        assert_eq!(age(&lag, 5_000), 4_000, "a look that takes its time");
        lag.end_look(Some(UnixMillis(2_000)));
        assert_eq!(age(&lag, 5_000), 3_000);
        lag.begin_look();
        lag.end_look(None);
        assert_eq!(age(&lag, 5_000), 0);
    }

    #[test]
    fn what_comes_during_a_look_and_what_a_failed_one_left_is_not_forgotten() {
        let lag = Lag::default();
        lag.begin_look();
        lag.accepted(UnixMillis(4_000));
        lag.end_look(None);
        assert_eq!(age(&lag, 5_000), 1_000);
        lag.begin_look();
        lag.begin_look();
        assert_eq!(age(&lag, 5_000), 1_000);
    }
}
