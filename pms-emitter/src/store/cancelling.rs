//! What waits for a deleted endpoint is cancelled, batch by batch: any process goes on where another stopped.

use super::{Store, entity_order};
use crate::domain::audit_action::AuditAction;
use contract::UnixMillis;
use db::{DbError, InList, Tx, params};
use kit::audit::{self, AuditEntry};

/// Deliveries of one transaction.
const BATCH: usize = 500;

impl Store {
    /// Cancels the next deliveries that wait for an endpoint that was deleted, claimed or not: what an attempt that is going on
    /// would settle is lost to its fence. Whether there may be more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn cancel_deliveries(&self, now: UnixMillis) -> Result<bool, DbError> {
        let is_any = self.db.read("cancelling", |tx| {
            Box::pin(async move { Ok(next(tx).await?.is_some()) })
        });
        if !is_any.await? {
            return Ok(false);
        }
        self.repeatable("cancel_deliveries", now, |tx, now| Box::pin(cancel(tx, *now)))
            .await
    }
}

/// The next endpoint of which something may wait.
async fn next(tx: &mut Tx) -> Result<Option<String>, DbError> {
    let sql = "SELECT id FROM endpoints WHERE cancelling = 1 ORDER BY id LIMIT 1";
    let row = tx.query_one(sql, Vec::new()).await?;
    row.map(|row| row.get("id")).transpose()
}

async fn cancel(tx: &mut Tx, now: UnixMillis) -> Result<bool, DbError> {
    let Some(endpoint) = next(tx).await? else {
        return Ok(false);
    };
    let sql = "SELECT event_id FROM deliveries WHERE endpoint_id = ? AND status = 'pending' LIMIT ?";
    let rows = tx.query(sql, params![&endpoint, BATCH]).await?;
    let ids: Vec<String> = rows
        .iter()
        .map(|row| row.get("event_id"))
        .collect::<Result<_, _>>()?;
    if !ids.is_empty() {
        let list = InList::of(&ids);
        let sql = format!(
            "UPDATE deliveries SET status = 'cancelled', owner = NULL, lease_until = 0, epoch = epoch + 1, settled_at = ?
             WHERE endpoint_id = ? AND status = 'pending' AND event_id IN {list}"
        );
        let cancelled = tx.execute(&sql, list.after(params![now, &endpoint])).await?;
        entity_order::forget(tx, &endpoint, &ids).await?;
        let entry = AuditEntry {
            actor: Some("dispatcher".to_owned()),
            source: Some(endpoint.clone()),
            outcome: Some(cancelled.to_string().into()),
            ..AuditEntry::new(AuditAction::DeliveriesCancelled, now)
        };
        audit::append(tx, &[entry]).await?;
    }
    if ids.len() < BATCH {
        let sql = "UPDATE endpoints SET cancelling = 0 WHERE id = ?";
        tx.execute(sql, params![&endpoint]).await?;
    }
    Ok(true)
}
