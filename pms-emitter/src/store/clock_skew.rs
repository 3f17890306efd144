//! Times that were written by a clock that was set back since, or that is another replica's.
//!
//! Everything that waits for an instant also says when that was set. What was set later than now, by more than the clocks of
//! two replicas may differ, was set before the clock went back: its wait is over.

pub(super) use kit::clock_skew::{SKEW_MAX, set_at_most};

use contract::UnixMillis;
use std::time::Duration;

/// Whether a pause until `until`, set at `set_at`, still holds.
pub(super) fn is_paused(until: UnixMillis, set_at: UnixMillis, now: UnixMillis) -> bool {
    until > now && set_at <= set_at_most(now)
}

/// Whole milliseconds; what does not fit is as long as can be.
pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
