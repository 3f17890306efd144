//! What this process counts of one source. It outlives each state of the tables, as the uses of secrets do.

use super::{counts::Counts, queue_share::QueuePlaces};
use crate::store::SOURCE_WINDOWS;
use contract::UnixMillis;
use kit::access::Limiter;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

/// The counts of one source.
#[derive(Debug)]
pub(super) struct SourceUsage {
    /// What is drawn here of its rate.
    pub(super) limiter: Limiter,
    /// Its entries in the queues.
    pub(super) places: Arc<QueuePlaces>,
    /// What became of its deliveries, by hour, as far as that is not written yet.
    pub(super) counts: Counts,
    /// When something authentic last came, as far as that is not written yet; 0 for never.
    seen_at: AtomicI64,
    /// Whether it is silent, as far as that was said.
    pub(super) is_silent: AtomicBool,
}

impl SourceUsage {
    /// Of a source of which nothing was counted yet.
    pub(super) fn new(id: &str) -> Self {
        Self {
            limiter: Limiter::new(&SOURCE_WINDOWS, id.into()),
            places: Arc::default(),
            counts: Counts::by_hour(),
            seen_at: AtomicI64::default(),
            is_silent: AtomicBool::default(),
        }
    }

    /// Notes that something authentic has come.
    pub(super) fn saw(&self, at: UnixMillis) {
        self.seen_at.fetch_max(at.0, Ordering::Relaxed);
    }

    /// When it was last seen, if that is not written yet.
    pub(super) fn seen(&self) -> Option<UnixMillis> {
        known(self.seen_at.load(Ordering::Relaxed))
    }

    /// As [`seen`](Self::seen). It counts as written from now on.
    pub(super) fn take_seen(&self) -> Option<UnixMillis> {
        known(self.seen_at.swap(0, Ordering::Relaxed))
    }
}

fn known(at: i64) -> Option<UnixMillis> {
    (at != 0).then_some(UnixMillis(at))
}
