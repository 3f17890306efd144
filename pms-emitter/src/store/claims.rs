//! Claiming deliveries: a committed compare-and-set of owner, lease and epoch, acted on only after its commit.
//!
//! A claim takes what is due under a fresh token and reads back what that token owns; the rows alone decide. First
//! attempts and retries are two lanes, so that neither a flood of events nor a backlog of retries starves the other.

use super::Store;
use contract::{UnixMillis, id::IdempotencyKey};
use kit::db::{DbError, Params, Row, Tx, placeholders};
use kit::params;
use std::time::Duration;

/// The most deliveries that one transaction claims or settles.
pub const BATCH_MAX: usize = 100;

/// Sizes of a list of ids in a statement.
const LIST_SIZES: [usize; 5] = [1, 4, 16, 48, BATCH_MAX];

/// Of a claim, the share that retries may take before first attempts: one in so many.
const RETRY_SHARE: usize = 4;

/// How far the clocks of replicas may lie apart. What was set further ahead than this was set before the clock went
/// back: it is due, or over.
const SKEW_MAX: Duration = Duration::from_secs(60);

/// What a dispatcher asks for.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// Whose deliveries.
    pub endpoint: &'static str,
    /// A fresh token: it is never used for another claim.
    pub token: String,
    /// The present instant.
    pub now: UnixMillis,
    /// How long the claim holds.
    pub lease: Duration,
    /// How many, at most [`BATCH_MAX`].
    pub limit: usize,
}

/// Where an endpoint's deliveries go at this moment: read in the claim's own transaction, so that nothing is sent to
/// an address that is no longer wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The URL.
    pub url: String,
    /// The endpoint's own retry schedule, as text.
    pub retry_schedule: Option<String>,
}

/// The answer to a [`ClaimRequest`].
#[derive(Clone, Debug)]
pub enum Claimed {
    /// These; none when nothing is due.
    Deliveries(Target, Vec<Claim>),
    /// The endpoint asked to be left alone until this instant.
    Paused(UnixMillis),
    /// The endpoint is not subscribed, or disabled.
    Inactive,
}

/// One delivery in hand, as it stood at the claim.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Which delivery, and the fence of everything that is written about it.
    pub delivery: DeliveryRef,
    /// Attempts that were settled before.
    pub attempts: u64,
    /// How many of them the schedule no longer counts.
    pub attempts_before: u64,
    /// The bytes to send; none when they were erased.
    pub body: Option<Vec<u8>>,
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
}

/// What an event is about, for the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
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

impl Store {
    /// Claims what is due for an endpoint, oldest first.
    ///
    /// # Errors
    /// Those of the database. What an unknown commit may have claimed is looked up by its token.
    pub async fn claim(&self, request: ClaimRequest) -> Result<Claimed, DbError> {
        let token = request.clone();
        self.db
            .transaction_or_find(
                "claim_deliveries",
                move |tx| {
                    let request = request.clone();
                    Box::pin(async move { claim(tx, &request).await })
                },
                move |tx| {
                    let request = token.clone();
                    Box::pin(async move { find_claimed(tx, &request).await })
                },
            )
            .await
    }
}

async fn claim(tx: &mut Tx, request: &ClaimRequest) -> Result<Claimed, DbError> {
    let target = match target(tx, request).await? {
        Ok(target) => target,
        Err(refused) => return Ok(refused),
    };
    let ids = due(tx, request).await?;
    if ids.is_empty() {
        return Ok(Claimed::Deliveries(target, Vec::new()));
    }
    let now = request.now;
    let (places, listed) = listed(&ids);
    let mut values = params![
        &request.token,
        now.plus_millis(millis(request.lease)),
        request.endpoint
    ];
    values.extend(params![now, lease_bound(request), now, set_at_most(now)]);
    values.extend(listed.clone());
    let sql = format!(
        "UPDATE deliveries SET owner = ?, lease_until = ?, epoch = epoch + 1
         WHERE endpoint_id = ? AND status = 'pending' AND (owner IS NULL OR lease_until < ? OR lease_until > ?)
             AND (due_at <= ? OR due_set_at > ?) AND event_id IN {places}"
    );
    tx.execute(&sql, values).await?;
    // Once more, after the rows were chosen: what was committed after a pause is never sent during it.
    let target = match self::target(tx, request).await? {
        Ok(target) => target,
        Err(refused) => {
            tx.abandon();
            return Ok(refused);
        }
    };
    let claims = owned_by(tx, request, &format!("AND d.event_id IN {places}"), listed).await?;
    Ok(Claimed::Deliveries(target, claims))
}

/// After an unknown commit: what the token owns, when it owns anything.
async fn find_claimed(tx: &mut Tx, request: &ClaimRequest) -> Result<Option<Claimed>, DbError> {
    let claims = owned_by(tx, request, "AND d.status = 'pending'", Vec::new()).await?;
    match target(tx, request).await? {
        _ if claims.is_empty() => Ok(None),
        Ok(target) => Ok(Some(Claimed::Deliveries(target, claims))),
        Err(refused) => Ok(Some(refused)),
    }
}

async fn target(tx: &mut Tx, request: &ClaimRequest) -> Result<Result<Target, Claimed>, DbError> {
    let row = tx
        .query_one(
            "SELECT url, disabled_reason, paused_until, paused_at, retry_schedule FROM endpoints WHERE id = ?",
            params![request.endpoint],
        )
        .await?;
    let Some(row) = row else {
        return Ok(Err(Claimed::Inactive));
    };
    let disabled: Option<String> = row.get("disabled_reason")?;
    let url: Option<String> = row.get("url")?;
    let Some(url) = url.filter(|_| disabled.is_none()) else {
        return Ok(Err(Claimed::Inactive));
    };
    let paused_until: UnixMillis = row.get("paused_until")?;
    if is_paused(paused_until, row.get("paused_at")?, request.now) {
        return Ok(Err(Claimed::Paused(paused_until)));
    }
    Ok(Ok(Target {
        url,
        retry_schedule: row.get("retry_schedule")?,
    }))
}

/// The ids of what may be claimed: retries up to their share, first attempts, then whatever retries are left.
async fn due(tx: &mut Tx, request: &ClaimRequest) -> Result<Vec<String>, DbError> {
    let limit = request.limit.min(BATCH_MAX);
    let now = request.now;
    let mut ids = candidates(tx, request, "due_at > 0 AND due_at <= ?", params![now], limit).await?;
    let retries = ids.split_off(ids.len().min(limit.div_ceil(RETRY_SHARE)));
    ids.extend(candidates(tx, request, "due_at <= 0", Vec::new(), limit - ids.len()).await?);
    ids.extend(retries.into_iter().take(limit - ids.len()));
    if ids.len() < limit {
        let set_back = candidates(tx, request, "due_set_at > ?", params![set_at_most(now)], limit).await?;
        let unlisted: Vec<String> = set_back.into_iter().filter(|id| !ids.contains(id)).collect();
        ids.extend(unlisted.into_iter().take(limit - ids.len()));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// `when` begins with the column that its index goes by, and is a range over it, never an equality: SQLite would then walk the primary key for the order, over every
/// delivery that ever was.
async fn candidates(
    tx: &mut Tx,
    request: &ClaimRequest,
    when: &str,
    bounds: Params,
    limit: usize,
) -> Result<Vec<String>, DbError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let mut values = params![request.endpoint];
    values.extend(bounds);
    values.extend(params![request.now, lease_bound(request), limit]);
    let order = when.split_once(' ').map_or(when, |(column, _)| column);
    let sql = format!(
        "SELECT event_id FROM deliveries WHERE endpoint_id = ? AND status = 'pending' AND {when}
             AND (owner IS NULL OR lease_until < ? OR lease_until > ?)
         ORDER BY {order}, event_id LIMIT ?"
    );
    tx.query(&sql, values)
        .await?
        .iter()
        .map(|row| row.get("event_id"))
        .collect()
}

async fn owned_by(
    tx: &mut Tx,
    request: &ClaimRequest,
    which: &str,
    bounds: Params,
) -> Result<Vec<Claim>, DbError> {
    let mut values = params![request.endpoint, &request.token];
    values.extend(bounds);
    let sql = format!(
        "SELECT d.event_id, d.epoch, d.attempts, d.attempts_before, b.body, e.traceparent, e.property_id,
             e.entity_kind, e.entity_id, e.entity_version, e.correlation_id
         FROM deliveries d JOIN events e ON e.id = d.event_id LEFT JOIN event_bodies b ON b.event_id = d.event_id
         WHERE d.endpoint_id = ? AND d.owner = ? {which} ORDER BY d.event_id"
    );
    let rows = tx.query(&sql, values).await?;
    rows.iter().map(|row| read_claim(row, &request.token)).collect()
}

fn read_claim(row: &Row, owner: &str) -> Result<Claim, DbError> {
    let event_id: String = row.get("event_id")?;
    let unreadable = |_| DbError::Decode {
        column: "event_id".to_owned(),
        expected: "id",
    };
    Ok(Claim {
        delivery: DeliveryRef {
            event_id: event_id.parse().map_err(unreadable)?,
            owner: owner.to_owned(),
            epoch: row.get("epoch")?,
        },
        attempts: row.get("attempts")?,
        attempts_before: row.get("attempts_before")?,
        body: row.get("body")?,
        traceparent: row.get("traceparent")?,
        subject: Subject {
            property_id: row.get("property_id")?,
            entity_kind: row.get("entity_kind")?,
            entity_id: row.get("entity_id")?,
            entity_version: row.get("entity_version")?,
            correlation_id: row.get("correlation_id")?,
        },
    })
}

/// No lease lies further ahead, also not one of a replica whose clock is fast by a lease; one that does was written
/// before the clock was set back.
fn lease_bound(request: &ClaimRequest) -> UnixMillis {
    request.now.plus_millis(2 * millis(request.lease))
}

/// Whether a pause until `until`, set at `set_at`, still holds.
pub(super) fn is_paused(until: UnixMillis, set_at: UnixMillis, now: UnixMillis) -> bool {
    until > now && set_at <= set_at_most(now)
}

/// The latest instant at which anything can have been set, unless the clock was set back since.
fn set_at_most(now: UnixMillis) -> UnixMillis {
    now.plus_millis(millis(SKEW_MAX))
}

/// The `(?, ...)` of an IN over ids, and its parameters: in few sizes, filled up by repeating the last id, so that
/// each engine keeps the statements prepared.
pub(super) fn listed<S: AsRef<str>>(ids: &[S]) -> (String, Params) {
    let size = LIST_SIZES
        .into_iter()
        .find(|size| *size >= ids.len())
        .unwrap_or(ids.len());
    let filled = ids
        .iter()
        .chain(std::iter::repeat(&ids[ids.len() - 1]))
        .take(size);
    (
        placeholders(1, size),
        filled.map(|id| id.as_ref().into()).collect(),
    )
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
