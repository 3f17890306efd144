//! How many attempts an endpoint gets in a minute, over all processes: counted in its row as they are claimed.
//!
//! A minute begins with the first claim after the one before has ended. Only an endpoint that has a limit pays for it: its claims
//! are counted by a compare-and-set in their own transaction.

use super::clock_skew::{millis, set_at_most};
use contract::UnixMillis;
use db::{DbError, Row, Statement, params};
use std::time::Duration;

/// The columns of [`RateWindow`], as queries of the endpoints name them.
pub(super) const COLUMNS: &str = "rate_limit, rate_since, rate_used";

/// What a limit is counted in.
const WINDOW: Duration = Duration::from_secs(60);

/// The minute of one endpoint that counts at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RateWindow {
    limit: u64,
    /// When it began, as its row says.
    since: UnixMillis,
    /// How many were claimed in it, as its row says.
    used: u64,
}

impl RateWindow {
    /// What a row has in [`COLUMNS`]; none without a limit.
    pub(super) fn read(row: &Row) -> Result<Option<Self>, DbError> {
        let limit: Option<u64> = row.get("rate_limit")?;
        let Some(limit) = limit else { return Ok(None) };
        Ok(Some(Self {
            limit,
            since: row.get("rate_since")?,
            used: row.get("rate_used")?,
        }))
    }

    /// How many may be claimed now; none before the instant that it answers.
    pub(super) fn room(&self, now: UnixMillis) -> Result<usize, UnixMillis> {
        let (_, used) = self.current(now);
        match self.limit.saturating_sub(used) {
            0 => Err(self.since.plus_millis(millis(WINDOW))),
            room => Ok(usize::try_from(room).unwrap_or(usize::MAX)),
        }
    }

    /// Counts so many, unless another claim has counted meanwhile; and the minute in which they count.
    pub(super) fn count(&self, endpoint: &str, claimed: usize, now: UnixMillis) -> (Statement, UnixMillis) {
        let (since, used) = self.current(now);
        let sql = "UPDATE endpoints SET rate_since = ?, rate_used = ? WHERE id = ? AND rate_since = ? AND rate_used = ?";
        let used = used + claimed as u64;
        let values = params![since, used, endpoint, self.since, self.used];
        (Statement::change(sql, values), since)
    }

    /// So many of this minute were given back unsent: they count no more.
    pub(super) fn give_back(endpoint: &str, since: UnixMillis, unsent: u64) -> Statement {
        let sql = "UPDATE endpoints SET rate_used = CASE WHEN rate_used > ? THEN rate_used - ? ELSE 0 END
             WHERE id = ? AND rate_since = ?";
        Statement::change(sql, params![unsent, unsent, endpoint, since])
    }

    /// When the minute of this instant began, and how many were claimed in it. One that lies ahead was begun before the clock was set
    /// back.
    fn current(&self, now: UnixMillis) -> (UnixMillis, u64) {
        let is_over = now >= self.since.plus_millis(millis(WINDOW)) || self.since > set_at_most(now);
        if is_over {
            (now, 0)
        } else {
            (self.since, self.used)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_763_769_600_000);

    #[test]
    fn a_minute_has_so_many_and_ends_also_when_the_clock_was_set_back() {
        let window = RateWindow {
            limit: 30,
            since: NOW,
            used: 29,
        };
        let full = RateWindow { used: 30, ..window };
        let end = NOW.plus_millis(60_000);
        for (at, room) in [
            (0, Ok(1)),
            (59_999, Ok(1)),
            (60_000, Ok(30)),
            (-60_000, Ok(1)),
            (-60_001, Ok(30)),
        ] {
            assert_eq!(window.room(NOW.plus_millis(at)), room, "{at}");
        }
        assert_eq!(full.room(NOW), Err(end));
        assert_eq!(full.room(end), Ok(30));
        let lowered = RateWindow { limit: 10, ..full };
        assert_eq!(lowered.room(NOW), Err(end), "a limit that was lowered since");
    }
}
