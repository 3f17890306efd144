//! Dead deliveries, made due again by hand: `pms-emitter retry-dead`.

use super::{BATCH_MAX, Store};
use contract::UnixMillis;
use kit::audit::{self, AuditEntry};
use kit::db::{DbError, Tx};
use kit::params;

/// What one batch made due again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revived {
    /// How many.
    pub count: usize,
    /// Whether there may be more.
    pub more: bool,
}

impl Store {
    /// Makes up to [`BATCH_MAX`] dead deliveries due again, those that died at `since` or later, with the whole retry
    /// schedule before them. Attempts go on being counted.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn revive_dead(&self, since: UnixMillis, now: UnixMillis) -> Result<Revived, DbError> {
        // What an unknown commit revived is dead no more: running it again takes the next batch.
        self.db
            .transaction_or_find(
                "revive_dead",
                move |tx| Box::pin(async move { revive_dead(tx, since, now).await }),
                |_| Box::pin(async { Ok(None) }),
            )
            .await
    }
}

async fn revive_dead(tx: &mut Tx, since: UnixMillis, now: UnixMillis) -> Result<Revived, DbError> {
    let rows = tx
        .query(
            &format!(
                "SELECT d.endpoint_id, d.event_id, e.property_id, e.correlation_id
                 FROM endpoints n JOIN deliveries d ON d.endpoint_id = n.id JOIN events e ON e.id = d.event_id
                 WHERE d.status = 'dead' AND d.due_at >= ? ORDER BY d.due_at, d.event_id LIMIT {BATCH_MAX}"
            ),
            params![since],
        )
        .await?;
    let mut entries = Vec::with_capacity(rows.len());
    for row in &rows {
        let (endpoint, event): (String, String) = (row.get("endpoint_id")?, row.get("event_id")?);
        let matched = tx
            .execute(
                "UPDATE deliveries SET status = 'pending', owner = NULL, lease_until = 0, due_at = ?,
                     attempts_before = attempts, settled_at = NULL
                 WHERE endpoint_id = ? AND event_id = ? AND status = 'dead'",
                params![now, &endpoint, &event],
            )
            .await?;
        if matched == 1 {
            entries.push(AuditEntry {
                actor: Some("operator".to_owned()),
                source: Some(endpoint),
                event_id: Some(event),
                property_id: row.get("property_id")?,
                correlation_id: row.get("correlation_id")?,
                ..AuditEntry::new("dead_retried", now)
            });
        }
    }
    audit::append(tx, &entries).await?;
    Ok(Revived {
        count: entries.len(),
        more: rows.len() == BATCH_MAX,
    })
}
