//! What a settlement leaves beside its deliveries: the attempts, the audit entries, the endpoint's own row.

use super::settled::Settled;
use super::settlements::{AttemptRecord, EndpointNews, Settlement, Verdict};
use contract::UnixMillis;
use kit::audit::AuditEntry;
use kit::db::{DbError, Params, Tx, placeholders};
use kit::params;
use kit::planted::{Bug, is_planted};

/// Columns of `delivery_attempts`.
const ATTEMPT_COLUMNS: usize = 7;

/// Rows of one INSERT, in few sizes, so that each engine keeps the statements prepared.
const ATTEMPT_ROWS: [usize; 4] = [64, 16, 4, 1];

/// What the audit entries name as their actor.
const ACTOR: &str = "dispatcher";

pub(super) async fn keep_attempts(
    tx: &mut Tx,
    endpoint: &str,
    settlements: &[&Settlement],
) -> Result<(), DbError> {
    let made: Vec<_> = settlements
        .iter()
        .filter_map(|settlement| {
            Some((
                settlement.delivery.event_id.as_str(),
                settlement.attempt.as_ref()?,
            ))
        })
        .collect();
    // The key of this table is a second fence: it refuses an attempt that was settled already.
    let unfenced = if is_planted(Bug::MissingFence) {
        tx.dialect().skip_existing("event_id")
    } else {
        String::new()
    };
    let mut rest = made.as_slice();
    for size in ATTEMPT_ROWS {
        while rest.len() >= size {
            let (rows, later) = rest.split_at(size);
            let mut values = Params::with_capacity(size * ATTEMPT_COLUMNS);
            for (event_id, attempt) in rows {
                values.extend(params![
                    endpoint,
                    *event_id,
                    attempt.number,
                    attempt.at,
                    attempt.duration_ms
                ]);
                values.extend(params![attempt.status, attempt.error.clone()]);
            }
            let sql = format!(
                "INSERT INTO delivery_attempts (endpoint_id, event_id, number, at, duration_ms, status, error)
                 VALUES {}{unfenced}",
                placeholders(size, ATTEMPT_COLUMNS)
            );
            tx.execute(&sql, values).await?;
            rest = later;
        }
    }
    Ok(())
}

/// Retries are no effect: their record is the attempt.
pub(super) fn entry(settlement: &Settlement, endpoint: &str, now: UnixMillis) -> Option<AuditEntry> {
    let (action, outcome) = match &settlement.verdict {
        Verdict::Delivered => ("delivered", None),
        Verdict::Dead(why) => ("dead", Some(why.clone().into())),
        Verdict::Again(_) | Verdict::Kept | Verdict::Deferred => return None,
    };
    let subject = settlement.subject.clone();
    Some(AuditEntry {
        outcome,
        actor: Some(ACTOR.to_owned()),
        source: Some(endpoint.to_owned()),
        event_id: Some(settlement.delivery.event_id.to_string()),
        property_id: subject.property_id,
        entity_kind: subject.entity_kind,
        entity_id: subject.entity_id,
        entity_version: subject.entity_version,
        correlation_id: subject.correlation_id,
        ..AuditEntry::new(action, now)
    })
}

pub(super) async fn keep_news(
    tx: &mut Tx,
    endpoint: &str,
    settlements: &[&Settlement],
    settled: Settled,
    news: &EndpointNews,
    now: UnixMillis,
) -> Result<(), DbError> {
    let failed =
        settlements
            .iter()
            .rev()
            .find_map(|settlement| match (&settlement.verdict, &settlement.attempt) {
                (Verdict::Delivered, _) => None,
                (Verdict::Dead(why), _) => Some(why.clone()),
                // Whoever asks for the status sees this: no word of an answer, which may quote what it was sent.
                (
                    _,
                    Some(AttemptRecord {
                        status: Some(status), ..
                    }),
                ) => Some(format!("status {status}")),
                (_, attempt) => attempt.as_ref()?.error.clone(),
            });
    if settled.delivered > 0 {
        tx.execute(
            "UPDATE endpoints SET delivered = delivered + ?, last_success_at = ? WHERE id = ?",
            params![settled.delivered as u64, now, endpoint],
        )
        .await?;
    }
    if let Some(error) = failed {
        tx.execute(
            "UPDATE endpoints SET last_error = ?, last_error_at = ? WHERE id = ?",
            params![error, now, endpoint],
        )
        .await?;
    }
    if news.paused_until.is_some() || news.disabled.is_some() {
        tx.execute(
            "UPDATE endpoints SET paused_until = COALESCE(?, paused_until), paused_at = COALESCE(?, paused_at),
                 disabled_reason = COALESCE(?, disabled_reason), updated_at = ? WHERE id = ?",
            params![
                news.paused_until,
                news.paused_until.map(|_| now),
                news.disabled,
                now,
                endpoint
            ],
        )
        .await?;
    }
    Ok(())
}

/// The endpoint was disabled, for this reason.
pub(super) fn disabled_entry(reason: &'static str, endpoint: &str, now: UnixMillis) -> AuditEntry {
    let (actor, source) = (Some(ACTOR.to_owned()), Some(endpoint.to_owned()));
    AuditEntry {
        outcome: Some(reason.into()),
        actor,
        source,
        ..AuditEntry::new("endpoint_disabled", now)
    }
}
