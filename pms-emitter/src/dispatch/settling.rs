//! Settling: writes the results of deliveries, in batches, fenced by the claims under which they were attempted.
//!
//! At most one batch is in the database at a time; what ends meanwhile goes together in the next one, and so does what ends
//! within [`GATHERING`]: what waits for a settlement, as a run for its deliveries, loses no more than that by it, and what is behind
//! it in an order nothing. A batch that fails is kept and written again after a pause.

use super::{
    attempt::{Attempted, deferred},
    noticing::event_id,
    operation::Operation,
    outage::Outage,
    parts::DispatcherParts,
};
use crate::store::{BATCH_MAX, Claim, EndpointUpdate, Settled, Settlement, Verdict};
use contract::id::EndpointId;
use db::DbError;
use db::failpoint;
use kit::metrics::{Counter, Metrics};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Settlements that wait for the database before attempts stop.
const WAITING_MAX: usize = 4 * BATCH_MAX;

/// How long the first one of a batch waits for others: a transaction costs a server much more than a row of it.
const GATHERING: Duration = Duration::from_millis(10);

/// The settlements of one endpoint.
///
/// Invariant: what it holds is bounded by [`WAITING_MAX`] and the attempts that were going on by then.
pub(super) struct Settling {
    endpoint: EndpointId,
    parts: Arc<DispatcherParts>,
    /// To be settled, in the order in which they ended.
    waiting: Vec<Settlement>,
    /// Until when more may be gathered with them; none while nothing waits.
    gathering_until: Option<Instant>,
    /// What they say about the endpoint itself.
    endpoint_update: EndpointUpdate,
    /// A pause or a 410 is not committed yet: nothing is claimed or sent until it is.
    holds_endpoint: bool,
    pub(super) operation: Operation<SettlementEnded>,
}

/// A batch that has ended.
pub(super) struct SettlementEnded {
    batch: Arc<[Settlement]>,
    endpoint_update: EndpointUpdate,
    answer: Result<Settled, DbError>,
}

impl Settling {
    pub(super) fn new(endpoint: &EndpointId, parts: &Arc<DispatcherParts>) -> Self {
        Self {
            endpoint: endpoint.clone(),
            parts: Arc::clone(parts),
            waiting: Vec::new(),
            gathering_until: None,
            endpoint_update: EndpointUpdate::default(),
            holds_endpoint: false,
            operation: Operation::new(),
        }
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
        !self.waiting.is_empty() && self.operation.not_before().is_none()
    }

    /// These are given back as they were: no attempt was made.
    pub(super) fn give_back(&mut self, claims: Vec<Claim>) {
        if !claims.is_empty() {
            self.waiting.extend(claims.into_iter().map(deferred));
            self.gather_no_more();
        }
    }

    /// An attempt has ended.
    pub(super) fn add(&mut self, attempted: Attempted) {
        let is_update = attempted.endpoint_update != EndpointUpdate::default();
        let is_in_order = attempted.settlement.delivery.is_in_order;
        self.waiting.push(attempted.settlement);
        self.holds_endpoint |= is_update;
        self.endpoint_update.merge(attempted.endpoint_update);
        if is_update || is_in_order || self.waiting.len() >= BATCH_MAX {
            self.gather_no_more();
        } else if self.gathering_until.is_none() {
            self.gathering_until = Some(Instant::now() + GATHERING);
        }
    }

    /// What waits is settled as soon as it can be.
    fn gather_no_more(&mut self) {
        self.gathering_until = Some(Instant::now());
    }

    /// When it begins to settle what it gathers, unless something else holds that up.
    pub(super) fn begins_at(&self) -> Option<Instant> {
        let is_held_up = self.operation.is_running() || self.operation.is_waiting(Instant::now());
        self.gathering_until.filter(|_| !is_held_up)
    }

    /// Begins to settle what waits, once it is gathered; at once where it is stopping.
    pub(super) fn begin(&mut self, now: Instant, is_stopping: bool) {
        let is_gathered = |until: Instant| until <= now || is_stopping;
        if !self.gathering_until.is_some_and(is_gathered) || !self.operation.may_begin(now) {
            return;
        }
        self.gathering_until = None;
        let batch: Arc<[Settlement]> = self.waiting.drain(..self.waiting.len().min(BATCH_MAX)).collect();
        if !self.waiting.is_empty() {
            self.gather_no_more();
        }
        let endpoint_update = std::mem::take(&mut self.endpoint_update);
        let (store, endpoint) = (self.parts.store.clone(), self.endpoint.clone());
        let at = self.parts.clock.now();
        let dead = batch
            .iter()
            .filter(|settlement| matches!(settlement.verdict, Verdict::Dead(_)));
        let notices = dead.count() + usize::from(endpoint_update.disabled.is_some());
        let notice_ids = (0..notices).map(|_| event_id(&self.parts)).collect();
        self.operation.begin(async move {
            let answer = store
                .settle(endpoint, Arc::clone(&batch), endpoint_update, notice_ids, at)
                .await;
            SettlementEnded {
                batch,
                endpoint_update,
                answer,
            }
        });
    }

    /// Notes how a batch has ended; whether others of the same entities are due now.
    pub(super) fn settled(&mut self, ended: SettlementEnded, outage: &mut Outage) -> bool {
        match ended.answer {
            Ok(settled) => {
                failpoint::reached("settle.committed");
                self.parts.settlements.count(settled);
                outage.is_over();
                self.holds_endpoint = self.endpoint_update != EndpointUpdate::default();
                if settled.lost > 0 {
                    tracing::warn!(
                        lost = settled.lost,
                        "deliveries had been taken over by another claim"
                    );
                }
                settled.released > 0
            }
            Err(error) => {
                outage.failed(&error);
                self.waiting.splice(..0, ended.batch.iter().cloned());
                self.endpoint_update.merge(ended.endpoint_update);
                self.gather_no_more();
                self.operation.pause();
                false
            }
        }
    }
}

type Count = fn(&Settled) -> usize;

/// What settled deliveries are counted as, and how many of a batch are. What another claim took over is `lost`, whatever was to
/// be written about it.
const OUTCOMES: [(&str, Count); 6] = [
    ("delivered", |settled| settled.delivered),
    ("dead", |settled| settled.dead),
    ("retried", |settled| settled.retried),
    ("kept", |settled| settled.kept),
    ("deferred", |settled| settled.deferred),
    ("lost", |settled| settled.lost),
];

/// What settled deliveries are counted by, over all endpoints.
pub struct SettlementCounters([Counter; OUTCOMES.len()]);

impl SettlementCounters {
    /// Shows them as `deliveries_total`.
    pub fn new(metrics: &Metrics) -> Self {
        Self(OUTCOMES.map(|(outcome, _)| {
            let help = "Deliveries settled, by what became of them.";
            metrics.counter("deliveries_total", help, &[("outcome", outcome)])
        }))
    }

    /// Counts a batch that is committed.
    fn count(&self, settled: Settled) {
        for (counter, (_, count)) in self.0.iter().zip(OUTCOMES) {
            counter.inc_by(count(&settled) as u64);
        }
    }
}
