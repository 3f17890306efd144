//! Properties, which are the hotels: read one, list them, make and change one, each write with its audit entry.

use super::Store;
use crate::domain::audit_action::AuditAction;
use crate::domain::origin::Origin;
use crate::domain::property::{Property, timezone};
use api::ListQuery;
use contract::{PropertyId, UnixMillis, parse_date};
use db::params;
use db::{DbError, Params, Row, Statement, Tx};
use kit::audit::{self, AuditEntry};
use kit::idempotency::{Answer, Slot};
use kit::listing::{Listing, Order, Reading, Rows, Table};
use std::sync::Arc;

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

/// The properties where a condition holds, for [`read`].
pub(super) fn question(condition: &str, params: Params) -> Statement {
    Statement::query(format!("{SELECT} WHERE {condition}"), params)
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
    pub async fn properties(&self, query: &ListQuery) -> Result<Rows<Property>, DbError> {
        let mut listing = Listing::of(&PROPERTIES);
        listing.between(None, "updated_at", query.updated_since, None::<i64>);
        let reading = Reading {
            name: "list_properties",
            select: SELECT,
            read,
        };
        self.lists.find(listing, query, reading).await
    }

    /// Writes a new property, its audit entry, and the answer under its idempotency key.
    ///
    /// # Errors
    /// The database's; `Duplicate` when the idempotency key is taken.
    pub async fn create_property(
        &self,
        property: Property,
        origin: &Origin,
        answer: Answer,
        slot: Slot,
    ) -> Result<PropertyWritten, DbError> {
        let entry = audit_entry(
            AuditAction::PropertyCreated,
            &property,
            property.created_at,
            origin,
        );
        let work = Arc::new((property, entry, answer, slot));
        let written = Arc::clone(&work);
        self.db
            .transaction_or_find(
                "create_property",
                move |tx| {
                    let work = Arc::clone(&work);
                    Box::pin(async move {
                        let (property, entry, answer, slot) = &*work;
                        slot.store(tx, answer).await?;
                        match insert(tx, property).await {
                            Err(DbError::Duplicate) => {
                                tx.abandon();
                                return Ok(PropertyWritten::Taken);
                            }
                            other => other?,
                        }
                        audit::append(tx, std::slice::from_ref(entry)).await?;
                        Ok(PropertyWritten::Committed)
                    })
                },
                move |tx| {
                    let written = Arc::clone(&written);
                    Box::pin(async move { found(tx, &written.0).await })
                },
            )
            .await
    }

    /// Writes a property's next version, guarded by the one before it, and its audit entry.
    ///
    /// # Errors
    /// The database's.
    pub async fn change_property(
        &self,
        before: &Property,
        property: Property,
        origin: &Origin,
    ) -> Result<PropertyWritten, DbError> {
        let changed = before.differences(&property).into_iter();
        let entry = AuditEntry {
            changed: changed.map(str::to_owned).collect(),
            ..audit_entry(
                AuditAction::PropertyUpdated,
                &property,
                property.updated_at,
                origin,
            )
        };
        let work = Arc::new((property, entry));
        let written = Arc::clone(&work);
        self.db
            .transaction_or_find(
                "change_property",
                move |tx| {
                    let work = Arc::clone(&work);
                    Box::pin(async move {
                        let (property, entry) = &*work;
                        if !update(tx, property).await? {
                            tx.abandon();
                            return Ok(PropertyWritten::Overtaken);
                        }
                        audit::append(tx, std::slice::from_ref(entry)).await?;
                        Ok(PropertyWritten::Committed)
                    })
                },
                move |tx| {
                    let written = Arc::clone(&written);
                    Box::pin(async move { found(tx, &written.0).await })
                },
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

async fn insert(tx: &mut Tx, property: &Property) -> Result<(), DbError> {
    tx.execute(
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
    .await
    .map(drop)
}

/// The business date is not written: only the night audit moves it, with a version of its own.
async fn update(tx: &mut Tx, property: &Property) -> Result<bool, DbError> {
    let matched = tx
        .execute(
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
        .await?;
    Ok(matched == 1)
}

fn audit_entry(action: AuditAction, property: &Property, at: UnixMillis, origin: &Origin) -> AuditEntry {
    AuditEntry {
        property_id: Some(property.id.to_string()),
        entity_kind: Some("property".to_owned()),
        entity_id: Some(property.id.to_string()),
        entity_version: i64::try_from(property.version).ok(),
        correlation_id: Some(origin.correlation_id.to_string()),
        request_id: Some(origin.request_id.to_string()),
        ..AuditEntry::new(action, at)
    }
}

/// After an unknown commit: whether the row is what would have been written.
async fn found(tx: &mut Tx, written: &Property) -> Result<Option<PropertyWritten>, DbError> {
    let stored = find(tx, &written.id).await?;
    Ok((stored.as_ref() == Some(written)).then_some(PropertyWritten::Committed))
}

pub(super) fn read(row: &Row) -> Result<Property, DbError> {
    let wrong = |column: &str, expected| DbError::Decode {
        column: column.to_owned(),
        expected,
    };
    let text = |column: &str| row.get::<String>(column);
    Ok(Property {
        id: text("id")?.parse().map_err(|_| wrong("id", "property id"))?,
        version: row.get("version")?,
        name: text("name")?,
        timezone: timezone(&text("timezone")?).ok_or_else(|| wrong("timezone", "IANA time zone"))?,
        currency: text("currency")?
            .parse()
            .map_err(|_| wrong("currency", "ISO 4217 currency"))?,
        business_date: parse_date(&text("business_date")?).ok_or_else(|| wrong("business_date", "date"))?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}
