//! Writes events about endpoints, in the transaction of what they say.

use super::outbox::{self, NewEvent};
use crate::domain::notice::{Notice, Noticed};
use contract::{EventId, Scope, UnixMillis, id::EndpointId};
use db::{DbError, Tx, params};

/// Appends what is said of an endpoint, each under the next of the ids. One that is deleted is said nothing of.
///
/// # Errors
/// Those of the database.
pub(super) async fn append(
    tx: &mut Tx,
    endpoint: &EndpointId,
    notices: &[Notice],
    ids: &[EventId],
    now: UnixMillis,
) -> Result<(), DbError> {
    let count = notices.len().min(ids.len());
    if count == 0 {
        return Ok(());
    }
    let id = endpoint.as_str();
    let sql = "UPDATE endpoints SET notices = notices + ? WHERE id = ? AND deleted_at IS NULL";
    if tx.execute(sql, params![count, id]).await? == 0 {
        return Ok(());
    }
    let sql = "SELECT notices, property_ids FROM endpoints WHERE id = ?";
    let row = tx.query_one(sql, params![id]).await?;
    let row = row.ok_or_else(|| DbError::unreadable("notices"))?;
    let (last, scope): (u64, String) = (row.get("notices")?, row.get("property_ids")?);
    let scope = Scope::read_names(&scope).map_err(|_| DbError::unreadable("property_ids"))?;
    for (number, (notice, event)) in (last - count as u64 + 1..).zip(notices.iter().zip(ids)) {
        let about = Noticed {
            id: endpoint.clone(),
            scope: scope.clone(),
            number,
        };
        let event = NewEvent {
            envelope: notice.envelope(event, &about, now),
            id: event.clone(),
            committed_at: now,
            traceparent: None,
        };
        tx.run(&outbox::statements(&event)).await.all()?;
    }
    outbox::appended(tx);
    Ok(())
}

/// Whether an endpoint other than this one names types of deliveries: those that are given up may be many.
///
/// # Errors
/// Those of the database.
pub(super) async fn anyone_asks_for_dead(tx: &mut Tx, but: &EndpointId) -> Result<bool, DbError> {
    let sql = "SELECT 1 AS one FROM endpoints WHERE subscribed = 1 AND id <> ? AND event_types LIKE '%delivery.%' LIMIT 1";
    Ok(tx.query_one(sql, params![but.as_str()]).await?.is_some())
}
