//! Claiming deliveries: a committed compare-and-set of owner, lease and epoch, acted on only after its commit.
//!
//! A read, outside of any transaction, finds what is due; the claim takes of that what is still due, under a fresh token, and
//! reads back what the token owns: the rows alone decide. First attempts and retries are found by lists of their own, so that
//! neither a flood of events nor a backlog of retries starves the other. Where more first attempts wait than are asked for, the newest
//! have a share too: what happens now does not wait behind all that an outage has left.
//!
//! The endpoint's row has its breaker, which both steps read with it: while it is not closed, nothing is claimed but one delivery
//! that is the probe, whose claim is written into the row in the same transaction.

use super::Store;
use super::breaker_history;
use super::clock_skew::{millis, set_at_most};
use super::immediate_claims::UnknownClaim;
use super::rate_window::{self, RateWindow};
use super::shared_breaker::{self, Admits, SharedBreaker};
use super::targets::{Secrets, Target, read_target, takes_none, targets};
use bytes::Bytes;
use contract::{
    UnixMillis,
    id::{EndpointId, IdempotencyKey},
};
use db::params;
use db::{DbError, InList, Params, Row, Statement, StatementResult, Tx, read_id};
use std::time::Duration;

/// The most deliveries that one transaction claims or settles.
pub const BATCH_MAX: usize = 100;

/// The longest lease that any process gives, of any endpoint.
pub const LEASE_MAX: Duration = Duration::from_secs(150);

/// Why a breaker is half-open.
const OPEN_PERIOD_OVER: &str = "open period over";

/// The share of a claim that retries may take before first attempts, and the newest of these before older ones: one in so many. Of
/// claims that are smaller than that, one in so many begins with retries, and another one with the newest.
const SHARE: usize = 4;
/// Which of so many begin with which.
const TURN_OF_RETRIES: usize = 0;
const TURN_OF_NEWEST: usize = 2;

/// What a dispatcher asks for.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// Whose deliveries.
    pub endpoint: EndpointId,
    /// A fresh token: it is never used for another claim.
    pub token: String,
    /// The present instant.
    pub now: UnixMillis,
    /// How long the claim holds, at most [`LEASE_MAX`].
    pub lease: Duration,
    /// How many, at most [`BATCH_MAX`].
    pub limit: usize,
    /// Counts the claims of who asks: in turn, small ones are of retries, of the newest, and of the oldest.
    pub turn: usize,
}

/// What a claim has found.
#[derive(Clone, Debug)]
pub enum Claimed {
    /// Nothing is due, or goes there now: the endpoint is deleted, paused or disabled, or asked for a pause.
    Nothing,
    /// Its breaker lets nothing out.
    Refused(SharedBreaker),
    /// It has had all attempts that it gets before this.
    NotBefore(UnixMillis),
    /// These, maybe none after all.
    Deliveries {
        /// Where they go.
        target: Box<Target>,
        /// What is claimed.
        claims: Vec<Claim>,
        /// The endpoint's breaker, with the probe that this is if it is one.
        breaker: SharedBreaker,
        /// Whether the one delivery is the probe.
        is_probe: bool,
    },
}

/// One claimed delivery, as it stood at the claim.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Which delivery, and the fence of everything that is written about it.
    pub delivery: DeliveryRef,
    /// Attempts that were settled before.
    pub attempts: u64,
    /// How many of them the schedule no longer counts.
    pub attempts_before: u64,
    /// The bytes to send; none when they were erased.
    pub body: Option<Bytes>,
    /// The trace that the change belongs to.
    pub traceparent: Option<String>,
    /// What the audit entry says about the event.
    pub subject: Subject,
}

/// A delivery and the claim on it: the fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRef {
    /// The event, whose id is the idempotency key.
    pub event_id: IdempotencyKey,
    /// The token of the claim.
    pub owner: String,
    /// The number of the claim.
    pub epoch: i64,
    /// Whether others of its entity may wait for it.
    pub is_in_order: bool,
    /// The minute in which it was counted, where the endpoint has a rate limit.
    pub counted_since: Option<UnixMillis>,
}

/// What an event is about, for the audit log and the statistics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Its type.
    pub event_type: String,
    /// The property.
    pub property_id: Option<String>,
    /// The entity's kind.
    pub entity_kind: Option<String>,
    /// The entity.
    pub entity_id: Option<String>,
    /// Its version.
    pub entity_version: Option<i64>,
    /// What the event belongs to across both services.
    pub correlation_id: Option<String>,
}

impl Subject {
    /// What an event's row says.
    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            event_type: row.get("type")?,
            property_id: row.get("property_id")?,
            entity_kind: row.get("entity_kind")?,
            entity_id: row.get("entity_id")?,
            entity_version: row.get("entity_version")?,
            correlation_id: row.get("correlation_id")?,
        })
    }
}

impl Store {
    /// Claims what is due for an endpoint, oldest first, and reads where it goes.
    ///
    /// # Errors
    /// Those of the database. What an unknown commit may have claimed is looked up by its token.
    pub async fn claim(&self, request: ClaimRequest) -> Result<Claimed, DbError> {
        let (endpoint, asked) = (request.endpoint.clone(), request.clone());
        let looked = self
            .db
            .read("look_for_due", move |tx| {
                let request = asked.clone();
                Box::pin(async move { due(tx, &request).await })
            })
            .await?;
        let claimed = match looked {
            Looked::Nothing => Claimed::Nothing,
            Looked::Refused(breaker) => Claimed::Refused(breaker),
            Looked::NotBefore(at) => Claimed::NotBefore(at),
            Looked::Due(due) => {
                self.transaction(
                    "claim_deliveries",
                    (request, due),
                    |tx, (request, due)| Box::pin(claim(tx, request, due)),
                    |tx, (request, due)| Box::pin(find_claimed(tx, request, &due.ids)),
                )
                .await?
            }
        };
        if let Claimed::Refused(breaker) | Claimed::Deliveries { breaker, .. } = &claimed {
            self.breakers.note(&endpoint, *breaker);
        }
        Ok(claimed)
    }

    /// What was claimed under a token, where the answer to its commit was lost.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn look_up_claim(&self, unknown: UnknownClaim) -> Result<Claimed, DbError> {
        let read = self.db.read("find_claimed", move |tx| {
            let UnknownClaim { request, events } = unknown.clone();
            Box::pin(async move { find_claimed(tx, &request, &events).await })
        });
        Ok(read.await?.unwrap_or(Claimed::Nothing))
    }
}

/// The ids of the newest first attempts, where the list of the oldest is as long as it may be.
async fn newest(
    tx: &mut Tx,
    request: &ClaimRequest,
    limit: usize,
    oldest: &StatementResult,
) -> Result<Vec<String>, DbError> {
    let limit = limit.min(BATCH_MAX);
    let share = share(limit, request.turn, TURN_OF_NEWEST);
    if share == 0 || oldest.rows.len() < limit {
        return Ok(Vec::new());
    }
    let newest = candidates(request, "due_at <= 0", Vec::new(), "DESC", share);
    read_ids(&tx.run(&[newest]).await.all()?[0])
}

/// What a look has found.
enum Looked {
    Nothing,
    Refused(SharedBreaker),
    NotBefore(UnixMillis),
    Due(Due),
}

/// What may be claimed.
struct Due {
    ids: Vec<String>,
    /// Those of them that are the newest: they are sent first.
    newest: Vec<String>,
    /// The endpoint's breaker by then.
    breaker: SharedBreaker,
    /// It is not closed: one of them, as the probe.
    is_probe: bool,
    /// What counts them, if the endpoint has a limit.
    window: Option<RateWindow>,
}

/// What may be claimed, if anything is sent now.
async fn due(tx: &mut Tx, request: &ClaimRequest) -> Result<Looked, DbError> {
    let answers = tx.run(&look(request)).await.all()?;
    let Some(row) = answers[0].row().filter(|_| request.limit > 0) else {
        return Ok(Looked::Nothing);
    };
    if takes_none(row, request.now)? {
        return Ok(Looked::Nothing);
    }
    let breaker = SharedBreaker::read(row)?;
    let (limit, is_probe) = match breaker.admits(request.now) {
        Admits::All => (request.limit, false),
        Admits::Probe => (1, true),
        Admits::NotBefore(_) => return Ok(Looked::Refused(breaker)),
    };
    let window = RateWindow::read(row)?;
    let limit = match window.as_ref().map(|window| window.room(request.now)) {
        Some(Err(at)) => return Ok(Looked::NotBefore(at)),
        Some(Ok(room)) => limit.min(room),
        None => limit,
    };
    let newest = newest(tx, request, limit, &answers[FIRST_ATTEMPTS]).await?;
    let retries = share(limit.min(BATCH_MAX), request.turn, TURN_OF_RETRIES);
    let ids = ids_due(&answers[1..], &newest, retries, limit)?;
    Ok(if ids.is_empty() {
        Looked::Nothing
    } else {
        Looked::Due(Due {
            ids,
            newest,
            breaker,
            is_probe,
            window,
        })
    })
}

/// Takes those of the ids that are still due. Where they go, and how the breaker is, is read after that: what was committed after a
/// pause or an opening is never sent during it. A probe is claimed after its delivery, in the order in which settlements lock.
async fn claim(tx: &mut Tx, request: &ClaimRequest, due: &Due) -> Result<Claimed, DbError> {
    let endpoint = request.endpoint.as_str();
    let breaker = if due.is_probe {
        let until = request.now.plus_millis(millis(request.lease));
        due.breaker.probed(until, request.now)
    } else {
        due.breaker
    };
    let [target, secrets] = targets([endpoint]);
    let mut statements = vec![
        take(request, &due.ids),
        target,
        secrets,
        owned_by(request, &due.ids),
    ];
    if due.is_probe {
        statements.insert(1, breaker.write(endpoint, &due.breaker, Some(&request.token)));
    }
    let mut answers = tx.run(&statements).await.all()?;
    let is_claimed = !due.is_probe || answers.remove(1).matched > 0;
    let Some(row) = answers[1].row() else {
        tx.abandon();
        return Ok(Claimed::Nothing);
    };
    let now = SharedBreaker::read(row)?;
    if !is_claimed || now.epoch != breaker.epoch {
        // Another process has changed it since: by a change that closed it, the next claim is as any.
        tx.abandon();
        return Ok(Claimed::Refused(now));
    }
    let Some(target) = read_target(row, &Secrets::of(&answers[2])?, request.now)? else {
        tx.abandon();
        return Ok(Claimed::Nothing);
    };
    let mut claims = read_claims(&answers[3], request)?;
    // What happens now is sent before what has waited, of the same claim too.
    claims.sort_by_key(|claim| !due.newest.iter().any(|id| id == claim.delivery.event_id.as_str()));
    if due.is_probe {
        if claims.is_empty() {
            tx.abandon();
            return Ok(Claimed::Nothing);
        }
        let change = breaker.change_from(&due.breaker, OPEN_PERIOD_OVER);
        breaker_history::append(tx, endpoint, change).await?;
    }
    if let Some(window) = due.window.filter(|_| !claims.is_empty()) {
        let (count, since) = window.count(endpoint, claims.len(), request.now);
        for claim in &mut claims {
            claim.delivery.counted_since = Some(since);
        }
        if tx.run(&[count]).await.all()?[0].matched == 0 {
            // Another process has claimed meanwhile: how many are left is looked at again.
            tx.abandon();
            return Ok(Claimed::Refused(due.breaker));
        }
    }
    Ok(Claimed::Deliveries {
        target: Box::new(target),
        claims,
        breaker,
        is_probe: due.is_probe,
    })
}

/// After an unknown commit: what the token owns, when it owns anything.
async fn find_claimed(
    tx: &mut Tx,
    request: &ClaimRequest,
    ids: &[String],
) -> Result<Option<Claimed>, DbError> {
    let [target, secrets] = targets([request.endpoint.as_str()]);
    let answers = tx.run(&[owned_by(request, ids), target, secrets]).await.all()?;
    let claims = read_claims(&answers[0], request)?;
    if claims.is_empty() {
        return Ok(None);
    }
    let Some(row) = answers[1].row() else {
        return Ok(Some(Claimed::Nothing));
    };
    let Some(target) = read_target(row, &Secrets::of(&answers[2])?, request.now)? else {
        return Ok(Some(Claimed::Nothing));
    };
    let owner: Option<String> = row.get("probe_owner")?;
    Ok(Some(Claimed::Deliveries {
        target: Box::new(target),
        claims,
        breaker: SharedBreaker::read(row)?,
        is_probe: owner.as_ref() == Some(&request.token),
    }))
}

/// Asks whether anything is sent, and what is due: retries, first attempts, and what was set before the clock went back.
fn look(request: &ClaimRequest) -> [Statement; 4] {
    let now = request.now;
    let endpoint = format!(
        "SELECT url, disabled_reason, paused_until, paused_at, paused, deleted_at, {}, {}
         FROM endpoints WHERE id = ?",
        shared_breaker::COLUMNS,
        rate_window::COLUMNS
    );
    let oldest = |when, bounds| candidates(request, when, bounds, "ASC", request.limit.min(BATCH_MAX));
    [
        Statement::query(endpoint, params![request.endpoint.as_str()]),
        oldest("due_at > 0 AND due_at <= ?", params![now]),
        oldest("due_at <= 0", Vec::new()),
        oldest("due_set_at > ?", params![set_at_most(now)]),
    ]
}

/// Which answer to a [`look`] has the first attempts.
const FIRST_ATTEMPTS: usize = 2;

/// How many of a claim are of one kind before others: of a small one, one if it is its turn.
fn share(limit: usize, turn: usize, of_kind: usize) -> usize {
    match limit / SHARE {
        0 if limit > 0 && turn % SHARE == of_kind => 1,
        share => share,
    }
}

/// The ids of what may be claimed, of the three lists of a [`look`] and the newest first attempts: retries up to their share, those,
/// first attempts, then the other retries, and last what was set before the clock went back.
fn ids_due(
    lists: &[StatementResult],
    newest: &[String],
    retries: usize,
    limit: usize,
) -> Result<Vec<String>, DbError> {
    let limit = limit.min(BATCH_MAX);
    let mut due = read_ids(&lists[0])?;
    let late_retries = due.split_off(due.len().min(retries));
    let first_attempts = read_ids(&lists[1])?;
    for id in newest
        .iter()
        .cloned()
        .chain(first_attempts)
        .chain(late_retries)
        .chain(read_ids(&lists[2])?)
    {
        if due.len() == limit {
            break;
        }
        if !due.contains(&id) {
            due.push(id);
        }
    }
    due.sort_unstable();
    Ok(due)
}

fn read_ids(list: &StatementResult) -> Result<Vec<String>, DbError> {
    list.rows.iter().map(|row| row.get("event_id")).collect()
}

/// `when` begins with the column that its index goes by, and is a range over it, never an equality: SQLite would then walk
/// the primary key for the order, over every delivery that ever was.
fn candidates(
    request: &ClaimRequest,
    when: &str,
    bounds: Params,
    direction: &str,
    limit: usize,
) -> Statement {
    let mut values = params![request.endpoint.as_str()];
    values.extend(bounds);
    values.extend(params![request.now, lease_bound(request.now), limit]);
    let order = when.split_once(' ').map_or(when, |(column, _)| column);
    let sql = format!(
        "SELECT event_id FROM deliveries WHERE endpoint_id = ? AND status = 'pending' AND {when}
             AND (owner IS NULL OR lease_until < ? OR lease_until > ?)
         ORDER BY {order} {direction}, event_id {direction} LIMIT ?"
    );
    Statement::query(sql, values)
}

/// Takes those of the ids that are still due.
fn take(request: &ClaimRequest, ids: &[String]) -> Statement {
    let now = request.now;
    let list = InList::of(ids);
    let mut values = params![
        &request.token,
        now.plus_millis(millis(request.lease)),
        request.endpoint.as_str()
    ];
    values.extend(params![now, lease_bound(now), now, set_at_most(now)]);
    let sql = format!(
        "UPDATE deliveries SET owner = ?, lease_until = ?, epoch = epoch + 1
         WHERE endpoint_id = ? AND status = 'pending' AND (owner IS NULL OR lease_until < ? OR lease_until > ?)
             AND (due_at <= ? OR due_set_at > ?) AND event_id IN {list}"
    );
    Statement::change(sql, list.after(values))
}

/// Asks which of these ids the token owns.
fn owned_by(request: &ClaimRequest, ids: &[String]) -> Statement {
    let list = InList::of(ids);
    let sql = format!(
        "SELECT d.event_id, d.epoch, d.attempts, d.attempts_before, b.body, e.traceparent, e.type, e.property_id,
             e.entity_kind, e.entity_id, e.entity_version, e.correlation_id,
             CASE WHEN o.event_id IS NULL THEN 0 ELSE 1 END AS is_in_order
         FROM deliveries d JOIN events e ON e.id = d.event_id LEFT JOIN event_bodies b ON b.event_id = d.event_id
             LEFT JOIN delivery_order o ON o.endpoint_id = d.endpoint_id AND o.event_id = d.event_id
         WHERE d.endpoint_id = ? AND d.owner = ? AND d.event_id IN {list} ORDER BY d.event_id"
    );
    let values = params![request.endpoint.as_str(), &request.token];
    Statement::query(sql, list.after(values))
}

/// The claims of an answer to [`owned_by`].
fn read_claims(answer: &StatementResult, request: &ClaimRequest) -> Result<Vec<Claim>, DbError> {
    let rows = answer.rows.iter();
    rows.map(|row| read_claim(row, &request.token)).collect()
}

fn read_claim(row: &Row, owner: &str) -> Result<Claim, DbError> {
    Ok(Claim {
        delivery: DeliveryRef {
            event_id: read_id(row, "event_id")?,
            owner: owner.to_owned(),
            epoch: row.get("epoch")?,
            is_in_order: row.get("is_in_order")?,
            counted_since: None,
        },
        attempts: row.get("attempts")?,
        attempts_before: row.get("attempts_before")?,
        body: row.get::<Option<Vec<u8>>>("body")?.map(Bytes::from),
        traceparent: row.get("traceparent")?,
        subject: Subject::read(row)?,
    })
}

/// No lease lies further ahead, also not one of a replica whose clock is fast; one that does was written before the clock was set back.
pub(super) fn lease_bound(now: UnixMillis) -> UnixMillis {
    set_at_most(now).plus_millis(millis(LEASE_MAX))
}
