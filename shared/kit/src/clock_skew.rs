//! Times that were written by a clock that was set back since, or that is another replica's.

use contract::UnixMillis;
use std::time::Duration;

/// How far the clocks of replicas may lie apart.
pub const SKEW_MAX: Duration = Duration::from_secs(60);

/// The latest instant at which anything can have been set, unless the clock was set back since.
pub fn set_at_most(now: UnixMillis) -> UnixMillis {
    now.plus_millis(SKEW_MAX.as_millis() as i64)
}
