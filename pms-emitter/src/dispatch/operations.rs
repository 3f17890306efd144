//! The database's side of a dispatcher: claims, settlements, the breaker's history, and catching up with the log.
//!
//! Each runs in a task of its own, at most one of a kind. A failure is told once, waited out and tried again; what was
//! to be settled stays in hand meanwhile.

use super::attempt::{Route, deferred};
use super::worker::{Dispatcher, InHand};
use crate::store::{
    BATCH_MAX, BREAKER_HISTORY_MAX, Backfill, BreakerChange, ClaimRequest, Claimed, EndpointUpdate, Settled,
    Settlement, Target,
};
use db::DbError;
use db::failpoint;
use kit::breaker::Change;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinError;
use tokio::time::Instant;

/// How long a failed operation waits before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often, at most, it is asked whether the log is to be gone through once more.
const BACKFILL_LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an endpoint whose row cannot be read is left alone.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(10);
/// Characters of a reason that the history keeps.
const REASON_LEN_MAX: usize = 255;

/// An operation that has ended.
pub(super) enum Done {
    Claimed {
        asked: usize,
        since: Instant,
        answer: Result<Claimed, DbError>,
    },
    Settled {
        batch: Arc<[Settlement]>,
        news: EndpointUpdate,
        answer: Result<Settled, DbError>,
    },
    Kept {
        changes: Vec<BreakerChange>,
        answer: Result<(), DbError>,
    },
    Backfilled(Result<Backfill, DbError>),
}

impl Dispatcher {
    pub(super) fn begin_operations(&mut self, now: Instant) {
        self.begin_settling(now);
        self.begin_keeping(now);
        self.begin_claiming(now);
        self.begin_backfilling(now);
    }

    fn begin_claiming(&mut self, now: Instant) {
        if self.busy.claiming {
            return;
        }
        let asked = self.wanted(now).min(BATCH_MAX);
        if asked == 0 {
            return;
        }
        let request = ClaimRequest {
            endpoint: self.parts.endpoint,
            token: self.parts.ids.new_id("clm"),
            now: self.parts.clock.now(),
            lease: self.parts.sender.deadline + self.parts.lease_slack,
            limit: asked,
        };
        (self.look, self.claim_at, self.busy.claiming) = (false, None, true);
        let store = self.parts.store.clone();
        self.operations.spawn(async move {
            let answer = store.claim(request).await;
            Done::Claimed {
                asked,
                since: now,
                answer,
            }
        });
    }

    fn begin_settling(&mut self, now: Instant) {
        let nothing = self.finished.is_empty() && self.news == EndpointUpdate::default();
        if self.busy.settling || nothing || self.settle_at.is_some_and(|at| at > now) {
            return;
        }
        let batch: Arc<[Settlement]> = self
            .finished
            .drain(..self.finished.len().min(BATCH_MAX))
            .collect();
        let news = std::mem::take(&mut self.news);
        (self.settle_at, self.busy.settling) = (None, true);
        let (store, endpoint, at) = (
            self.parts.store.clone(),
            self.parts.endpoint,
            self.parts.clock.now(),
        );
        self.operations.spawn(async move {
            let answer = store.settle(endpoint, Arc::clone(&batch), news, at).await;
            Done::Settled { batch, news, answer }
        });
    }

    /// History is for people: no delivery waits for it, but the last state must be written in the end.
    fn begin_keeping(&mut self, now: Instant) {
        let fresh = self.take_breaker_changes();
        let fresh = fresh
            .into_iter()
            .map(|change| kept(self.parts.ids.new_id("brk"), &change));
        self.unkept.extend(fresh);
        // The history keeps no more: the oldest go.
        let beyond = self.unkept.len().saturating_sub(BREAKER_HISTORY_MAX);
        self.unkept.drain(..beyond);
        if self.busy.keeping || self.unkept.is_empty() || self.keep_at.is_some_and(|at| at > now) {
            return;
        }
        let changes = std::mem::take(&mut self.unkept);
        (self.keep_at, self.busy.keeping) = (None, true);
        let (store, endpoint) = (self.parts.store.clone(), self.parts.endpoint);
        self.operations.spawn(async move {
            let answer = store.keep_breaker_changes(endpoint, changes.clone()).await;
            Done::Kept { changes, answer }
        });
    }

    fn begin_backfilling(&mut self, now: Instant) {
        let is_time = self.backfill_at.is_some_and(|at| at <= now);
        if !is_time || self.busy.backfilling || self.claim_at.is_some_and(|at| at > now) {
            return;
        }
        self.busy.backfilling = true;
        let (store, endpoint) = (self.parts.store.clone(), self.parts.endpoint);
        let now = self.parts.clock.now();
        self.operations
            .spawn(async move { Done::Backfilled(store.backfill(endpoint, now).await) });
    }

    pub(super) fn done(&mut self, ended: Result<Done, JoinError>) {
        match ended {
            Ok(Done::Claimed { asked, since, answer }) => {
                self.busy.claiming = false;
                self.claimed(asked, since, answer);
            }
            Ok(Done::Settled { batch, news, answer }) => {
                self.busy.settling = false;
                self.settled(&batch, news, answer);
            }
            Ok(Done::Kept { changes, answer }) => {
                self.busy.keeping = false;
                if let Err(error) = answer {
                    self.failed(&error);
                    self.unkept.splice(..0, changes);
                    self.keep_at = Some(Instant::now() + PAUSE);
                }
            }
            Ok(Done::Backfilled(answer)) => {
                self.busy.backfilling = false;
                match answer {
                    Ok(Backfill::More) => (self.backfill_at, self.look) = (Some(Instant::now()), true),
                    Ok(Backfill::Later) => self.backfill_at = Some(Instant::now() + BACKFILL_LOOK_EVERY),
                    Ok(Backfill::Complete) => self.backfill_at = None,
                    Err(error) => {
                        self.failed(&error);
                        self.claim_at = Some(Instant::now() + PAUSE);
                    }
                }
            }
            // A mistake here: the process stops, and what it held is taken over after its lease.
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    fn claimed(&mut self, asked: usize, since: Instant, answer: Result<Claimed, DbError>) {
        match answer {
            Ok(Claimed::Deliveries(target, claims)) => {
                self.outage = false;
                // As many as asked for: there may be more.
                self.look |= claims.len() == asked;
                let Some(route) = read(&target) else {
                    tracing::error!(
                        endpoint.id = self.parts.endpoint,
                        "the endpoint's row cannot be read"
                    );
                    self.finished.extend(claims.into_iter().map(deferred));
                    (self.look, self.claim_at) = (true, Some(Instant::now() + UNREADABLE_PAUSE));
                    return;
                };
                if !claims.is_empty() {
                    failpoint::reached("claim.committed");
                }
                let route = Arc::new(route);
                let held = claims.into_iter().map(|claim| InHand {
                    claim,
                    route: Arc::clone(&route),
                    since,
                });
                self.ready.extend(held);
            }
            Ok(Claimed::Paused(_) | Claimed::Inactive) => self.outage = false,
            Err(error) => {
                self.failed(&error);
                (self.look, self.claim_at) = (true, Some(Instant::now() + PAUSE));
            }
        }
    }

    fn settled(&mut self, batch: &[Settlement], news: EndpointUpdate, answer: Result<Settled, DbError>) {
        match answer {
            Ok(settled) => {
                failpoint::reached("settle.committed");
                self.parts.meters.settled(settled);
                self.outage = false;
                self.holding = self.news != EndpointUpdate::default();
                if settled.lost > 0 {
                    tracing::warn!(
                        lost = settled.lost,
                        "deliveries had been taken over by another claim"
                    );
                }
            }
            Err(error) => {
                self.failed(&error);
                self.finished.splice(..0, batch.iter().cloned());
                self.news.merge(news);
                self.settle_at = Some(Instant::now() + PAUSE);
            }
        }
    }

    /// Told once for each outage.
    fn failed(&mut self, error: &DbError) {
        if !self.outage {
            tracing::warn!(error = %error, "delivery waits for the database");
        }
        self.outage = true;
    }
}

/// None when the row holds what was never checked: nothing is sent to a guess.
fn read(target: &Target) -> Option<Route> {
    let schedule = target
        .retry_schedule
        .as_deref()
        .map(str::parse)
        .transpose()
        .ok()?;
    Some(Route {
        url: target.url.parse().ok()?,
        schedule,
    })
}

fn kept(id: String, change: &Change) -> BreakerChange {
    BreakerChange {
        id,
        at: change.at,
        from: change.from.as_str().to_owned(),
        to: change.to.as_str().to_owned(),
        reason: change
            .reason
            .chars()
            .filter(char::is_ascii)
            .take(REASON_LEN_MAX)
            .collect(),
    }
}
