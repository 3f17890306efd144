//! The table `job_registrations`: what was asked for, by those who registered a job.

use super::{
    Store,
    jobs::{find, hold, row_id},
};
use crate::job::{JOB_KIND, Registration};
use contract::PropertyId;
use db::{DbError, Tx, params};
use kit::audit::{self, AuditEntry};

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

impl Store {
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
    let Some(job) = find(tx, id).await? else {
        return Ok(false);
    };
    Ok(job.details()? == Some(registration.details())
        && job.row.user_id == registration.user_id
        && property.is_none_or(|property| job.row.property_id.as_ref() == Some(property)))
}
