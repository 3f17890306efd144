//! The night audit: a property's business date moves on by one day.
//!
//! It is never refused; it answers what should have happened by then and has not. It makes no event: its record is an
//! audit entry, in the same transaction.

use super::{Store, properties};
use crate::domain::audit_action::AuditAction;
use crate::domain::origin::Origin;
use crate::domain::property::Property;
use contract::{PropertyId, UnixMillis};
use db::{DbError, Tx, params};
use jiff::civil::Date;
use kit::{
    audit,
    idempotency::{Answer, Slot},
};
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};

/// How many overdue reservations are named; all are counted.
const NAMED_MAX: usize = 100;

/// A night audit that is asked for.
#[derive(Clone)]
pub struct NightAuditRequest {
    /// Whose day ends.
    pub property_id: PropertyId,
    /// When it was asked for.
    pub now: UnixMillis,
    /// The request, for the audit entry.
    pub origin: Origin,
    /// Where a retry finds the answer.
    pub slot: Slot,
    /// Makes the answer, inside the transaction: what was overdue is known only there.
    pub answer: Arc<dyn Fn(&NightAudit) -> Answer + Send + Sync>,
}

/// What a night audit did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NightAudit {
    /// Whose day ended.
    pub property_id: PropertyId,
    /// The property's version after it.
    pub version: u64,
    /// The day that ended.
    pub closed_date: Date,
    /// The day that began.
    pub business_date: Date,
    /// What was due on the closed day, or before, and has not happened.
    pub overdue: Overdue,
}

/// What has not happened when it was due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overdue {
    /// Confirmed stays whose guests have not arrived.
    pub due_in: Late,
    /// Checked-in guests who should have left.
    pub due_out: Late,
}

/// Reservations that are late: how many, and the first of them by date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Late {
    /// All of them.
    pub count: u64,
    /// At most 100.
    pub reservation_ids: Vec<String>,
}

impl Store {
    /// Moves the property's business date on by one day; none when there is no such property, or no next day.
    ///
    /// # Errors
    /// `Duplicate` when the slot was taken meanwhile. Otherwise those of the database.
    pub async fn night_audit(&self, request: NightAuditRequest) -> Result<Option<Answer>, DbError> {
        // What the last run did, for the look-up after an unknown commit.
        let last_run = Mutex::new(None);
        self.transaction(
            "night_audit",
            (request, last_run),
            |tx, (request, last_run)| {
                Box::pin(async move {
                    let audited = run(tx, request).await?;
                    if audited.is_none() {
                        tx.abandon();
                    }
                    *last_run.lock().unwrap_or_else(PoisonError::into_inner) = audited.clone();
                    Ok(audited.map(|(_, answer)| answer))
                })
            },
            |tx, (request, last_run)| {
                Box::pin(async move {
                    let audited = last_run.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    let Some((version, answer)) = audited else {
                        return Ok(None);
                    };
                    let there = is_recorded(tx, request, version).await?;
                    Ok(there.then_some(Some(answer)))
                })
            },
        )
        .await
    }
}

/// The version that the property has after it, and the answer.
async fn run(tx: &mut Tx, request: &NightAuditRequest) -> Result<Option<(u64, Answer)>, DbError> {
    let id = request.property_id.as_str();
    // Two audits at once take their turns here; so does every write that was decided on the business date.
    tx.execute(
        "UPDATE properties SET guard = guard + 1 WHERE id = ?",
        params![id],
    )
    .await?;
    let Some(before) = properties::find(tx, &request.property_id).await? else {
        return Ok(None);
    };
    let closed_date = before.business_date;
    let Ok(business_date) = closed_date.tomorrow() else {
        return Ok(None);
    };
    let property = Property {
        version: before.version + 1,
        business_date,
        updated_at: request.now,
        ..before
    };
    let audit = NightAudit {
        property_id: property.id.clone(),
        version: property.version,
        closed_date,
        business_date,
        overdue: Overdue {
            due_in: late(tx, id, "status = 'confirmed' AND check_in", closed_date).await?,
            due_out: late(tx, id, "status = 'checked_in' AND check_out", closed_date).await?,
        },
    };
    let answer = (request.answer)(&audit);
    request.slot.store(tx, &answer).await?;
    tx.execute(
        "UPDATE properties SET business_date = ?, version = ?, updated_at = ? WHERE id = ?",
        params![business_date.to_string(), property.version, request.now, id],
    )
    .await?;
    let changed = ["business_date"];
    let entry = properties::audit_entry(AuditAction::NightAudit, &property, &changed, &request.origin);
    audit::append(tx, &[entry]).await?;
    Ok(Some((property.version, answer)))
}

/// The reservations of a property whose date of this kind was due by the end of a day.
async fn late(tx: &mut Tx, property: &str, due: &str, day: Date) -> Result<Late, DbError> {
    let condition = format!("property_id = ? AND deleted_at IS NULL AND {due} <= ?");
    let params = || params![property, day.to_string()];
    let count = tx
        .query_one(
            &format!("SELECT COUNT(*) AS n FROM reservations WHERE {condition}"),
            params(),
        )
        .await?;
    let count: u64 = count.map_or(Ok(0), |row| row.get("n"))?;
    if count == 0 {
        return Ok(Late {
            count,
            reservation_ids: Vec::new(),
        });
    }
    let first = tx
        .query(
            &format!("SELECT id FROM reservations WHERE {condition} ORDER BY check_in, id LIMIT {NAMED_MAX}"),
            params(),
        )
        .await?;
    Ok(Late {
        count,
        reservation_ids: first.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?,
    })
}

/// Whether this very request's audit is in the log.
async fn is_recorded(tx: &mut Tx, request: &NightAuditRequest, version: u64) -> Result<bool, DbError> {
    let row = tx
        .query_one(
            "SELECT id FROM audit_entries WHERE entity_kind = 'property' AND entity_id = ? AND entity_version = ?
                 AND request_id = ? AND action = 'night_audit'",
            params![
                request.property_id.as_str(),
                version,
                request.origin.request_id.as_str()
            ],
        )
        .await?;
    Ok(row.is_some())
}
