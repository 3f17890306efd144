//! Counts the kills and faults of a run, and how long the system took to recover.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Who dies when the database server is killed, and how.
pub const DATABASE_KILLED: (&str, &str) = ("database", "killed");
/// Whose recovery counts from the return of the database server to the next write that is answered for good.
pub const WRITES: &str = "writes, once the database was back";
/// Whose recovery counts from then to the next delivery that a receiver takes.
pub const DELIVERIES: &str = "deliveries, once the database was back";
/// The rule for writes (F10).
const WRITES_WITHIN: Duration = Duration::from_secs(1);
/// What a run allows beyond it, for what is not the emitter's doing: a clerk that waits for an answer of a process that is
/// paused, or every emitter dead at that moment and starting again on a busy machine. No death is discounted: one that
/// overlaps with the database's costs less than this.
const WRITES_ALLOWANCE: Duration = Duration::from_secs(4);
/// The rule for deliveries. A receiver without its database asks for a pause of a second with `Retry-After`, which the
/// emitters keep even when the database is back: that second is not the receiver's.
const DELIVERIES_WITHIN: Duration = Duration::from_secs(2);
/// Deliveries wait for leases of emitters that died and for the breaker too: as in the suite, what takes ten times as long as
/// its rule hangs.
const HANGS_AFTER: u32 = 10;
/// Later than this is a fault.
const LIMITS: [(&str, Duration); 2] = [
    (WRITES, WRITES_WITHIN.saturating_add(WRITES_ALLOWANCE)),
    (DELIVERIES, DELIVERIES_WITHIN.saturating_mul(HANGS_AFTER)),
];

/// The shared counters.
#[derive(Debug, Default)]
pub struct Counters(Mutex<Counts>);

/// The counts.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Deaths, by who died and how.
    pub deaths: BTreeMap<(&'static str, &'static str), u64>,
    /// From each death to being ready again, by who died.
    pub recoveries: BTreeMap<&'static str, Recoveries>,
    /// Emitters that were paused past their lease.
    pub pauses: u64,
    /// Database files that were locked.
    pub locks: u64,
}

/// How often someone was ready again, after how long at most, and how often nobody could see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recoveries {
    /// How often.
    pub count: u64,
    /// The longest.
    pub longest: Duration,
    /// How often there was nothing left to be done by which it could be seen.
    pub unmeasured: u64,
}

impl Counters {
    /// A process was killed.
    pub fn death(&self, who: &'static str, how: &'static str) {
        *self.counts().deaths.entry((who, how)).or_default() += 1;
    }

    /// A process is ready again.
    pub fn recovered(&self, who: &'static str, after: Duration) {
        let mut counts = self.counts();
        let recoveries = counts.recoveries.entry(who).or_default();
        recoveries.count += 1;
        recoveries.longest = recoveries.longest.max(after);
    }

    /// Nobody can see whether it is ready again: everything is done already.
    pub fn unmeasured(&self, who: &'static str) {
        self.counts().recoveries.entry(who).or_default().unmeasured += 1;
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
    /// What did not go on in time after each return of the database server, or was not seen to go on although there was
    /// something left to be done.
    pub fn unhealed(&self) -> Vec<&'static str> {
        let returns = self.deaths.get(&DATABASE_KILLED).copied().unwrap_or_default();
        let late = LIMITS.into_iter().filter(|(who, limit)| {
            let seen = self.recoveries.get(who).copied().unwrap_or_default();
            seen.count + seen.unmeasured < returns || seen.longest > *limit
        });
        late.map(|(who, _)| who).collect()
    }

    /// Deaths in all.
    pub fn kills(&self) -> u64 {
        self.deaths.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One return of the database for each of these times, after which writes and deliveries went on.
    fn counts(writes: &[u64], deliveries: &[u64]) -> Counters {
        let counters = Counters::default();
        for (who, times) in [(WRITES, writes), (DELIVERIES, deliveries)] {
            for millis in times {
                counters.recovered(who, Duration::from_millis(*millis));
            }
        }
        counters
    }

    #[test]
    fn without_a_killed_database_there_is_nothing_to_heal() {
        assert!(counts(&[], &[]).read().unhealed().is_empty());
    }

    #[test]
    fn every_return_of_the_database_is_seen_to_be_in_time() {
        let unhealed = |counters: Counters| {
            counters.death(DATABASE_KILLED.0, DATABASE_KILLED.1);
            counters.death(DATABASE_KILLED.0, DATABASE_KILLED.1);
            counters.read().unhealed()
        };
        assert!(unhealed(counts(&[10, 5_000], &[20_000, 10])).is_empty());
        assert_eq!(unhealed(counts(&[5_001, 10], &[10, 10])), [WRITES]);
        assert_eq!(unhealed(counts(&[10, 10], &[10, 20_001])), [DELIVERIES]);
        // Of the second nothing is known.
        assert_eq!(unhealed(counts(&[10], &[10])), [WRITES, DELIVERIES]);
        assert_eq!(unhealed(counts(&[], &[])), [WRITES, DELIVERIES]);
        // Of the second nothing can be known: everything was written.
        let written = counts(&[10], &[10]);
        written.unmeasured(WRITES);
        assert_eq!(unhealed(written), [DELIVERIES]);
    }
}
