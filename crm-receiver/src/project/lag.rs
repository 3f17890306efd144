//! How far projection is behind: the age of the oldest accepted event that is not projected yet.
//!
//! The lanes say when they committed something, the projector says what it found at each look. Both leave no more than
//! an instant here, so that the answer grows also while the projector or the database stands still.

use contract::UnixMillis;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// Nothing waits.
const NONE: i64 = i64::MAX;

/// The oldest that waits. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Lag(Arc<Oldest>);

#[derive(Debug)]
struct Oldest {
    /// Accepted since the last look began.
    unseen: AtomicI64,
    /// Found by the last look, and what the present one was told of.
    found: AtomicI64,
}

impl Default for Oldest {
    fn default() -> Self {
        Self {
            unseen: AtomicI64::new(NONE),
            found: AtomicI64::new(NONE),
        }
    }
}

impl Lag {
    /// Something was accepted, the oldest of it at this instant.
    pub fn accepted(&self, received_at: UnixMillis) {
        self.0.unseen.fetch_min(received_at.0, Ordering::Relaxed);
    }

    /// Before a look: what is accepted from here on may be missed by it.
    pub fn looking(&self) {
        let unseen = self.0.unseen.swap(NONE, Ordering::Relaxed);
        self.0.found.fetch_min(unseen, Ordering::Relaxed);
    }

    /// After a look: when the oldest of all that waits was received. A look that fails says nothing.
    pub fn found(&self, oldest: Option<UnixMillis>) {
        let oldest = oldest.map_or(NONE, |at| at.0);
        self.0.found.store(oldest, Ordering::Relaxed);
    }

    /// How old the oldest is; zero when nothing waits.
    pub fn behind(&self, now: UnixMillis) -> Duration {
        let oldest = self
            .0
            .unseen
            .load(Ordering::Relaxed)
            .min(self.0.found.load(Ordering::Relaxed));
        Duration::from_millis(u64::try_from(now.0.saturating_sub(oldest)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(lag: &Lag, now: i64) -> u64 {
        u64::try_from(lag.behind(UnixMillis(now)).as_millis()).unwrap()
    }

    #[test]
    fn it_grows_until_a_look_finds_nothing_left() {
        let lag = Lag::default();
        assert_eq!(behind(&lag, 5_000), 0);
        lag.accepted(UnixMillis(1_000));
        lag.accepted(UnixMillis(2_000));
        assert_eq!(behind(&lag, 5_000), 4_000);
        assert_eq!(behind(&lag, 500), 0, "a clock that went back");
        lag.looking();
        assert_eq!(behind(&lag, 5_000), 4_000, "a look that takes its time");
        lag.found(Some(UnixMillis(2_000)));
        assert_eq!(behind(&lag, 5_000), 3_000);
        lag.looking();
        lag.found(None);
        assert_eq!(behind(&lag, 5_000), 0);
    }

    #[test]
    fn what_comes_during_a_look_and_what_a_failed_one_left_is_not_forgotten() {
        let lag = Lag::default();
        lag.looking();
        lag.accepted(UnixMillis(4_000));
        lag.found(None);
        assert_eq!(behind(&lag, 5_000), 1_000);
        lag.looking();
        lag.looking();
        assert_eq!(behind(&lag, 5_000), 1_000);
    }
}
