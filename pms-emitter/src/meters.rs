//! What this service counts as it works, and under which names metrics show it.
//!
//! Built once for each running service; the dispatcher counts its attempts and what it settled. None of it is about
//! anyone: labels are names from lists of our own.

use crate::store::{Settled, Settlement, Store};
use kit::{
    breaker::Breaker,
    metrics::{Counter, Histogram, Metrics, SECONDS},
};
use std::time::Duration;

/// What every name begins with.
pub const PREFIX: &str = "pms_emitter";

/// Classes of status that an attempt is answered with; the last one stands for no answer.
const ANSWERS: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];
/// Pending deliveries are counted up to here: more is too many, whatever the number.
const PENDING_MAX: u32 = 100_000;
/// How long a scrape waits for the database.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// What dispatching counts.
pub struct DispatchMeters {
    attempts: [Counter; ANSWERS.len()],
    took: Histogram,
    delivered: Counter,
    dead: Counter,
    retried: Counter,
    kept: Counter,
    deferred: Counter,
    lost: Counter,
}

impl DispatchMeters {
    /// Shows them as `delivery_*` and `deliveries_total`.
    pub fn new(metrics: &Metrics) -> Self {
        let answer = |status| {
            let help = "Attempts, by class of the answer's status; none: no answer came.";
            metrics.counter("delivery_attempts_total", help, &[("status", status)])
        };
        let outcome = |outcome| {
            let help = "Deliveries settled, by what became of them.";
            metrics.counter("deliveries_total", help, &[("outcome", outcome)])
        };
        let took = "Time of an attempt, from connecting to the end of the answer.";
        Self {
            attempts: ANSWERS.map(answer),
            took: metrics.histogram("delivery_attempt_seconds", took, &[], SECONDS),
            delivered: outcome("delivered"),
            dead: outcome("dead"),
            retried: outcome("retried"),
            kept: outcome("kept"),
            deferred: outcome("deferred"),
            lost: outcome("lost"),
        }
    }

    /// What came of one delivery in hand, if an attempt was made.
    pub fn attempted(&self, settlement: &Settlement) {
        let Some(attempt) = &settlement.attempt else {
            return;
        };
        let none = ANSWERS.len() - 1;
        let class = attempt
            .status
            .map_or(none, |status| (usize::from(status / 100) - 1).min(none - 1));
        self.attempts[class].inc();
        self.took
            .observe(Duration::from_millis(attempt.duration_ms).as_secs_f64());
    }

    /// A batch that is committed. What another claim took over is `lost`, whatever was to be written about it.
    pub fn settled(&self, settled: Settled) {
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

/// Shows an endpoint's breaker. Looking at it moves nothing.
pub fn expose_breaker(metrics: &Metrics, endpoint: &str, breaker: &Breaker) {
    let breaker = breaker.clone();
    let help = "The breaker before an endpoint: 0 closed, 1 half-open, 2 open.";
    metrics.read_gauge("breaker_state", help, &[("endpoint", endpoint)], move || {
        breaker.snapshot().state.as_number()
    });
}

/// Shows how many deliveries wait: a count in an index, bounded in rows and in time.
pub fn expose_pending(metrics: &mut Metrics, endpoint: &'static str, store: &Store) {
    let store = store.clone();
    let help = "Deliveries that wait, those in flight included; counted up to 100000.";
    metrics.ask_gauge("outbox_pending_deliveries", help, move || {
        let store = store.clone();
        async move {
            let pending = store.pending_deliveries(endpoint, PENDING_MAX, ASK_WITHIN).await;
            pending.ok()
        }
    });
}
