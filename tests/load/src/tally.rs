//! What was answered, and how long it took: one tally for each thread, added up at the end.
//!
//! Open loop: a latency counts from the instant at which the request was due, whether or not a connection was free
//! then. Closed loop: a connection that waits sends nothing meanwhile, so the requests that it would have sent are
//! filled in afterwards ([`Tally::corrected`]); without that a stall of a second would count once.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest latency that is distinguished, in microseconds: over two minutes. It ends a doubling, which the histogram has
/// room for as a whole, so that nothing above is distinguished either.
const LONGEST: u64 = (1 << 27) - 1;
/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// Answers by status, and their latencies in microseconds.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Requests that were begun.
    sent: u64,
    statuses: BTreeMap<u16, u64>,
    latencies: Histogram<u64>,
    /// Of the answers of 2xx alone.
    good_latencies: Histogram<u64>,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// Of ten, nine are not slower.
    pub p90: f64,
    /// Of a hundred, ninety-nine are not slower.
    pub p99: f64,
    /// Of a thousand, one is slower.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        let none = Histogram::new_with_max(LONGEST, DIGITS).expect("three digits of some minutes fit");
        Self {
            sent: 0,
            statuses: BTreeMap::new(),
            good_latencies: none.clone(),
            latencies: none,
        }
    }

    /// Counts a request that goes out.
    pub fn sends(&mut self) {
        self.sent += 1;
    }

    /// Counts one answer.
    pub fn answered(&mut self, status: u16, latency: Duration) {
        *self.statuses.entry(status).or_default() += 1;
        self.took(latency);
        if (200..300).contains(&status) {
            self.good_latencies.saturating_record(micros(latency));
        }
    }

    /// Counts a latency alone; beyond two minutes it counts as those.
    pub fn took(&mut self, latency: Duration) {
        self.latencies.saturating_record(micros(latency));
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.sent += other.sent;
        for (ours, theirs) in [
            (&mut self.latencies, &other.latencies),
            (&mut self.good_latencies, &other.good_latencies),
        ] {
            ours.add(theirs).expect("every tally has the same bounds");
        }
    }

    /// Answers by status.
    pub fn statuses(&self) -> &BTreeMap<u16, u64> {
        &self.statuses
    }

    /// Answers of a status.
    pub fn of(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// Answers of 200 to 299.
    pub fn good(&self) -> u64 {
        self.statuses.range(200..300).map(|(_, count)| count).sum()
    }

    /// Answers that a sender must not get from a service that is well: neither 2xx nor 503.
    pub fn wrong(&self) -> u64 {
        self.answers() - self.good() - self.of(503)
    }

    /// Requests that were begun.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Requests to which no answer came.
    pub fn unanswered(&self) -> u64 {
        self.sent - self.answers()
    }

    /// All answers.
    pub fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// The latencies as they were measured.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles::of(&self.latencies)
    }

    /// The latencies of the answers of 2xx as they were measured.
    pub fn good_percentiles(&self) -> Percentiles {
        Percentiles::of(&self.good_latencies)
    }

    /// The latencies with those filled in that a closed loop left out, when a connection sends every `interval`.
    pub fn corrected(&self, interval: Duration) -> Percentiles {
        Percentiles::of(&self.latencies.clone_correct(micros(interval).max(1)))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

impl Percentiles {
    fn of(latencies: &Histogram<u64>) -> Self {
        let millis = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            p50: millis(0.5),
            p90: millis(0.9),
            p99: millis(0.99),
            p999: millis(0.999),
            max: latencies.max() as f64 / 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn tallies_add_up() {
        let (mut one, mut other) = (Tally::new(), Tally::new());
        for status in [202, 202, 503, 500] {
            one.sends();
            one.answered(status, MILLI);
        }
        other.sends();
        other.sends();
        other.answered(202, 9 * MILLI);
        other.answered(503, 20 * MILLI);
        other.sends();
        one.add(&other);
        assert_eq!(
            (one.good(), one.wrong(), one.answers(), one.unanswered()),
            (3, 1, 6, 1)
        );
        let all = one.percentiles();
        assert!((all.max - 20.0).abs() < 0.1, "{all:?}");
        let shown = one.good_percentiles();
        assert!(
            (shown.p50 - 1.0).abs() < 0.01 && (shown.max - 9.0).abs() < 0.01,
            "{shown:?}"
        );
    }

    #[test]
    fn latencies_have_three_digits_up_to_the_longest() {
        let mut tally = Tally::new();
        assert_eq!((tally.percentiles().p50, tally.percentiles().max), (0.0, 0.0));
        for millis in 1..=1_000 {
            tally.took(millis * MILLI);
        }
        let shown = tally.percentiles();
        for (measured, exact) in [(shown.p50, 500.0), (shown.p99, 990.0), (shown.p999, 999.0)] {
            assert!((exact..=exact * 1.001).contains(&measured), "{shown:?}");
        }
        tally.took(Duration::MAX);
        assert_eq!(tally.percentiles().max, LONGEST as f64 / 1000.0);
    }

    #[test]
    fn a_stall_counts_as_often_as_it_kept_others_from_being_sent() {
        let mut tally = Tally::new();
        for _ in 0..900 {
            tally.answered(202, MILLI);
        }
        tally.answered(202, 100 * MILLI);
        assert!(tally.percentiles().p99 < 2.0);
        // 99 more, of 99, 98, ... 1 ms.
        let corrected = tally.corrected(MILLI);
        assert!((85.0..95.0).contains(&corrected.p99), "{corrected:?}");
    }
}
