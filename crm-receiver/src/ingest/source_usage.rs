//! What this process counts of one source. It outlives each state of the tables, as the uses of secrets do.

use super::queue_share::QueuePlaces;
use crate::store::SOURCE_WINDOWS;
use kit::access::Limiter;
use std::sync::Arc;

/// The counts of one source.
#[derive(Debug)]
pub(super) struct SourceUsage {
    /// What is drawn here of its rate.
    pub(super) limiter: Limiter,
    /// Its entries in the queues.
    pub(super) places: Arc<QueuePlaces>,
}

impl SourceUsage {
    /// Of a source of which nothing was counted yet.
    pub(super) fn new(id: &str) -> Self {
        Self {
            limiter: Limiter::new(&SOURCE_WINDOWS, id.into()),
            places: Arc::default(),
        }
    }
}
