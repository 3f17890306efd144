//! What waits over all endpoints, as metrics show it. Endpoints for which nothing waits cost no statement of their own.

use super::{Store, clock_skew::is_paused, webhooks::ENDPOINTS_MAX};
use contract::{UnixMillis, id::EndpointId};
use db::{DbError, Dialect, Statement, Tx, params, read_id};
use kit::listing::Index;
use std::time::Duration;

/// Endpoints that are sent to and have something due.
const DUE: &str = "SELECT p.id, p.paused_until, p.paused_at FROM endpoints p
     WHERE p.url IS NOT NULL AND p.disabled_reason IS NULL AND p.paused = 0 AND p.deleted_at IS NULL
         AND (SELECT 1 FROM deliveries d WHERE d.endpoint_id = p.id AND d.status = 'pending' AND d.due_at <= ? LIMIT 1) = 1
     LIMIT ?";
/// Of one endpoint: since when the retry waits that has been due for longest, and since when the first of the first attempts does.
/// For all endpoints in one statement a server would read all that waits.
const NEXT: [&str; 2] = [
    "SELECT due_at AS since FROM deliveries WHERE endpoint_id = ? AND status = 'pending' AND due_at > 0 AND due_at <= ?
     ORDER BY due_at, event_id LIMIT 1",
    "SELECT e.committed_at AS since FROM
         (SELECT event_id FROM deliveries WHERE endpoint_id = ? AND status = 'pending' AND due_at <= 0 AND due_at <= ?
          ORDER BY due_at, event_id LIMIT 1) AS next JOIN events e ON e.id = next.event_id",
];
/// Endpoints of which that is asked in one round trip.
const ASKED_AT_ONCE: usize = 100;

/// Since when the first events wait that have no place yet.
const WITHOUT_PLACE: &str = "SELECT MIN(committed_at) AS since FROM
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
                    let sql = pending(tx.dialect());
                    let row = tx.query_one(&sql, params![most, most, most]).await?;
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
        let since = self
            .db
            .with_deadline(within)
            .read("delivery_lag", move |tx| Box::pin(waits_since(tx, now)))
            .await?;
        let waits = since.map_or(0, |since| now.0.saturating_sub(since.0));
        Ok(Duration::from_millis(u64::try_from(waits).unwrap_or_default()))
    }
}

/// Counts deliveries that wait for endpoints, events that those which are behind have missed, and events without a place, if anybody is
/// subscribed: in one statement, so an event that is queued meanwhile is counted, and not twice.
fn pending(dialect: Dialect) -> String {
    let join = dialect.join_in_order();
    // By the primary key a server would read all that was ever settled.
    let index = Index::Named("deliveries_due").hint(dialect);
    format!(
        "SELECT
             (SELECT COUNT(*) FROM (SELECT 1 AS one FROM endpoints p {join} deliveries d{index}
                 ON d.endpoint_id = p.id AND d.status = 'pending' WHERE p.deleted_at IS NULL LIMIT ?) AS queued)
             + (SELECT COUNT(*) FROM (SELECT 1 AS one FROM endpoints p {join} events e ON e.feed_seq > p.backfill_seq
                 WHERE p.subscribed = 1 AND p.backfill_seq IS NOT NULL LIMIT ?) AS missed)
             + CASE WHEN EXISTS (SELECT 1 FROM endpoints WHERE subscribed = 1) THEN
                 (SELECT COUNT(*) FROM (SELECT 1 AS one FROM events WHERE feed_seq IS NULL LIMIT ?) AS waiting)
               ELSE 0 END AS pending"
    )
}

/// Since when what has waited for longest does, of what goes next.
async fn waits_since(tx: &mut Tx, now: UnixMillis) -> Result<Option<UnixMillis>, DbError> {
    let looks = [
        Statement::query(WITHOUT_PLACE, params![LOOKED_AT_MAX]),
        Statement::query(DUE, params![now, ENDPOINTS_MAX + 1]),
    ];
    let answers = tx.run(&looks).await.all()?;
    let mut longest = answers[0]
        .row()
        .map_or(Ok(None), |row| row.get::<Option<UnixMillis>>("since"))?;
    let mut due: Vec<EndpointId> = Vec::with_capacity(answers[1].rows.len());
    for row in &answers[1].rows {
        if !is_paused(row.get("paused_until")?, row.get("paused_at")?, now) {
            due.push(read_id(row, "id")?);
        }
    }
    for some in due.chunks(ASKED_AT_ONCE) {
        let next = some.iter().flat_map(|id| {
            let of_one = |sql| Statement::query(sql, params![id.as_str(), now]);
            NEXT.map(of_one)
        });
        let next: Vec<Statement> = next.collect();
        let answers = tx.run(&next).await.all()?;
        for row in answers.iter().filter_map(|answer| answer.row()) {
            let since = row.get("since")?;
            longest = Some(longest.map_or(since, |longest| since.min(longest)));
        }
    }
    Ok(longest)
}
