//! The breaker of an endpoint, and its transitions, which are logged and stored for people.

use super::{operation::Operation, outage::Outage, parts::DispatcherParts};
use crate::domain::endpoint::TIMEOUT_MAX;
use crate::store::{BREAKER_HISTORY_MAX, BreakerChange};
use contract::id::EndpointId;
use db::DbError;
use kit::breaker::{Breaker, BreakerSettings, Change, OPEN_MAX, State};
use kit::metrics::Metrics;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Characters of a reason that the history keeps.
const REASON_LEN_MAX: usize = 255;
/// What a probe may take beyond its attempt's deadline: the end of an answer's body.
const PROBE_SLACK: Duration = Duration::from_secs(2);

/// Changes that are not written yet, oldest first.
///
/// Invariant: there are no more than the tables keep; when there would be, the oldest go.
#[derive(Clone, Default)]
struct Unwritten(Arc<Mutex<VecDeque<BreakerChange>>>);

/// Writes the changes of an endpoint's breaker. History is for people, so no delivery waits for it; but the last state must
/// be written in the end.
pub(super) struct BreakerHistory {
    endpoint: EndpointId,
    parts: Arc<DispatcherParts>,
    unwritten: Unwritten,
    pub(super) operation: Operation<HistoryWritten>,
}

/// A write that has ended.
pub(super) struct HistoryWritten {
    changes: Vec<BreakerChange>,
    answer: Result<(), DbError>,
}

/// The breaker of an endpoint, and what keeps its history.
pub(super) fn breaker(endpoint: &EndpointId, parts: &Arc<DispatcherParts>) -> (Breaker, BreakerHistory) {
    let unwritten = Unwritten::default();
    let (sink, named, ids) = (unwritten.clone(), endpoint.clone(), parts.ids.clone());
    let on_change = Arc::new(move |change: &Change| {
        log(&named, change);
        sink.edit(|changes| changes.push_back(row(ids.new_id("brk"), change)));
    });
    let delivery = &parts.delivery;
    let settings = BreakerSettings {
        failures: delivery.breaker_failures,
        open_first: delivery.breaker_open,
        open_max: OPEN_MAX,
        probe_deadline: delivery.timeout_at_most(endpoint).max(TIMEOUT_MAX) + PROBE_SLACK,
        ramp_limit: u32::try_from(delivery.concurrency).unwrap_or(u32::MAX),
    };
    let (clock, entropy) = (Arc::clone(&parts.clock), Arc::clone(&parts.entropy));
    let breaker = Breaker::new(settings, clock, entropy, on_change);
    let history = BreakerHistory {
        endpoint: endpoint.clone(),
        parts: Arc::clone(parts),
        unwritten,
        operation: Operation::new(),
    };
    (breaker, history)
}

/// The breakers of all endpoints that have one, for metrics. Clones share them.
#[derive(Clone, Default)]
pub struct Breakers(Arc<Mutex<HashMap<EndpointId, Breaker>>>);

impl Breakers {
    /// Shows how many breakers are in each state. Reading causes no transition.
    pub fn new(metrics: &Metrics) -> Self {
        let breakers = Self::default();
        for state in [State::Closed, State::HalfOpen, State::Open] {
            let (shown, help) = (breakers.clone(), "Breakers before endpoints, by their state.");
            let labels = [("state", state.as_str())];
            metrics.read_gauge("breakers", help, &labels, move || shown.count(state));
        }
        breakers
    }

    /// Shows the state of an endpoint's breaker: 0 where it has none yet.
    pub fn expose(&self, metrics: &Metrics, endpoint: &EndpointId) {
        let (breakers, named) = (self.clone(), endpoint.clone());
        let help = "The breaker before an endpoint: 0 closed, 1 half-open, 2 open.";
        let labels = [("endpoint", endpoint.as_str())];
        metrics.read_gauge("breaker_state", help, &labels, move || {
            let breakers = breakers.0.lock().unwrap_or_else(PoisonError::into_inner);
            breakers
                .get(&named)
                .map_or(0.0, |breaker| breaker.snapshot().state.as_number())
        });
    }

    pub(super) fn remove(&self, endpoint: &EndpointId) {
        let mut breakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        breakers.remove(endpoint);
    }

    pub(super) fn add(&self, endpoint: &EndpointId, breaker: &Breaker) {
        let mut breakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        breakers.insert(endpoint.clone(), breaker.clone());
    }

    fn count(&self, state: State) -> f64 {
        let breakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let states = breakers.values().map(|breaker| breaker.snapshot().state);
        states.filter(|one| *one == state).count() as f64
    }
}

impl Unwritten {
    fn edit<T>(&self, edit: impl FnOnce(&mut VecDeque<BreakerChange>) -> T) -> T {
        let mut changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let edited = edit(&mut changes);
        let beyond = changes.len().saturating_sub(BREAKER_HISTORY_MAX);
        changes.drain(..beyond);
        edited
    }
}

impl BreakerHistory {
    /// Begins to write what is to be written.
    pub(super) fn begin(&mut self, now: Instant) {
        if !self.operation.may_begin(now) {
            return;
        }
        let changes = self.unwritten.edit(std::mem::take);
        if changes.is_empty() {
            return;
        }
        let (store, endpoint) = (self.parts.store.clone(), self.endpoint.clone());
        let changes = Vec::from(changes);
        self.operation.begin(async move {
            let answer = store.keep_breaker_changes(endpoint, changes.clone()).await;
            HistoryWritten { changes, answer }
        });
    }

    /// What could not be written stays, before what came since.
    pub(super) fn written(&mut self, ended: HistoryWritten, outage: &mut Outage) {
        if let Err(error) = ended.answer {
            outage.failed(&error);
            self.unwritten.edit(|changes| {
                let since = std::mem::replace(changes, ended.changes.into());
                changes.extend(since);
            });
            self.operation.pause();
        }
    }
}

fn log(endpoint: &EndpointId, change: &Change) {
    tracing::warn!(
        endpoint.id = endpoint.as_str(),
        from = change.from.as_str(),
        to = change.to.as_str(),
        reason = %change.reason,
        "breaker"
    );
}

fn row(id: String, change: &Change) -> BreakerChange {
    let reason = change.reason.chars().filter(char::is_ascii);
    BreakerChange {
        id,
        at: change.at,
        from: change.from,
        to: change.to,
        reason: reason.take(REASON_LEN_MAX).collect(),
    }
}
