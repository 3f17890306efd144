//! The breaker of an endpoint in this process: it counts how attempts end, follows the endpoint's row, and writes into the row what
//! it has found, with the history for people.
//!
//! The row is what holds over all processes: whether anything may be claimed, and whose the one probe is. In memory are what opens a
//! closed breaker, and the ramp. So a change that is not committed yet lets nothing be claimed.

use super::{operation::Operation, outage::Outage, parts::DeliveryConfig};
use crate::store::{Admits, BreakerWrite, SharedBreaker, Store, WhatOfBreaker};
use contract::{Clock, Entropy, UnixMillis, id::EndpointId};
use db::DbError;
use kit::breaker::{Admit, Breaker, BreakerSettings, Change, OPEN_MAX, Permit, Probes, State};
use kit::metrics::Metrics;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// Characters of a reason that the history keeps.
const REASON_LEN_MAX: usize = 255;

/// The breaker of one endpoint.
pub struct EndpointBreaker {
    endpoint: EndpointId,
    store: Store,
    clock: Arc<dyn Clock>,
    local: Breaker,
    /// Why the local one changed last.
    reason: Arc<Mutex<String>>,
    /// The row that the local one follows.
    row: SharedBreaker,
    /// The row's probe is this process's, and its end is not committed.
    has_probe: bool,
    /// What is to be written.
    unwritten: Option<BreakerWrite>,
    pub(super) operation: Operation<Result<SharedBreaker, DbError>>,
}

/// Whether an attempt may begin.
pub enum Admission {
    /// It may.
    Pass(Permit),
    /// As many are going on as the ramp allows: the end of one decides, or this instant.
    Later(Instant),
    /// The breaker is not closed: it is to be given back.
    Refused,
}

impl EndpointBreaker {
    /// It follows the row, of which it knows nothing yet.
    pub fn new(
        endpoint: &EndpointId,
        store: Store,
        delivery: &DeliveryConfig,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let reason = Arc::new(Mutex::new(String::new()));
        let (noted, named) = (Arc::clone(&reason), endpoint.clone());
        let on_change = Arc::new(move |change: &Change| {
            log(&named, change);
            let ascii = change.reason.chars().filter(char::is_ascii);
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = ascii.take(REASON_LEN_MAX).collect();
        });
        let settings = BreakerSettings {
            failures: delivery.breaker_failures,
            open_first: delivery.breaker_open,
            open_max: OPEN_MAX,
            ramp_limit: u32::try_from(delivery.concurrency).unwrap_or(u32::MAX),
            probes: Probes::Claimed,
        };
        Self {
            endpoint: endpoint.clone(),
            store,
            local: Breaker::new(settings, Arc::clone(&clock), entropy, on_change),
            clock,
            reason,
            row: SharedBreaker::default(),
            has_probe: false,
            unwritten: None,
            operation: Operation::new(),
        }
    }

    /// Follows the row as it is known by now; whether it has changed. What was not written yet is void then: it was decided on a
    /// row of before.
    pub fn follow(&mut self) -> bool {
        let row = self.store.breakers().of(&self.endpoint);
        if row.epoch <= self.row.epoch {
            return false;
        }
        self.row = row;
        self.has_probe = false;
        self.unwritten = None;
        match row.state {
            State::Closed => self.local.close(),
            State::Open | State::HalfOpen => self.local.open(),
        }
        true
    }

    /// What may be claimed now; none while a change of its own is not committed.
    pub fn admits(&self, now: UnixMillis) -> Option<Admits> {
        let is_written = self.unwritten.is_none() && !self.operation.is_running() && !self.has_probe;
        is_written.then(|| self.row.admits(now))
    }

    /// Its state in this process. Another process's probe, too, shows as open.
    pub fn state(&self) -> State {
        self.local.snapshot().state
    }

    /// How many attempts at once the ramp allows.
    pub fn ramp(&self) -> Option<u32> {
        self.local.snapshot().ramp
    }

    /// A claim has the probe, as the row says that it has committed: its permit. None when the row has changed since.
    pub fn claimed_probe(&mut self, row: SharedBreaker) -> Option<Permit> {
        self.follow();
        if self.row != row {
            return None;
        }
        self.has_probe = true;
        Some(self.local.probe(row.openings))
    }

    /// Asks for the admission of an attempt that is no probe. None goes out before a close is committed.
    pub fn admit(&self) -> Admission {
        if self.row.state != State::Closed {
            return Admission::Refused;
        }
        match self.local.admit() {
            Admit::Pass(permit) | Admit::Probe(permit) => Admission::Pass(permit),
            Admit::Refused { .. } if self.state() != State::Closed => Admission::Refused,
            Admit::Refused { until } => Admission::Later(until),
        }
    }

    /// Notes what is to be written after an attempt has ended, or was given up before it began. A probe that said nothing, or was not
    /// sent, frees its place.
    pub fn ended(&mut self, is_probe: bool) {
        let (seen, at) = (self.row, self.clock.now());
        let local = self.local.snapshot();
        let opened = || WhatOfBreaker::Opened(local.probe_at.unwrap_or(at));
        let what = match (seen.state, local.state) {
            (State::Closed, State::Open) => opened(),
            (State::HalfOpen, State::Open) if self.has_probe => opened(),
            (State::HalfOpen, State::Closed) if self.has_probe => WhatOfBreaker::Closed,
            (State::HalfOpen, State::HalfOpen) if self.has_probe && is_probe => WhatOfBreaker::ProbeFreed,
            _ => return,
        };
        if self.unwritten.is_none() && !self.operation.is_running() {
            let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
            self.unwritten = Some(BreakerWrite {
                seen,
                what,
                at,
                reason: reason.clone(),
            });
        }
    }

    /// What is to be written into the row.
    pub fn unwritten(&self) -> Option<&BreakerWrite> {
        self.unwritten.as_ref()
    }

    /// Begins to write what is to be written.
    pub(super) fn begin_write(&mut self, now: Instant) {
        if let Some(write) = self.unwritten.clone().filter(|_| self.operation.may_begin(now)) {
            let (store, endpoint) = (self.store.clone(), self.endpoint.clone());
            self.operation
                .begin(async move { store.change_breaker(endpoint, write).await });
        }
    }

    /// What could not be written is written later.
    pub(super) fn written(&mut self, answer: Result<SharedBreaker, DbError>, outage: &mut Outage) {
        match answer {
            Ok(_) => {
                // It is followed when the row is looked at next.
                outage.is_over();
                self.unwritten = None;
            }
            Err(error) => {
                outage.failed(&error);
                self.operation.pause();
            }
        }
    }
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

    pub(super) fn add(&self, breaker: &EndpointBreaker) {
        let mut breakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        breakers.insert(breaker.endpoint.clone(), breaker.local.clone());
    }

    fn count(&self, state: State) -> f64 {
        let breakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let states = breakers.values().map(|breaker| breaker.snapshot().state);
        states.filter(|one| *one == state).count() as f64
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
