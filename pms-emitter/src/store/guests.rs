//! Guest records. Every write is one transaction of the record, its external ids and its event.

use super::{NewEvent, Store, outbox, reservation_guests::guest_in_use};
use crate::domain::change::Change;
use crate::domain::guest::{Guest, GuestDetails, GuestStatus};
use crate::domain::phone::Phone;
use contract::{EventId, GuestId};
use futures::future::BoxFuture;
use kit::db::{DbError, Params, Row, Tx};
use kit::failpoint;
use kit::fold::fold_for_search;
use kit::idempotency::{Answer, Slot};
use kit::params;
use std::sync::Arc;

pub(super) const SELECT: &str = "SELECT id, property_id, version, status, merged_into, body, last_name_folded, \
                      created_at, updated_at, deleted_at FROM guests";

/// How much of a folded last name is searched and sorted by, in characters; its column is as wide.
const FOLDED_LEN_MAX: usize = 200;

/// How writing a guest ended. Only `Committed` wrote anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestWritten {
    /// The record and its event are committed.
    Committed,
    /// Another commit came first, or the record is not active any more.
    Overtaken,
    /// Another guest of the property has this external id.
    Taken {
        /// Its place in the list.
        index: usize,
    },
    /// It has a stay in house or ahead.
    InUse,
}

impl Store {
    /// The guest of an id, in any status.
    ///
    /// # Errors
    /// The database's.
    pub async fn guest(&self, id: &GuestId) -> Result<Option<Guest>, DbError> {
        let id = id.clone();
        self.db
            .read("find_guest", move |tx| {
                let id = id.clone();
                Box::pin(async move {
                    let sql = format!("{SELECT} WHERE id = ?");
                    let row = tx.query_one(&sql, params![id.as_str()]).await?;
                    row.as_ref().map(read).transpose()
                })
            })
            .await
    }

    /// Writes a new guest with its event, and the answer under its idempotency key.
    ///
    /// # Errors
    /// The database's; `Duplicate` when the idempotency key is taken.
    pub async fn create_guest(
        &self,
        change: Change<Guest>,
        event: NewEvent,
        answer: Answer,
        slot: Slot,
    ) -> Result<GuestWritten, DbError> {
        let event_id = event.id.clone();
        let work = Arc::new((change, event, answer, slot));
        self.write_guest("create_guest", event_id, move |tx| {
            let work = Arc::clone(&work);
            Box::pin(async move {
                let (change, event, answer, slot) = &*work;
                slot.store(tx, answer).await?;
                insert(tx, &change.state).await?;
                write_external_ids_and_event(tx, &change.state, event).await
            })
        })
        .await
    }

    /// Writes a guest's next version, guarded by the one before it, with its event.
    ///
    /// # Errors
    /// The database's.
    pub async fn change_guest(
        &self,
        change: Change<Guest>,
        event: NewEvent,
    ) -> Result<GuestWritten, DbError> {
        let event_id = event.id.clone();
        let work = Arc::new((change, event));
        self.write_guest("change_guest", event_id, move |tx| {
            let work = Arc::clone(&work);
            Box::pin(async move {
                let (change, event) = &*work;
                let guest = &change.state;
                if !update(tx, guest).await? {
                    tx.abandon();
                    return Ok(GuestWritten::Overtaken);
                }
                if !change.changed.contains(&"external_ids") {
                    outbox::append(tx, event).await?;
                    return Ok(GuestWritten::Committed);
                }
                delete_external_ids(tx, &guest.id).await?;
                write_external_ids_and_event(tx, guest, event).await
            })
        })
        .await
    }

    /// Writes a guest's deletion, guarded by the version before it, with its event; its external ids become free.
    ///
    /// The row is written first and the stays are looked at then: whoever books for the guest writes the row too, so
    /// the later of the two sees what the earlier one did.
    ///
    /// # Errors
    /// The database's.
    pub async fn delete_guest(
        &self,
        change: Change<Guest>,
        event: NewEvent,
    ) -> Result<GuestWritten, DbError> {
        let event_id = event.id.clone();
        let work = Arc::new((change, event));
        self.write_guest("delete_guest", event_id, move |tx| {
            let work = Arc::clone(&work);
            Box::pin(async move {
                let (change, event) = &*work;
                let guest = &change.state;
                if !update(tx, guest).await? {
                    tx.abandon();
                    return Ok(GuestWritten::Overtaken);
                }
                if guest_in_use(tx, &guest.id).await? {
                    tx.abandon();
                    return Ok(GuestWritten::InUse);
                }
                delete_external_ids(tx, &guest.id).await?;
                outbox::append(tx, event).await?;
                Ok(GuestWritten::Committed)
            })
        })
        .await
    }

    /// One transaction, which after an unknown commit is looked up by its event.
    async fn write_guest<F>(
        &self,
        name: &'static str,
        event_id: EventId,
        write: F,
    ) -> Result<GuestWritten, DbError>
    where
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<GuestWritten, DbError>> + Send + Sync + 'static,
    {
        failpoint::reached("write.begin");
        let written = self.db.transaction_or_find(name, write, move |tx| {
            let event_id = event_id.clone();
            Box::pin(async move {
                let there = outbox::contains(tx, &event_id).await?;
                Ok(there.then_some(GuestWritten::Committed))
            })
        });
        let written = written.await;
        failpoint::reached("write.committed");
        written
    }
}

/// The columns that are searched by, and the body, in the order of both statements.
fn columns(guest: &Guest) -> Params {
    let details = &guest.details;
    let folded: String = fold_for_search(&details.last_name)
        .chars()
        .take(FOLDED_LEN_MAX)
        .collect();
    params![
        guest.version,
        guest.status.as_str(),
        guest.merged_into.as_ref().map(GuestId::as_str),
        folded,
        details.email.as_ref().map(|email| email.as_str().to_lowercase()),
        details.phone.as_ref().map(Phone::as_str),
        details.vip_level,
        details.blacklisted,
        serde_json::to_string(details).expect("details always serialise"),
        guest.updated_at,
        guest.deleted_at
    ]
}

async fn insert(tx: &mut Tx, guest: &Guest) -> Result<(), DbError> {
    let mut params = columns(guest);
    params.extend(params![
        guest.id.as_str(),
        guest.property_id.as_str(),
        guest.created_at
    ]);
    tx.execute(
        "INSERT INTO guests (version, status, merged_into, last_name_folded, email, phone, vip_level, blacklisted,
             body, updated_at, deleted_at, id, property_id, created_at, guard)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
        params,
    )
    .await
    .map(drop)
}

/// Whether the version before this one stood there, active.
async fn update(tx: &mut Tx, guest: &Guest) -> Result<bool, DbError> {
    let mut params = columns(guest);
    params.extend(params![guest.id.as_str(), guest.version - 1]);
    let matched = tx
        .execute(
            "UPDATE guests SET version = ?, status = ?, merged_into = ?, last_name_folded = ?, email = ?, phone = ?,
                 vip_level = ?, blacklisted = ?, body = ?, updated_at = ?, deleted_at = ?
             WHERE id = ? AND version = ? AND status = 'active'",
            params,
        )
        .await?;
    Ok(matched == 1)
}

async fn delete_external_ids(tx: &mut Tx, guest: &GuestId) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM guest_external_ids WHERE guest_id = ?",
        params![guest.as_str()],
    )
    .await
    .map(drop)
}

async fn write_external_ids_and_event(
    tx: &mut Tx,
    guest: &Guest,
    event: &NewEvent,
) -> Result<GuestWritten, DbError> {
    for (index, id) in guest.details.external_ids.iter().enumerate() {
        let written = tx
            .execute(
                "INSERT INTO guest_external_ids (property_id, system_name, external_id, guest_id)
                 VALUES (?, ?, ?, ?)",
                params![
                    guest.property_id.as_str(),
                    &id.system,
                    &id.value,
                    guest.id.as_str()
                ],
            )
            .await;
        match written {
            Err(DbError::Duplicate) => {
                tx.abandon();
                return Ok(GuestWritten::Taken { index });
            }
            other => other?,
        };
    }
    outbox::append(tx, event).await?;
    Ok(GuestWritten::Committed)
}

pub(super) fn read(row: &Row) -> Result<Guest, DbError> {
    let wrong = |column: &str, expected| DbError::Decode {
        column: column.to_owned(),
        expected,
    };
    let text = |column: &str| row.get::<String>(column);
    let merged_into = row.get::<Option<String>>("merged_into")?;
    Ok(Guest {
        id: text("id")?.parse().map_err(|_| wrong("id", "guest id"))?,
        property_id: text("property_id")?
            .parse()
            .map_err(|_| wrong("property_id", "property id"))?,
        version: row.get("version")?,
        status: GuestStatus::parse(&text("status")?).ok_or_else(|| wrong("status", "guest status"))?,
        merged_into: merged_into
            .map(|id| id.parse())
            .transpose()
            .map_err(|_| wrong("merged_into", "guest id"))?,
        details: serde_json::from_str::<GuestDetails>(&text("body")?)
            .map_err(|_| wrong("body", "guest's details"))?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        deleted_at: row.get("deleted_at")?,
    })
}
