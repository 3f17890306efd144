//! Deliveries that are claimed as they are queued: by the fan-out, in its own transaction, for dispatchers of its process that have
//! room for them.
//!
//! So what happens now is sent after one commit instead of two, and does not wait behind what an outage has left. These claims are
//! as all others: committed before anything is sent, with a token, a lease and an epoch, and the endpoint's row is read after the
//! rows that are claimed. What is queued for an endpoint that may not be sent to is given back in the same transaction.

use super::claims::{Claim, ClaimRequest, Claimed, DeliveryRef, Subject};
use super::rate_window::RateWindow;
use super::shared_breaker::{Admits, SharedBreaker};
use super::targets::{Secrets, Target, read_target, targets};
use bytes::Bytes;
use contract::id::{EndpointId, IdempotencyKey};
use db::{DbError, Dialect, IN_LIST_MAX, InList, Row, Statement, StatementResult, params};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Events of one step that are claimed: their bodies, of 256 KiB at most, are read while the feed is held.
const STEP_EVENTS_MAX: usize = 32;

/// The epoch of a delivery's first claim.
pub(super) const FIRST_EPOCH: i64 = 1;

/// How a dispatcher is asked for room: for how many deliveries the fan-out would claim. The answer is the claim that it may make; none
/// where there is no room.
pub type Offer = Arc<dyn Fn(usize) -> Option<Grant> + Send + Sync>;

/// A claim that the fan-out may make for a dispatcher.
pub struct Grant {
    /// Whose, until when, and how many.
    pub request: ClaimRequest,
    /// Hands over what was claimed. A grant that is dropped was not used.
    pub hand_over: Box<dyn FnOnce(Handed) + Send>,
}

/// What a dispatcher gets.
pub enum Handed {
    /// This was committed.
    Claimed(Claimed),
    /// Whether it was is not known.
    Unknown(UnknownClaim),
}

/// A claim of these events, of which it is not known whether it is committed.
#[derive(Clone, Debug)]
pub struct UnknownClaim {
    /// As it was asked for.
    pub request: ClaimRequest,
    /// What it would have claimed.
    pub events: Vec<String>,
}

/// The dispatchers that take claims at once. Clones share them.
#[derive(Clone, Default)]
pub struct ImmediateClaims(Arc<Mutex<HashMap<EndpointId, Offer>>>);

impl ImmediateClaims {
    /// From now on it is asked whenever something is queued for the endpoint.
    pub fn offer(&self, endpoint: &EndpointId, offer: Offer) {
        self.locked().insert(endpoint.clone(), offer);
    }

    /// It is asked no more. Grants of before may still be used.
    pub fn withdraw(&self, endpoint: &EndpointId) {
        self.locked().remove(endpoint);
    }

    fn ask(&self, endpoint: &EndpointId, wanted: usize) -> Option<Grant> {
        let offer = self.locked().get(endpoint).cloned()?;
        offer(wanted)
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<EndpointId, Offer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ImmediateClaims {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offers = self.locked();
        out.debug_set().entries(offers.keys()).finish()
    }
}

/// The claims of one step.
pub(super) struct StepClaims<'s> {
    offers: &'s ImmediateClaims,
    /// What the step queues, in its order.
    events: &'s [&'s str],
    grants: Vec<Granted>,
}

/// A grant, and which of the step's events are claimed by it.
struct Granted {
    grant: Grant,
    events: Vec<usize>,
}

/// What a transaction has claimed, and what it does at its end.
#[derive(Default)]
pub(super) struct Outcome {
    made: Vec<Made>,
    /// Gives back what may not be sent.
    pub(super) give_back: Vec<Statement>,
    /// The endpoints of that.
    pub(super) refused: Vec<EndpointId>,
}

struct Made {
    grant: Grant,
    events: Vec<String>,
    claimed: Claimed,
}

/// What a transaction that has not ended yet has claimed. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Uncommitted(Arc<Mutex<Vec<Made>>>);

impl<'s> StepClaims<'s> {
    pub(super) fn new(offers: &'s ImmediateClaims, events: &'s [&'s str]) -> Self {
        Self {
            offers,
            events,
            grants: Vec::new(),
        }
    }

    /// How many of the step's events that match an endpoint, the first ones, are claimed as they are queued, and by which request.
    pub(super) fn take(
        &mut self,
        endpoint: &EndpointId,
        matching: impl Iterator<Item = usize>,
    ) -> Option<(usize, &ClaimRequest)> {
        let mut events: Vec<usize> = matching.take_while(|event| *event < STEP_EVENTS_MAX).collect();
        if events.is_empty() || self.grants.len() == IN_LIST_MAX {
            return None;
        }
        let grant = self.offers.ask(endpoint, events.len())?;
        events.truncate(grant.request.limit);
        let claimed = events.len();
        self.grants.push(Granted { grant, events });
        self.grants.last().map(|one| (claimed, &one.grant.request))
    }

    /// Asks which deliveries of these events are there already, before they are queued: a program of before this one made them with
    /// the event, and they are not claimed. A server without fresh statistics would read all that an endpoint ever had.
    pub(super) fn existing(&self, dialect: Dialect) -> Option<Statement> {
        let events = self.claimed_events()?;
        let index = match dialect {
            Dialect::Sqlite => "",
            Dialect::Mysql => " FORCE INDEX (deliveries_event)",
        };
        let sql = format!("SELECT endpoint_id, event_id FROM deliveries{index} WHERE event_id IN {events}");
        Some(Statement::query(sql, events.into_params()))
    }

    fn claimed_events(&self) -> Option<InList> {
        let claimed: BTreeSet<usize> = self.grants.iter().flat_map(|one| one.events.clone()).collect();
        let events = claimed.into_iter().map(|event| self.events[event]);
        (!self.grants.is_empty()).then(|| InList::of(events))
    }

    /// Reads what is claimed and where it goes: once it is queued, and as late as can be.
    pub(super) fn questions(&self) -> Vec<Statement> {
        let Some(events) = self.claimed_events() else {
            return Vec::new();
        };
        let requests = self.grants.iter().map(|one| &one.grant.request);
        let contents = format!(
            "SELECT e.id AS event_id, e.type, e.property_id, e.entity_kind, e.entity_id, e.entity_version, e.correlation_id,
                 e.traceparent, b.body
             FROM events e LEFT JOIN event_bodies b ON b.event_id = e.id WHERE e.id IN {events}"
        );
        let [rows, secrets] = targets(requests.map(|request| request.endpoint.as_str()));
        vec![rows, secrets, Statement::query(contents, events.into_params())]
    }

    /// What the answers to the [`questions`](Self::questions) say, and the one about what was there already.
    pub(super) fn outcome(
        self,
        existing: Option<&StatementResult>,
        answers: &[StatementResult],
    ) -> Result<Outcome, DbError> {
        let mut outcome = Outcome::default();
        let (Some(existing), [rows, secrets, contents]) = (existing, answers) else {
            return Ok(outcome);
        };
        let (rows, secrets) = (by_id(rows)?, Secrets::of(secrets)?);
        let (existing, contents) = (deliveries(existing)?, contents_by_event(contents)?);
        for Granted { grant, events } in self.grants {
            let request = &grant.request;
            let events: Vec<&str> = events.into_iter().map(|event| self.events[event]).collect();
            // A row that cannot be read stops what goes to its endpoint, and nothing else.
            let row = rows.get(request.endpoint.as_str());
            let Some(Ok(Some((target, breaker)))) = row.map(|row| sent_to(row, &secrets, request)) else {
                outcome.give_back.push(given_back(request, &events));
                outcome.refused.push(request.endpoint.clone());
                continue;
            };
            let is_new =
                |event: &&&str| !existing.contains(&(request.endpoint.to_string(), (**event).to_owned()));
            let claims = events
                .iter()
                .filter(is_new)
                .filter_map(|event| contents.get(*event)?.claim(event, &request.token));
            let claimed = Claimed::Deliveries {
                target,
                claims: claims.collect(),
                breaker,
                is_probe: false,
            };
            let events = events.iter().map(|event| (*event).to_owned()).collect();
            outcome.made.push(Made {
                grant,
                events,
                claimed,
            });
        }
        Ok(outcome)
    }
}

impl Uncommitted {
    /// The transaction has claimed this. What it claimed when it ran before was rolled back.
    pub(super) fn set(&self, outcome: Outcome) {
        *self.locked() = outcome.made;
    }

    /// It is committed.
    pub(super) fn committed(&self) {
        for Made { grant, claimed, .. } in self.taken() {
            (grant.hand_over)(Handed::Claimed(claimed));
        }
    }

    /// It failed, or the answer to its commit is lost.
    pub(super) fn failed(&self) {
        for Made { grant, events, .. } in self.taken() {
            let request = grant.request;
            (grant.hand_over)(Handed::Unknown(UnknownClaim { request, events }));
        }
    }

    /// It is rolled back.
    pub(super) fn rolled_back(&self) {
        drop(self.taken());
    }

    fn taken(&self) -> Vec<Made> {
        std::mem::take(&mut *self.locked())
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Made>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Uncommitted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} claims", self.locked().len())
    }
}

/// Where the deliveries of an endpoint go, if whatever is due may be sent to it: not while its breaker is not closed, nor where
/// claims are counted.
fn sent_to(
    row: &Row,
    secrets: &Secrets<'_>,
    request: &ClaimRequest,
) -> Result<Option<(Box<Target>, SharedBreaker)>, DbError> {
    let breaker = SharedBreaker::read(row)?;
    if breaker.admits(request.now) != Admits::All || RateWindow::read(row)?.is_some() {
        return Ok(None);
    }
    let target = read_target(row, secrets, request.now)?;
    Ok(target.map(|target| (Box::new(target), breaker)))
}

/// They are as if they were only queued.
fn given_back(request: &ClaimRequest, events: &[&str]) -> Statement {
    let list = InList::of(events.iter().copied());
    let sql = format!(
        "UPDATE deliveries SET owner = NULL, lease_until = 0, epoch = 0
         WHERE endpoint_id = ? AND owner = ? AND event_id IN {list}"
    );
    let values = params![request.endpoint.as_str(), &request.token];
    Statement::change(sql, list.after(values))
}

fn by_id(answer: &StatementResult) -> Result<HashMap<String, &Row>, DbError> {
    let rows = answer.rows.iter();
    rows.map(|row| Ok((row.get("id")?, row))).collect()
}

/// Endpoint and event of each.
fn deliveries(answer: &StatementResult) -> Result<HashSet<(String, String)>, DbError> {
    let rows = answer.rows.iter();
    rows.map(|row| Ok((row.get("endpoint_id")?, row.get("event_id")?)))
        .collect()
}

/// What is sent of an event, to however many endpoints.
struct Content {
    subject: Subject,
    traceparent: Option<String>,
    body: Option<Bytes>,
}

impl Content {
    fn claim(&self, event: &str, token: &str) -> Option<Claim> {
        Some(Claim {
            delivery: DeliveryRef {
                event_id: event.parse::<IdempotencyKey>().ok()?,
                owner: token.to_owned(),
                epoch: FIRST_EPOCH,
                is_in_order: false,
                counted_since: None,
            },
            attempts: 0,
            attempts_before: 0,
            body: self.body.clone(),
            traceparent: self.traceparent.clone(),
            subject: self.subject.clone(),
        })
    }
}

fn contents_by_event(answer: &StatementResult) -> Result<HashMap<String, Content>, DbError> {
    let read = |row: &Row| {
        let body: Option<Vec<u8>> = row.get("body")?;
        let content = Content {
            subject: Subject::read(row)?,
            traceparent: row.get("traceparent")?,
            body: body.map(Bytes::from),
        };
        Ok((row.get("event_id")?, content))
    };
    answer.rows.iter().map(read).collect()
}
