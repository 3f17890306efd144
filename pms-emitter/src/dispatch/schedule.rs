//! When a delivery is tried again: the waits between attempts, their jitter, and the end.
//!
//! Pure: [`Schedule::after`] is asked once an attempt has failed, and what it says is settled. Each endpoint may
//! have a schedule of its own; the default spans three days in ten attempts.

use super::classify::RETRY_AFTER_MAX;
use contract::Entropy;
use contract::UnixMillis;
use kit::config::{DurationList, InvalidUnit};
use std::{fmt, str::FromStr, time::Duration};

/// The most attempts that a schedule may have.
pub const ATTEMPTS_MAX: usize = 50;
/// The longest single wait.
pub const WAIT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How far a wait is moved, either way, so that failures of one moment do not come back as one.
pub const JITTER_PERCENT: u32 = 20;

const DEFAULT_SECONDS: [u64; 10] = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// The wait before each attempt, the first included.
///
/// Invariant: 1 to [`ATTEMPTS_MAX`] waits, none over [`WAIT_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

/// The waits are no schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// No wait, or more than [`ATTEMPTS_MAX`].
    #[error("a retry schedule has 1 to {ATTEMPTS_MAX} waits")]
    Length,
    /// A wait over [`WAIT_MAX`].
    #[error("no wait of a retry schedule may be over 7 days")]
    TooLong,
    /// Not a list of durations.
    #[error(transparent)]
    Unreadable(#[from] InvalidUnit),
}

impl Schedule {
    /// A schedule of these waits.
    ///
    /// # Errors
    /// When there are none or too many, or one is too long.
    pub fn new(waits: Vec<Duration>) -> Result<Self, InvalidSchedule> {
        if !(1..=ATTEMPTS_MAX).contains(&waits.len()) {
            Err(InvalidSchedule::Length)
        } else if waits.iter().any(|wait| *wait > WAIT_MAX) {
            Err(InvalidSchedule::TooLong)
        } else {
            Ok(Self(waits))
        }
    }

    /// The first waits of it, so many.
    #[must_use]
    pub fn of_attempts(mut self, attempts: usize) -> Self {
        self.0.truncate(attempts.max(1));
        self
    }

    /// The wait between the commit and the first attempt.
    pub fn first_wait(&self) -> Duration {
        self.0[0]
    }

    /// When the next attempt is due, after attempt number `made` (from 1) failed at `now`; none when that was the last one. What
    /// the endpoint asked for with `Retry-After` counts within the wait of the schedule and [`RETRY_AFTER_MAX`].
    pub fn after(
        &self,
        made: u64,
        asked: Option<Duration>,
        now: UnixMillis,
        entropy: &dyn Entropy,
    ) -> Option<UnixMillis> {
        let wait = *self.0.get(usize::try_from(made).ok()?)?;
        let wait = entropy.jitter(wait, JITTER_PERCENT);
        let wait = wait.max(asked.unwrap_or_default().min(RETRY_AFTER_MAX));
        Some(now.plus_millis(millis(wait)))
    }
}

/// Whole milliseconds; what does not fit is as long as can be.
pub fn millis(wait: Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}

impl Default for Schedule {
    fn default() -> Self {
        Self(DEFAULT_SECONDS.map(Duration::from_secs).to_vec())
    }
}

/// `0 s, 5 s, 5 min`: durations separated by commas.
impl FromStr for Schedule {
    type Err = InvalidSchedule;
    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let DurationList(waits) = text.parse()?;
        Self::new(waits)
    }
}

/// The form that is read back: whole milliseconds where seconds do not do.
impl fmt::Display for Schedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, wait) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "," };
            match wait.subsec_millis() {
                0 => write!(out, "{separator}{}s", wait.as_secs())?,
                _ => write!(out, "{separator}{}ms", wait.as_millis())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::SeededEntropy;

    const NOW: UnixMillis = UnixMillis(1_763_769_600_000);

    fn wait_seconds(next: Option<UnixMillis>) -> Option<f64> {
        next.map(|at| (at.0 - NOW.0) as f64 / 1000.0)
    }

    #[test]
    fn the_default_is_ten_attempts_over_three_days_each_wait_moved_by_a_fifth_at_most() {
        let (schedule, entropy) = (Schedule::default(), SeededEntropy::new(1));
        assert_eq!(schedule.first_wait(), Duration::ZERO);
        assert!(DEFAULT_SECONDS.iter().sum::<u64>() > 3 * 86_400);
        for (made, planned) in DEFAULT_SECONDS.into_iter().enumerate().skip(1) {
            let planned = planned as f64;
            let waits: Vec<f64> = (0..200)
                .filter_map(|_| wait_seconds(schedule.after(made as u64, None, NOW, &entropy)))
                .collect();
            assert_eq!(waits.len(), 200);
            assert!(
                waits
                    .iter()
                    .all(|wait| (planned * 0.8 - 0.01..=planned * 1.2).contains(wait)),
                "{made}"
            );
            assert!(
                waits.iter().any(|wait| *wait < planned * 0.9)
                    && waits.iter().any(|wait| *wait > planned * 1.1)
            );
        }
        assert_eq!(schedule.after(10, None, NOW, &entropy), None);
        assert_eq!(schedule.after(u64::MAX, None, NOW, &entropy), None);
    }

    #[test]
    fn what_the_endpoint_asks_for_counts_between_the_schedule_and_a_day() {
        let (schedule, entropy) = (Schedule::default(), SeededEntropy::new(2));
        let after =
            |made, asked| wait_seconds(schedule.after(made, Some(Duration::from_secs(asked)), NOW, &entropy));
        assert_eq!(after(1, 60), Some(60.0));
        assert!(after(1, 1).unwrap() >= 4.0, "never sooner than the schedule");
        assert_eq!(after(1, 10_000_000), Some(86_400.0));
        assert!(after(9, 60).unwrap() >= 86_400.0 * 0.8);
        assert_eq!(after(10, 60), None, "asking does not add an attempt");
    }

    #[test]
    fn nothing_lies_further_ahead_than_the_bound() {
        let (schedule, entropy) = (
            Schedule::new(vec![Duration::ZERO, WAIT_MAX]).unwrap(),
            SeededEntropy::new(3),
        );
        for _ in 0..1_000 {
            let at = schedule.after(1, Some(Duration::MAX), NOW, &entropy).unwrap();
            assert!(at.0 - NOW.0 <= millis(WAIT_MAX) * 6 / 5);
        }
    }

    #[test]
    fn reads_what_it_writes() {
        for (text, shown) in [
            ("0s,5 s,5min", "0s,5s,300s"),
            ("1500ms, 2h,1d", "1500ms,7200s,86400s"),
            ("7", "7s"),
        ] {
            let schedule: Schedule = text.parse().unwrap();
            assert_eq!(schedule.to_string(), shown);
            assert_eq!(shown.parse::<Schedule>().unwrap(), schedule);
        }
        for (text, why) in [
            ("", InvalidSchedule::Unreadable(InvalidUnit::Durations)),
            ("5x", InvalidSchedule::Unreadable(InvalidUnit::Durations)),
            ("0s,8d", InvalidSchedule::TooLong),
            (&["1s"; 51].join(","), InvalidSchedule::Length),
        ] {
            assert_eq!(text.parse::<Schedule>(), Err(why), "{text:?}");
        }
        assert_eq!(Schedule::new(Vec::new()), Err(InvalidSchedule::Length));
    }
}
