//! How long what was sent is kept, and the purge that deletes it after that: every hour at one replica, or by hand.

mod expired;

pub use expired::{Expired, PurgeMeters, PurgeTally, Purger, at_once, hourly};

use crate::store::{PurgeBefore, hour_of};
use contract::UnixMillis;

/// The shortest time for which events are kept: so long a published event's id is known, and so long a receiver remembers.
pub const EVENTS_DAYS_MIN: i64 = 400;
/// The longest time for which anything can still be delivered: less than a receiver remembers, so that it knows a repeat.
pub const UNDELIVERED_DAYS_MAX: i64 = 365;
const DAY_MILLIS: i64 = 24 * 3600 * 1000;

/// For how many days what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Deliveries, attempts and bodies, from their event's commit and from when the last of its deliveries was settled.
    pub deliveries_days: u32,
    /// The same where a delivery is pending or dead, from their event's commit.
    pub undelivered_days: u32,
    /// Events without their bodies, and statistics.
    pub events_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            deliveries_days: 30,
            undelivered_days: 365,
            events_days: 400,
        }
    }
}

/// What a purge by hand is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByHand {
    /// Whether it counts and deletes nothing.
    pub dry_run: bool,
    /// Dead deliveries that died before are deleted too.
    pub dead_before: Option<UnixMillis>,
}

impl Retention {
    /// What is deleted at an instant.
    pub fn before(&self, now: UnixMillis) -> PurgeBefore {
        let ago = |days: u32| UnixMillis(now.0 - i64::from(days) * DAY_MILLIS);
        PurgeBefore {
            settled: ago(self.deliveries_days),
            undelivered: ago(self.undelivered_days),
            events: ago(self.events_days),
            hour: hour_of(ago(self.events_days)),
            dead: None,
        }
    }
}
