//! The breaker of an endpoint, and its transitions, which are logged and stored for people.

use super::{operation::Operation, outage::Outage, parts::DispatcherParts};
use crate::store::{BREAKER_HISTORY_MAX, BreakerChange, Store};
use contract::Ids;
use contract::id::EndpointId;
use db::DbError;
use kit::breaker::{Breaker, Change};
use kit::metrics::Metrics;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long the history waits after a failure before it is written again.
const PAUSE: Duration = Duration::from_millis(500);
/// Characters of a reason that the history keeps.
const REASON_LEN_MAX: usize = 255;

/// Changes that the breaker has made and the history has not taken over yet, oldest first.
type FreshChanges = Arc<Mutex<VecDeque<Change>>>;

/// Writes the changes of an endpoint's breaker. History is for people, so no delivery waits for it; but the last state must
/// be written in the end.
///
/// Invariant: it holds no more changes than the tables keep; when there are more, the oldest go.
pub(super) struct BreakerHistory {
    endpoint: EndpointId,
    store: Store,
    ids: Ids,
    fresh: FreshChanges,
    /// To be written, oldest first.
    unwritten: Vec<BreakerChange>,
    /// Nothing is written before this: the database failed.
    not_before: Option<Instant>,
    writing: Operation<HistoryWritten>,
}

/// A write that has ended.
pub(super) struct HistoryWritten {
    changes: Vec<BreakerChange>,
    answer: Result<(), DbError>,
}

/// The breaker of an endpoint, and what keeps its history.
pub(super) fn breaker(endpoint: &EndpointId, parts: &DispatcherParts) -> (Breaker, BreakerHistory) {
    let fresh = FreshChanges::default();
    let (sink, named) = (Arc::clone(&fresh), endpoint.clone());
    let on_change = Arc::new(move |change: &Change| {
        log(&named, change);
        let mut changes = sink.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.len() == BREAKER_HISTORY_MAX {
            changes.pop_front();
        }
        changes.push_back(change.clone());
    });
    let (clock, entropy) = (Arc::clone(&parts.clock), Arc::clone(&parts.entropy));
    let breaker = Breaker::new(parts.breaker, clock, entropy, on_change);
    let history = BreakerHistory {
        endpoint: endpoint.clone(),
        store: parts.store.clone(),
        ids: parts.ids.clone(),
        fresh,
        unwritten: Vec::new(),
        not_before: None,
        writing: Operation::new(),
    };
    (breaker, history)
}

/// Shows the state of an endpoint's breaker. Reading it causes no transition.
pub(super) fn expose(metrics: &Metrics, endpoint: &EndpointId, breaker: &Breaker) {
    let breaker = breaker.clone();
    let help = "The breaker before an endpoint: 0 closed, 1 half-open, 2 open.";
    let labels = [("endpoint", endpoint.as_str())];
    metrics.read_gauge("breaker_state", help, &labels, move || {
        breaker.snapshot().state.as_number()
    });
}

impl BreakerHistory {
    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_running()
    }

    /// When writing is tried again after a failure.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// Begins to write what is to be written.
    pub(super) fn begin(&mut self, now: Instant) {
        self.take_fresh();
        let waits = self.not_before.is_some_and(|at| at > now);
        if self.writing.is_running() || self.unwritten.is_empty() || waits {
            return;
        }
        self.not_before = None;
        let changes = std::mem::take(&mut self.unwritten);
        let (store, endpoint) = (self.store.clone(), self.endpoint.clone());
        self.writing.begin(async move {
            let answer = store.keep_breaker_changes(endpoint, changes.clone()).await;
            HistoryWritten { changes, answer }
        });
    }

    pub(super) async fn ended(&mut self) -> HistoryWritten {
        self.writing.ended().await
    }

    /// What could not be written stays, before what came since.
    pub(super) fn written(&mut self, ended: HistoryWritten, outage: &mut Outage) {
        if let Err(error) = ended.answer {
            outage.failed(&error);
            self.unwritten.splice(..0, ended.changes);
            self.not_before = Some(Instant::now() + PAUSE);
        }
    }

    fn take_fresh(&mut self) {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = fresh.drain(..).map(|change| row(self.ids.new_id("brk"), &change));
        self.unwritten.extend(rows);
        let beyond = self.unwritten.len().saturating_sub(BREAKER_HISTORY_MAX);
        self.unwritten.drain(..beyond);
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
