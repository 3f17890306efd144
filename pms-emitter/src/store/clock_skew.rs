//! Times that were written by a clock that was set back since, or that is another replica's.
//!
//! Everything that waits for an instant also says when that was set. What was set later than now, by more than the clocks of
//! two replicas may differ, was set before the clock went back: its wait is over.

use contract::UnixMillis;
use std::time::Duration;

/// How far the clocks of replicas may lie apart.
pub(super) const SKEW_MAX: Duration = Duration::from_secs(60);

/// The latest instant at which anything can have been set, unless the clock was set back since.
pub(crate) fn set_at_most(now: UnixMillis) -> UnixMillis {
    now.plus_millis(millis(SKEW_MAX))
}

/// Whether a pause until `until`, set at `set_at`, still holds.
pub(super) fn is_paused(until: UnixMillis, set_at: UnixMillis, now: UnixMillis) -> bool {
    until > now && set_at <= set_at_most(now)
}

/// Whole milliseconds; what does not fit is as long as can be.
pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
