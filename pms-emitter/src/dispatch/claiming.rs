//! Claiming: takes deliveries that are due, for as long as a lease, and reads where they go.
//!
//! A claim is a committed compare-and-set in the store. At most one is in the database at a time; it asks for as many
//! as sending can accept.

use super::{
    breaker::EndpointBreaker,
    operation::Operation,
    outage::Outage,
    parts::DispatcherParts,
    places::{EndpointPlaces, Place},
    route::Route,
    sending::Sending,
    settling::Settling,
};
use crate::store::{BATCH_MAX, ClaimRequest, Claimed};
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
    /// It waits after the database failed, where the endpoint cannot be used, and where it has had its attempts of the minute.
    pub(super) operation: Operation<ClaimEnded>,
}

/// A claim that has ended.
pub(super) struct ClaimEnded {
    asked: usize,
    /// One for each that was asked for.
    places: Vec<Place>,
    /// When it began: its lease counts from there.
    since: Instant,
    answer: Result<Claimed, DbError>,
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
            operation: Operation::new(),
        }
    }

    /// Whether a claim could begin, and has a reason to.
    pub(super) fn may_begin(&self, now: Instant) -> bool {
        self.look && self.operation.may_begin(now)
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
        let parts = &self.parts;
        let places = self.places.take(wanted.min(BATCH_MAX));
        let asked = places.len();
        if asked == 0 {
            return;
        }
        let request = ClaimRequest {
            endpoint: self.endpoint.clone(),
            token: parts.ids.new_id("clm"),
            now: parts.clock.now(),
            lease: self.timeout + parts.delivery.lease_slack,
            limit: asked,
        };
        self.look = false;
        let store = parts.store.clone();
        self.operation.begin(async move {
            ClaimEnded {
                places,
                asked,
                since: now,
                answer: store.claim(request).await,
            }
        });
    }

    /// Hands on what was claimed: to be sent, or to be given back where it is not known where it goes.
    pub(super) fn claimed(
        &mut self,
        ended: ClaimEnded,
        breaker: &mut EndpointBreaker,
        sending: &mut Sending,
        settling: &mut Settling,
        outage: &mut Outage,
    ) {
        let claimed = match ended.answer {
            Ok(claimed) => claimed,
            Err(error) => {
                outage.failed(&error);
                self.look = true;
                self.operation.pause();
                return;
            }
        };
        outage.is_over();
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
        // As many as asked for: there may be more.
        self.look |= claims.len() == ended.asked;
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
        sending.add(&Arc::new(route), claims, ended.places, ended.since, permit);
    }
}
