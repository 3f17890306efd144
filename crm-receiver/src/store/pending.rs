//! What waits to be projected, and the tries of an event whose projection fails.

use super::{Store, dead_letters::cut};
use crate::event::PendingEvent;
use contract::{EventId, UnixMillis};
use db::{DbError, Row, Tx, params, read_id};

/// The largest body of an event.
pub const BODY_LEN_MAX: usize = 256 * 1024;
/// Bytes of the bodies of one step at most: they are in memory at once, and parsed they take several times as much.
pub const STEP_BYTES_MAX: usize = 8 << 20;

impl Store {
    /// The next events that may be projected, at most `limit` and about [`STEP_BYTES_MAX`], but one at least: those
    /// never tried, and those whose next try is due. One that is due later than in `wait_max_ms` was set before the
    /// clock was set back: it is due too.
    pub async fn pending(
        &self,
        now: UnixMillis,
        wait_max_ms: i64,
        limit: usize,
    ) -> Result<Vec<PendingEvent>, DbError> {
        let due = Due {
            now,
            later: now.plus_millis(wait_max_ms),
        };
        self.db
            .read("pending", move |tx| {
                Box::pin(async move {
                    let limit = due.fitting(tx, limit).await?;
                    let sql = due.select(
                        "inbox.event_id, source_id, type, schema_version, property_id, entity_kind, entity_id, \
                         entity_version, correlation_id, occurred_at, COALESCE(requeued_at, received_at) AS waiting_since, attempts, body",
                    );
                    let params = params![due.now, due.later, limit];
                    tx.query(&sql, params).await?.iter().map(pending).collect()
                })
            })
            .await
    }

    /// Since when the oldest event waits that waits for a further try, due or not. It looks at all that waits.
    pub async fn oldest_retry(&self) -> Result<Option<UnixMillis>, DbError> {
        self.db
            .read("oldest_retry", move |tx| {
                Box::pin(async move {
                    let sql = "SELECT MIN(COALESCE(requeued_at, received_at)) AS oldest FROM inbox \
                               WHERE status = 'accepted' AND attempts > 0";
                    let row = tx.query_one(sql, params![]).await?;
                    row.map_or(Ok(None), |row| row.get("oldest"))
                })
            })
            .await
    }

    /// Counts a try of one event before it is made, so that a try which ends the process counts too, and sets when the
    /// next one is due. False when the event is not accepted any more, or another projector counted this try already.
    pub async fn count_try(
        &self,
        event: &EventId,
        tried: u32,
        next_due: UnixMillis,
    ) -> Result<bool, DbError> {
        let event = event.clone();
        self.db
            .transaction("count_try", move |tx| {
                let params = params![tried + 1, next_due, event.as_str(), tried];
                Box::pin(async move {
                    let sql = "UPDATE inbox SET attempts = ?, due_at = ? \
                               WHERE event_id = ? AND status = 'accepted' AND attempts = ?";
                    Ok(tx.execute(sql, params).await? == 1)
                })
            })
            .await
    }

    /// Keeps why the last try of an event failed.
    pub async fn keep_failure(&self, event: &EventId, reason: &str) -> Result<(), DbError> {
        let (event, reason) = (event.clone(), cut(reason));
        self.db
            .transaction("keep_failure", move |tx| {
                let params = params![&reason, event.as_str()];
                Box::pin(async move {
                    let sql = "UPDATE inbox SET last_error = ? WHERE event_id = ? AND status = 'accepted'";
                    tx.execute(sql, params).await.map(drop)
                })
            })
            .await
    }
}

/// What may be projected at an instant.
#[derive(Clone, Copy)]
struct Due {
    now: UnixMillis,
    /// No wait ends later.
    later: UnixMillis,
}

impl Due {
    /// A query of these columns, with the instants and a limit for parameters.
    fn select(self, columns: &str) -> String {
        format!(
            "SELECT {columns} FROM inbox LEFT JOIN inbox_bodies ON inbox_bodies.event_id = inbox.event_id \
             WHERE status = 'accepted' AND (attempts = 0 OR due_at <= ? OR due_at > ?) \
             ORDER BY due_at, inbox.event_id LIMIT ?"
        )
    }

    /// How many of the first `limit` have no more than [`STEP_BYTES_MAX`] together. Few always fit, and are not looked at.
    /// If another projector takes some of them before the bodies are read, others come in their place, of any length.
    async fn fitting(self, tx: &mut Tx, limit: usize) -> Result<usize, DbError> {
        if limit <= STEP_BYTES_MAX / BODY_LEN_MAX {
            return Ok(limit);
        }
        let sql = self.select("COALESCE(LENGTH(body), 0) AS len");
        let rows = tx.query(&sql, params![self.now, self.later, limit]).await?;
        let (mut bytes, mut fitting) = (0_usize, 0);
        for row in rows {
            bytes = bytes.saturating_add(row.get("len")?);
            if bytes > STEP_BYTES_MAX {
                break;
            }
            fitting += 1;
        }
        Ok(fitting.max(1))
    }
}

fn pending(row: &Row) -> Result<PendingEvent, DbError> {
    let parse = |column: &str| row.get::<Option<String>>(column);
    Ok(PendingEvent {
        event_id: read_id(row, "event_id")?,
        source: read_id(row, "source_id")?,
        event_type: row.get("type")?,
        schema_version: row.get("schema_version")?,
        property_id: parse("property_id")?.and_then(|id| id.parse().ok()),
        entity_kind: parse("entity_kind")?,
        entity_id: parse("entity_id")?.and_then(|id| id.parse().ok()),
        entity_version: row.get("entity_version")?,
        correlation_id: row.get("correlation_id")?,
        occurred_at: row.get("occurred_at")?,
        waiting_since: row.get("waiting_since")?,
        attempts: row.get("attempts")?,
        body: row.get("body")?,
    })
}
