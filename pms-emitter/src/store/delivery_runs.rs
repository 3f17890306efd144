//! The table `delivery_runs`: runs that have deliveries of one endpoint made again, and how far each is; `batches` carries them out.
//!
//! A run to recover goes through what is dead, by when it died; a run to replay goes through the feed, and finds what matches the
//! endpoint now, whether it was delivered, is dead, or was never queued for it.

mod batches;

pub use batches::{COUNTED_MAX, RUN_LEASE, RunBatch, RunCount, WAITING_MAX};

use super::Store;
use super::deliveries::CLOCKS_APART_MS;
use super::fan_out::FEED;
use super::webhooks::place_before;
use crate::domain::{delivery_run::RunKind, delivery_run::RunStatus, filter::Filter};
use contract::{
    UnixMillis,
    id::{EndpointId, RunId},
};
use db::{DbError, InList, Row, Tx, params, read_id, read_ids};
use kit::audit::{self, AuditEntry};
use std::borrow::Cow;

/// Runs that are not at their end at most. Two that begin at the same time may make it one more; that one then waits.
pub const RUNNING_MAX: usize = 10;
/// Those of one endpoint, so that the others have a place.
pub const RUNNING_OF_ENDPOINT_MAX: usize = 2;
/// Runs that are kept of those that finished, and of those that were ended before: the newest.
const RUNS_KEPT_MAX: usize = 500;
/// Rows that one run beyond them has deleted at most.
const DELETED_AT_ONCE: usize = 100;

const SELECT: &str = "SELECT id, endpoint_id, kind, status, begins_at, ends_at, filter, created_by, created_at, updated_at, ended_at, \
     matched, queued, without_body, last_place, last_event_id, last_place_max FROM delivery_runs";

/// A run.
#[derive(Clone, Debug)]
pub struct DeliveryRun {
    /// Its id.
    pub id: RunId,
    /// Whose deliveries.
    pub endpoint: EndpointId,
    /// What it goes through.
    pub kind: RunKind,
    /// How far it is.
    pub status: RunStatus,
    /// The beginning of its span.
    pub begins_at: UnixMillis,
    /// Its end: what died then is in it, what was committed then is not.
    pub ends_at: UnixMillis,
    /// What a payload must have beside.
    pub filter: Option<Filter>,
    /// Who began it.
    pub created_by: String,
    /// When.
    pub created_at: UnixMillis,
    /// When its last batch was committed.
    pub updated_at: UnixMillis,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
    /// How many fitted.
    pub matched: u64,
    /// Of these, how many were made due. The others waited already, or have no body.
    pub queued: u64,
    /// Of these, how many have no body any more.
    pub without_body: u64,
    /// How many of those that it made due wait, as far as it has looked.
    pub waiting: u64,
    walk: Walk,
}

/// Where a run is.
#[derive(Clone, Debug, Default)]
struct Walk {
    last_place: i64,
    last_event_id: String,
    last_place_max: i64,
}

/// Whether a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunCreation {
    /// It is begun.
    Begun,
    /// There are [`RUNNING_MAX`] that are not at their end.
    TooMany,
    /// There are [`RUNNING_OF_ENDPOINT_MAX`] of this endpoint that are not.
    TooManyOfEndpoint,
}

impl DeliveryRun {
    /// A run that has not begun.
    pub fn new(
        id: RunId,
        endpoint: EndpointId,
        kind: RunKind,
        span: (UnixMillis, UnixMillis),
        filter: Option<Filter>,
        created_by: String,
        now: UnixMillis,
    ) -> Self {
        Self {
            id,
            endpoint,
            kind,
            status: RunStatus::Running,
            begins_at: span.0,
            ends_at: span.1,
            filter,
            created_by,
            created_at: now,
            updated_at: now,
            ended_at: None,
            matched: 0,
            queued: 0,
            without_body: 0,
            waiting: 0,
            walk: Walk::default(),
        }
    }

    /// How many, for the audit log.
    fn outcome(&self) -> Option<Cow<'static, str>> {
        Some(format!("matched {}, queued {}", self.matched, self.queued).into())
    }

    /// The place before the first that it goes through, and the last of these.
    async fn bounds(&self, tx: &mut Tx) -> Result<(i64, i64), DbError> {
        match self.kind {
            // What dies again after it began is none of its business, or it would go on without end.
            RunKind::Recover => Ok((self.begins_at.0 - 1, self.ends_at.min(self.created_at).0)),
            RunKind::Replay => {
                let head = FEED.last_place(tx).await?;
                let from = self.begins_at.plus_millis(-CLOCKS_APART_MS);
                let to = self.ends_at.plus_millis(CLOCKS_APART_MS);
                Ok((
                    place_before(tx, from, head).await?,
                    place_before(tx, to, head).await?,
                ))
            }
        }
    }
}

impl Store {
    /// Begins a run, if there is a place for it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn create_run(&self, run: &DeliveryRun, entry: AuditEntry) -> Result<RunCreation, DbError> {
        self.transaction(
            "create_delivery_run",
            (run.clone(), entry),
            |tx, (run, entry)| Box::pin(create(tx, run.clone(), entry)),
            |tx, (run, _)| Box::pin(async move { Ok(find(tx, &run.id).await?.map(|_| RunCreation::Begun)) }),
        )
        .await
    }

    /// The run of that id.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn run(&self, id: &RunId) -> Result<Option<DeliveryRun>, DbError> {
        let id = id.clone();
        self.reads
            .read("delivery_run", move |tx| {
                let id = id.clone();
                Box::pin(async move { find(tx, &id).await })
            })
            .await
    }

    /// All runs that are kept.
    ///
    /// # Errors
    /// Those of the database; `Unavailable` when too many lists are being read.
    pub async fn runs(&self) -> Result<Vec<DeliveryRun>, DbError> {
        self.lists
            .read("delivery_runs", |tx| {
                Box::pin(async move {
                    let sql = format!("{SELECT} LIMIT ?");
                    let most = 2 * (RUNS_KEPT_MAX + RUNNING_MAX);
                    let rows = tx.query(&sql, params![most]).await?;
                    rows.iter().map(read_run).collect()
                })
            })
            .await
    }

    /// Ends a run before its end; false when it had ended. What it has made due stays so.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn cancel_run(&self, id: &RunId, entry: AuditEntry) -> Result<bool, DbError> {
        self.repeatable("cancel_delivery_run", (id.clone(), entry), |tx, (id, entry)| {
            Box::pin(async move {
                let Some(run) = find(tx, id).await? else {
                    return Ok(false);
                };
                end(tx, &run, RunStatus::Cancelled, entry.clone()).await
            })
        })
        .await
    }
}

async fn create(tx: &mut Tx, mut run: DeliveryRun, entry: &AuditEntry) -> Result<RunCreation, DbError> {
    let sql = "SELECT endpoint_id FROM delivery_runs WHERE status = 'running' LIMIT ?";
    let rows = tx.query(sql, params![RUNNING_MAX]).await?;
    let of_endpoints: Vec<EndpointId> = read_ids(&rows, "endpoint_id")?;
    let of_this = of_endpoints
        .iter()
        .filter(|other| **other == run.endpoint)
        .count();
    let refused = if of_this >= RUNNING_OF_ENDPOINT_MAX {
        Some(RunCreation::TooManyOfEndpoint)
    } else {
        (of_endpoints.len() >= RUNNING_MAX).then_some(RunCreation::TooMany)
    };
    if let Some(refused) = refused {
        tx.abandon();
        return Ok(refused);
    }
    (run.walk.last_place, run.walk.last_place_max) = run.bounds(tx).await?;
    let columns = [
        "id",
        "endpoint_id",
        "kind",
        "status",
        "begins_at",
        "ends_at",
        "filter",
        "created_by",
        "created_at",
        "updated_at",
        "matched",
        "queued",
        "without_body",
        "last_place",
        "last_event_id",
        "last_place_max",
    ];
    let values = params![
        run.id.as_str(),
        run.endpoint.as_str(),
        run.kind.as_str(),
        run.status.as_str(),
        run.begins_at,
        run.ends_at,
        run.filter.as_ref().map(|filter| filter.to_json().to_string()),
        &run.created_by,
        run.created_at,
        run.updated_at,
        0,
        0,
        0,
        run.walk.last_place,
        "",
        run.walk.last_place_max,
    ];
    tx.insert("delivery_runs", &columns, "", values).await?;
    audit::append(tx, std::slice::from_ref(entry)).await?;
    delete_old(tx).await?;
    Ok(RunCreation::Begun)
}

/// Deletes some of the runs beyond those that are kept.
async fn delete_old(tx: &mut Tx) -> Result<(), DbError> {
    let mut old: Vec<String> = Vec::new();
    for status in [RunStatus::Finished, RunStatus::Cancelled] {
        let sql = "SELECT id FROM delivery_runs WHERE status = ? ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?";
        let values = params![status.as_str(), DELETED_AT_ONCE, RUNS_KEPT_MAX];
        old.extend(read_ids::<String, Vec<_>>(&tx.query(sql, values).await?, "id")?);
    }
    if !old.is_empty() {
        let list = InList::of(&old);
        let sql = format!("DELETE FROM delivery_runs WHERE id IN {list}");
        tx.execute(&sql, list.into_params()).await?;
    }
    Ok(())
}

/// Ends a run that has not ended; false when it had.
async fn end(
    tx: &mut Tx,
    run: &DeliveryRun,
    status: RunStatus,
    mut entry: AuditEntry,
) -> Result<bool, DbError> {
    let sql = "UPDATE delivery_runs SET status = ?, ended_at = ?, updated_at = ? WHERE id = ? AND status = 'running'";
    let values = params![status.as_str(), entry.at, entry.at, run.id.as_str()];
    if tx.execute(sql, values).await? == 0 {
        return Ok(false);
    }
    let sql = "DELETE FROM delivery_run_waiting WHERE run_id = ?";
    tx.execute(sql, params![run.id.as_str()]).await?;
    entry.outcome = run.outcome();
    audit::append(tx, &[entry]).await?;
    Ok(true)
}

async fn find(tx: &mut Tx, id: &RunId) -> Result<Option<DeliveryRun>, DbError> {
    let sql = format!("{SELECT} WHERE id = ?");
    let Some(row) = tx.query_one(&sql, params![id.as_str()]).await? else {
        return Ok(None);
    };
    let mut run = read_run(&row)?;
    run.waiting = batches::waiting(tx, &run).await?.0 as u64;
    Ok(Some(run))
}

fn read_run(row: &Row) -> Result<DeliveryRun, DbError> {
    let filter: Option<String> = row.get("filter")?;
    let filter = filter.map(|text| {
        let json = serde_json::from_str(&text).map_err(|_| DbError::unreadable("filter"))?;
        Filter::parse(&json).map_err(|_| DbError::unreadable("filter"))
    });
    Ok(DeliveryRun {
        id: read_id(row, "id")?,
        endpoint: read_id(row, "endpoint_id")?,
        kind: read_id(row, "kind")?,
        status: read_id(row, "status")?,
        begins_at: row.get("begins_at")?,
        ends_at: row.get("ends_at")?,
        filter: filter.transpose()?,
        created_by: row.get("created_by")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        ended_at: row.get("ended_at")?,
        matched: row.get("matched")?,
        queued: row.get("queued")?,
        without_body: row.get("without_body")?,
        waiting: 0,
        walk: Walk {
            last_place: row.get("last_place")?,
            last_event_id: row.get("last_event_id")?,
            last_place_max: row.get("last_place_max")?,
        },
    })
}
