//! An accepted event, read back for projection: as its row and body hold it, and as what it says of a record.

use super::payload;
use crate::profile::{
    GuestKey, RecordKey, RecordKind,
    history::HistoryEntry,
    record::{Members, Record, digested},
};
use contract::{
    EntityId, EntityRef, EventId, EventType, PropertyId, SourceId, UnixMillis, event_type::SCHEMA_VERSION,
};
use serde::Deserialize;
use serde_json::Value;

/// An event as the inbox keeps it, its body still bytes.
#[derive(Clone)]
pub struct PendingEvent {
    /// The receiver's own id.
    pub event_id: EventId,
    /// Who sent it.
    pub source: SourceId,
    /// Its type, as sent.
    pub event_type: String,
    /// The version of its payload's shape.
    pub schema_version: u32,
    /// The property that it is about.
    pub property_id: Option<PropertyId>,
    /// The kind of entity that it is about.
    pub entity_kind: Option<String>,
    /// The entity's id.
    pub entity_id: Option<EntityId>,
    /// The entity's version after the change.
    pub entity_version: Option<u64>,
    /// Relates it to the request that caused it.
    pub correlation_id: Option<String>,
    /// When the change was committed at the sender.
    pub occurred_at: UnixMillis,
    /// Since when it waits: it arrived then, or was requeued.
    pub waiting_since: UnixMillis,
    /// Whether it waits because a run has requeued it.
    pub requeued: bool,
    /// How many tries were made before.
    pub attempts: u32,
    /// The raw body; None once it is purged.
    pub body: Option<Vec<u8>>,
}

/// An event that can be folded: the record that it proposes.
#[derive(Clone, Debug)]
pub struct Event {
    /// The state after the commit.
    pub record: Record,
    /// The names of the fields that changed.
    pub changed: Vec<String>,
    /// Relates it to the request that caused it.
    pub correlation_id: Option<String>,
}

/// Why an accepted event cannot be folded. It names no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The body was purged.
    #[error("its body is gone")]
    NoBody,
    /// The body is no envelope with a payload.
    #[error("its body is no envelope")]
    BadBody,
    /// Its payload breaks the rules of [`payload`]: it was quarantined, and then requeued.
    #[error("its payload is invalid")]
    Invalid,
    /// It is about nothing that is folded.
    #[error("it is about no guest and no reservation")]
    NotFoldable,
}

/// What projection reads of a body. It was parsed strictly on arrival: no key occurs twice, no number is inexact.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    changed: Option<Vec<String>>,
    payload: Members,
}

impl PendingEvent {
    /// Reads the event, once, outside of any transaction. Its payload is checked as on arrival: one that was quarantined
    /// and then requeued is still refused.
    ///
    /// # Errors
    /// Why it cannot be folded.
    pub fn read(&self) -> Result<Event, Unreadable> {
        let event = self.proposed()?;
        let record = &event.record;
        let entity = EntityRef {
            kind: record.event_type.entity_kind().ok_or(Unreadable::NotFoldable)?,
            id: record.key.id.clone(),
            version: record.version,
        };
        let property = record.property_id.as_ref();
        if !payload::check_parts(record.event_type, Some(&entity), property, &record.state).is_empty() {
            return Err(Unreadable::Invalid);
        }
        Ok(event)
    }

    /// The event that its body holds, without a check of its payload.
    pub(super) fn proposed(&self) -> Result<Event, Unreadable> {
        let key = self.key().ok_or(Unreadable::NotFoldable)?;
        let version = self.entity_version.ok_or(Unreadable::NotFoldable)?;
        let known = self.schema_version == SCHEMA_VERSION;
        let event_type = self.event_type.parse().ok().filter(|_| known);
        let event_type = event_type.ok_or(Unreadable::NotFoldable)?;
        let body = self.body.as_deref().ok_or(Unreadable::NoBody)?;
        let body: Body = serde_json::from_slice(body).map_err(|_| Unreadable::BadBody)?;
        let Members(payload) = body.payload;
        let deleted = matches!(
            event_type,
            EventType::GuestDeleted | EventType::ReservationDeleted
        ) || payload.get("deleted_at").is_some_and(|at| !at.is_null());
        let (digest, state) = digested(payload);
        Ok(Event {
            record: Record {
                key,
                property_id: self.property_id.clone(),
                version,
                digest,
                deleted,
                occurred_at: self.occurred_at,
                event_type,
                event_id: self.event_id.clone(),
                state,
            },
            changed: body.changed.unwrap_or_default(),
            correlation_id: self.correlation_id.clone(),
        })
    }

    /// The record that it is about, if it is of a kind that is folded.
    pub fn key(&self) -> Option<RecordKey> {
        let kind: RecordKind = self.entity_kind.as_deref()?.parse().ok()?;
        Some(RecordKey {
            source: self.source.clone(),
            kind,
            id: self.entity_id.clone()?,
        })
    }
}

impl Event {
    /// The guests that this event erases for ever: the one that it is about, and the aliases that its payload lists. Empty
    /// unless it is `guest.erased`.
    pub fn erases(&self) -> Vec<GuestKey> {
        let Some(guest) = self
            .record
            .key
            .guest()
            .filter(|_| self.record.event_type == EventType::GuestErased)
        else {
            return Vec::new();
        };
        let aliases = self.record.state.get("aliases").and_then(Value::as_array);
        let aliases = aliases.into_iter().flatten().filter_map(|alias| {
            Some(GuestKey {
                source: guest.source.clone(),
                id: alias.as_str()?.parse().ok()?,
            })
        });
        std::iter::once(guest.clone()).chain(aliases).collect()
    }

    /// Its entry in the history.
    pub fn history(&self) -> HistoryEntry {
        HistoryEntry::of(&self.record, &self.changed)
    }
}
