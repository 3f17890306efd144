//! The status of an event, from its commit to its projection.

use std::str::FromStr;

/// The status of an event in the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventStatus {
    /// It waits for the projector.
    Accepted,
    /// Its state became current, at least for a while.
    Applied,
    /// A newer state of its record, or the same one, was current already.
    Stale,
    /// Its type or schema version is not known, or it is about no entity: kept, never projected.
    Ignored,
    /// It could not be projected, lost a conflict, or was quarantined. An operator may requeue it.
    DeadLetter,
    /// Its guest is erased: nothing of it is kept but its key.
    Suppressed,
}

impl EventStatus {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Accepted,
        Self::Applied,
        Self::Stale,
        Self::Ignored,
        Self::DeadLetter,
        Self::Suppressed,
    ];

    /// The status as the tables and answers spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Applied => "applied",
            Self::Stale => "stale",
            Self::Ignored => "ignored",
            Self::DeadLetter => "dead_letter",
            Self::Suppressed => "suppressed",
        }
    }
}

/// The text names no status of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a status of an event")]
pub struct UnknownEventStatus;

impl FromStr for EventStatus {
    type Err = UnknownEventStatus;
    fn from_str(text: &str) -> Result<Self, UnknownEventStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownEventStatus)
    }
}
