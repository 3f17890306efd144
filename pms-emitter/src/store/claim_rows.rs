//! The statements of a claim, and the rows that answer them.
//!
//! First attempts and retries are two lanes, so that neither a flood of events nor a backlog of retries starves the other.

use super::claims::{BATCH_MAX, Claim, ClaimRequest, Claimed, DeliveryRef, Subject, Target};
use contract::UnixMillis;
use db::params;
use db::{DbError, Outcome, Params, Row, Statement, placeholders};
use std::time::Duration;

/// Sizes of a list of ids in a statement.
const LIST_SIZES: [usize; 5] = [1, 4, 16, 48, BATCH_MAX];

/// Of a claim, the share that retries may take before first attempts: one in so many.
const RETRY_SHARE: usize = 4;

/// How far the clocks of replicas may lie apart. What was set further ahead than this was set before the clock went
/// back: it is due, or over.
pub(super) const SKEW_MAX: Duration = Duration::from_secs(60);

/// Asks where deliveries go, and what is due: retries, first attempts, and what was set before the clock went back.
pub(super) fn look(request: &ClaimRequest) -> [Statement; 4] {
    let now = request.now;
    [
        target(request),
        candidates(request, "due_at > 0 AND due_at <= ?", params![now]),
        candidates(request, "due_at <= 0", Vec::new()),
        candidates(request, "due_set_at > ?", params![set_at_most(now)]),
    ]
}

/// The ids of what may be claimed, of the three lists of a [`look`]: retries up to their share, first attempts, then
/// whatever retries are left, and last what was set back.
pub(super) fn ids_due(lists: &[Outcome], limit: usize) -> Result<Vec<String>, DbError> {
    let limit = limit.min(BATCH_MAX);
    let ids = |list: &Outcome| -> Result<Vec<String>, DbError> {
        list.rows.iter().map(|row| row.get("event_id")).collect()
    };
    let mut due = ids(&lists[0])?;
    let late_retries = due.split_off(due.len().min(limit.div_ceil(RETRY_SHARE)));
    for id in ids(&lists[1])?
        .into_iter()
        .chain(late_retries)
        .chain(ids(&lists[2])?)
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

/// `when` begins with the column that its index goes by, and is a range over it, never an equality: SQLite would then walk
/// the primary key for the order, over every delivery that ever was.
fn candidates(request: &ClaimRequest, when: &str, bounds: Params) -> Statement {
    let mut values = params![request.endpoint.as_str()];
    values.extend(bounds);
    values.extend(params![
        request.now,
        lease_bound(request),
        request.limit.min(BATCH_MAX)
    ]);
    let order = when.split_once(' ').map_or(when, |(column, _)| column);
    let sql = format!(
        "SELECT event_id FROM deliveries WHERE endpoint_id = ? AND status = 'pending' AND {when}
             AND (owner IS NULL OR lease_until < ? OR lease_until > ?)
         ORDER BY {order}, event_id LIMIT ?"
    );
    Statement::question(sql, values)
}

/// Takes those of the ids that are still due.
pub(super) fn take(request: &ClaimRequest, ids: &[String]) -> Statement {
    let now = request.now;
    let (places, listed) = listed(ids);
    let mut values = params![
        &request.token,
        now.plus_millis(millis(request.lease)),
        request.endpoint.as_str()
    ];
    values.extend(params![now, lease_bound(request), now, set_at_most(now)]);
    values.extend(listed);
    let sql = format!(
        "UPDATE deliveries SET owner = ?, lease_until = ?, epoch = epoch + 1
         WHERE endpoint_id = ? AND status = 'pending' AND (owner IS NULL OR lease_until < ? OR lease_until > ?)
             AND (due_at <= ? OR due_set_at > ?) AND event_id IN {places}"
    );
    Statement::change(sql, values)
}

/// Asks what the token owns: of these ids, or without any of all that is pending.
pub(super) fn owned_by(request: &ClaimRequest, ids: &[String]) -> Statement {
    let mut values = params![request.endpoint.as_str(), &request.token];
    let which = if ids.is_empty() {
        "d.status = 'pending'".to_owned()
    } else {
        let (places, listed) = listed(ids);
        values.extend(listed);
        format!("d.event_id IN {places}")
    };
    let sql = format!(
        "SELECT d.event_id, d.epoch, d.attempts, d.attempts_before, b.body, e.traceparent, e.property_id,
             e.entity_kind, e.entity_id, e.entity_version, e.correlation_id
         FROM deliveries d JOIN events e ON e.id = d.event_id LEFT JOIN event_bodies b ON b.event_id = d.event_id
         WHERE d.endpoint_id = ? AND d.owner = ? AND {which} ORDER BY d.event_id"
    );
    Statement::question(sql, values)
}

/// The claims of an answer to [`owned_by`].
pub(super) fn read_claims(answer: &Outcome, request: &ClaimRequest) -> Result<Vec<Claim>, DbError> {
    let rows = answer.rows.iter();
    rows.map(|row| read_claim(row, &request.token)).collect()
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

/// Asks where an endpoint's deliveries go.
pub(super) fn target(request: &ClaimRequest) -> Statement {
    Statement::question(
        "SELECT url, disabled_reason, paused_until, paused_at, retry_schedule FROM endpoints WHERE id = ?",
        params![request.endpoint.as_str()],
    )
}

/// The answer to [`target`], or why nothing goes there.
pub(super) fn read_target(answer: &Outcome, now: UnixMillis) -> Result<Result<Target, Claimed>, DbError> {
    let Some(row) = answer.row() else {
        return Ok(Err(Claimed::Inactive));
    };
    let disabled: Option<String> = row.get("disabled_reason")?;
    let url: Option<String> = row.get("url")?;
    let Some(url) = url.filter(|_| disabled.is_none()) else {
        return Ok(Err(Claimed::Inactive));
    };
    let paused_until: UnixMillis = row.get("paused_until")?;
    if is_paused(paused_until, row.get("paused_at")?, now) {
        return Ok(Err(Claimed::Paused(paused_until)));
    }
    Ok(Ok(Target {
        url,
        retry_schedule: row.get("retry_schedule")?,
    }))
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
