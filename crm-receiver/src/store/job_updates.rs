//! The tables `job_updates`, with each update that was taken, and `job_results`, with what the completed jobs have made.
//!
//! An update first writes its job's row, so that two replicas that take updates of one job in wait for each other, and then
//! decides by what it reads. Of an update that does not stand, what it has made is not kept: it stands never again.

use super::{
    Store,
    jobs::{hold, row_id, stands},
};
use crate::job::{JobStatus, JobUpdate, Outcome, Standing, fold::fold};
use contract::{PropertyId, SourceId, UnixMillis, id::IdempotencyKey};
use db::{DbError, Row, Tx, params, read_id};
use serde::Serialize;

/// Updates of one job that are kept: intermediate and terminal ones each have their own bound, so that no number of the former
/// keeps a job from ending.
pub const INTERMEDIATE_UPDATES_MAX: usize = 1_000;
/// The same of terminal ones.
pub const TERMINAL_UPDATES_MAX: usize = 100;

/// An update that has come.
#[derive(Clone, Debug)]
pub struct JobArrival {
    /// Who sent it.
    pub source: SourceId,
    /// The only property of its source, where that has one alone.
    pub property_id: Option<PropertyId>,
    /// What it says.
    pub update: JobUpdate,
    /// When it came.
    pub received_at: UnixMillis,
}

/// What became of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobTaken {
    /// It is kept, and this stands now.
    Kept(Standing),
    /// The same body was kept before; this stands.
    Duplicate(Standing),
    /// The job has as many updates of its kind as are kept.
    TooMany,
}

/// One update of a job's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobHistoryEntry {
    /// What it says.
    pub status: JobStatus,
    /// Of which time, by its sender.
    pub timestamp: UnixMillis,
    /// When it came.
    pub received_at: UnixMillis,
    /// In per cent.
    pub progress: Option<u32>,
    /// Why the job has failed.
    pub error: Option<String>,
    /// Whether it stands.
    pub outcome: Outcome,
}

impl Store {
    /// Keeps an update, unless it is there or there are too many, and answers what stands.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take_job_update(&self, arrival: JobArrival) -> Result<JobTaken, DbError> {
        let written = arrival.clone();
        self.db
            .transaction_or_find(
                "take_job_update",
                move |tx| {
                    let arrival = arrival.clone();
                    Box::pin(async move { take(tx, &arrival).await })
                },
                move |tx| {
                    let arrival = written.clone();
                    Box::pin(async move { find_taken(tx, &arrival).await })
                },
            )
            .await
    }
}

async fn take(tx: &mut Tx, arrival: &JobArrival) -> Result<JobTaken, DbError> {
    let JobArrival { source, update, .. } = arrival;
    let (property, now) = (arrival.property_id.as_ref(), arrival.received_at);
    let id = hold(tx, source, &update.job, property, now).await?;
    let stood = stands(tx, &id).await?;
    if let Some(stood) = &stood
        && is_kept(tx, &id, &update.standing.digest).await?.is_some()
    {
        let stood = stood.clone();
        tx.abandon();
        return Ok(JobTaken::Duplicate(stood));
    }
    let (counter, max) = if update.standing.status.is_terminal() {
        ("terminal_updates", TERMINAL_UPDATES_MAX)
    } else {
        ("intermediate_updates", INTERMEDIATE_UPDATES_MAX)
    };
    let sql =
        format!("UPDATE jobs SET {counter} = {counter} + 1, updated_at = ? WHERE id = ? AND {counter} < ?");
    if tx.execute(&sql, params![now, &id, max]).await? == 0 {
        tx.abandon();
        return Ok(JobTaken::TooMany);
    }
    insert_update(tx, &id, arrival).await?;
    let standing = fold(stood.clone(), update.standing.clone());
    if stood.as_ref() != Some(&standing) {
        write_standing(tx, &id, update).await?;
    }
    Ok(JobTaken::Kept(standing))
}

async fn insert_update(tx: &mut Tx, id: &str, arrival: &JobArrival) -> Result<(), DbError> {
    let columns = [
        "job",
        "digest",
        "status",
        "at",
        "progress",
        "error",
        "received_at",
    ];
    let update = &arrival.update;
    let values = params![
        id,
        update.standing.digest.as_str(),
        update.standing.status.into_str(),
        update.standing.at,
        update.progress,
        &update.error,
        arrival.received_at,
    ];
    tx.insert("job_updates", &columns, "", values).await
}

/// Writes that an update stands, in place of whatever stood.
async fn write_standing(tx: &mut Tx, id: &str, update: &JobUpdate) -> Result<(), DbError> {
    let sql = "UPDATE jobs SET status = ?, standing_at = ?, standing_digest = ?, progress = ?, error = ? WHERE id = ?";
    let values = params![
        update.standing.status.into_str(),
        update.standing.at,
        update.standing.digest.as_str(),
        update.progress,
        &update.error,
        id,
    ];
    tx.execute(sql, values).await?;
    if !update.standing.status.is_terminal() {
        return Ok(());
    }
    tx.execute("DELETE FROM job_results WHERE job = ?", params![id])
        .await?;
    let Some(result) = &update.result else {
        return Ok(());
    };
    tx.insert(
        "job_results",
        &["job", "result"],
        "",
        params![id, result.as_bytes()],
    )
    .await
}

/// When an update of this digest came.
async fn is_kept(tx: &mut Tx, id: &str, digest: &IdempotencyKey) -> Result<Option<UnixMillis>, DbError> {
    let sql = "SELECT received_at FROM job_updates WHERE job = ? AND digest = ?";
    let row = tx.query_one(sql, params![id, digest.as_str()]).await?;
    row.map(|row| row.get("received_at")).transpose()
}

/// After an unknown commit: it took effect if the update is there since then. A repeat wrote nothing that running it again
/// could spoil.
async fn find_taken(tx: &mut Tx, arrival: &JobArrival) -> Result<Option<JobTaken>, DbError> {
    let id = row_id(&arrival.source, &arrival.update.job);
    let came = is_kept(tx, &id, &arrival.update.standing.digest).await?;
    if came != Some(arrival.received_at) {
        return Ok(None);
    }
    Ok(stands(tx, &id).await?.map(JobTaken::Kept))
}

/// The updates of a job by their times.
pub(super) async fn history(
    tx: &mut Tx,
    id: &str,
    standing: &Standing,
) -> Result<Vec<JobHistoryEntry>, DbError> {
    let sql =
        "SELECT digest, status, at, progress, error, received_at FROM job_updates WHERE job = ? LIMIT ?";
    let max = INTERMEDIATE_UPDATES_MAX + TERMINAL_UPDATES_MAX;
    in_order(&tx.query(sql, params![id, max]).await?, standing)
}

/// Updates of the same time follow by stage, then by digest.
fn in_order(rows: &[Row], standing: &Standing) -> Result<Vec<JobHistoryEntry>, DbError> {
    let read = |row: &Row| {
        let update = Standing {
            status: read_id(row, "status")?,
            at: row.get("at")?,
            digest: read_id(row, "digest")?,
        };
        let entry = JobHistoryEntry {
            status: update.status,
            timestamp: update.at,
            received_at: row.get("received_at")?,
            progress: row.get("progress")?,
            error: row.get("error")?,
            outcome: update.outcome(standing),
        };
        Ok((update, entry))
    };
    let mut entries = rows.iter().map(read).collect::<Result<Vec<_>, DbError>>()?;
    entries.sort_by(|(one, _), (other, _)| {
        let key = |update: &Standing| (update.at, update.status);
        (key(one), &one.digest).cmp(&(key(other), &other.digest))
    });
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}
