//! Endpoints: whom events are delivered to, and how far an endpoint is behind the log.
//!
//! There is one endpoint for now, [`env_endpoint`], whose row takes its URL from the environment at each start. Its
//! secrets stay in memory. A URL that appears, or appears again, subscribes it: what the log kept in the meantime is
//! then queued for it in bounded batches. A transaction of another replica that was open at that moment does not know
//! of it and may end after these, so the log is gone through once more when none of that time can be left.

use super::{Store, claim_rows::SKEW_MAX};
use contract::{UnixMillis, id::EndpointId};
use db::params;
use db::{DbError, SILENCE_MAX, Tx};
use std::time::Duration;

/// The endpoint that the environment describes.
pub fn env_endpoint() -> EndpointId {
    "env".parse().expect("three letters are an id")
}

/// Events that one transaction queues for an endpoint that is behind the log.
pub const BACKFILL_BATCH: usize = 500;

/// How long after it was subscribed an endpoint's log is gone through once more: longer than a transaction may last whose
/// process stopped, also where the clocks of two replicas lie apart.
pub const BACKFILL_AGAIN_AFTER: Duration =
    Duration::from_secs(2 * SILENCE_MAX.as_secs() + SKEW_MAX.as_secs());

/// Transitions of its breaker that an endpoint keeps.
pub const BREAKER_HISTORY_MAX: usize = 100;

/// The state of a breaker that lets everything through.
const CLOSED: &str = "closed";

/// What the environment says about its endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Where events go; none: events are kept, and no delivery is made.
    pub url: Option<String>,
    /// The retry schedule as text, when it is not the service's default.
    pub retry_schedule: Option<String>,
    /// The wait between a commit and its first attempt.
    pub first_wait: Duration,
}

/// How far an endpoint is behind the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backfill {
    /// There may be more to queue.
    More,
    /// Nothing is to be queued for now; the log is gone through once more later.
    Later,
    /// Every event of the log has its delivery, and so will every later one.
    Complete,
}

/// One change of a breaker's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerChange {
    /// An id of its own, which also orders changes of the same millisecond.
    pub id: String,
    /// When.
    pub at: UnixMillis,
    /// `closed`, `open` or `half_open`.
    pub from: String,
    /// As `from`.
    pub to: String,
    /// Why, for people.
    pub reason: String,
}

impl Store {
    /// Writes what the environment says about an endpoint. With a URL it is subscribed and enabled, also when a 410
    /// had disabled it: a restart is the operator's word. Without one it is unsubscribed; its queue stays.
    pub async fn configure_endpoint(
        &self,
        id: EndpointId,
        settings: EndpointSettings,
        now: UnixMillis,
    ) -> Result<(), DbError> {
        let asked = (id, settings);
        // Writing it twice is writing it once, so an unknown commit is simply run again.
        self.db
            .transaction_or_find(
                "configure_endpoint",
                move |tx| {
                    let (id, settings) = asked.clone();
                    Box::pin(async move { configure(tx, id.as_str(), &settings, now).await })
                },
                |_| Box::pin(async { Ok(None) }),
            )
            .await
    }

    /// Queues up to `BACKFILL_BATCH` events of the log that an endpoint has no delivery for, oldest first.
    pub async fn backfill(&self, id: EndpointId, now: UnixMillis) -> Result<Backfill, DbError> {
        self.db
            .transaction_or_find(
                "backfill",
                move |tx| {
                    let id = id.clone();
                    Box::pin(async move { backfill(tx, id.as_str(), now).await })
                },
                |_| Box::pin(async { Ok(None) }),
            )
            .await
    }

    /// Keeps changes of an endpoint's breaker, and the newest [`BREAKER_HISTORY_MAX`] of them.
    pub async fn keep_breaker_changes(
        &self,
        id: EndpointId,
        changes: Vec<BreakerChange>,
    ) -> Result<(), DbError> {
        let asked = (id, changes);
        self.db
            .transaction_or_find(
                "keep_breaker_changes",
                move |tx| {
                    let (id, changes) = asked.clone();
                    Box::pin(async move { keep_breaker_changes(tx, id.as_str(), &changes).await })
                },
                |_| Box::pin(async { Ok(None) }),
            )
            .await
    }
}

async fn configure(
    tx: &mut Tx,
    id: &str,
    settings: &EndpointSettings,
    now: UnixMillis,
) -> Result<(), DbError> {
    let row = tx
        .query_one(
            "SELECT subscribed, breaker_state FROM endpoints WHERE id = ?",
            params![id],
        )
        .await?;
    let was_subscribed = match &row {
        Some(row) => row.get::<bool>("subscribed")?,
        None => false,
    };
    if row.is_none() {
        tx.execute(
            "INSERT INTO endpoints (id, subscribed, breaker_since, created_at, updated_at) VALUES (?, 0, ?, ?, ?)",
            params![id, now, now, now],
        )
        .await?;
    }
    let state = row.map(|row| row.get::<String>("breaker_state")).transpose()?;
    if let Some(from) = state.filter(|state| state != CLOSED) {
        // A breaker lives in memory, and begins closed.
        let (to, reason) = (CLOSED.to_owned(), "restarted".to_owned());
        let change = BreakerChange {
            id: format!("restarted_{}", now.0),
            at: now,
            from,
            to,
            reason,
        };
        keep_breaker_changes(tx, id, &[change]).await?;
    }
    let subscribed = settings.url.is_some();
    tx.execute(
        "UPDATE endpoints SET url = ?, subscribed = ?, disabled_reason = NULL, paused_until = 0, retry_schedule = ?,
             first_delay_ms = ?, updated_at = ? WHERE id = ?",
        params![
            settings.url.clone(),
            subscribed,
            settings.retry_schedule.clone(),
            i64::try_from(settings.first_wait.as_millis()).unwrap_or(i64::MAX),
            now,
            id,
        ],
    )
    .await?;
    if subscribed && !was_subscribed {
        // Before the first id of all.
        tx.execute(
            "UPDATE endpoints SET backfill_after = '', backfill_again_at = ? WHERE id = ?",
            params![now.plus_millis(again_after_ms()), id],
        )
        .await?;
    }
    Ok(())
}

fn again_after_ms() -> i64 {
    millis(BACKFILL_AGAIN_AFTER)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
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

/// Begins the second way through the log when its time has come. A time further off than any replica's clock would set it
/// is of a clock that was set back.
async fn backfill_again(
    tx: &mut Tx,
    id: &str,
    at: Option<UnixMillis>,
    now: UnixMillis,
) -> Result<Backfill, DbError> {
    let Some(at) = at else {
        return Ok(Backfill::Complete);
    };
    if at > now && at <= now.plus_millis(again_after_ms() + millis(SKEW_MAX)) {
        return Ok(Backfill::Later);
    }
    tx.execute(
        "UPDATE endpoints SET backfill_after = '', backfill_again_at = NULL WHERE id = ? AND backfill_after IS NULL",
        params![id],
    )
    .await?;
    Ok(Backfill::More)
}

async fn keep_breaker_changes(tx: &mut Tx, id: &str, changes: &[BreakerChange]) -> Result<(), DbError> {
    let Some(last) = changes.last() else { return Ok(()) };
    let skip = tx.dialect().skip_existing("id");
    for change in changes {
        tx.execute(
            &format!(
                "INSERT INTO breaker_history (endpoint_id, at, id, from_state, to_state, reason)
                 VALUES (?, ?, ?, ?, ?, ?){skip}"
            ),
            params![
                id,
                change.at,
                &change.id,
                &change.from,
                &change.to,
                &change.reason
            ],
        )
        .await?;
    }
    tx.execute(
        "UPDATE endpoints SET breaker_state = ?, breaker_since = ? WHERE id = ?",
        params![&last.to, last.at, id],
    )
    .await?;
    let oldest_kept = tx
        .query_one(
            &format!(
                "SELECT at FROM breaker_history WHERE endpoint_id = ? ORDER BY at DESC, id DESC
                 LIMIT 1 OFFSET {}",
                BREAKER_HISTORY_MAX - 1
            ),
            params![id],
        )
        .await?;
    if let Some(row) = oldest_kept {
        tx.execute(
            "DELETE FROM breaker_history WHERE endpoint_id = ? AND at < ?",
            params![id, row.get::<UnixMillis>("at")?],
        )
        .await?;
    }
    Ok(())
}
