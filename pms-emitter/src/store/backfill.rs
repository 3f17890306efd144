//! Queueing what the log kept before an endpoint was subscribed.
//!
//! A URL that appears, or appears again, subscribes an endpoint: what the log kept in the meantime is then queued for it in
//! bounded batches. A transaction of another replica that was open at that moment does not see the subscription and may commit
//! after these batches, so there is a second pass over the log once no such transaction can be left.

use super::Store;
use super::clock_skew::{SKEW_MAX, millis};
use contract::{UnixMillis, id::EndpointId};
use db::params;
use db::{DbError, SILENCE_MAX, Tx};
use std::time::Duration;

/// Events that one transaction queues for an endpoint that is behind the log.
pub const BACKFILL_BATCH: usize = 500;

/// How long after its subscription an endpoint's second pass over the log begins: longer than a transaction may last whose process
/// stopped, plus the difference that the clocks of two replicas may have.
pub const BACKFILL_AGAIN_AFTER: Duration =
    Duration::from_secs(2 * SILENCE_MAX.as_secs() + SKEW_MAX.as_secs());

/// What is left to queue for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backfill {
    /// There may be more to queue.
    More,
    /// Nothing is to be queued for now; a second pass over the log follows later.
    Later,
    /// Every event of the log has its delivery, and so will every later one.
    Complete,
}

impl Store {
    /// Queues up to `BACKFILL_BATCH` events of the log that an endpoint has no delivery for, oldest first.
    pub async fn backfill(&self, id: EndpointId, now: UnixMillis) -> Result<Backfill, DbError> {
        self.repeatable("backfill", (id, now), |tx, (id, now)| {
            Box::pin(backfill(tx, id.as_str(), *now))
        })
        .await
    }
}

/// Marks an endpoint as behind the whole log, in the transaction that subscribes it.
pub(super) async fn begin(tx: &mut Tx, id: &str, now: UnixMillis) -> Result<(), DbError> {
    // Before the first id of all.
    tx.execute(
        "UPDATE endpoints SET backfill_after = '', backfill_again_at = ? WHERE id = ?",
        params![now.plus_millis(millis(BACKFILL_AGAIN_AFTER)), id],
    )
    .await
    .map(drop)
}

async fn backfill(tx: &mut Tx, id: &str, now: UnixMillis) -> Result<Backfill, DbError> {
    let sql = "SELECT backfill_after, backfill_again_at FROM endpoints WHERE id = ?";
    let Some(row) = tx.query_one(sql, params![id]).await? else {
        return Ok(Backfill::Complete);
    };
    let Some(after) = row.get::<Option<String>>("backfill_after")? else {
        return backfill_again(tx, id, row.get("backfill_again_at")?, now).await;
    };
    let batch = tx
        .query_one(
            &format!(
                "SELECT MAX(id) AS last FROM (SELECT id FROM events WHERE id > ? ORDER BY id LIMIT {BACKFILL_BATCH}) AS batch"
            ),
            params![&after],
        )
        .await?;
    let last = batch
        .map(|row| row.get::<Option<String>>("last"))
        .transpose()?
        .flatten();
    if let Some(last) = &last {
        // Those committed since it was subscribed have their delivery.
        let skip = tx.dialect().skip_existing("event_id");
        let sql = format!(
            "INSERT INTO deliveries (endpoint_id, event_id, due_at)
             SELECT ?, id, 0 FROM events WHERE id > ? AND id <= ?{skip}"
        );
        tx.execute(&sql, params![id, &after, last]).await?;
    }
    // Only from where this batch began: another replica may have gone on, or begun again.
    tx.execute(
        "UPDATE endpoints SET backfill_after = ? WHERE id = ? AND backfill_after = ?",
        params![last, id, &after],
    )
    .await?;
    Ok(Backfill::More)
}

/// Begins the second pass over the log when its time has come. A time further ahead than any replica's clock would set it was set
/// before the clock was set back.
async fn backfill_again(
    tx: &mut Tx,
    id: &str,
    at: Option<UnixMillis>,
    now: UnixMillis,
) -> Result<Backfill, DbError> {
    let Some(at) = at else {
        return Ok(Backfill::Complete);
    };
    if at > now && at <= now.plus_millis(millis(BACKFILL_AGAIN_AFTER) + millis(SKEW_MAX)) {
        return Ok(Backfill::Later);
    }
    tx.execute(
        "UPDATE endpoints SET backfill_after = '', backfill_again_at = NULL WHERE id = ? AND backfill_after IS NULL",
        params![id],
    )
    .await?;
    Ok(Backfill::More)
}
