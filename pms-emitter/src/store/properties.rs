//! Properties, which are the hotels: read one, list them, make and change one, each write with its audit entry.

use super::Store;
use crate::domain::audit_action::AuditAction;
use crate::domain::origin::Origin;
use crate::domain::property::{Property, timezone};
use api::ListQuery;
use contract::{PropertyId, Scope, UnixMillis};
use db::params;
use db::{DbError, Row, Statement, Tx, read_id};
use kit::audit::{self, AuditEntry};
use kit::idempotency::{Answer, Slot};
use kit::listing::{Listing, Order, Reading, Rows, Table};

const SELECT: &str = "SELECT id, version, name, timezone, currency, business_date, created_at, updated_at \
                      FROM properties";

/// The table as it is listed.
const PROPERTIES: Table = Table {
    name: "properties",
    id: "id",
    orders: &[Order {
        field: "created_at",
        column: "created_at",
        index: "properties_created",
    }],
};

/// A new property, or a property's next version, that is about to be committed.
#[derive(Clone, Debug)]
pub struct PropertyWrite {
    /// The version before it; none when the property is new.
    pub before: Option<Property>,
    /// What it becomes.
    pub property: Property,
    /// The request, for the audit entry.
    pub origin: Origin,
    /// Where a retry finds the answer.
    pub slot: Slot,
    /// What the client is answered.
    pub answer: Answer,
}

/// How writing a property ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyWritten {
    /// It is committed.
    Committed,
    /// Another commit came first: nothing was written.
    Overtaken,
    /// Another property has this id: nothing was written.
    Taken,
}

/// The property of an id, in a transaction.
///
/// # Errors
/// The database's.
pub(crate) async fn find(tx: &mut Tx, id: &PropertyId) -> Result<Option<Property>, DbError> {
    let row = tx
        .query_one(&format!("{SELECT} WHERE id = ?"), params![id.as_str()])
        .await?;
    row.as_ref().map(read).transpose()
}

/// A row of a table, as `query` finds it by its id and `read_row` reads it, with the property that it belongs to.
pub(super) async fn find_with_property<T>(
    tx: &mut Tx,
    table: &str,
    id: &str,
    query: String,
    read_row: fn(&Row) -> Result<T, DbError>,
) -> Result<Option<(T, Property)>, DbError> {
    let property = format!("{SELECT} WHERE id = (SELECT property_id FROM {table} WHERE id = ?)");
    let queries = [query, property].map(|sql| Statement::query(sql, params![id]));
    let answers = tx.run(&queries).await.all()?;
    let (Some(row), Some(property)) = (answers[0].row(), answers[1].row()) else {
        return Ok(None);
    };
    Ok(Some((read_row(row)?, read(property)?)))
}

impl Store {
    /// The property of an id.
    ///
    /// # Errors
    /// The database's.
    pub async fn property(&self, id: &PropertyId) -> Result<Option<Property>, DbError> {
        let id = id.clone();
        self.db
            .read("find_property", move |tx| {
                let id = id.clone();
                Box::pin(async move { find(tx, &id).await })
            })
            .await
    }

    /// The properties of one page.
    ///
    /// # Errors
    /// The database's.
    pub async fn properties(&self, scope: &Scope, query: &ListQuery) -> Result<Rows<Property>, DbError> {
        let mut listing = Listing::of(&PROPERTIES);
        listing.within("id", scope);
        listing.between(None, "updated_at", query.updated_since, None::<i64>);
        let reading = Reading {
            name: "list_properties",
            select: SELECT,
            read,
        };
        self.lists.find(listing, query, reading).await
    }

    /// Writes a new property, or a property's next version, guarded by the one before it, with its audit entry and the answer
    /// under its idempotency key.
    ///
    /// # Errors
    /// The database's; `Duplicate` when the idempotency key is taken.
    pub async fn write_property(&self, write: PropertyWrite) -> Result<PropertyWritten, DbError> {
        let name = if write.before.is_some() {
            "change_property"
        } else {
            "create_property"
        };
        self.transaction(
            name,
            write,
            |tx, write| Box::pin(commit(tx, write)),
            |tx, write| Box::pin(find_committed(tx, write)),
        )
        .await
    }

    /// Gives the default property of a fresh database its first business date: today in its zone, which is UTC.
    ///
    /// # Errors
    /// The database's.
    pub async fn open_default_property(&self, now: UnixMillis) -> Result<(), DbError> {
        let today = now.date_in(&jiff::tz::TimeZone::UTC).to_string();
        self.db
            .transaction("open_default_property", move |tx| {
                let today = today.clone();
                Box::pin(async move {
                    tx.execute(
                        "UPDATE properties SET business_date = ?, created_at = ?, updated_at = ?
                         WHERE business_date IS NULL",
                        params![today, now, now],
                    )
                    .await
                    .map(drop)
                })
            })
            .await
    }
}

async fn commit(tx: &mut Tx, write: &PropertyWrite) -> Result<PropertyWritten, DbError> {
    let property = &write.property;
    let (statement, action, changed) = match &write.before {
        None => (insert(property), AuditAction::PropertyCreated, Vec::new()),
        Some(before) => (
            update(property),
            AuditAction::PropertyUpdated,
            before.differences(property),
        ),
    };
    let entry = audit_entry(action, property, &changed, &write.origin);
    let statements = std::iter::once(statement).chain(audit::statement(&[entry]));
    let ran = write.slot.run(tx, &write.answer, statements.collect()).await?;
    if ran.matched_none(0) {
        tx.abandon();
        return Ok(PropertyWritten::Overtaken);
    }
    if ran.outcomes.is_empty() && ran.error == Some(DbError::Duplicate) {
        tx.abandon();
        return Ok(PropertyWritten::Taken);
    }
    ran.all()?;
    Ok(PropertyWritten::Committed)
}

/// After an unknown commit: whether the row is what would have been written.
async fn find_committed(tx: &mut Tx, write: &PropertyWrite) -> Result<Option<PropertyWritten>, DbError> {
    let stored = find(tx, &write.property.id).await?;
    Ok((stored.as_ref() == Some(&write.property)).then_some(PropertyWritten::Committed))
}

fn insert(property: &Property) -> Statement {
    Statement::change(
        "INSERT INTO properties
             (id, version, guard, name, timezone, currency, business_date, created_at, updated_at)
         VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?)",
        params![
            property.id.as_str(),
            property.version,
            &property.name,
            property.timezone_name(),
            property.currency.code(),
            property.business_date.to_string(),
            property.created_at,
            property.updated_at
        ],
    )
}

/// The business date is not written: only the night audit moves it, with a version of its own.
fn update(property: &Property) -> Statement {
    Statement::change(
        "UPDATE properties SET version = ?, name = ?, timezone = ?, currency = ?, updated_at = ?
         WHERE id = ? AND version = ?",
        params![
            property.version,
            &property.name,
            property.timezone_name(),
            property.currency.code(),
            property.updated_at,
            property.id.as_str(),
            property.version - 1
        ],
    )
}

/// The audit entry of a property's last change.
pub(super) fn audit_entry(
    action: AuditAction,
    property: &Property,
    changed: &[&str],
    origin: &Origin,
) -> AuditEntry {
    AuditEntry {
        property_id: Some(property.id.to_string()),
        entity_kind: Some("property".to_owned()),
        entity_id: Some(property.id.to_string()),
        entity_version: i64::try_from(property.version).ok(),
        changed: changed.iter().map(|name| (*name).to_owned()).collect(),
        actor: Some(origin.actor.clone()),
        correlation_id: Some(origin.correlation_id.to_string()),
        request_id: Some(origin.request_id.to_string()),
        ..AuditEntry::new(action, property.updated_at)
    }
}

fn read(row: &Row) -> Result<Property, DbError> {
    let zone: String = row.get("timezone")?;
    Ok(Property {
        id: read_id(row, "id")?,
        version: row.get("version")?,
        name: row.get("name")?,
        timezone: timezone(&zone).ok_or_else(|| DbError::unreadable("timezone"))?,
        currency: read_id(row, "currency")?,
        business_date: read_id(row, "business_date")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}
