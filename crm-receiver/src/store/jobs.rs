//! The tables of jobs: `jobs` with what stands, `job_updates` with each update, `job_results` with what the completed have
//! made, `job_registrations` with what was asked for.
//!
//! An update first writes its job's row, so that two replicas that take updates of one job in wait for each other, and then
//! decides by what it reads. Of an update that does not stand, what it has made is not kept: it stands never again.

use super::Store;
use crate::job::{JOB_KIND, JobStatus, JobUpdate, Outcome, Registration, Standing, fold::fold};
use api::ListQuery;
use contract::{JobId, PropertyId, Scope, SourceId, UnixMillis, id::IdempotencyKey};
use db::{DbError, InList, Row, Tx, params, read_id, read_optional_id};
use kit::{
    audit::{self, AuditEntry},
    listing::{Listing, Order, Reading, Rows, Table},
};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

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

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobRegistered {
    /// It stands now.
    Now,
    /// It stood before: somebody has asked for the same, as a client does that never saw its answer.
    Before,
    /// The job is registered for something else.
    Otherwise,
}

/// A job as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobRow {
    /// The key of its row.
    #[serde(skip)]
    pub id: String,
    /// Whose job it is.
    pub source: SourceId,
    /// How its source names it.
    pub job_id: JobId,
    /// The property that it is for.
    pub property_id: Option<PropertyId>,
    /// Who asked for it.
    pub user_id: Option<String>,
    /// How far it is.
    pub status: JobStatus,
    /// When it came so far, by its sender; none until something comes.
    pub timestamp: Option<UnixMillis>,
    /// In per cent; none of one that has failed.
    pub progress: Option<u32>,
    /// Why it has failed.
    pub error: Option<String>,
    /// When it was registered.
    pub registered_at: Option<UnixMillis>,
    /// When it was first heard of.
    pub created_at: UnixMillis,
    /// When something of it last came.
    pub updated_at: UnixMillis,
    /// The digest of what stands.
    #[serde(skip)]
    standing_digest: Option<IdempotencyKey>,
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

/// A job with all that is known of it.
#[derive(Clone, Debug)]
pub struct Job {
    /// What lists show.
    pub row: JobRow,
    /// The JSON text of an object: what it has made.
    pub result: Option<Vec<u8>>,
    /// The JSON text of an object: what was asked for.
    pub details: Option<Vec<u8>>,
    /// Its updates by their times.
    pub history: Vec<JobHistoryEntry>,
}

/// What is found under a job's name.
#[derive(Clone, Debug)]
pub enum JobFound {
    /// Nothing.
    None,
    /// One job.
    One(Box<Job>),
    /// Those of several sources.
    Several,
}

/// What a job must have to be in the list. Absent: anything.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Whose it is.
    pub source: Option<SourceId>,
    /// How far it is.
    pub status: Option<JobStatus>,
    /// Who asked for it.
    pub user_id: Option<String>,
    /// The property that it is for.
    pub property_id: Option<PropertyId>,
    /// Of these properties.
    pub scope: Scope,
}

const JOBS: Table = Table {
    name: "jobs",
    id: "id",
    orders: &[
        Order {
            field: "created_at",
            column: "created_at",
            index: "jobs_created",
        },
        Order {
            field: "updated_at",
            column: "updated_at",
            index: "jobs_updated",
        },
    ],
};
const SELECT: &str = "SELECT id, source_id, job_id, property_id, user_id, status, standing_at, standing_digest, progress, error, \
                      registered_at, created_at, updated_at FROM jobs";

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

    /// Registers a job, whether updates of it have come or not. A job is registered once.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn register_job(
        &self,
        registration: &Registration,
        property_id: Option<PropertyId>,
        entry: AuditEntry,
    ) -> Result<JobRegistered, DbError> {
        let (registration, at) = (registration.clone(), entry.at);
        let id = row_id(&registration.source, &registration.job_id);
        self.db
            .transaction_or_find(
                "register_job",
                move |tx| {
                    let (registration, property) = (registration.clone(), property_id.clone());
                    let entry = entry.clone();
                    Box::pin(async move { register(tx, &registration, property.as_ref(), entry).await })
                },
                move |tx| {
                    let id = id.clone();
                    Box::pin(async move {
                        let sql = "SELECT id FROM jobs WHERE id = ? AND registered_at = ?";
                        let row = tx.query_one(sql, params![&id, at]).await?;
                        Ok(row.map(|_| JobRegistered::Now))
                    })
                },
            )
            .await
    }

    /// The jobs of one page.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn jobs(&self, filter: &JobFilter, query: &ListQuery) -> Result<Rows<JobRow>, DbError> {
        let reading = Reading {
            name: "jobs",
            select: SELECT,
            read: read_job,
        };
        let mut listing = filter.listing();
        let none = None::<UnixMillis>;
        listing.between(Some("jobs_updated"), "updated_at", query.updated_since, none);
        self.lists.find(listing, query, reading).await
    }

    /// The job of that name, of one source or of any, as far as a scope sees it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn job(
        &self,
        job: &JobId,
        source: Option<&SourceId>,
        scope: &Scope,
    ) -> Result<JobFound, DbError> {
        let mut sql = format!("{SELECT} WHERE job_id = ?");
        let mut params = params![job.as_str()];
        if let Some(source) = source {
            sql.push_str(" AND source_id = ?");
            params.push(source.as_str().into());
        }
        if let Scope::Parts(parts) = scope {
            let list = InList::of(parts);
            sql.push_str(&format!(" AND property_id IN {list}"));
            params = list.after(params);
        }
        sql.push_str(" ORDER BY id LIMIT 2");
        self.reads
            .read("job", move |tx| {
                let (sql, params) = (sql.clone(), params.clone());
                Box::pin(async move {
                    let rows = tx.query(&sql, params).await?;
                    match rows.as_slice() {
                        [] => Ok(JobFound::None),
                        [row] => Ok(JobFound::One(Box::new(whole(tx, read_job(row)?).await?))),
                        _ => Ok(JobFound::Several),
                    }
                })
            })
            .await
    }
}

impl JobFilter {
    fn listing(&self) -> Listing {
        let mut listing = Listing::of(&JOBS);
        listing.equal_by("jobs_user", "user_id", self.user_id.as_ref());
        let property = self.property_id.as_ref().map(PropertyId::as_str);
        listing.equal_by("jobs_property", "property_id", property);
        let source = self.source.as_ref().map(SourceId::as_str);
        listing.equal_by("jobs_source", "source_id", source);
        listing.equal_by(
            "jobs_status",
            "status",
            self.status.map(|status| status.into_str()),
        );
        listing.within("property_id", &self.scope);
        listing
    }
}

impl JobRow {
    /// What stands; None until something comes.
    fn standing(&self) -> Option<Standing> {
        Some(Standing {
            status: self.status,
            at: self.timestamp?,
            digest: self.standing_digest.clone()?,
        })
    }
}

/// The key of a job's row, which is one id as lists need it, and the same on every replica.
fn row_id(source: &SourceId, job: &JobId) -> String {
    let digest = Sha256::new()
        .chain_update(source.as_str())
        .chain_update([0])
        .chain_update(job.as_str())
        .finalize();
    format!("job_{}", data_encoding::BASE64URL_NOPAD.encode(&digest))
}

/// Makes the job's row if it is not there, and holds it until the commit.
async fn hold(
    tx: &mut Tx,
    source: &SourceId,
    job: &JobId,
    property: Option<&PropertyId>,
    now: UnixMillis,
) -> Result<String, DbError> {
    let id = row_id(source, job);
    let columns = [
        "id",
        "source_id",
        "job_id",
        "property_id",
        "status",
        "progress",
        "intermediate_updates",
        "terminal_updates",
        "created_at",
        "updated_at",
        "guard",
    ];
    let pending = JobStatus::Pending;
    let values = params![
        &id,
        source.as_str(),
        job.as_str(),
        property.map(PropertyId::as_str),
        pending.into_str(),
        pending.progress(),
        0,
        0,
        now,
        now,
        0,
    ];
    let skip = tx.dialect().skip_existing("id");
    tx.insert("jobs", &columns, &skip, values).await?;
    tx.execute("UPDATE jobs SET guard = guard + 1 WHERE id = ?", params![&id])
        .await?;
    Ok(id)
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

async fn stands(tx: &mut Tx, id: &str) -> Result<Option<Standing>, DbError> {
    let sql = format!("{SELECT} WHERE id = ?");
    let row = tx.query_one(&sql, params![id]).await?;
    Ok(row
        .as_ref()
        .map(read_job)
        .transpose()?
        .and_then(|job| job.standing()))
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

async fn register(
    tx: &mut Tx,
    registration: &Registration,
    property: Option<&PropertyId>,
    entry: AuditEntry,
) -> Result<JobRegistered, DbError> {
    let (source, job, now) = (&registration.source, &registration.job_id, entry.at);
    let id = hold(tx, source, job, property, now).await?;
    let sql = "UPDATE jobs SET property_id = COALESCE(?, property_id), user_id = ?, registered_at = ?, updated_at = ? \
               WHERE id = ? AND registered_at IS NULL";
    let values = params![
        property.map(PropertyId::as_str),
        &registration.user_id,
        now,
        now,
        &id
    ];
    if tx.execute(sql, values).await? == 0 {
        let before = is_same(tx, &id, registration, property).await?;
        tx.abandon();
        return Ok(if before {
            JobRegistered::Before
        } else {
            JobRegistered::Otherwise
        });
    }
    let details = serde_json::to_vec(&registration.details()).expect("it is plain data");
    tx.insert(
        "job_registrations",
        &["job", "details"],
        "",
        params![&id, details],
    )
    .await?;
    let entry = AuditEntry {
        source: Some(source.to_string()),
        property_id: property.map(ToString::to_string),
        entity_kind: Some(JOB_KIND.to_owned()),
        entity_id: Some(job.to_string()),
        ..entry
    };
    audit::append(tx, &[entry]).await?;
    Ok(JobRegistered::Now)
}

/// Whether a job is registered for exactly this. A property that is not named is one that the job already had.
async fn is_same(
    tx: &mut Tx,
    id: &str,
    registration: &Registration,
    property: Option<&PropertyId>,
) -> Result<bool, DbError> {
    let sql = format!("{SELECT} WHERE id = ?");
    let Some(row) = tx.query_one(&sql, params![id]).await? else {
        return Ok(false);
    };
    let job = whole(tx, read_job(&row)?).await?;
    Ok(job.details()? == Some(registration.details())
        && job.row.user_id == registration.user_id
        && property.is_none_or(|property| job.row.property_id.as_ref() == Some(property)))
}

/// A job with what its other tables have of it.
async fn whole(tx: &mut Tx, row: JobRow) -> Result<Job, DbError> {
    let sql = "SELECT result FROM job_results WHERE job = ?";
    let result = tx.query_one(sql, params![&row.id]).await?;
    let sql = "SELECT details FROM job_registrations WHERE job = ?";
    let details = tx.query_one(sql, params![&row.id]).await?;
    let sql =
        "SELECT digest, status, at, progress, error, received_at FROM job_updates WHERE job = ? LIMIT ?";
    let rows = tx
        .query(
            sql,
            params![&row.id, INTERMEDIATE_UPDATES_MAX + TERMINAL_UPDATES_MAX],
        )
        .await?;
    let history = match row.standing() {
        Some(standing) => history(&rows, &standing)?,
        None => Vec::new(),
    };
    Ok(Job {
        row,
        result: result.map(|row| row.get("result")).transpose()?,
        details: details.map(|row| row.get("details")).transpose()?,
        history,
    })
}

/// Updates of the same time follow by stage, then by digest.
fn history(rows: &[Row], standing: &Standing) -> Result<Vec<JobHistoryEntry>, DbError> {
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

fn read_job(row: &Row) -> Result<JobRow, DbError> {
    Ok(JobRow {
        id: row.get("id")?,
        source: read_id(row, "source_id")?,
        job_id: read_id(row, "job_id")?,
        property_id: read_optional_id(row, "property_id")?,
        user_id: row.get("user_id")?,
        status: read_id(row, "status")?,
        timestamp: row.get("standing_at")?,
        progress: row.get("progress")?,
        error: row.get("error")?,
        registered_at: row.get("registered_at")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        standing_digest: read_optional_id(row, "standing_digest")?,
    })
}

impl Job {
    /// What it has made.
    ///
    /// # Errors
    /// When the row is not what this program writes.
    pub fn result(&self) -> Result<Option<Map<String, Value>>, DbError> {
        object(self.result.as_deref(), "result")
    }

    /// What was asked for.
    ///
    /// # Errors
    /// As [`result`](Self::result).
    pub fn details(&self) -> Result<Option<Map<String, Value>>, DbError> {
        object(self.details.as_deref(), "details")
    }
}

fn object(text: Option<&[u8]>, column: &str) -> Result<Option<Map<String, Value>>, DbError> {
    let read = |text| serde_json::from_slice(text).map_err(|_| DbError::unreadable(column));
    text.map(read).transpose()
}
