//! Sending: attempts at one endpoint, as many at once as its breaker and its concurrency allow.
//!
//! It holds what was claimed until its attempt begins, and gives it back unsent when it may not be sent, or would wait so long
//! that its lease could end during the attempt. It knows neither a table nor a transaction.

use super::{
    attempt::{Attempted, attempt},
    breaker::{Admission, EndpointBreaker},
    parts::DispatcherParts,
    places::Place,
    ready::Ready,
    route::Route,
};
use crate::store::{BATCH_MAX, Claim, Settlement};
use bytes::Bytes;
use contract::id::EndpointId;
use kit::breaker::Permit;
use kit::metrics::{Counter, Histogram, Metrics, SECONDS};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How much of its lease's slack a claim may wait for its attempt, so that the attempt, and what it waits for others to the same
/// address, is settled within the lease: half of it.
const WAIT_SHARE: (u32, u32) = (1, 2);

/// Classes of status that an attempt is answered with; the last one stands for no answer.
const ANSWERS: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// The attempts at one endpoint.
///
/// Invariant: what it holds is bounded: `ready` by the places of its endpoint, `attempts` by the concurrency.
pub(super) struct Sending {
    endpoint: EndpointId,
    parts: Arc<DispatcherParts>,
    /// How many attempts at once, as the newest route says.
    concurrency: usize,
    /// Whether it says that claims are counted.
    is_limited: bool,
    /// Claimed, and not begun.
    ready: Ready<ReadyClaim>,
    /// Each with whether it is the breaker's probe.
    attempts: JoinSet<(Attempted, bool)>,
}

/// The breaker refuses what is ready.
pub(super) struct Refusal {
    /// When to ask again; none where its row says it.
    pub(super) until: Option<Instant>,
}

/// A claim that waits for its attempt.
struct ReadyClaim {
    claim: Claim,
    route: Arc<Route>,
    /// Its place in the process.
    place: Place,
    /// When the claim began.
    since: Instant,
    /// It is the breaker's probe.
    probe: Option<Permit>,
}

/// What a claim holds until its attempts.
pub(super) struct Held {
    /// One for each delivery.
    pub(super) places: Vec<Place>,
    /// When the claim began.
    pub(super) since: Instant,
    /// It was claimed as it was queued.
    pub(super) is_immediate: bool,
}

/// Claims that are to be given back.
#[derive(Default)]
pub(super) struct Unsent {
    pub(super) claims: Vec<Claim>,
    /// The breaker's probe is among them.
    pub(super) has_probe: bool,
}

impl Sending {
    pub(super) fn new(endpoint: &EndpointId, parts: &Arc<DispatcherParts>) -> Self {
        Self {
            endpoint: endpoint.clone(),
            parts: Arc::clone(parts),
            concurrency: parts.delivery.concurrency,
            is_limited: false,
            ready: Ready::new(),
            attempts: JoinSet::new(),
        }
    }

    pub(super) fn is_sending(&self) -> bool {
        !self.attempts.is_empty()
    }

    /// Takes over what was claimed, in its order, with a place for each. With a permit it is one delivery, the breaker's probe.
    pub(super) fn add(
        &mut self,
        route: &Arc<Route>,
        claims: Vec<Claim>,
        held: Held,
        mut probe: Option<Permit>,
    ) {
        (self.concurrency, self.is_limited) = (route.concurrency, route.is_limited);
        // Also what another replica has changed: claims of before are not sent.
        self.parts.store.versions().note(&self.endpoint, route.version);
        let Held {
            places,
            since,
            is_immediate,
        } = held;
        let ready = claims.into_iter().zip(places).map(|(claim, place)| ReadyClaim {
            place: place.with_bytes(claim.body.as_ref().map_or(0, Bytes::len)),
            claim,
            route: Arc::clone(route),
            since,
            probe: probe.take(),
        });
        self.ready.add(ready, is_immediate);
    }

    /// Begins as many attempts as it may. When the breaker refuses those that are left, they are to be given back; the answer is
    /// when to ask again, where nothing that ends will say so.
    pub(super) fn begin(&mut self, breaker: &EndpointBreaker) -> Option<Refusal> {
        while self.attempts.len() < self.concurrency {
            let next = self.ready.next()?;
            let (permit, is_probe) = match next.probe.take() {
                Some(permit) => (permit, true),
                None => match breaker.admit() {
                    Admission::Pass(permit) => (permit, false),
                    Admission::Refused => return Some(Refusal { until: None }),
                    Admission::Later(until) => {
                        return self.attempts.is_empty().then_some(Refusal { until: Some(until) });
                    }
                },
            };
            let ReadyClaim {
                claim, route, place, ..
            } = self.ready.pop()?;
            let parts = Arc::clone(&self.parts);
            self.attempts.spawn(async move {
                let _place = place;
                (attempt(&parts, &route, claim, permit).await, is_probe)
            });
        }
        None
    }

    /// Takes out what is not to be sent as it was claimed: the endpoint was changed since, or it has waited so long that its lease
    /// could end during its attempt.
    pub(super) fn take_stale(&mut self, now: Instant) -> Unsent {
        let wait_max = self.parts.delivery.lease_slack * WAIT_SHARE.0 / WAIT_SHARE.1;
        let versions = self.parts.store.versions();
        let is_stale = |ready: &ReadyClaim| {
            now.duration_since(ready.since) > wait_max
                || !versions.is_current(&self.endpoint, ready.route.version)
        };
        Unsent::of(self.ready.take_where(is_stale))
    }

    /// Takes out everything whose attempt has not begun.
    pub(super) fn take_unsent(&mut self) -> Unsent {
        Unsent::of(self.ready.take_where(|_| true))
    }

    /// How many deliveries to claim now, while the breaker admits any: none while enough are at hand.
    pub(super) fn room(&self, ramp: Option<u32>) -> usize {
        let held = self.ready.len() + self.attempts.len();
        match ramp {
            // What is claimed counts: no more than can begin.
            None if self.is_limited => self.concurrency.saturating_sub(held),
            None if self.ready.others() < self.concurrency => BATCH_MAX,
            None => 0,
            Some(ramp) => usize::try_from(ramp).unwrap_or(BATCH_MAX).saturating_sub(held),
        }
    }

    /// How many deliveries may be claimed as they are queued, while the breaker admits all.
    pub(super) fn immediate_room(&self) -> usize {
        let ready = self.ready.immediate();
        if self.is_limited || ready >= self.concurrency {
            return 0;
        }
        BATCH_MAX.saturating_sub(ready)
    }

    /// The next attempt that ends, and whether it was the probe; waits for ever when none is going on. None for one that panicked:
    /// its lease ends by itself, and it is tried again.
    pub(super) async fn ended(&mut self) -> Option<(Attempted, bool)> {
        let Some(ended) = self.attempts.join_next().await else {
            return std::future::pending().await;
        };
        match ended {
            Ok((attempted, is_probe)) => {
                self.parts.attempts.count(&attempted.settlement);
                Some((attempted, is_probe))
            }
            Err(error) => {
                if error.is_panic() {
                    tracing::error!("a delivery attempt panicked");
                }
                None
            }
        }
    }
}

impl Unsent {
    fn of(ready: Vec<ReadyClaim>) -> Self {
        let mut unsent = Self::default();
        for ready in ready {
            if let Some(permit) = ready.probe {
                permit.neutral();
                unsent.has_probe = true;
            }
            unsent.claims.push(ready.claim);
        }
        unsent
    }
}

/// What attempts are counted by, over all endpoints.
pub struct AttemptCounters {
    answers: [Counter; ANSWERS.len()],
    took: Histogram,
}

impl AttemptCounters {
    /// Shows them as `delivery_attempts_total` and `delivery_attempt_seconds`.
    pub fn new(metrics: &Metrics) -> Self {
        let answer = |status| {
            let help = "Attempts, by class of the answer's status; none: no answer came.";
            metrics.counter("delivery_attempts_total", help, &[("status", status)])
        };
        let took = "Time of an attempt, from connecting to the end of the answer.";
        Self {
            answers: ANSWERS.map(answer),
            took: metrics.histogram("delivery_attempt_seconds", took, &[], SECONDS),
        }
    }

    /// Counts the attempt of a delivery, if one was made.
    fn count(&self, settlement: &Settlement) {
        let Some(attempt) = &settlement.attempt else {
            return;
        };
        let none = ANSWERS.len() - 1;
        let class = attempt
            .status
            .map_or(none, |status| (usize::from(status / 100) - 1).min(none - 1));
        self.answers[class].inc();
        self.took
            .observe(Duration::from_millis(attempt.duration_ms).as_secs_f64());
    }
}
