//! Queues the events that were logged before an endpoint was subscribed: batch by batch, until every event has its
//! delivery.

use super::{operation::Operation, outage::Outage, parts::DispatcherParts};
use crate::store::Backfill;
use contract::id::EndpointId;
use db::DbError;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often, at most, the endpoint's row is asked whether it is time for the second pass over the log.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The backfill of one endpoint.
pub(super) struct Backfilling {
    endpoint: EndpointId,
    parts: Arc<DispatcherParts>,
    /// Every event of the log has its delivery, and so will every later one.
    is_complete: bool,
    pub(super) operation: Operation<Result<Backfill, DbError>>,
}

impl Backfilling {
    /// It looks at once, for what was committed before this process started.
    pub(super) fn new(endpoint: &EndpointId, parts: &Arc<DispatcherParts>) -> Self {
        Self {
            endpoint: endpoint.clone(),
            parts: Arc::clone(parts),
            is_complete: false,
            operation: Operation::new(),
        }
    }

    /// Begins the next batch if it is due.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.is_complete || !self.operation.may_begin(now) {
            return;
        }
        let (store, endpoint) = (self.parts.store.clone(), self.endpoint.clone());
        let now = self.parts.clock.now();
        self.operation
            .begin(async move { store.backfill(endpoint, now).await });
    }

    /// Whether deliveries were queued, which the claims are to look for.
    pub(super) fn backfilled(&mut self, answer: &Result<Backfill, DbError>, outage: &mut Outage) -> bool {
        match answer {
            Ok(Backfill::More) => return true,
            Ok(Backfill::Later) => self.operation.wait_until(Instant::now() + LOOK_EVERY),
            Ok(Backfill::Complete) => self.is_complete = true,
            Err(error) => {
                outage.failed(error);
                self.operation.pause();
            }
        }
        false
    }
}
