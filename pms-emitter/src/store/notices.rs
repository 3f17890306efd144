//! Writes events about endpoints, in the transaction of what they say.

use super::outbox::{self, NewEvent};
use crate::domain::notice::{Notice, Noticed};
use contract::{EventId, Scope, UnixMillis, id::EndpointId};
use db::{DbError, Tx, params};

/// Appends what is said of an endpoint and anyone asks for, each under the next of the ids. One that is deleted is said nothing of.
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
    let mut asked = Vec::with_capacity(notices.len());
    let mut known: Option<(&str, bool)> = None;
    for notice in notices {
        let event_type = notice.event_type();
        let is_asked = match known {
            Some((known, is_asked)) if known == event_type => is_asked,
            _ => *notice == Notice::Ping || anyone_asks(tx, endpoint, notice).await?,
        };
        known = Some((event_type, is_asked));
        asked.extend(is_asked.then_some(notice));
    }
    let count = asked.len().min(ids.len());
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
    for (number, (notice, event)) in (last - count as u64 + 1..).zip(asked.iter().zip(ids)) {
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

/// Whether an endpoint other than this one names types that such notices are of: else they would only fill the feed.
async fn anyone_asks(tx: &mut Tx, but: &EndpointId, notice: &Notice) -> Result<bool, DbError> {
    let kind = notice.event_type().split_once('.').map_or("", |(kind, _)| kind);
    let sql = "SELECT 1 AS one FROM endpoints WHERE deleted_at IS NULL AND subscribed = 1 AND id <> ?
                   AND event_types LIKE ? LIMIT 1";
    let row = tx
        .query_one(sql, params![but.as_str(), format!("%{kind}.%")])
        .await?;
    Ok(row.is_some())
}
