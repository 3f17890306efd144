//! The age of the oldest accepted event that is not projected yet.
//!
//! The lanes report what they committed, the projector what it found at each look. Both store only an instant here, so
//! that the lag also grows while the projector or the database does not respond.

use super::Backlog;
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
    /// The same, of those that were never tried.
    untried: AtomicI64,
}

impl Default for Lag {
    fn default() -> Self {
        Self {
            unseen: AtomicI64::new(NONE),
            found: AtomicI64::new(NONE),
            untried: AtomicI64::new(NONE),
        }
    }
}

impl Backlog {
    /// Events were committed as accepted, the oldest of them received at this instant. Wakes a projector.
    pub fn accepted(&self, oldest_received_at: UnixMillis) {
        let lag = &self.0.lag;
        lag.unseen.fetch_min(oldest_received_at.0, Ordering::Relaxed);
        self.0.accepted.notify_one();
    }

    /// Before a look at the inbox: what is accepted from here on may be missed by it.
    pub fn begin_look(&self) {
        let lag = &self.0.lag;
        let unseen = lag.unseen.swap(NONE, Ordering::Relaxed);
        lag.found.fetch_min(unseen, Ordering::Relaxed);
        lag.untried.fetch_min(unseen, Ordering::Relaxed);
    }

    /// After a look at the inbox: when the oldest of the events that it found was received, and the oldest of those that were
    /// never tried. The oldest of those that wait for a further try, which a look for what is due may not find, is added
    /// here. A look that fails is not reported.
    pub fn end_look(&self, oldest_found: Option<UnixMillis>, oldest_untried: Option<UnixMillis>) {
        let oldest = oldest_found.into_iter().chain(self.oldest_retry()).min();
        let millis = |at: Option<UnixMillis>| at.map_or(NONE, |at| at.0);
        self.0.lag.found.store(millis(oldest), Ordering::Relaxed);
        self.0
            .lag
            .untried
            .store(millis(oldest_untried), Ordering::Relaxed);
    }

    /// How old the oldest accepted event is that is not projected; zero when none waits.
    pub fn age_of_oldest(&self, now: UnixMillis) -> Duration {
        self.age(&self.0.lag.found, now)
    }

    /// The same without those that wait for a further try: one that fails for minutes, such as a requeued one, does not mean
    /// that the projector is behind.
    pub fn age_of_oldest_untried(&self, now: UnixMillis) -> Duration {
        self.age(&self.0.lag.untried, now)
    }

    fn age(&self, found: &AtomicI64, now: UnixMillis) -> Duration {
        let unseen = self.0.lag.unseen.load(Ordering::Relaxed);
        let oldest = unseen.min(found.load(Ordering::Relaxed));
        Duration::from_millis(u64::try_from(now.0.saturating_sub(oldest)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age(lag: &Backlog, now: i64) -> u64 {
        u64::try_from(lag.age_of_oldest(UnixMillis(now)).as_millis()).unwrap()
    }

    #[test]
    fn it_grows_until_a_look_finds_nothing_left() {
        let lag = Backlog::default();
        assert_eq!(age(&lag, 5_000), 0);
        lag.accepted(UnixMillis(1_000));
        lag.accepted(UnixMillis(2_000));
        assert_eq!(age(&lag, 5_000), 4_000);
        assert_eq!(age(&lag, 500), 0, "a clock that went back");
        lag.begin_look();
        assert_eq!(age(&lag, 5_000), 4_000, "a look that takes its time");
        lag.end_look(Some(UnixMillis(2_000)), None);
        assert_eq!(age(&lag, 5_000), 3_000);
        lag.begin_look();
        lag.end_look(None, None);
        assert_eq!(age(&lag, 5_000), 0);
    }

    #[test]
    fn what_comes_during_a_look_and_what_a_failed_one_left_is_not_forgotten() {
        let lag = Backlog::default();
        lag.begin_look();
        lag.accepted(UnixMillis(4_000));
        lag.end_look(None, None);
        assert_eq!(age(&lag, 5_000), 1_000);
        lag.begin_look();
        lag.begin_look();
        assert_eq!(age(&lag, 5_000), 1_000);
    }

    #[test]
    fn what_waits_for_a_further_try_does_not_make_the_projector_seem_behind() {
        let lag = Backlog::default();
        lag.found_retries(Some(UnixMillis(1_000)));
        lag.begin_look();
        lag.end_look(Some(UnixMillis(2_000)), Some(UnixMillis(4_000)));
        let untried = |now| lag.age_of_oldest_untried(UnixMillis(now)).as_millis();
        assert_eq!((age(&lag, 5_000), untried(5_000)), (4_000, 1_000));
        lag.accepted(UnixMillis(3_000));
        assert_eq!(untried(5_000), 2_000);
        lag.begin_look();
        lag.end_look(None, None);
        assert_eq!((age(&lag, 5_000), untried(5_000)), (4_000, 0));
    }
}
