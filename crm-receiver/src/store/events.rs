//! The inbox as the API shows it: events without their bodies, newest first.

use super::Store;
use crate::event::EventStatus;
use api::ListQuery;
use contract::{EventId, PropertyId, Scope, SourceId, UnixMillis, id::IdempotencyKey};
use db::{DbError, InList, Params, Row, Tx, params, read_id};
use kit::{
    audit::{self, AuditEntry},
    listing::{Index, Listing, Lookup, Order, Part, Reading, Rows, Table},
};
use serde::Serialize;
use std::str::FromStr;

/// What an event must have to be in the list. Absent: anything.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Who sent it.
    pub source: Option<SourceId>,
    /// The sender's key.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The event's type.
    pub event_type: Option<String>,
    /// How far it has come.
    pub status: Option<EventStatus>,
    /// The property.
    pub property_id: Option<PropertyId>,
    /// The entity that it is about.
    pub entity_id: Option<String>,
    /// What links it to a request.
    pub correlation_id: Option<String>,
    /// Received at or after.
    pub from: Option<UnixMillis>,
    /// Received before.
    pub to: Option<UnixMillis>,
    /// Of these properties.
    pub scope: Scope,
}

/// One event of the inbox, as it is answered.
#[derive(Clone, Debug, Serialize)]
pub struct EventRow {
    /// Our id.
    pub event_id: String,
    /// The sender's key.
    pub idempotency_key: String,
    /// Who sent it.
    pub source: String,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// How far it has come.
    pub status: EventStatus,
    /// The property.
    pub property_id: Option<String>,
    /// What it is about.
    pub entity: Option<ShownEntity>,
    /// When the change was committed at the sender.
    pub occurred_at: UnixMillis,
    /// When it came.
    pub received_at: UnixMillis,
    /// When it was projected, or became a dead letter.
    pub applied_at: Option<UnixMillis>,
    /// How often it was tried alone.
    pub attempts: u32,
    /// Why its last try failed, or why it is a dead letter.
    pub last_error: Option<String>,
    /// What links it to a request.
    pub correlation_id: String,
    /// The sender's name for the delivery, which nobody signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<String>,
}

/// What an event is about, as its row says it: nothing here is parsed, since the list must not fail for one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownEntity {
    /// `guest`, `reservation`, or one that is not known yet.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// The number of the commit.
    pub version: i64,
}

const SELECT: &str = "SELECT event_id, source_id, idempotency_key, type, status, property_id, entity_kind, entity_id, \
                      entity_version, correlation_id, occurred_at, received_at, applied_at, attempts, last_error, delivery_id \
                      FROM inbox";

/// How the table is listed.
const INBOX: Table = Table {
    name: "inbox",
    id: "event_id",
    orders: &[Order {
        field: "received_at",
        column: "received_at",
        index: "inbox_received",
    }],
};

impl Store {
    /// The events of one page.
    ///
    /// # Errors
    /// The database's.
    pub async fn events(&self, filter: &EventFilter, query: &ListQuery) -> Result<Rows<EventRow>, DbError> {
        let reading = Reading {
            name: "events",
            select: SELECT,
            read: event_row,
        };
        self.lists.find(filter.listing(), query, reading).await
    }

    /// One event with what the audit log says of it, oldest first.
    pub async fn event(&self, event_id: &EventId) -> Result<Option<(EventRow, Vec<AuditEntry>)>, DbError> {
        let id = event_id.to_string();
        self.reads
            .read("event", move |tx| {
                let id = id.clone();
                Box::pin(async move {
                    let sql = format!("{SELECT} WHERE event_id = ?");
                    let Some(row) = tx.query_one(&sql, params![&id]).await? else {
                        return Ok(None);
                    };
                    Ok(Some((event_row(&row)?, audit::find_by_event(tx, &id).await?)))
                })
            })
            .await
    }
}

/// The events with these ids, in no order. Without `last_error`, which is long and which the stream does not show: it has
/// thousands of them in memory.
pub(super) async fn with_ids(tx: &mut Tx, ids: InList) -> Result<Vec<EventRow>, DbError> {
    let select = SELECT.replacen("last_error", "NULL AS last_error", 1);
    let sql = format!("{select} WHERE event_id IN {ids}");
    let rows = tx.query(&sql, ids.into_params()).await?;
    rows.iter().map(event_row).collect()
}

impl EventFilter {
    /// The names of its members, as the API spells them.
    pub const NAMES: [&str; 9] = [
        "source",
        "idempotency_key",
        "type",
        "status",
        "property_id",
        "entity_id",
        "from",
        "to",
        "correlation_id",
    ];

    /// Reads the members that are given, by their names.
    ///
    /// # Errors
    /// The name of a malformed one.
    pub fn read<'v>(
        given: impl Fn(&'static str) -> Option<&'v str>,
        scope: &Scope,
    ) -> Result<Self, &'static str> {
        fn typed<T: FromStr>(name: &'static str, text: Option<&str>) -> Result<Option<T>, &'static str> {
            text.map(|text| text.parse().map_err(|_| name)).transpose()
        }
        // Their columns hold ASCII alone, and MySQL compares nothing else with it.
        let ascii = |name| {
            let text = given(name);
            text.map(|text| text.is_ascii().then(|| text.to_owned()).ok_or(name))
                .transpose()
        };
        let instant = |name| {
            let read = |text| UnixMillis::parse_rfc3339(text).ok_or(name);
            given(name).map(read).transpose()
        };
        Ok(Self {
            source: typed("source", given("source"))?,
            idempotency_key: typed("idempotency_key", given("idempotency_key"))?,
            event_type: ascii("type")?,
            status: typed("status", given("status"))?,
            property_id: typed("property_id", given("property_id"))?,
            entity_id: ascii("entity_id")?,
            correlation_id: ascii("correlation_id")?,
            from: instant("from")?,
            to: instant("to")?,
            scope: scope.clone(),
        })
    }

    /// The conditions of a list of these events.
    pub(super) fn listing(&self) -> Listing {
        let mut listing = Listing::of(&INBOX);
        if let Some(key) = &self.idempotency_key {
            listing.find_by(Lookup::new(by_key(key)));
            listing.equal("idempotency_key", Some(key.as_str()));
        }
        if let Some(entity) = &self.entity_id {
            listing.find_by(by_entity(&listing, entity));
            listing.equal("entity_id", Some(entity));
        }
        listing.equal_by(
            "inbox_correlation",
            "correlation_id",
            self.correlation_id.as_ref(),
        );
        listing.equal_by("inbox_due", "status", self.status.map(|status| status.into_str()));
        listing.equal("source_id", self.source.as_ref().map(SourceId::as_str));
        listing.equal("type", self.event_type.as_ref());
        listing.equal("property_id", self.property_id.as_ref().map(PropertyId::as_str));
        listing.within("property_id", &self.scope);
        listing.between(Some("inbox_received"), "received_at", self.from, self.to);
        listing
    }
}

/// The unique key begins with the source, and there are few sources.
fn by_key(key: &IdempotencyKey) -> Part {
    Part {
        before: Some("sources"),
        table: "inbox",
        index: Index::Unique {
            sqlite: "sqlite_autoindex_inbox_2",
            mysql: "inbox_key",
        },
        id: "event_id",
        condition: "inbox.source_id = sources.id AND inbox.idempotency_key = ?".to_owned(),
        params: params![key.as_str()],
    }
}

/// SQLite's index on entities leaves out what waits, which is found by its status.
fn by_entity(listing: &Listing, entity: &str) -> Lookup {
    let decided = "entity_id = ? AND status <> 'accepted'";
    let waiting = "status = 'accepted'";
    Lookup::new(listing.by_index("inbox_entity", decided, params![entity])).and_also(listing.by_index(
        "inbox_due",
        waiting,
        Params::new(),
    ))
}

fn event_row(row: &Row) -> Result<EventRow, DbError> {
    let (kind, id): (Option<_>, Option<_>) = (row.get("entity_kind")?, row.get("entity_id")?);
    let version: Option<_> = row.get("entity_version")?;
    Ok(EventRow {
        event_id: row.get("event_id")?,
        source: row.get("source_id")?,
        idempotency_key: row.get("idempotency_key")?,
        event_type: row.get("type")?,
        status: read_id(row, "status")?,
        property_id: row.get("property_id")?,
        entity: kind
            .zip(id)
            .zip(version)
            .map(|((kind, id), version)| ShownEntity { kind, id, version }),
        correlation_id: row.get("correlation_id")?,
        occurred_at: row.get("occurred_at")?,
        received_at: row.get("received_at")?,
        applied_at: row.get("applied_at")?,
        attempts: row.get("attempts")?,
        last_error: row.get("last_error")?,
        delivery_id: row.get("delivery_id")?,
    })
}
