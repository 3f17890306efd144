//! Claiming: takes deliveries that are due, for as long as a lease, and reads where they go.
//!
//! A claim is a committed compare-and-set in the store. At most one is in the database at a time; it asks for as many
//! as sending can accept.

use super::{
    breaker::EndpointBreaker,
    immediate::HandedOver,
    operation::Operation,
    outage::Outage,
    parts::DispatcherParts,
    places::{EndpointPlaces, Kind},
    route::Route,
    sending::{Held, Sending},
    settling::Settling,
};
use crate::store::{BATCH_MAX, ClaimRequest, Claimed, Handed, UnknownClaim};
use contract::id::EndpointId;
use db::DbError;
use db::failpoint;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long nothing is claimed for an endpoint whose row or secrets cannot be read.
const UNUSABLE_PAUSE: Duration = Duration::from_secs(10);

/// How long nothing is claimed for an endpoint that has had all attempts of its minute, at least and at most: the clock may be moved.
const LIMIT_PAUSE_MIN: Duration = Duration::from_millis(10);
const LIMIT_PAUSE_MAX: Duration = Duration::from_secs(5);

/// The claims of one endpoint.
pub(super) struct Claiming {
    endpoint: EndpointId,
    parts: Arc<DispatcherParts>,
    places: EndpointPlaces,
    /// The time-out that an attempt had by the newest route: a lease outlasts it, and not by more than it must, for a claim of a
    /// process that died waits for its end.
    timeout: Duration,
    /// There may be something due.
    look: bool,
    /// Counts its claims.
    turn: usize,
    /// Whether these have claimed anything is to be looked up.
    unknown: Vec<Unknown>,
    /// It waits after the database failed, where the endpoint cannot be used, and where it has had its attempts of the minute.
    pub(super) operation: Operation<ClaimEnded>,
}

/// A claim that has ended.
pub(super) struct ClaimEnded {
    held: Held,
    /// It is looked up, as its commit is unknown.
    looked_up: Option<UnknownClaim>,
    answer: Result<Claimed, DbError>,
}

/// A claim whose commit is unknown.
struct Unknown {
    claim: UnknownClaim,
    held: Held,
}

impl Claiming {
    /// It looks as soon as it begins.
    pub(super) fn new(endpoint: &EndpointId, parts: &Arc<DispatcherParts>) -> Self {
        Self {
            endpoint: endpoint.clone(),
            parts: Arc::clone(parts),
            places: parts.places.of_endpoint(),
            timeout: parts.delivery.timeout,
            look: true,
            turn: 0,
            unknown: Vec::new(),
            operation: Operation::new(),
        }
    }

    /// Whether a claim could begin, and has a reason to.
    pub(super) fn may_begin(&self, now: Instant) -> bool {
        self.look && self.operation.may_begin(now)
    }

    /// How long a claim holds.
    pub(super) fn lease(&self) -> Duration {
        self.timeout + self.parts.delivery.lease_slack
    }

    /// The places of the endpoint.
    pub(super) fn places(&self) -> EndpointPlaces {
        self.places.clone()
    }

    /// There may be something due.
    pub(super) fn look(&mut self) {
        self.look = true;
    }

    /// Nothing is claimed before this instant; then it looks.
    pub(super) fn wait_until(&mut self, at: Instant) {
        self.look = true;
        self.operation.wait_until(at);
    }

    /// Begins a claim of up to `wanted` deliveries, if any are wanted and there are places for them. Where there are none, the next
    /// look over all endpoints comes back to it.
    pub(super) fn begin(&mut self, now: Instant, wanted: usize) {
        if self.begin_look_up() {
            return;
        }
        let places = self.places.take(wanted.min(BATCH_MAX), Kind::Waiting);
        if places.is_empty() {
            return;
        }
        let request = ClaimRequest {
            endpoint: self.endpoint.clone(),
            token: self.parts.ids.new_id("clm"),
            now: self.parts.clock.now(),
            lease: self.lease(),
            limit: places.len(),
            turn: self.turn,
        };
        self.turn = self.turn.wrapping_add(1);
        self.look = false;
        let store = self.parts.store.clone();
        let held = Held {
            places,
            since: now,
            is_immediate: false,
        };
        self.operation.begin(async move {
            ClaimEnded {
                held,
                looked_up: None,
                answer: store.claim(request).await,
            }
        });
    }

    /// Begins to look up a claim whose commit is unknown; whether there is one.
    fn begin_look_up(&mut self) -> bool {
        let Some(Unknown { claim, held }) = self.unknown.pop() else {
            return false;
        };
        let store = self.parts.store.clone();
        self.operation.begin(async move {
            ClaimEnded {
                held,
                looked_up: Some(claim.clone()),
                answer: store.look_up_claim(claim).await,
            }
        });
        true
    }

    /// Whether something is to be looked up, and the database did not fail when it was last tried.
    pub(super) fn can_look_up(&self) -> bool {
        !self.unknown.is_empty() && self.operation.not_before().is_none()
    }

    /// While it is stopping nothing is claimed, but what may have been is looked up, so that it can be given back.
    pub(super) fn begin_last_look_up(&mut self, now: Instant) {
        if self.operation.may_begin(now) {
            self.begin_look_up();
        }
    }

    /// Hands on what was claimed as it was queued. Whether a claim was committed whose answer is lost is looked up first.
    pub(super) fn handed(
        &mut self,
        over: HandedOver,
        breaker: &mut EndpointBreaker,
        sending: &mut Sending,
        settling: &mut Settling,
    ) {
        let held = Held {
            places: over.places,
            since: over.since,
            is_immediate: true,
        };
        match over.handed {
            Handed::Claimed(claimed) => self.hand_on(claimed, held, breaker, sending, settling),
            Handed::Unknown(claim) => {
                self.unknown.push(Unknown { claim, held });
                self.look = true;
            }
        }
    }

    /// Hands on what a claim has come to.
    pub(super) fn claimed(
        &mut self,
        ended: ClaimEnded,
        breaker: &mut EndpointBreaker,
        sending: &mut Sending,
        settling: &mut Settling,
        outage: &mut Outage,
    ) {
        let ClaimEnded {
            held,
            looked_up,
            answer,
        } = ended;
        match answer {
            Ok(claimed) => {
                outage.is_over();
                // As many as asked for: there may be more. And nothing was looked for yet.
                let asked = held.places.len();
                self.look |= looked_up.is_some()
                    || matches!(&claimed, Claimed::Deliveries { claims, .. } if claims.len() == asked);
                self.hand_on(claimed, held, breaker, sending, settling);
            }
            Err(error) => {
                outage.failed(&error);
                self.unknown
                    .extend(looked_up.map(|claim| Unknown { claim, held }));
                self.look = true;
                self.operation.pause();
            }
        }
    }

    /// Hands on what was claimed: to be sent, or to be given back where it is not known where it goes.
    fn hand_on(
        &mut self,
        claimed: Claimed,
        held: Held,
        breaker: &mut EndpointBreaker,
        sending: &mut Sending,
        settling: &mut Settling,
    ) {
        let (target, claims, row, is_probe) = match claimed {
            Claimed::Nothing => return,
            Claimed::NotBefore(at) => {
                let left = u64::try_from(at.0 - self.parts.clock.now().0).unwrap_or(0);
                let left = Duration::from_millis(left).clamp(LIMIT_PAUSE_MIN, LIMIT_PAUSE_MAX);
                return self.wait_until(Instant::now() + left);
            }
            Claimed::Refused(_) => {
                // When to look again is known by the row.
                self.look = true;
                return;
            }
            Claimed::Deliveries {
                target,
                claims,
                breaker,
                is_probe,
            } => (target, claims, breaker, is_probe),
        };
        let permit = if is_probe {
            breaker.claimed_probe(row)
        } else {
            None
        };
        if is_probe && permit.is_none() {
            // It came so late that another process has the probe.
            return settling.give_back(claims);
        }
        // Nothing is sent to a guess.
        let route = match Route::of(&self.parts, &self.endpoint, &target) {
            Ok(route) => route,
            Err(why) => {
                tracing::error!(endpoint.id = self.endpoint.as_str(), %why, "nothing is sent to an endpoint");
                self.wait_until(Instant::now() + UNUSABLE_PAUSE);
                if let Some(permit) = permit {
                    permit.neutral();
                    breaker.ended(true);
                }
                return settling.give_back(claims);
            }
        };
        if route.timeout > self.timeout {
            // These leases could end during their attempts: they are claimed again, for longer.
            self.timeout = route.timeout;
            self.look = true;
            if let Some(permit) = permit {
                permit.neutral();
                breaker.ended(true);
            }
            return settling.give_back(claims);
        }
        self.timeout = route.timeout;
        if !claims.is_empty() {
            failpoint::reached("claim.committed");
        }
        sending.add(&Arc::new(route), claims, held, permit);
    }
}
