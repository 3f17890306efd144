//! The table `jobs`, with what stands of each, and jobs as they are read: with their updates (`job_updates`) and with what was
//! asked for (`job_registrations`).

use super::{
    Store,
    job_updates::{JobHistoryEntry, history},
};
use crate::job::{JobStatus, Standing};
use api::ListQuery;
use contract::{JobId, PropertyId, Scope, SourceId, UnixMillis, id::IdempotencyKey};
use db::{DbError, InList, Row, Tx, params, read_id, read_optional_id};
use kit::listing::{Listing, Order, Reading, Rows, Table};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

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
pub(super) fn row_id(source: &SourceId, job: &JobId) -> String {
    let digest = Sha256::new()
        .chain_update(source.as_str())
        .chain_update([0])
        .chain_update(job.as_str())
        .finalize();
    format!("job_{}", data_encoding::BASE64URL_NOPAD.encode(&digest))
}

/// Makes the job's row if it is not there, and holds it until the commit.
pub(super) async fn hold(
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

/// What stands of a job; None until something comes.
pub(super) async fn stands(tx: &mut Tx, id: &str) -> Result<Option<Standing>, DbError> {
    Ok(row(tx, id).await?.and_then(|job| job.standing()))
}

/// The job of a row.
pub(super) async fn find(tx: &mut Tx, id: &str) -> Result<Option<Job>, DbError> {
    match row(tx, id).await? {
        Some(row) => Ok(Some(whole(tx, row).await?)),
        None => Ok(None),
    }
}

async fn row(tx: &mut Tx, id: &str) -> Result<Option<JobRow>, DbError> {
    let sql = format!("{SELECT} WHERE id = ?");
    let row = tx.query_one(&sql, params![id]).await?;
    row.as_ref().map(read_job).transpose()
}

/// A job with what its other tables have of it.
async fn whole(tx: &mut Tx, row: JobRow) -> Result<Job, DbError> {
    let sql = "SELECT result FROM job_results WHERE job = ?";
    let result = tx.query_one(sql, params![&row.id]).await?;
    let sql = "SELECT details FROM job_registrations WHERE job = ?";
    let details = tx.query_one(sql, params![&row.id]).await?;
    let history = match row.standing() {
        Some(standing) => history(tx, &row.id, &standing).await?,
        None => Vec::new(),
    };
    Ok(Job {
        row,
        result: result.map(|row| row.get("result")).transpose()?,
        details: details.map(|row| row.get("details")).transpose()?,
        history,
    })
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
