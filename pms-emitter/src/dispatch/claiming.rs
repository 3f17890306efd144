//! Claiming: takes deliveries that are due, for as long as a lease, and reads where they go.
//!
//! A claim is a committed compare-and-set in the store. At most one is in the database at a time; it asks for as many
//! as sending can accept.

use super::{
    attempt::Route, operation::Operation, outage::Outage, parts::DispatcherParts, sending::Sending,
    settling::Settling,
};
use crate::store::{BATCH_MAX, Claim, ClaimRequest, Target};
use contract::id::EndpointId;
use db::DbError;
use db::failpoint;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long nothing is claimed for an endpoint whose row cannot be read, or that has no signing secret.
const UNUSABLE_PAUSE: Duration = Duration::from_secs(10);

/// The claims of one endpoint.
pub(super) struct Claiming {
    endpoint: EndpointId,
    parts: Arc<DispatcherParts>,
    /// There may be something due.
    look: bool,
    /// It waits while the breaker is open, after the database failed, and where the endpoint cannot be used.
    pub(super) operation: Operation<ClaimEnded>,
}

/// A claim that has ended.
pub(super) struct ClaimEnded {
    asked: usize,
    /// When it began: its lease counts from there.
    since: Instant,
    answer: Result<Option<(Target, Vec<Claim>)>, DbError>,
}

impl Claiming {
    /// It looks as soon as it begins.
    pub(super) fn new(endpoint: &EndpointId, parts: &Arc<DispatcherParts>) -> Self {
        Self {
            endpoint: endpoint.clone(),
            parts: Arc::clone(parts),
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

    /// Begins a claim of up to `wanted` deliveries, if any are wanted.
    pub(super) fn begin(&mut self, now: Instant, wanted: usize) {
        let asked = wanted.min(BATCH_MAX);
        if asked == 0 {
            return;
        }
        let parts = &self.parts;
        let request = ClaimRequest {
            endpoint: self.endpoint.clone(),
            token: parts.ids.new_id("clm"),
            now: parts.clock.now(),
            lease: parts.delivery.timeout + parts.delivery.lease_slack,
            limit: asked,
        };
        self.look = false;
        let store = parts.store.clone();
        self.operation.begin(async move {
            ClaimEnded {
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
        let Some((target, claims)) = claimed else { return };
        // As many as asked for: there may be more.
        self.look |= claims.len() == ended.asked;
        let Some(route) = self.route(&target) else {
            self.wait_until(Instant::now() + UNUSABLE_PAUSE);
            return settling.give_back(claims);
        };
        if !claims.is_empty() {
            failpoint::reached("claim.committed");
        }
        sending.add(&Arc::new(route), claims, ended.since);
    }

    /// None, which is logged, when the endpoint's row holds what was never checked, or when there is no secret to sign with:
    /// nothing is sent to a guess.
    fn route(&self, target: &Target) -> Option<Route> {
        let endpoint = self.endpoint.as_str();
        let schedule = target.retry_schedule.as_deref().map(str::parse).transpose();
        let (Ok(url), Ok(schedule)) = (target.url.parse(), schedule) else {
            tracing::error!(endpoint.id = endpoint, "the endpoint's row cannot be read");
            return None;
        };
        let Some(secrets) = self.parts.secrets.get(&self.endpoint) else {
            tracing::error!(endpoint.id = endpoint, "the endpoint has no signing secret");
            return None;
        };
        Some(Route {
            url,
            schedule,
            secrets: secrets.clone(),
        })
    }
}
