//! What an operator sees of an endpoint: its queue, its breaker, how it went last.

use super::claim_rows::is_paused;
use super::{BREAKER_HISTORY_MAX, BreakerChange, Store};
use contract::{UnixMillis, id::EndpointId};
use db::params;
use db::{DbError, Row, Tx};
use std::time::Duration;

/// One endpoint as it stands. Delivered ones are counted as they are settled; the others are counted now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    /// Its id.
    pub id: EndpointId,
    /// Where events go; none when there is no URL.
    pub url: Option<String>,
    /// Whether new events are queued for it.
    pub subscribed: bool,
    /// Why nothing is sent.
    pub disabled_reason: Option<String>,
    /// The instant before which nothing is sent; 0 when it never asked for a pause.
    pub paused_until: UnixMillis,
    /// When that was said.
    pub paused_at: UnixMillis,
    /// Deliveries that are waiting, those in flight included.
    pub pending: u64,
    /// Deliveries that are done.
    pub delivered: u64,
    /// Deliveries that were given up.
    pub dead: u64,
    /// When one was done last.
    pub last_success_at: Option<UnixMillis>,
    /// When an attempt failed last, and how.
    pub last_error: Option<(UnixMillis, String)>,
    /// The breaker's state as it was written last, and since when.
    pub breaker: (String, UnixMillis),
    /// The newest changes of the breaker, newest first.
    pub breaker_history: Vec<BreakerChange>,
}

impl EndpointStatus {
    /// Whether nothing is sent for now because the endpoint asked for it.
    pub fn is_paused(&self, now: UnixMillis) -> bool {
        is_paused(self.paused_until, self.paused_at, now)
    }
}

impl Store {
    /// Every endpoint, with its counts.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn endpoint_statuses(&self) -> Result<Vec<EndpointStatus>, DbError> {
        self.reads
            .read("endpoint_statuses", |tx| Box::pin(statuses(tx)))
            .await
    }

    /// How many deliveries of an endpoint are waiting, counted up to `most`.
    ///
    /// # Errors
    /// Those of the database; `Timeout` after `within`.
    pub async fn pending_deliveries(
        &self,
        endpoint: EndpointId,
        most: u32,
        within: Duration,
    ) -> Result<u64, DbError> {
        let sql = "SELECT COUNT(*) AS deliveries FROM
             (SELECT 1 AS one FROM deliveries WHERE endpoint_id = ? AND status = 'pending' LIMIT ?) AS pending";
        self.db
            .with_deadline(within)
            .read("pending_deliveries", move |tx| {
                let endpoint = endpoint.clone();
                Box::pin(async move {
                    let row = tx.query_one(sql, params![endpoint.as_str(), most]).await?;
                    row.map_or(Ok(0), |row| row.get("deliveries"))
                })
            })
            .await
    }
}

async fn statuses(tx: &mut Tx) -> Result<Vec<EndpointStatus>, DbError> {
    let rows = tx
        .query(
            "SELECT id, url, subscribed, disabled_reason, paused_until, paused_at, delivered, last_success_at,
                 last_error, last_error_at, breaker_state, breaker_since FROM endpoints ORDER BY id",
            Vec::new(),
        )
        .await?;
    let mut statuses = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: String = row.get("id")?;
        let pending = count(tx, &id, "pending").await?;
        let dead = count(tx, &id, "dead").await?;
        let breaker_history = history(tx, &id).await?;
        statuses.push(read_status(row, id, pending, dead, breaker_history)?);
    }
    Ok(statuses)
}

fn read_status(
    row: &Row,
    id: String,
    pending: u64,
    dead: u64,
    breaker_history: Vec<BreakerChange>,
) -> Result<EndpointStatus, DbError> {
    let last_error: Option<String> = row.get("last_error")?;
    Ok(EndpointStatus {
        id: id.parse().map_err(|_| DbError::Decode {
            column: "id".to_owned(),
            expected: "endpoint id",
        })?,
        url: row.get("url")?,
        subscribed: row.get("subscribed")?,
        disabled_reason: row.get("disabled_reason")?,
        paused_until: row.get("paused_until")?,
        paused_at: row.get("paused_at")?,
        pending,
        delivered: row.get("delivered")?,
        dead,
        last_success_at: row.get("last_success_at")?,
        last_error: row.get::<Option<UnixMillis>>("last_error_at")?.zip(last_error),
        breaker: (row.get("breaker_state")?, row.get("breaker_since")?),
        breaker_history,
    })
}

async fn count(tx: &mut Tx, endpoint: &str, status: &str) -> Result<u64, DbError> {
    let row = tx
        .query_one(
            "SELECT COUNT(*) AS deliveries FROM deliveries WHERE endpoint_id = ? AND status = ?",
            params![endpoint, status],
        )
        .await?;
    row.map_or(Ok(0), |row| row.get("deliveries"))
}

async fn history(tx: &mut Tx, endpoint: &str) -> Result<Vec<BreakerChange>, DbError> {
    let rows = tx
        .query(
            &format!(
                "SELECT id, at, from_state, to_state, reason FROM breaker_history WHERE endpoint_id = ?
                 ORDER BY at DESC, id DESC LIMIT {BREAKER_HISTORY_MAX}"
            ),
            params![endpoint],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(BreakerChange {
                id: row.get("id")?,
                at: row.get("at")?,
                from: row.get("from_state")?,
                to: row.get("to_state")?,
                reason: row.get("reason")?,
            })
        })
        .collect()
}
