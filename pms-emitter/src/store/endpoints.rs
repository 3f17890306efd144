//! Endpoints: whom events are delivered to, and how delivery to each stands.
//!
//! One of them, [`env_endpoint`], takes its URL from the environment at each start, and its secrets stay in memory; the others are
//! made by people (`webhooks`).

use super::{
    Store,
    breaker_history::{self, BREAKER_HISTORY_MAX, BreakerChange, read_state},
    clock_skew::{is_paused, millis},
    endpoint_health,
    fan_out::FEED,
    shared_breaker,
    webhooks::ENDPOINTS_MAX,
};
use crate::domain::delivery::DeliveryStatus;
use contract::{
    UnixMillis,
    id::{EndpointId, IdempotencyKey},
};
use db::params;
use db::{DbError, Row, Statement, StatementResult, Tx, read_id};
use kit::breaker::State;
use std::time::Duration;

/// Deliveries, and events that are not queued yet, are each counted up to here: beyond it the exact number says nothing more.
pub const PENDING_MAX: u32 = 100_000;
/// Of each endpoint so many are counted where the status is of many endpoints, whatever their number.
const COUNTED_MIN: u32 = 100;
/// Changes of breakers that a status of many endpoints has in all, but for the newest of each.
const CHANGES_IN_ALL: usize = 1_000;
/// Endpoints whose numbers are asked for in one round trip.
const ASKED_AT_ONCE: usize = 100;

/// Deliveries that are looked at for the details of an endpoint.
const LOOKED_AT_MAX: usize = 5_000;

/// The endpoint that the environment describes.
pub fn env_endpoint() -> EndpointId {
    "env".parse().expect("three letters are an id")
}

/// What the environment says about its endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvEndpoint {
    /// Where events go; none: events are kept, and no delivery is made.
    pub url: Option<String>,
    /// The wait between a commit and its first attempt.
    pub first_wait: Duration,
}

/// One endpoint as it stands. Delivered ones are counted as they are settled; the others are counted now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    /// Its id.
    pub id: EndpointId,
    /// Where events go; none when there is no URL.
    pub url: Option<String>,
    /// Whether events are queued for it.
    pub subscribed: bool,
    /// Why nothing is sent.
    pub disabled_reason: Option<String>,
    /// The instant before which nothing is sent; 0 when it never asked for a pause.
    pub paused_until: UnixMillis,
    /// When that was said.
    pub paused_at: UnixMillis,
    /// Deliveries that are waiting, those with an attempt going on included, and events that are still to be queued.
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
    pub breaker: (State, UnixMillis),
    /// The newest changes of the breaker, newest first.
    pub breaker_history: Vec<BreakerChange>,
}

/// What the status of one endpoint has beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointDetails {
    /// As all are shown.
    pub status: EndpointStatus,
    /// Whether a person has paused it.
    pub is_paused_by_person: bool,
    /// Deliveries that are claimed, of the first `LOOKED_AT_MAX` that are due: an attempt is going on or about to begin.
    pub in_flight: u64,
    /// The event that was committed first of what is queued and waits, by the first `LOOKED_AT_MAX` first attempts and retries:
    /// which one, and when.
    pub oldest_pending: Option<(IdempotencyKey, UnixMillis)>,
}

impl EndpointStatus {
    /// Whether nothing is sent for now because the endpoint asked for it.
    pub fn is_paused(&self, now: UnixMillis) -> bool {
        is_paused(self.paused_until, self.paused_at, now)
    }
}

impl Store {
    /// Writes what the environment says about an endpoint. With a URL it is subscribed and enabled, also when a 410
    /// had disabled it: a restart counts as the operator's decision. Without one it is unsubscribed; its queue stays, and once it
    /// has a URL again it is queued what came meanwhile. False, and nothing is written, for one that was adopted.
    pub async fn configure_endpoint(
        &self,
        id: EndpointId,
        settings: EnvEndpoint,
        now: UnixMillis,
    ) -> Result<bool, DbError> {
        self.repeatable(
            "configure_endpoint",
            (id, settings, now),
            |tx, (id, settings, now)| Box::pin(configure(tx, id.as_str(), settings, *now)),
        )
        .await
    }

    /// Every endpoint, with its counts, each of them up to [`counted_up_to`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn endpoint_statuses(&self) -> Result<Vec<EndpointStatus>, DbError> {
        self.reads
            .read("endpoint_statuses", |tx| Box::pin(statuses(tx)))
            .await
    }

    /// One endpoint, also one that was deleted.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn endpoint_details(
        &self,
        id: &EndpointId,
        now: UnixMillis,
    ) -> Result<Option<EndpointDetails>, DbError> {
        let id = id.clone();
        self.reads
            .read("endpoint_details", move |tx| {
                let id = id.clone();
                Box::pin(async move { details(tx, &id, now).await })
            })
            .await
    }
}

async fn configure(tx: &mut Tx, id: &str, settings: &EnvEndpoint, now: UnixMillis) -> Result<bool, DbError> {
    let last = FEED.hold(tx).await?;
    let sql = "SELECT backfill_seq, url, settings FROM endpoints WHERE id = ?";
    let row = tx.query_one(sql, params![id]).await?;
    let chosen: Option<String> = row.as_ref().map_or(Ok(None), |row| row.get("settings"))?;
    if chosen.is_some() {
        tx.abandon();
        return Ok(false);
    }
    if row.is_none() {
        tx.execute(
            "INSERT INTO endpoints (id, subscribed, breaker_since, created_at, updated_at) VALUES (?, 0, ?, ?, ?)",
            params![id, now, now, now],
        )
        .await?;
    }
    // A new one begins with the first event of all.
    let behind: Option<i64> = row.as_ref().map_or(Ok(Some(0)), |row| row.get("backfill_seq"))?;
    let behind = match (&settings.url, behind) {
        (Some(_), Some(place)) if place >= last => None,
        // It goes on behind the last that it was queued.
        (None, None) => Some(last),
        (_, behind) => behind,
    };
    let url: Option<String> = row.as_ref().map_or(Ok(None), |row| row.get("url"))?;
    if url != settings.url {
        shared_breaker::close_for_new_address(tx, id, now).await?;
        endpoint_health::forget_for_new_address(tx, id).await?;
    }
    tx.execute(
        "UPDATE endpoints SET url = ?, subscribed = ?, backfill_seq = ?, disabled_reason = NULL, paused_until = 0,
             first_delay_ms = ?, updated_at = ? WHERE id = ?",
        params![
            settings.url.clone(),
            settings.url.is_some(),
            behind,
            millis(settings.first_wait),
            now,
            id,
        ],
    )
    .await?;
    Ok(true)
}

const STATUS: &str = "SELECT id, url, subscribed, disabled_reason, paused, paused_until, paused_at, delivered, last_success_at, \
     last_error, last_error_at, breaker_state, breaker_since FROM endpoints";

/// How far deliveries of each endpoint are counted in a status of so many: all together as far as those of one alone.
pub fn counted_up_to(endpoints: usize) -> u32 {
    let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX);
    (PENDING_MAX / endpoints.max(1)).max(COUNTED_MIN)
}

async fn statuses(tx: &mut Tx) -> Result<Vec<EndpointStatus>, DbError> {
    let sql = format!("{STATUS} WHERE deleted_at IS NULL ORDER BY id LIMIT ?");
    let rows = tx.query(&sql, params![ENDPOINTS_MAX + 1]).await?;
    let most = counted_up_to(rows.len());
    let changes = (CHANGES_IN_ALL / rows.len().max(1)).clamp(1, BREAKER_HISTORY_MAX);
    let mut statuses = Vec::with_capacity(rows.len());
    for rows in rows.chunks(ASKED_AT_ONCE) {
        statuses.extend(statuses_of(tx, rows, most, changes).await?);
    }
    Ok(statuses)
}

/// The endpoints of these rows of [`STATUS`], with what is counted of each.
async fn statuses_of(
    tx: &mut Tx,
    rows: &[Row],
    most: u32,
    changes: usize,
) -> Result<Vec<EndpointStatus>, DbError> {
    let ids: Vec<EndpointId> = rows
        .iter()
        .map(|row| read_id(row, "id"))
        .collect::<Result<_, _>>()?;
    let asked: Vec<Statement> = ids
        .iter()
        .flat_map(|id| {
            [
                pending(id, most),
                dead(id, most),
                breaker_history::of(id.as_str(), changes),
            ]
        })
        .collect();
    let answers = tx.run(&asked).await.all()?;
    let counted = rows.iter().zip(ids).zip(answers.chunks(3));
    counted
        .map(|((row, id), answers)| read_status(row, id, answers))
        .collect()
}

fn read_status(row: &Row, id: EndpointId, answers: &[StatementResult]) -> Result<EndpointStatus, DbError> {
    let last_error: Option<String> = row.get("last_error")?;
    let count = |answer: &StatementResult| answer.row().map_or(Ok(0), |row| row.get("deliveries"));
    Ok(EndpointStatus {
        id,
        url: row.get("url")?,
        subscribed: row.get("subscribed")?,
        disabled_reason: row.get("disabled_reason")?,
        paused_until: row.get("paused_until")?,
        paused_at: row.get("paused_at")?,
        pending: count(&answers[0])?,
        delivered: row.get("delivered")?,
        dead: count(&answers[1])?,
        last_success_at: row.get("last_success_at")?,
        last_error: row.get::<Option<UnixMillis>>("last_error_at")?.zip(last_error),
        breaker: (read_state(row, "breaker_state")?, row.get("breaker_since")?),
        breaker_history: breaker_history::read_all(&answers[2])?,
    })
}

async fn details(tx: &mut Tx, id: &EndpointId, now: UnixMillis) -> Result<Option<EndpointDetails>, DbError> {
    let sql = format!("{STATUS} WHERE id = ?");
    let rows = tx.query(&sql, params![id.as_str()]).await?;
    let statuses = statuses_of(tx, &rows, PENDING_MAX, BREAKER_HISTORY_MAX).await?;
    let Some((row, status)) = rows.first().zip(statuses.into_iter().next()) else {
        return Ok(None);
    };
    // First attempts and retries, as claims find them.
    let lists = ["due_at <= 0", "due_at > 0"];
    let looks = lists.map(|when| {
        let sql = format!(
            "SELECT COUNT(CASE WHEN owner IS NOT NULL AND lease_until >= ? THEN 1 END) AS claimed,
                 MIN(committed_at) AS oldest_at
             FROM (SELECT event_id, owner, lease_until FROM deliveries
                 WHERE endpoint_id = ? AND status = 'pending' AND {when} ORDER BY due_at, event_id LIMIT ?) AS first
             JOIN events ON events.id = first.event_id"
        );
        Statement::query(sql, params![now, id.as_str(), LOOKED_AT_MAX])
    });
    let answers = tx.run(&looks).await.all()?;
    let (mut in_flight, mut oldest) = (0, None);
    for (answer, when) in answers.iter().zip(lists) {
        let Some(row) = answer.row() else { continue };
        in_flight += row.get::<u64>("claimed")?;
        let at: Option<UnixMillis> = row.get("oldest_at")?;
        if let Some(at) = at.filter(|at| oldest.is_none_or(|(_, other)| *at < other)) {
            oldest = Some((when, at));
        }
    }
    let mut oldest_pending = None;
    if let Some((when, at)) = oldest {
        let sql = format!(
            "SELECT event_id FROM (SELECT event_id FROM deliveries
                 WHERE endpoint_id = ? AND status = 'pending' AND {when} ORDER BY due_at, event_id LIMIT ?) AS first
             JOIN events ON events.id = first.event_id WHERE committed_at = ? ORDER BY event_id LIMIT 1"
        );
        let row = tx
            .query_one(&sql, params![id.as_str(), LOOKED_AT_MAX, at])
            .await?;
        oldest_pending = row
            .map(|row| Ok::<_, DbError>((read_id(&row, "event_id")?, at)))
            .transpose()?;
    }
    Ok(Some(EndpointDetails {
        is_paused_by_person: row.get("paused")?,
        in_flight,
        oldest_pending,
        status,
    }))
}

/// What waits for an endpoint, in one statement: so an event that is queued meanwhile is counted, and not twice. Those without a
/// place may match or not, which is known as they get it. So after an upgrade events of before count until they have their places,
/// those that were delivered too, and those that are queued twice.
fn pending(endpoint: &EndpointId, most: u32) -> Statement {
    let sql = "SELECT
             (SELECT COUNT(*) FROM
                 (SELECT 1 AS one FROM deliveries WHERE endpoint_id = ? AND status = 'pending' LIMIT ?) AS queued)
             + CASE WHEN subscribed = 1 THEN
                 (SELECT COUNT(*) FROM (SELECT 1 AS one FROM events WHERE feed_seq IS NULL LIMIT ?) AS waiting)
                 + (SELECT COUNT(*) FROM (SELECT 1 AS one FROM events WHERE feed_seq >
                     (SELECT backfill_seq FROM endpoints WHERE id = ?) LIMIT ?) AS missed)
               ELSE 0 END AS deliveries
         FROM endpoints WHERE id = ?";
    let id = endpoint.as_str();
    Statement::query(sql, params![id, most, most, id, most, id])
}

fn dead(endpoint: &EndpointId, most: u32) -> Statement {
    Statement::query(
        "SELECT COUNT(*) AS deliveries FROM
             (SELECT 1 AS one FROM deliveries WHERE endpoint_id = ? AND status = ? LIMIT ?) AS dead",
        params![endpoint.as_str(), DeliveryStatus::Dead.as_str(), most],
    )
}
