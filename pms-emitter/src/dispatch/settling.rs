//! Settling: writes the results of deliveries, in batches, fenced by the claims under which they were attempted.
//!
//! At most one batch is in the database at a time; what ends meanwhile goes together in the next one. A batch that
//! fails is kept and written again after a pause.

use super::{
    attempt::{Attempted, deferred},
    operation::Operation,
    outage::Outage,
    parts::DispatcherParts,
};
use crate::store::{BATCH_MAX, Claim, EndpointUpdate, Settled, Settlement, Store};
use contract::{Clock, id::EndpointId};
use db::DbError;
use db::failpoint;
use kit::metrics::{Counter, Metrics};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a failed batch waits before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// Settlements that wait for the database before attempts stop.
const WAITING_MAX: usize = 4 * BATCH_MAX;

/// The settlements of one endpoint.
///
/// Invariant: what it holds is bounded by [`WAITING_MAX`] and the attempts that were going on by then.
pub(super) struct Settling {
    endpoint: EndpointId,
    store: Store,
    clock: Arc<dyn Clock>,
    counters: SettlementCounters,
    /// To be settled, in the order in which they ended.
    waiting: Vec<Settlement>,
    /// What they say about the endpoint itself.
    endpoint_update: EndpointUpdate,
    /// A pause or a 410 is not committed yet: nothing is claimed or sent until it is.
    holds_endpoint: bool,
    /// Nothing is settled before this: the database failed.
    not_before: Option<Instant>,
    running: Operation<SettlementEnded>,
}

/// A batch that has ended.
pub(super) struct SettlementEnded {
    batch: Arc<[Settlement]>,
    endpoint_update: EndpointUpdate,
    answer: Result<Settled, DbError>,
}

impl Settling {
    pub(super) fn new(endpoint: &EndpointId, parts: &DispatcherParts) -> Self {
        Self {
            endpoint: endpoint.clone(),
            store: parts.store.clone(),
            clock: Arc::clone(&parts.clock),
            counters: parts.settlements.clone(),
            waiting: Vec::new(),
            endpoint_update: EndpointUpdate::default(),
            holds_endpoint: false,
            not_before: None,
            running: Operation::new(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_running()
    }

    /// When settling is tried again after a failure.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// Whether nothing may be claimed or sent, because the endpoint asked for a pause or answered 410, and that is not committed yet.
    pub(super) fn holds_endpoint(&self) -> bool {
        self.holds_endpoint
    }

    /// Whether another attempt may begin.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    /// Whether something waits, and the database did not fail when it was last tried.
    pub(super) fn can_go_on(&self) -> bool {
        !self.waiting.is_empty() && self.not_before.is_none()
    }

    /// These are given back as they were: no attempt was made.
    pub(super) fn give_back(&mut self, claims: Vec<Claim>) {
        self.waiting.extend(claims.into_iter().map(deferred));
    }

    /// An attempt has ended.
    pub(super) fn add(&mut self, attempted: Attempted) {
        self.waiting.push(attempted.settlement);
        self.holds_endpoint |= attempted.endpoint_update != EndpointUpdate::default();
        self.endpoint_update.merge(attempted.endpoint_update);
    }

    /// Begins to settle what waits.
    pub(super) fn begin(&mut self, now: Instant) {
        let nothing = self.waiting.is_empty() && self.endpoint_update == EndpointUpdate::default();
        if self.running.is_running() || nothing || self.not_before.is_some_and(|at| at > now) {
            return;
        }
        self.not_before = None;
        let batch: Arc<[Settlement]> = self.waiting.drain(..self.waiting.len().min(BATCH_MAX)).collect();
        let endpoint_update = std::mem::take(&mut self.endpoint_update);
        let (store, endpoint, at) = (self.store.clone(), self.endpoint.clone(), self.clock.now());
        self.running.begin(async move {
            let answer = store
                .settle(endpoint, Arc::clone(&batch), endpoint_update, at)
                .await;
            SettlementEnded {
                batch,
                endpoint_update,
                answer,
            }
        });
    }

    pub(super) async fn ended(&mut self) -> SettlementEnded {
        self.running.ended().await
    }

    pub(super) fn settled(&mut self, ended: SettlementEnded, outage: &mut Outage) {
        match ended.answer {
            Ok(settled) => {
                failpoint::reached("settle.committed");
                self.counters.count(settled);
                outage.is_over();
                self.holds_endpoint = self.endpoint_update != EndpointUpdate::default();
                if settled.lost > 0 {
                    tracing::warn!(
                        lost = settled.lost,
                        "deliveries had been taken over by another claim"
                    );
                }
            }
            Err(error) => {
                outage.failed(&error);
                self.waiting.splice(..0, ended.batch.iter().cloned());
                self.endpoint_update.merge(ended.endpoint_update);
                self.not_before = Some(Instant::now() + PAUSE);
            }
        }
    }
}

/// What settled deliveries are counted by, over all endpoints. Clones count together.
#[derive(Clone)]
pub struct SettlementCounters {
    delivered: Counter,
    dead: Counter,
    retried: Counter,
    kept: Counter,
    deferred: Counter,
    lost: Counter,
}

impl SettlementCounters {
    /// Shows them as `deliveries_total`.
    pub fn new(metrics: &Metrics) -> Self {
        let outcome = |outcome| {
            let help = "Deliveries settled, by what became of them.";
            metrics.counter("deliveries_total", help, &[("outcome", outcome)])
        };
        Self {
            delivered: outcome("delivered"),
            dead: outcome("dead"),
            retried: outcome("retried"),
            kept: outcome("kept"),
            deferred: outcome("deferred"),
            lost: outcome("lost"),
        }
    }

    /// Counts a batch that is committed. What another claim took over is `lost`, whatever was to be written about it.
    fn count(&self, settled: Settled) {
        for (counter, count) in [
            (&self.delivered, settled.delivered),
            (&self.dead, settled.dead),
            (&self.retried, settled.retried),
            (&self.kept, settled.kept),
            (&self.deferred, settled.deferred),
            (&self.lost, settled.lost),
        ] {
            counter.inc_by(count as u64);
        }
    }
}
