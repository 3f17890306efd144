//! The breaker for the database: while the database is unavailable, callers are refused at once instead of waiting for
//! it.
//!
//! A breaker opens after two batches in a row that failed by an outage. From then on nothing waits for the database but
//! one probe at a time, in the background, so that it closes soon after the database is back, also without traffic. The
//! probe writes: a database that answers but accepts no writes counts as unavailable.

use crate::store::Store;
use contract::Clock;
use contract::{Entropy, Ids};
use db::DbError;
use kit::{
    breaker::{Admit, Breaker, BreakerSettings, Change, Permit, Probes, State},
    metrics::Metrics,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::sleep_until};
use tokio_util::sync::CancellationToken;

/// Batches in a row that fail by an outage until the breaker opens. One alone may be a single lost connection.
const FAILURES: u32 = 2;
/// How long the breaker stays open before its first probe. Short, since a probe is cheap, and the service is to be back
/// within a second of its database.
const OPEN_FIRST: Duration = Duration::from_millis(100);
/// How long it stays open at most between probes.
const OPEN_MAX: Duration = Duration::from_millis(250);
/// A probe that takes longer has failed.
const PROBE_DEADLINE: Duration = Duration::from_millis(500);

/// The breaker of one database. Clones are the same one.
#[derive(Clone)]
pub struct StoreGuard {
    breaker: Breaker,
    ids: Ids,
    signals: Arc<Signals>,
}

#[derive(Debug, Default)]
struct Signals {
    /// Whether the breaker is not closed, for callers: they take no lock.
    shut: AtomicBool,
    opened: Notify,
}

impl StoreGuard {
    /// A guard whose breaker is closed.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let settings = BreakerSettings {
            failures: FAILURES,
            open_first: OPEN_FIRST,
            open_max: OPEN_MAX,
            // What a database can take is known: no ramp.
            ramp_limit: 1,
            probes: Probes::Own {
                deadline: PROBE_DEADLINE,
            },
        };
        let signals = Arc::new(Signals::default());
        let noted = Arc::clone(&signals);
        let on_change = Arc::new(move |change: &Change| noted.note(change));
        Self {
            ids: Ids::new(Arc::clone(&clock), Arc::clone(&entropy)),
            breaker: Breaker::new(settings, clock, entropy, on_change),
            signals,
        }
    }

    /// Whether the database counts as unavailable.
    pub fn is_shut(&self) -> bool {
        self.signals.shut.load(Ordering::Acquire)
    }

    /// The breaker's state, without a transition.
    pub fn state(&self) -> State {
        self.breaker.snapshot().state
    }

    /// Shows the breaker's state as `store_breaker_state`.
    pub fn expose(&self, metrics: &Metrics) {
        let guard = self.clone();
        let help = "The breaker before the database: 0 closed, 1 half-open, 2 open.";
        metrics.read_gauge("store_breaker_state", help, &[], move || {
            guard.state().as_number()
        });
    }

    /// A permit for one batch, or None while the database counts as unavailable.
    pub(super) fn admit(&self) -> Option<Permit> {
        match self.breaker.admit() {
            Admit::Pass(permit) | Admit::Probe(permit) => Some(permit),
            Admit::Refused { .. } => None,
        }
    }

    /// Whenever the breaker opens, probes the database until it takes a write; ends with `drained`.
    pub async fn keep(self, store: Store, drained: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = drained.cancelled() => return,
                () = self.signals.opened.notified() => {}
            }
            tokio::select! {
                biased;
                () = drained.cancelled() => return,
                () = self.probe_until_closed(&store) => {}
            }
        }
    }

    async fn probe_until_closed(&self, store: &Store) {
        while self.is_shut() {
            match self.breaker.admit() {
                Admit::Refused { until } => sleep_until(until).await,
                Admit::Pass(permit) => permit.neutral(),
                Admit::Probe(permit) => match store.probe(&self.ids.new_id("probe"), PROBE_DEADLINE).await {
                    Ok(()) => permit.succeed(),
                    Err(_) => permit.fail("the database takes no writes"),
                },
            }
        }
    }
}

impl Signals {
    fn note(&self, change: &Change) {
        let shut = change.to != State::Closed;
        self.shut.store(shut, Ordering::Release);
        match change.to {
            // A failed probe opens it again; the one who sent it is still at work.
            State::Open if change.from == State::Closed => {
                tracing::warn!(reason = &*change.reason, "store breaker opened");
                self.opened.notify_one();
            }
            State::Closed => tracing::info!("store breaker closed"),
            State::Open | State::HalfOpen => {}
        }
    }
}

/// What the outcome of a batch says about the database.
pub(super) fn settle(permit: Permit, failure: Option<&DbError>) {
    match failure {
        Some(error) if error.is_outage() => permit.fail(error.to_string()),
        // It answered, even if it refused.
        Some(_) | None => permit.succeed(),
    }
}
