//! Queues the events that were logged before an endpoint was subscribed: batch by batch, until every event has its
//! delivery.

use super::{operation::Operation, outage::Outage, parts::DispatcherParts};
use crate::store::{Backfill, Store};
use contract::{Clock, id::EndpointId};
use db::DbError;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a failed batch waits before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often, at most, the endpoint's row is asked whether it is time for the second pass over the log.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The backfill of one endpoint.
pub(super) struct Backfilling {
    endpoint: EndpointId,
    store: Store,
    clock: Arc<dyn Clock>,
    /// When events of the log are looked for that lack their delivery; never once there can be none.
    due: Option<Instant>,
    running: Operation<Result<Backfill, DbError>>,
}

impl Backfilling {
    /// It looks at once, for what was committed before this process started.
    pub(super) fn new(endpoint: &EndpointId, parts: &DispatcherParts) -> Self {
        Self {
            endpoint: endpoint.clone(),
            store: parts.store.clone(),
            clock: Arc::clone(&parts.clock),
            due: Some(Instant::now()),
            running: Operation::new(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_running()
    }

    /// When the next batch is due; None once there can be none.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.due
    }

    /// Begins the next batch if it is due.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.running.is_running() || self.due.is_none_or(|at| at > now) {
            return;
        }
        let (store, endpoint, now) = (self.store.clone(), self.endpoint.clone(), self.clock.now());
        self.running
            .begin(async move { store.backfill(endpoint, now).await });
    }

    pub(super) async fn ended(&mut self) -> Result<Backfill, DbError> {
        self.running.ended().await
    }

    /// Whether deliveries were queued, which the claims are to look for.
    pub(super) fn backfilled(&mut self, answer: &Result<Backfill, DbError>, outage: &mut Outage) -> bool {
        let now = Instant::now();
        self.due = match answer {
            Ok(Backfill::More) => Some(now),
            Ok(Backfill::Later) => Some(now + LOOK_EVERY),
            Ok(Backfill::Complete) => None,
            Err(error) => {
                outage.failed(error);
                Some(now + PAUSE)
            }
        };
        *answer == Ok(Backfill::More)
    }
}
