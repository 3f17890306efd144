//! Claiming: takes deliveries that are due, for as long as a lease, and reads where they go.
//!
//! A claim is a committed compare-and-set in the store. At most one is in the database at a time; it asks for as many
//! as sending can accept.

use super::{
    attempt::Route, operation::Operation, outage::Outage, parts::DispatcherParts, secrets::SigningSecrets,
};
use crate::store::{BATCH_MAX, Claim, ClaimRequest, Claimed, Store, Target};
use contract::Ids;
use contract::{Clock, id::EndpointId};
use db::DbError;
use db::failpoint;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a failed claim waits before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long nothing is claimed for an endpoint whose row cannot be read, or that has no signing secret.
const UNUSABLE_PAUSE: Duration = Duration::from_secs(10);

/// The claims of one endpoint.
pub(super) struct Claiming {
    endpoint: EndpointId,
    store: Store,
    secrets: Arc<SigningSecrets>,
    ids: Ids,
    clock: Arc<dyn Clock>,
    /// How long a claim holds: an attempt's deadline and its slack.
    lease: Duration,
    /// There may be something due.
    look: bool,
    /// Nothing is claimed before this: the breaker is open, the database failed, or the endpoint cannot be used.
    not_before: Option<Instant>,
    running: Operation<ClaimEnded>,
}

/// A claim that has ended.
pub(super) struct ClaimEnded {
    asked: usize,
    /// When it began: its lease counts from there.
    since: Instant,
    answer: Result<Claimed, DbError>,
}

/// What is to be done with what was claimed.
pub(super) enum Claims {
    /// To be sent.
    ToSend {
        route: Arc<Route>,
        claims: Vec<Claim>,
        since: Instant,
    },
    /// To be given back: it is not known where they go.
    ToGiveBack(Vec<Claim>),
    /// Nothing was claimed.
    Nothing,
}

impl Claiming {
    /// It looks as soon as it begins.
    pub(super) fn new(endpoint: &EndpointId, parts: &DispatcherParts) -> Self {
        Self {
            endpoint: endpoint.clone(),
            store: parts.store.clone(),
            secrets: Arc::clone(&parts.secrets),
            ids: parts.ids.clone(),
            clock: Arc::clone(&parts.clock),
            lease: parts.sender.deadline + parts.lease_slack,
            look: true,
            not_before: None,
            running: Operation::new(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_running()
    }

    /// When it may look again, if it may not now.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// Whether it must not claim for now.
    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.not_before.is_some_and(|at| at > now)
    }

    /// Whether a claim could begin, and has a reason to.
    pub(super) fn may_begin(&self, now: Instant) -> bool {
        self.look && !self.running.is_running() && !self.is_waiting(now)
    }

    /// There may be something due.
    pub(super) fn look(&mut self) {
        self.look = true;
    }

    /// Nothing is claimed before this instant; then it looks.
    pub(super) fn wait_until(&mut self, at: Instant) {
        (self.look, self.not_before) = (true, Some(at));
    }

    /// Begins a claim of up to `wanted` deliveries, if any are wanted.
    pub(super) fn begin(&mut self, now: Instant, wanted: usize) {
        let asked = wanted.min(BATCH_MAX);
        if asked == 0 {
            return;
        }
        let request = ClaimRequest {
            endpoint: self.endpoint.clone(),
            token: self.ids.new_id("clm"),
            now: self.clock.now(),
            lease: self.lease,
            limit: asked,
        };
        (self.look, self.not_before) = (false, None);
        let store = self.store.clone();
        self.running.begin(async move {
            ClaimEnded {
                asked,
                since: now,
                answer: store.claim(request).await,
            }
        });
    }

    pub(super) async fn ended(&mut self) -> ClaimEnded {
        self.running.ended().await
    }

    pub(super) fn claimed(&mut self, ended: ClaimEnded, outage: &mut Outage) -> Claims {
        let ClaimEnded { asked, since, answer } = ended;
        let (target, claims) = match answer {
            Ok(Claimed::Deliveries(target, claims)) => (target, claims),
            Ok(Claimed::Paused(_) | Claimed::Inactive) => {
                outage.is_over();
                return Claims::Nothing;
            }
            Err(error) => {
                outage.failed(&error);
                self.wait_until(Instant::now() + PAUSE);
                return Claims::Nothing;
            }
        };
        outage.is_over();
        // As many as asked for: there may be more.
        self.look |= claims.len() == asked;
        let Some(route) = self.route(&target) else {
            self.wait_until(Instant::now() + UNUSABLE_PAUSE);
            return Claims::ToGiveBack(claims);
        };
        if !claims.is_empty() {
            failpoint::reached("claim.committed");
        }
        Claims::ToSend {
            route: Arc::new(route),
            claims,
            since,
        }
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
        let Some(secrets) = self.secrets.of(&self.endpoint) else {
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
