//! Counts of deliveries, per period and cause: for the audit of those that are not kept, by minute; for each source of all, by
//! hour.
//!
//! A flood of them writes no row for each: the counters are held in memory, bounded, and are added to the tables' counts
//! every few seconds. A cause is a name from our own lists, never anything that a sender chose.

use crate::store::{CountKind, HOUR_MILLIS, PeriodCount};
use contract::UnixMillis;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Milliseconds in a minute.
const MINUTE_MILLIS: i64 = 60_000;
/// Counters of the audit in memory at once. So many there are only when the database is gone for hours; later minutes are then
/// counted under the last one that has a counter.
const COUNTERS_MAX: usize = 4_096;
/// The same of one source, where so many hours may be without a database.
const COUNTERS_OF_SOURCE_MAX: usize = 256;

/// The counters of this process since they were last taken.
#[derive(Debug)]
pub struct Counts {
    period_millis: i64,
    counters_max: usize,
    counters: Mutex<Counters>,
}

/// By kind, cause and period.
type Counters = BTreeMap<(CountKind, &'static str, i64), u64>;

impl Counts {
    /// Those of the audit.
    pub fn by_minute() -> Self {
        Self {
            period_millis: MINUTE_MILLIS,
            counters_max: COUNTERS_MAX,
            counters: Mutex::default(),
        }
    }

    /// Those of one source.
    pub fn by_hour() -> Self {
        Self {
            period_millis: HOUR_MILLIS,
            counters_max: COUNTERS_OF_SOURCE_MAX,
            counters: Mutex::default(),
        }
    }

    /// Counts one.
    pub fn add(&self, kind: CountKind, cause: &'static str, at: UnixMillis) {
        self.add_many(kind, cause, at.0 - at.0.rem_euclid(self.period_millis), 1);
    }

    /// Counts a refusal for its time: an alert when our own clock is the one that is wrong.
    pub fn add_skew(&self, skew_seconds: i64, at: UnixMillis) {
        self.add(CountKind::Skewed, skew_bucket(skew_seconds), at);
    }

    /// Takes everything that was counted since the last time, and begins again from zero.
    pub fn take(&self) -> Vec<PeriodCount> {
        let taken = std::mem::take(&mut *self.counters.lock().unwrap_or_else(PoisonError::into_inner));
        period_counts(taken)
    }

    /// What was counted since it was last taken.
    pub fn untaken(&self) -> Vec<PeriodCount> {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        period_counts(counters.clone())
    }

    /// Adds back what was taken but could not be written.
    pub fn give_back(&self, counts: Vec<PeriodCount>) {
        for count in counts {
            self.add_many(count.kind, count.cause, count.since.0, count.number);
        }
    }

    fn add_many(&self, kind: CountKind, cause: &'static str, since: i64, number: u64) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let full = counters.len() >= self.counters_max && !counters.contains_key(&(kind, cause, since));
        if !full {
            *counters.entry((kind, cause, since)).or_default() += number;
        } else if let Some((_, last)) = counters
            .range_mut((kind, cause, i64::MIN)..=(kind, cause, i64::MAX))
            .next_back()
        {
            *last += number;
        }
    }
}

fn period_counts(counters: Counters) -> Vec<PeriodCount> {
    let count = |((kind, cause, since), number)| PeriodCount {
        kind,
        cause,
        since: UnixMillis(since),
        number,
    };
    counters.into_iter().map(count).collect()
}

/// How far the sender's clock is from ours, in steps that tell an operator what to do.
fn skew_bucket(skew_seconds: i64) -> &'static str {
    let ahead = skew_seconds > 0;
    match (skew_seconds.unsigned_abs(), ahead) {
        (0..600, true) => "ahead_under_10_minutes",
        (600..7_200, true) => "ahead_under_2_hours",
        (7_200..172_800, true) => "ahead_under_2_days",
        (_, true) => "ahead_2_days_or_more",
        (0..600, false) => "behind_under_10_minutes",
        (600..7_200, false) => "behind_under_2_hours",
        (7_200..172_800, false) => "behind_under_2_days",
        (_, false) => "behind_2_days_or_more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_per_minute_and_cause_and_begins_again() {
        let counts = Counts::by_minute();
        for at in [0, 59_999, 60_000] {
            counts.add(CountKind::Rejected, "skew", UnixMillis(at));
        }
        counts.add(CountKind::Duplicate, "same_body", UnixMillis(1));
        counts.add_skew(-3_600, UnixMillis(1));
        let untaken = counts.untaken();
        let taken = counts.take();
        assert_eq!(untaken, taken);
        assert!(counts.untaken().is_empty());
        let shown: Vec<_> = taken
            .iter()
            .map(|count| (count.cause, count.since.0, count.number))
            .collect();
        assert_eq!(
            shown,
            [
                ("skew", 0, 2),
                ("skew", 60_000, 1),
                ("behind_under_2_hours", 0, 1),
                ("same_body", 0, 1)
            ]
        );
        assert!(counts.take().is_empty());
        counts.give_back(taken.clone());
        counts.add(CountKind::Rejected, "skew", UnixMillis(5));
        assert_eq!(counts.take()[0].number, 3);
        let of_source = Counts::by_hour();
        for at in [0, 3_599_999, 3_600_000] {
            of_source.add(CountKind::Accepted, "new", UnixMillis(at));
        }
        let hours: Vec<_> = of_source
            .take()
            .iter()
            .map(|count| (count.since.0, count.number))
            .collect();
        assert_eq!(hours, [(0, 2), (3_600_000, 1)]);
    }

    #[test]
    fn hours_without_a_database_stay_bounded_and_lose_no_number() {
        let counts = Counts::by_minute();
        let minutes = COUNTERS_MAX as i64 + 100;
        for minute in 0..minutes {
            counts.add(CountKind::Rejected, "skew", UnixMillis(minute * MINUTE_MILLIS));
        }
        let taken = counts.take();
        assert_eq!(taken.len(), COUNTERS_MAX);
        assert_eq!(
            taken.iter().map(|count| count.number).sum::<u64>(),
            minutes as u64
        );
    }
}
