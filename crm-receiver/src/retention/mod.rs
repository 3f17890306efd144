//! How long what was received is kept, and the purge that deletes it after that: every hour at one replica, or by hand.

mod expired;

pub use expired::{Expired, PurgeMeters, PurgeTally, Purger, at_once, hourly};

use crate::store::PurgeBefore;
use contract::UnixMillis;
use kit::access::usage::oldest_day_kept;

/// The shortest time for which an idempotency key is kept: longer than any sender repeats an event.
pub const IDEMPOTENCY_KEYS_DAYS_MIN: i64 = 30;
/// How long a run that has ended is kept.
pub const REQUEUES_DAYS: u32 = 90;
/// How long the live stream is kept: so far back a client may resume.
pub const STREAM_DAYS: u32 = 7;
const DAY_MILLIS: i64 = 24 * 3600 * 1000;

/// For how many days what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The bodies of events that are decided, from their receipt.
    pub bodies_days: u32,
    /// The bodies of dead letters, from their receipt.
    pub dead_letter_bodies_days: u32,
    /// Events without their bodies, from their receipt: so long a repeat is known.
    pub idempotency_keys_days: u32,
    /// Deliveries that were refused.
    pub rejections_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            bodies_days: 30,
            dead_letter_bodies_days: 90,
            idempotency_keys_days: 400,
            rejections_days: 7,
        }
    }
}

impl Retention {
    /// What is deleted at an instant.
    pub fn before(&self, now: UnixMillis) -> PurgeBefore {
        let ago = |days: u32| UnixMillis(now.0 - i64::from(days) * DAY_MILLIS);
        PurgeBefore {
            bodies: ago(self.bodies_days),
            dead_letter_bodies: ago(self.dead_letter_bodies_days),
            idempotency_keys: ago(self.idempotency_keys_days),
            api_key_usage: oldest_day_kept(now),
            rejections: ago(self.rejections_days),
            requeues: ago(REQUEUES_DAYS),
            stream: ago(STREAM_DAYS),
        }
    }
}
