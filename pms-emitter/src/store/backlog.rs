//! What waits over all endpoints, as metrics show it: one statement each, however many endpoints there are.

use super::{Store, clock_skew::is_paused, webhooks::ENDPOINTS_MAX};
use contract::UnixMillis;
use db::{DbError, Row, Statement, params};
use std::time::Duration;

/// Deliveries that wait for endpoints, events that those which are behind have missed, and events without a place, if anybody is
/// subscribed: in one statement, so an event that is queued meanwhile is counted, and not twice.
const PENDING: &str = "SELECT
         (SELECT COUNT(*) FROM (SELECT 1 AS one FROM endpoints p JOIN deliveries d ON d.endpoint_id = p.id AND d.status = 'pending'
             WHERE p.deleted_at IS NULL LIMIT ?) AS queued)
         + (SELECT COUNT(*) FROM (SELECT 1 AS one FROM endpoints p JOIN events e ON e.feed_seq > p.backfill_seq
             WHERE p.subscribed = 1 LIMIT ?) AS missed)
         + CASE WHEN EXISTS (SELECT 1 FROM endpoints WHERE subscribed = 1) THEN
             (SELECT COUNT(*) FROM (SELECT 1 AS one FROM events WHERE feed_seq IS NULL LIMIT ?) AS waiting)
           ELSE 0 END AS pending";

/// What goes next to each endpoint that is sent to: the retry that has been due for longest, and the first of the first attempts, as
/// claims find them.
const NEXT: &str = "SELECT p.paused_until, p.paused_at,
         (SELECT d.due_at FROM deliveries d WHERE d.endpoint_id = p.id AND d.status = 'pending' AND d.due_at > 0 AND d.due_at <= ?
          ORDER BY d.due_at, d.event_id LIMIT 1) AS due_at,
         (SELECT e.committed_at FROM deliveries d JOIN events e ON e.id = d.event_id
          WHERE d.endpoint_id = p.id AND d.status = 'pending' AND d.due_at <= 0
          ORDER BY d.due_at, d.event_id LIMIT 1) AS committed_at
     FROM endpoints p
     WHERE p.url IS NOT NULL AND p.disabled_reason IS NULL AND p.paused = 0 AND p.deleted_at IS NULL LIMIT ?";

/// The first events that have no place yet.
const WAITING: &str = "SELECT MIN(committed_at) AS committed_at FROM
     (SELECT committed_at FROM events WHERE feed_seq IS NULL LIMIT ?) AS waiting";
/// How many of them are looked at: their order is that of their ids.
const LOOKED_AT_MAX: usize = 1_000;

impl Store {
    /// How many deliveries wait for all endpoints together, events that are still to be queued included; each of these is counted up
    /// to `most`.
    ///
    /// # Errors
    /// Those of the database; `Timeout` after `within`.
    pub async fn pending_deliveries(&self, most: u32, within: Duration) -> Result<u64, DbError> {
        self.db
            .with_deadline(within)
            .read("pending_deliveries", move |tx| {
                Box::pin(async move {
                    let row = tx.query_one(PENDING, params![most, most, most]).await?;
                    row.map_or(Ok(0), |row| row.get("pending"))
                })
            })
            .await
    }

    /// How long the delivery has waited that goes next, of the endpoint where that is longest: since it was due, and a first attempt
    /// since its event was committed. One that nothing is sent to now does not count; an event that has no place yet does.
    ///
    /// # Errors
    /// Those of the database; `Timeout` after `within`.
    pub async fn delivery_lag(&self, now: UnixMillis, within: Duration) -> Result<Duration, DbError> {
        let looks = [
            Statement::query(NEXT, params![now, ENDPOINTS_MAX + 1]),
            Statement::query(WAITING, params![LOOKED_AT_MAX]),
        ];
        let answers = self
            .db
            .with_deadline(within)
            .read("delivery_lag", move |tx| {
                let looks = looks.clone();
                Box::pin(async move { tx.run(&looks).await.all() })
            })
            .await?;
        let mut since = answers[1]
            .row()
            .map_or(Ok(None), |row| row.get::<Option<UnixMillis>>("committed_at"))?;
        for row in &answers[0].rows {
            since = [since, waits_since(row, now)?].into_iter().flatten().min();
        }
        let waits = since.map_or(0, |since| now.0.saturating_sub(since.0));
        Ok(Duration::from_millis(u64::try_from(waits).unwrap_or_default()))
    }
}

/// Since when what goes next to an endpoint waits; none where nothing does, or where it asked for a pause.
fn waits_since(row: &Row, now: UnixMillis) -> Result<Option<UnixMillis>, DbError> {
    if is_paused(row.get("paused_until")?, row.get("paused_at")?, now) {
        return Ok(None);
    }
    let next: [Option<UnixMillis>; 2] = [row.get("due_at")?, row.get("committed_at")?];
    Ok(next.into_iter().flatten().min())
}
