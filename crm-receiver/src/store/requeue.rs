//! Dead letters back to where the projector takes them from.

use super::Store;
use contract::{EventId, UnixMillis};
use db::{DbError, Tx, params, placeholders};
use kit::audit::{self, AuditEntry};

/// Dead letters of one transaction.
const REQUEUE_BATCH: usize = 100;

impl Store {
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
                    let ids = rows
                        .iter()
                        .map(|row| row.get("event_id"))
                        .collect::<Result<Vec<String>, _>>()?;
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
            entries.push(AuditEntry {
                event_id: Some(id),
                source: row.get("source_id")?,
                property_id: row.get("property_id")?,
                entity_kind: row.get("entity_kind")?,
                entity_id: row.get("entity_id")?,
                entity_version: row.get("entity_version")?,
                correlation_id: row.get("correlation_id")?,
                ..AuditEntry::new("requeued", now)
            });
        }
    }
    audit::append(tx, &entries).await?;
    Ok(entries.len())
}

/// Without its body an event can never be folded: such a one stays where it is.
async fn whole_dead_letters(tx: &mut Tx, ids: &[String]) -> Result<Vec<db::Row>, DbError> {
    let places = placeholders(1, ids.len());
    let sql = format!(
        "SELECT inbox.event_id, source_id, property_id, entity_kind, entity_id, entity_version, correlation_id \
         FROM inbox JOIN inbox_bodies ON inbox_bodies.event_id = inbox.event_id \
         WHERE status = 'dead_letter' AND inbox.event_id IN {places}"
    );
    tx.query(&sql, ids.iter().map(Into::into).collect()).await
}
