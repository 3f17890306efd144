//! Counts the kills and faults of a run, and how long the system took to recover.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whose recovery counts from the return of the database server to the next write that is answered for good.
pub const WRITES: &str = "writes, once the database was back";
/// What that may take (F10).
pub const HEALS_WITHIN: Duration = Duration::from_secs(1);

/// The shared counters.
#[derive(Debug, Default)]
pub struct Counters(Mutex<Counts>);

/// The counts.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Deaths, by who died and how.
    pub deaths: BTreeMap<(&'static str, &'static str), u64>,
    /// The longest time from a death to being ready again, by who died.
    pub recoveries: BTreeMap<&'static str, Duration>,
    /// Emitters that were paused past their lease.
    pub pauses: u64,
    /// Database files that were locked.
    pub locks: u64,
}

impl Counters {
    /// A process was killed.
    pub fn death(&self, who: &'static str, how: &'static str) {
        *self.counts().deaths.entry((who, how)).or_default() += 1;
    }

    /// A process is ready again.
    pub fn recovered(&self, who: &'static str, after: Duration) {
        let mut counts = self.counts();
        let longest = counts.recoveries.entry(who).or_default();
        *longest = (*longest).max(after);
    }

    /// An emitter was paused, and goes on.
    pub fn paused(&self) {
        self.counts().pauses += 1;
    }

    /// A database file was locked, and is free again.
    pub fn locked(&self) {
        self.counts().locks += 1;
    }

    /// What was counted so far.
    pub fn read(&self) -> Counts {
        self.counts().clone()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Whether writes went on in time whenever the database server was back.
    pub fn heals_in_time(&self) -> bool {
        self.recoveries
            .get(WRITES)
            .is_none_or(|longest| *longest <= HEALS_WITHIN)
    }

    /// Deaths in all.
    pub fn kills(&self) -> u64 {
        self.deaths.values().sum()
    }
}
