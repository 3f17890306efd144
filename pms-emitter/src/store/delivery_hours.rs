//! Attempts counted by endpoint, hour and type of event, in the transaction that settles them: statistics scan no attempts.
//!
//! A settlement is of one endpoint and one hour, so it writes a row for each type in it, mostly one.

use super::Store;
use super::settlements::{Settlement, Verdict};
use contract::{UnixMillis, id::EndpointId};
use db::{DbError, Dialect, InList, Params, Row, Statement, StatementResult, Tx, params};
use std::collections::BTreeMap;

/// An hour.
pub const HOUR_MS: i64 = 3_600_000;
/// What separates the classes of durations, in milliseconds; the last class is all that is longer.
pub const TOOK_MS: [u64; 11] = [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];
/// Hours of a period that are shown one by one, the newest: 31 days.
pub const HOURS_SHOWN_MAX: usize = 31 * 24;
/// Types that are shown one by one: those of the most attempts.
pub const TYPES_SHOWN_MAX: usize = 200;

const KEY: [&str; 3] = ["endpoint_id", "hour", "type"];
const COUNTERS: [&str; 15] = [
    "delivered",
    "failed",
    "duration_ms",
    "took_10",
    "took_25",
    "took_50",
    "took_100",
    "took_250",
    "took_500",
    "took_1000",
    "took_2500",
    "took_5000",
    "took_10000",
    "took_30000",
    "took_longer",
];

/// Attempts of some kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttemptCounts {
    /// Those that delivered.
    pub delivered: u64,
    /// The others.
    pub failed: u64,
    /// How long all of them took together.
    pub duration_ms: u64,
    /// How many took at most so long as `TOOK_MS` says, and longer than the class before.
    pub took: [u64; TOOK_MS.len() + 1],
}

/// The attempts of a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryStats {
    /// All of them.
    pub total: AttemptCounts,
    /// By the hour in which they were settled, the oldest first; the newest `HOURS_SHOWN_MAX` in which there were any.
    pub hours: Vec<(UnixMillis, AttemptCounts)>,
    /// By the type of their event, at most `TYPES_SHOWN_MAX`.
    pub types: Vec<(String, AttemptCounts)>,
}

impl AttemptCounts {
    fn count(&mut self, duration_ms: u64, is_delivered: bool) {
        if is_delivered {
            self.delivered += 1;
        } else {
            self.failed += 1;
        }
        self.duration_ms = self.duration_ms.saturating_add(duration_ms);
        self.took[TOOK_MS.partition_point(|most| *most < duration_ms)] += 1;
    }

    /// How many there are.
    pub fn attempts(&self) -> u64 {
        self.delivered + self.failed
    }

    /// The duration that so many of a hundred did not exceed, as far as the classes say: within one, durations are taken as evenly
    /// spread. Of those beyond the last one its beginning is known alone.
    pub fn percentile_ms(&self, percent: u64) -> Option<u64> {
        let attempts: u64 = self.took.iter().sum();
        let wanted = (attempts * percent).div_ceil(100);
        let mut before = 0;
        for (class, count) in self.took.iter().enumerate() {
            if *count > 0 && before + count >= wanted {
                let low = class.checked_sub(1).map_or(0, |below| TOOK_MS[below]);
                let high = TOOK_MS.get(class).copied().unwrap_or(low);
                return Some(low + (high - low) * (wanted - before) / count);
            }
            before += count;
        }
        None
    }

    fn values(&self) -> Params {
        let mut values = params![self.delivered, self.failed, self.duration_ms];
        values.extend(params_of(&self.took));
        values
    }

    fn read(row: &Row) -> Result<Self, DbError> {
        let mut counts = Self {
            delivered: row.get(COUNTERS[0])?,
            failed: row.get(COUNTERS[1])?,
            duration_ms: row.get(COUNTERS[2])?,
            took: [0; TOOK_MS.len() + 1],
        };
        for (took, column) in counts.took.iter_mut().zip(&COUNTERS[3..]) {
            *took = row.get(column)?;
        }
        Ok(counts)
    }
}

fn params_of(counts: &[u64]) -> Params {
    counts.iter().map(|count| (*count).into()).collect()
}

/// What counts the attempts of settlements of one endpoint.
pub(super) fn counted(
    dialect: Dialect,
    endpoint: &str,
    settlements: &[&Settlement],
    now: UnixMillis,
) -> Option<Statement> {
    let mut by_type = BTreeMap::<&str, AttemptCounts>::new();
    for settlement in settlements {
        if let Some(attempt) = &settlement.attempt {
            let counts = by_type.entry(&settlement.subject.event_type).or_default();
            counts.count(attempt.duration_ms, settlement.verdict == Verdict::Delivered);
        }
    }
    let mut values = Params::new();
    for (event_type, counts) in by_type {
        values.extend(params![endpoint, hour_of(now), event_type]);
        values.extend(counts.values());
    }
    let columns = [KEY.as_slice(), COUNTERS.as_slice()].concat();
    let tail = dialect.on_conflict_add(&KEY, &COUNTERS);
    Statement::rows("delivery_hours", &columns, &tail, values)
}

/// The hour of an instant, as its beginning.
pub fn hour_of(at: UnixMillis) -> UnixMillis {
    UnixMillis(at.0 - at.0.rem_euclid(HOUR_MS))
}

impl Store {
    /// The attempts of these endpoints, or of all, that were settled in the hour of `since` or later.
    ///
    /// # Errors
    /// Those of the database; `Unavailable` when too many lists are being read.
    pub async fn delivery_stats(
        &self,
        endpoints: Option<Vec<EndpointId>>,
        since: UnixMillis,
    ) -> Result<DeliveryStats, DbError> {
        self.lists
            .read("delivery_stats", move |tx| {
                let endpoints = endpoints.clone();
                Box::pin(async move { read_stats(tx, endpoints, hour_of(since)).await })
            })
            .await
    }
}

async fn read_stats(
    tx: &mut Tx,
    endpoints: Option<Vec<EndpointId>>,
    since: UnixMillis,
) -> Result<DeliveryStats, DbError> {
    let sums: Vec<_> = COUNTERS
        .iter()
        .map(|name| format!("SUM({name}) AS {name}"))
        .collect();
    let sums = sums.join(", ");
    let (of, mut values) = match endpoints {
        None => ("hour >= ?".to_owned(), Params::new()),
        Some(endpoints) => {
            let list = InList::of(endpoints.iter().map(EndpointId::as_str));
            (format!("endpoint_id IN {list} AND hour >= ?"), list.into_params())
        }
    };
    values.push(since.into());
    let by = |column: &str, order: &str, most: usize| {
        let sql = format!(
            "SELECT {column}, {sums} FROM delivery_hours WHERE {of} GROUP BY {column} ORDER BY {order} LIMIT {most}"
        );
        Statement::query(sql, values.clone())
    };
    let total = format!("SELECT COUNT(*) AS found, {sums} FROM delivery_hours WHERE {of}");
    let questions = [
        Statement::query(total, values.clone()),
        by("hour", "hour DESC", HOURS_SHOWN_MAX),
        by("type", "SUM(delivered + failed) DESC, type", TYPES_SHOWN_MAX),
    ];
    let answers = tx.run(&questions).await.all()?;
    let mut stats = DeliveryStats {
        total: read_total(&answers[0])?,
        ..DeliveryStats::default()
    };
    for row in answers[1].rows.iter().rev() {
        stats.hours.push((row.get("hour")?, AttemptCounts::read(row)?));
    }
    for row in &answers[2].rows {
        stats.types.push((row.get("type")?, AttemptCounts::read(row)?));
    }
    Ok(stats)
}

/// Sums over no rows are NULL.
fn read_total(answer: &StatementResult) -> Result<AttemptCounts, DbError> {
    match answer.row() {
        Some(row) if row.get::<u64>("found")? > 0 => AttemptCounts::read(row),
        _ => Ok(AttemptCounts::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations: impl IntoIterator<Item = u64>) -> AttemptCounts {
        let mut counts = AttemptCounts::default();
        durations
            .into_iter()
            .for_each(|duration| counts.count(duration, true));
        counts
    }

    #[test]
    fn a_percentile_is_found_in_its_class() {
        assert_eq!(of([]).percentile_ms(95), None);
        assert_eq!(
            of([7]).percentile_ms(95),
            Some(10),
            "it is known to be one to 10 ms"
        );
        assert_eq!(of([60_000]).percentile_ms(95), Some(30_000));
        let even = of(1..=100);
        assert_eq!(even.took[..4], [10, 15, 25, 50]);
        assert_eq!(even.percentile_ms(95), Some(95));
        assert_eq!(even.percentile_ms(50), Some(50));
        let mostly_fast = of(std::iter::repeat_n(5, 95).chain([20_000; 5]));
        assert_eq!(mostly_fast.percentile_ms(95), Some(10));
        assert_eq!(mostly_fast.percentile_ms(99), Some(26_000));
    }

    #[test]
    fn each_attempt_is_in_one_class() {
        for (duration, class) in [
            (0, 0),
            (10, 0),
            (11, 1),
            (30_000, 10),
            (30_001, 11),
            (u64::MAX, 11),
        ] {
            let counts = of([duration]);
            assert_eq!(
                counts.took.iter().position(|count| *count == 1),
                Some(class),
                "{duration}"
            );
        }
    }

    #[test]
    fn an_hour_begins_at_its_multiple() {
        for (at, hour) in [(0, 0), (3_599_999, 0), (3_600_000, 3_600_000), (-1, -3_600_000)] {
            assert_eq!(hour_of(UnixMillis(at)), UnixMillis(hour));
        }
    }
}
