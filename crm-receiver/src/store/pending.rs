//! What waits to be projected, and what becomes of an event that cannot be.

use super::{Store, event_status, record_rows::parsed};
use crate::project::event::Pending;
use contract::{EventId, UnixMillis};
use kit::{
    db::{DbError, Row},
    params,
};

/// How much of a failure's reason is kept, in characters; the column is as wide.
const REASON_CHARS_MAX: usize = 1000;

impl Store {
    /// The next events that may be projected, at most `limit`: those never tried, and those whose wait is over. A wait
    /// longer than `wait_max_ms` is of a clock that was set back.
    pub async fn pending(
        &self,
        now: UnixMillis,
        wait_max_ms: i64,
        limit: usize,
    ) -> Result<Vec<Pending>, DbError> {
        let sql = "SELECT inbox.event_id, source_id, type, schema_version, property_id, entity_kind, entity_id, \
                          entity_version, correlation_id, occurred_at, received_at, attempts, body \
                   FROM inbox LEFT JOIN inbox_bodies ON inbox_bodies.event_id = inbox.event_id \
                   WHERE status = 'accepted' AND (attempts = 0 OR due_at <= ? OR due_at > ?) \
                   ORDER BY due_at, inbox.event_id LIMIT ?";
        self.db
            .read("pending", move |tx| {
                let params = params![now, now.plus_millis(wait_max_ms), limit];
                Box::pin(async move { tx.query(sql, params).await?.iter().map(pending).collect() })
            })
            .await
    }

    /// When the oldest event was received that waits, also one whose next try is not due yet: the oldest of the `among`
    /// that are due first.
    pub async fn oldest_waiting(&self, among: usize) -> Result<Option<UnixMillis>, DbError> {
        self.db
            .read("oldest_waiting", move |tx| {
                Box::pin(async move {
                    let sql = "SELECT MIN(received_at) AS oldest FROM \
                               (SELECT received_at FROM inbox WHERE status = 'accepted' ORDER BY due_at, event_id LIMIT ?) \
                               AS waiting";
                    let row = tx.query_one(sql, params![among]).await?;
                    row.map_or(Ok(None), |row| row.get("oldest"))
                })
            })
            .await
    }

    /// Counts a try of one event before it is made, so that a try which ends the process counts too, and puts the next
    /// one off. False when the event is not accepted any more, or another projector counted this try already.
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

    /// Makes an event a dead letter. False when it is not accepted any more.
    pub async fn give_up(&self, event: &EventId, reason: &str, now: UnixMillis) -> Result<bool, DbError> {
        let (event, reason) = (event.clone(), cut(reason));
        self.db
            .transaction("give_up", move |tx| {
                let (event, reason) = (event.clone(), reason.clone());
                Box::pin(async move {
                    let sql = "UPDATE inbox SET status = 'dead_letter', last_error = ?, applied_at = ? \
                               WHERE event_id = ? AND status = 'accepted'";
                    let claimed = tx.execute(sql, params![&reason, now, event.as_str()]).await? == 1;
                    if claimed {
                        event_status::bury(tx, &event, "poison", now).await?;
                    }
                    Ok(claimed)
                })
            })
            .await
    }
}

fn cut(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}

fn pending(row: &Row) -> Result<Pending, DbError> {
    let parse = |column: &str| row.get::<Option<String>>(column);
    Ok(Pending {
        event_id: parsed(row, "event_id")?,
        source: parsed(row, "source_id")?,
        event_type: row.get("type")?,
        schema_version: row.get("schema_version")?,
        property_id: parse("property_id")?.and_then(|id| id.parse().ok()),
        entity_kind: parse("entity_kind")?,
        entity_id: parse("entity_id")?.and_then(|id| id.parse().ok()),
        entity_version: row.get("entity_version")?,
        correlation_id: row.get("correlation_id")?,
        occurred_at: row.get("occurred_at")?,
        received_at: row.get("received_at")?,
        attempts: row.get("attempts")?,
        body: row.get("body")?,
    })
}
