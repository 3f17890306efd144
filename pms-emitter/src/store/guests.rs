//! Guest records: read one, list them, write them. Every write is one transaction of the record, its external ids, the words
//! of its names and its event.

use super::{
    NewEvent, Store, changed_columns::changed_columns, guest_names, outbox, properties::find_with_property,
    reservation_guests::guest_in_use,
};
use crate::domain::change::Change;
use crate::domain::guest::{ExternalId, Guest, GuestStatus};
use crate::domain::property::Property;
use api::ListQuery;
use contract::{GuestId, Phone, PropertyId, Scope};
use db::params;
use db::{DbError, Params, Row, Statement, Tx, read_id, read_optional_id};
use kit::fold::words::TypedWord;
use kit::idempotency::{Answer, Slot};
use kit::listing::begins_with_any;
use kit::listing::{Index, Link, Listing, Order, Reading, Rows, Table};

pub(super) const SELECT: &str = "SELECT id, property_id, version, status, merged_into, body, last_name_folded, \
                      created_at, updated_at, deleted_at FROM guests";

/// The table as it is listed.
const GUESTS: Table = Table {
    name: "guests",
    id: "id",
    orders: &[
        Order {
            field: "created_at",
            column: "created_at",
            index: "guests_created",
        },
        Order {
            field: "updated_at",
            column: "updated_at",
            index: "guests_updated",
        },
        Order {
            field: "last_name",
            column: "last_name_folded",
            index: "guests_last_name",
        },
    ],
};

const EXTERNAL_IDS: Link = Link {
    table: "guest_external_ids",
    id: "guest_id",
    by_value: Index::Primary,
    by_row: Index::Named("guest_external_ids_guest"),
};

const NAME_WORDS: Link = Link {
    table: "guest_name_words",
    id: "guest_id",
    by_value: Index::Primary,
    by_row: Index::Named("guest_name_words_guest"),
};

/// What a list of guests is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct GuestFilter {
    /// In this status; without it, everything but deleted and erased.
    pub status: Option<GuestStatus>,
    /// Of this property.
    pub property_id: Option<PropertyId>,
    /// With this address, in any letter case.
    pub email: Option<String>,
    /// With this number.
    pub phone: Option<String>,
    /// Whose last names have all of these words.
    pub last_name: Vec<TypedWord>,
    /// With this id (system, value) in another system.
    pub external_id: Option<(String, String)>,
    /// Of this level.
    pub vip_level: Option<u8>,
    /// Blacklisted or not.
    pub blacklisted: Option<bool>,
    /// Of these properties.
    pub scope: Scope,
}

/// A new guest, or a guest's next version, that is about to be committed.
#[derive(Clone, Debug)]
pub struct GuestWrite {
    /// The version before it; none when the guest is new.
    pub before: Option<Guest>,
    /// What it was decided to become.
    pub change: Change<Guest>,
    /// The event of the change.
    pub event: NewEvent,
    /// Where a retry finds the answer.
    pub slot: Slot,
    /// What the client is answered.
    pub answer: Answer,
}

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
    /// It has a stay that is going on or lies ahead.
    InUse,
}

impl Store {
    /// The guest of an id, in any status, with its property.
    ///
    /// # Errors
    /// The database's.
    pub async fn guest(&self, id: &GuestId) -> Result<Option<(Guest, Property)>, DbError> {
        let id = id.clone();
        self.db
            .read("find_guest", move |tx| Box::pin(find(tx, id.clone())))
            .await
    }

    /// The guests of one page.
    ///
    /// # Errors
    /// The database's.
    pub async fn guests(&self, filter: &GuestFilter, query: &ListQuery) -> Result<Rows<Guest>, DbError> {
        let reading = Reading {
            name: "list_guests",
            select: SELECT,
            read,
        };
        self.lists.find(filter.listing(query), query, reading).await
    }

    /// Writes a new guest, or a guest's next version, guarded by the one before it, with its event and the answer under its
    /// idempotency key.
    ///
    /// # Errors
    /// The database's; `Duplicate` when the idempotency key is taken.
    pub async fn write_guest(&self, write: GuestWrite) -> Result<GuestWritten, DbError> {
        let name = if write.before.is_some() {
            "change_guest"
        } else {
            "create_guest"
        };
        let (event, committed) = (write.event.id.clone(), GuestWritten::Committed);
        self.write_with_event(name, event, committed, write, |tx, write| {
            Box::pin(commit(tx, write))
        })
        .await
    }

    /// Writes a guest's deletion, guarded by the version before it, with its event; its external ids become free.
    ///
    /// The row is written first and the stays are looked at then: anyone who books for the guest writes the row too, so
    /// the later of the two sees what the earlier one did.
    ///
    /// # Errors
    /// The database's.
    pub async fn delete_guest(
        &self,
        before: Guest,
        change: Change<Guest>,
        event: NewEvent,
    ) -> Result<GuestWritten, DbError> {
        let (id, committed) = (event.id.clone(), GuestWritten::Committed);
        let work = (before, change.state, event);
        self.write_with_event(
            "delete_guest",
            id,
            committed,
            work,
            |tx, (before, guest, event)| Box::pin(delete(tx, before, guest, event)),
        )
        .await
    }
}

impl GuestFilter {
    fn listing(&self, query: &ListQuery) -> Listing {
        let mut listing = Listing::of(&GUESTS);
        match self.status {
            Some(status) => listing.equal("status", Some(status.as_str())),
            None => listing.require("status NOT IN ('deleted', 'erased')", Params::new()),
        }
        listing.within("property_id", &self.scope);
        listing.equal("property_id", self.property_id.as_ref().map(PropertyId::as_str));
        listing.equal_by("guests_email", "email", self.email.as_ref());
        listing.equal_by("guests_phone", "phone", self.phone.as_ref());
        for word in &self.last_name {
            let (begins, params) = begins_with_any("", "word", word);
            listing.linked(NAME_WORDS, begins, params);
        }
        listing.equal("vip_level", self.vip_level);
        listing.equal("blacklisted", self.blacklisted);
        if let Some((system, value)) = &self.external_id {
            let condition = "system_name = ? AND external_id = ?";
            listing.linked(EXTERNAL_IDS, condition, params![system, value]);
        }
        let none = None::<i64>;
        listing.between(Some("guests_updated"), "updated_at", query.updated_since, none);
        listing
    }
}

/// The columns that a change may write: those that are searched by, and the body.
const COLUMNS: [&str; 11] = [
    "version",
    "status",
    "merged_into",
    "last_name_folded",
    "email",
    "phone",
    "vip_level",
    "blacklisted",
    "body",
    "updated_at",
    "deleted_at",
];

/// The values of [`COLUMNS`], in their order.
fn columns(guest: &Guest) -> Params {
    let details = &guest.details;
    params![
        guest.version,
        guest.status.as_str(),
        guest.merged_into.as_ref().map(GuestId::as_str),
        guest_names::folded(details),
        details.email.as_ref().map(|email| email.as_str().to_lowercase()),
        details.phone.as_ref().map(Phone::as_str),
        details.vip_level,
        details.blacklisted,
        serde_json::to_string(details).expect("details always serialise"),
        guest.updated_at,
        guest.deleted_at
    ]
}

fn insert(guest: &Guest) -> Statement {
    let mut params = columns(guest);
    params.extend(params![
        guest.id.as_str(),
        guest.property_id.as_str(),
        guest.created_at
    ]);
    Statement::change(
        "INSERT INTO guests (version, status, merged_into, last_name_folded, email, phone, vip_level, blacklisted,
             body, updated_at, deleted_at, id, property_id, created_at, guard)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
        params,
    )
}

/// Writes what differs, so that the indexes of other columns stay as they are. Matches nothing unless the version before
/// this one stands there, active.
fn update(before: &Guest, guest: &Guest) -> Statement {
    let (set, mut params) = changed_columns(&COLUMNS, &columns(before), columns(guest));
    params.extend(params![guest.id.as_str(), guest.version - 1]);
    let sql = format!("UPDATE guests SET {set} WHERE id = ? AND version = ? AND status = 'active'");
    Statement::change(sql, params)
}

async fn find(tx: &mut Tx, id: GuestId) -> Result<Option<(Guest, Property)>, DbError> {
    let query = format!("{SELECT} WHERE id = ?");
    find_with_property(tx, "guests", id.as_str(), query, read).await
}

/// Writes of a row what differs, and of the external ids those that do.
async fn commit(tx: &mut Tx, write: &GuestWrite) -> Result<GuestWritten, DbError> {
    let Change {
        state: guest,
        changed,
        ..
    } = &write.change;
    let (mut statements, ids, names) = match &write.before {
        None => (
            vec![insert(guest)],
            &[][..],
            Vec::from_iter(guest_names::insert(guest)),
        ),
        Some(before) => (
            vec![update(before, guest)],
            before.details.external_ids.as_slice(),
            guest_names::replace(guest, changed),
        ),
    };
    let added = external_ids(guest, ids, &mut statements);
    statements.extend(names);
    statements.extend(outbox::statements(&write.event));
    let ran = write.slot.run(tx, &write.answer, statements).await?;
    if ran.matched_none(0) {
        return Ok(GuestWritten::Overtaken);
    }
    let failed = added
        .iter()
        .find(|(statement, _)| *statement == ran.outcomes.len());
    match (ran.error, failed) {
        (None, _) => Ok(GuestWritten::Committed),
        (Some(DbError::Duplicate), Some((_, index))) => Ok(GuestWritten::Taken { index: *index }),
        (Some(error), _) => Err(error),
    }
}

async fn delete(
    tx: &mut Tx,
    before: &Guest,
    guest: &Guest,
    event: &NewEvent,
) -> Result<GuestWritten, DbError> {
    let ran = tx.run(&[update(before, guest)]).await.all()?;
    if ran[0].matched == 0 {
        return Ok(GuestWritten::Overtaken);
    }
    if guest_in_use(tx, &guest.id).await? {
        return Ok(GuestWritten::InUse);
    }
    let mut statements = vec![delete_external_ids(&guest.id)];
    statements.extend(outbox::statements(event));
    tx.run(&statements).await.all()?;
    Ok(GuestWritten::Committed)
}

fn delete_external_ids(guest: &GuestId) -> Statement {
    let sql = "DELETE FROM guest_external_ids WHERE guest_id = ?";
    Statement::change(sql, params![guest.as_str()])
}

/// Adds the statements that make the rows of external ids those of the guest, where `before` stood: those that were removed or
/// added are written, the others are not touched. Answers for each that was added the index of its statement, and its own in
/// the guest's list.
fn external_ids(
    guest: &Guest,
    before: &[ExternalId],
    statements: &mut Vec<Statement>,
) -> Vec<(usize, usize)> {
    let after = &guest.details.external_ids;
    for removed in before.iter().filter(|id| !after.contains(id)) {
        statements.push(Statement::change(
            "DELETE FROM guest_external_ids
             WHERE system_name = ? AND external_id = ? AND property_id = ? AND guest_id = ?",
            params![
                &removed.system,
                &removed.value,
                guest.property_id.as_str(),
                guest.id.as_str()
            ],
        ));
    }
    let mut added = Vec::new();
    for (index, id) in after.iter().enumerate().filter(|(_, id)| !before.contains(id)) {
        added.push((statements.len(), index));
        statements.push(Statement::change(
            "INSERT INTO guest_external_ids (property_id, system_name, external_id, guest_id) VALUES (?, ?, ?, ?)",
            params![guest.property_id.as_str(), &id.system, &id.value, guest.id.as_str()],
        ));
    }
    added
}

pub(super) fn read(row: &Row) -> Result<Guest, DbError> {
    let text = |column: &str| row.get::<String>(column);
    Ok(Guest {
        id: read_id(row, "id")?,
        property_id: read_id(row, "property_id")?,
        version: row.get("version")?,
        status: GuestStatus::parse(&text("status")?).ok_or_else(|| DbError::unreadable("status"))?,
        merged_into: read_optional_id(row, "merged_into")?,
        details: serde_json::from_str(&text("body")?).map_err(|_| DbError::unreadable("body"))?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        deleted_at: row.get("deleted_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn guest(ids: &[&str]) -> Guest {
        let ids: Vec<_> = ids
            .iter()
            .map(|id| json!({"system": "pms", "value": id}))
            .collect();
        Guest {
            id: "gst_1".parse().unwrap(),
            property_id: "MAIN".parse().unwrap(),
            version: 1,
            status: GuestStatus::Active,
            merged_into: None,
            details: serde_json::from_value(json!({"last_name": "Silva", "external_ids": ids})).unwrap(),
            created_at: contract::UnixMillis(0),
            updated_at: contract::UnixMillis(0),
            deleted_at: None,
        }
    }

    #[test]
    fn a16_only_external_ids_that_differ_are_written() {
        for (before, after, removed, added) in [
            (&["a", "b"][..], &["a", "b"][..], 0, &[][..]),
            (&["a", "b"], &["b", "a"], 0, &[]),
            (&["a", "b"], &["a"], 1, &[]),
            (&["a", "b"], &["a", "c", "b"], 0, &[1]),
            (&["a", "b"], &["c", "d"], 2, &[0, 1]),
            (&[], &["a"], 0, &[0]),
        ] {
            let mut statements = vec![insert(&guest(after))];
            let before = guest(before).details.external_ids;
            let written = external_ids(&guest(after), &before, &mut statements);
            let expected: Vec<_> = added
                .iter()
                .enumerate()
                .map(|(nth, index)| (1 + removed + nth, *index))
                .collect();
            assert_eq!(written, expected, "{after:?}");
            assert_eq!(statements.len(), 1 + removed + added.len(), "{after:?}");
        }
    }
}
