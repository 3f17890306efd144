//! What became of a delivery, once its database said so.

use contract::{EventId, RequestId, SourceId, UnixMillis};

use super::{delivery::Arrival, fingerprint::Fingerprint};

/// The database's word on one delivery. Each is said after the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is new, and committed under this id of ours.
    New(EventId),
    /// The same body was committed before, under this id.
    Duplicate(EventId),
    /// Another body was committed before under the same key; this id, the first one's, stands.
    IdReuse(EventId),
}

impl Accepted {
    /// As logs name it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::New(_) => "new",
            Self::Duplicate(_) => "duplicate",
            Self::IdReuse(_) => "id_reuse",
        }
    }

    /// What somebody with the same body hears who waited for this.
    #[must_use]
    pub fn repeated(self) -> Self {
        match self {
            Self::New(event_id) => Self::Duplicate(event_id),
            same @ (Self::Duplicate(_) | Self::IdReuse(_)) => same,
        }
    }
}

/// Why nobody can say what became of a delivery. The sender tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The queue is full.
    #[error("the queue is full")]
    Overloaded,
    /// The database is gone, or did not answer in time.
    #[error("the database is unavailable")]
    Unavailable,
    /// The same key is being committed elsewhere, for longer than a caller waits.
    #[error("the same key is in flight")]
    InFlight,
    /// This row is refused by the database, for a reason that is in the log.
    #[error("the event could not be kept")]
    Failed,
}

/// An arrival with everything that its row needs. The same `event_id` goes into every attempt to write it, so that a
/// row is known as ours also after a commit that nobody saw succeed.
#[derive(Debug)]
pub struct Entry {
    /// The id that it gets if it is new.
    pub event_id: EventId,
    /// When it came.
    pub received_at: UnixMillis,
    /// What its body is told apart by.
    pub fingerprint: Fingerprint,
    /// The event.
    pub arrival: Arrival,
    /// The envelope's correlation id, or the request's.
    pub correlation_id: String,
    /// The request that brought it.
    pub request_id: RequestId,
}

/// The sender's key, unique within its source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Who sent it.
    pub source: SourceId,
    /// `webhook-id`.
    pub id: contract::id::IdempotencyKey,
}

impl Arrival {
    /// What it is deduplicated on.
    pub fn dedupe_key(&self) -> Key {
        Key {
            source: self.source.clone(),
            id: self.key.clone(),
        }
    }
}
