//! An authentic, readable event that has arrived, the inbox entry made from it, and the database's decision on it.

use super::{EventStatus, Fingerprint};
use bytes::Bytes;
use contract::{Envelope, EventId, RequestId, SourceId, UnixMillis, id::IdempotencyKey};
use strum::IntoStaticStr;

/// The schema version in the row of an event that has no envelope: none of ours.
pub const FOREIGN_SCHEMA_VERSION: u32 = 0;

/// How an event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// It waits for the projector.
    Fold,
    /// Its type or schema version is not known, it is about no entity, it is no envelope, or a test: kept, never folded.
    Ignore,
    /// Its payload is invalid, and its source asks for such to be kept.
    Quarantine,
}

impl Intake {
    /// The status that its row begins with.
    pub const fn status(self) -> EventStatus {
        match self {
            Self::Fold => EventStatus::Accepted,
            Self::Ignore => EventStatus::Ignored,
            Self::Quarantine => EventStatus::DeadLetter,
        }
    }
}

/// An authentic, readable event that can be kept.
#[derive(Debug)]
pub struct Arrival {
    /// Who sent it.
    pub source: SourceId,
    /// The sender's idempotency key, unique within its source.
    pub key: IdempotencyKey,
    /// The id of the delivery, which nobody signed: to find it at the sender, and for nothing else.
    pub delivery_id: Option<String>,
    /// The raw bytes that were signed.
    pub body: Bytes,
    /// The envelope without the payload and the names of what changed, which stay in the body.
    pub envelope: Envelope,
    /// How it is kept.
    pub intake: Intake,
    /// Names of broken rules, without values, when it is quarantined.
    pub reason: Option<String>,
}

impl Arrival {
    /// What makes another arrival a repeat of this one.
    pub fn dedupe_key(&self) -> DedupeKey {
        DedupeKey {
            source: self.source.clone(),
            id: self.key.clone(),
        }
    }
}

/// The key that decides what is a repeat: an idempotency key within its source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupeKey {
    /// Who sent it.
    pub source: SourceId,
    /// The signed id, such as `webhook-id`, or a digest where there is none.
    pub id: IdempotencyKey,
}

/// An arrival with everything that its row in the inbox needs. The same `event_id` goes into every attempt to write it,
/// so that our row is recognised even after a commit of unknown result.
#[derive(Debug)]
pub struct InboxEntry {
    /// The id that it gets if it is new.
    pub event_id: EventId,
    /// When it arrived.
    pub received_at: UnixMillis,
    /// Distinguishes its body from another under the same key.
    pub fingerprint: Fingerprint,
    /// The event.
    pub arrival: Arrival,
    /// The envelope's correlation id, or the request's.
    pub correlation_id: String,
    /// The request that it came with.
    pub request_id: RequestId,
}

/// The database's decision on one arrival, after the commit, as logs name it.
#[derive(Clone, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Accepted {
    /// It is new, and committed under this id of ours.
    New(EventId),
    /// The same body was committed before, under this id.
    Duplicate(EventId),
    /// Another body was committed before under the same key; this is the id of that first one.
    IdReuse(EventId),
}

impl Accepted {
    /// Our id of the event that is committed under the key.
    pub const fn event_id(&self) -> &EventId {
        match self {
            Self::New(event_id) | Self::Duplicate(event_id) | Self::IdReuse(event_id) => event_id,
        }
    }

    /// The same answer for a second caller that sent the same body: what is new to the first is a duplicate to it.
    #[must_use]
    pub fn repeated(self) -> Self {
        match self {
            Self::New(event_id) => Self::Duplicate(event_id),
            same @ (Self::Duplicate(_) | Self::IdReuse(_)) => same,
        }
    }
}
