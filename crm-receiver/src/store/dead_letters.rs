//! Dead letters: events that nothing is tried for any more, until an operator gives them back to the projector.

use super::Store;
use crate::event::{AuditAction, DeadLetterCause};
use contract::{EventId, UnixMillis};
use db::{DbError, InList, Row, Tx, params, read_ids};
use kit::audit::{self, AuditEntry};

/// How much of a failure's reason is kept, in characters; the column is as wide.
const REASON_CHARS_MAX: usize = 1000;

/// Dead letters of one transaction.
const REQUEUE_BATCH: usize = 100;

impl Store {
    /// Makes an event a dead letter. False when it is not accepted any more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn make_dead_letter(
        &self,
        event: &EventId,
        reason: &str,
        now: UnixMillis,
    ) -> Result<bool, DbError> {
        let (event, reason) = (event.clone(), cut(reason));
        self.db
            .transaction("make_dead_letter", move |tx| {
                let (event, reason) = (event.clone(), reason.clone());
                Box::pin(async move {
                    let sql = "UPDATE inbox SET status = 'dead_letter', last_error = ?, applied_at = ? \
                               WHERE event_id = ? AND status = 'accepted'";
                    let claimed = tx.execute(sql, params![&reason, now, event.as_str()]).await? == 1;
                    if claimed {
                        audit_dead_letter(tx, &event, DeadLetterCause::Poison, now).await?;
                    }
                    Ok(claimed)
                })
            })
            .await
    }

    /// Requeues one dead letter that still has its body; false when there is no such one.
    pub async fn requeue_one(&self, event_id: &EventId, now: UnixMillis) -> Result<bool, DbError> {
        let id = event_id.to_string();
        self.db
            .transaction("requeue_one", move |tx| {
                let id = id.clone();
                Box::pin(async move { Ok(requeue(tx, &[id], now).await? == 1) })
            })
            .await
    }

    /// Requeues the next dead letters after an id; answers how many, and the last id that was looked at, or None when
    /// there are no more. Each is visited once in a walk, also when it fails again meanwhile.
    pub async fn requeue_after(
        &self,
        after: Option<EventId>,
        now: UnixMillis,
    ) -> Result<(usize, Option<EventId>), DbError> {
        self.db
            .transaction("requeue_after", move |tx| {
                let after = after.as_ref().map(ToString::to_string).unwrap_or_default();
                Box::pin(async move {
                    let sql = "SELECT event_id FROM inbox WHERE status = 'dead_letter' AND event_id > ? \
                               ORDER BY event_id LIMIT ?";
                    let rows = tx.query(sql, params![after, REQUEUE_BATCH]).await?;
                    let ids: Vec<String> = read_ids(&rows, "event_id")?;
                    let last = ids.last().and_then(|id| id.parse().ok());
                    Ok((requeue(tx, &ids, now).await?, last))
                })
            })
            .await
    }
}

/// Claims each by its status in the UPDATE itself, so that two walks at once requeue none twice.
async fn requeue(tx: &mut Tx, ids: &[String], now: UnixMillis) -> Result<usize, DbError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let mut entries = Vec::with_capacity(ids.len());
    for row in whole_dead_letters(tx, ids).await? {
        let sql = "UPDATE inbox SET status = 'accepted', attempts = 0, last_error = NULL, applied_at = NULL, \
                   due_at = ? WHERE event_id = ? AND status = 'dead_letter'";
        let id: String = row.get("event_id")?;
        if tx.execute(sql, params![now, &id]).await? == 1 {
            entries.push(audit_entry(AuditAction::Requeued, &row, now)?);
        }
    }
    audit::append(tx, &entries).await?;
    Ok(entries.len())
}

/// Without its body an event can never be folded: such a one stays where it is.
async fn whole_dead_letters(tx: &mut Tx, ids: &[String]) -> Result<Vec<Row>, DbError> {
    let list = InList::of(ids);
    let sql = format!(
        "SELECT inbox.event_id, source_id, property_id, entity_kind, entity_id, entity_version, correlation_id \
         FROM inbox JOIN inbox_bodies ON inbox_bodies.event_id = inbox.event_id \
         WHERE status = 'dead_letter' AND inbox.event_id IN {list}"
    );
    tx.query(&sql, list.into_params()).await
}

/// Writes the audit entry of a dead letter, with what the inbox knows of the event.
pub(super) async fn audit_dead_letter(
    tx: &mut Tx,
    event: &EventId,
    cause: DeadLetterCause,
    now: UnixMillis,
) -> Result<(), DbError> {
    let sql = "SELECT event_id, source_id, property_id, entity_kind, entity_id, entity_version, correlation_id \
               FROM inbox WHERE event_id = ?";
    let Some(row) = tx.query_one(sql, params![event.as_str()]).await? else {
        return Ok(());
    };
    let entry = AuditEntry {
        outcome: Some(cause.into_str().into()),
        ..audit_entry(AuditAction::DeadLettered, &row, now)?
    };
    audit::append(tx, &[entry]).await
}

/// An audit entry about the event of a row of the inbox.
fn audit_entry(action: AuditAction, row: &Row, now: UnixMillis) -> Result<AuditEntry, DbError> {
    Ok(AuditEntry {
        event_id: row.get("event_id")?,
        source: row.get("source_id")?,
        property_id: row.get("property_id")?,
        entity_kind: row.get("entity_kind")?,
        entity_id: row.get("entity_id")?,
        entity_version: row.get("entity_version")?,
        correlation_id: row.get("correlation_id")?,
        ..AuditEntry::new(action.into_str(), now)
    })
}

/// A reason, as much of it as is kept.
pub(super) fn cut(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}
