//! What an event is about: an entity, and which of its commits.

use crate::id::EntityId;
use serde::{Deserialize, Serialize};

/// The kind of an entity. Kinds of other producers are carried as they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum EntityKind {
    /// A guest record.
    Guest,
    /// A reservation.
    Reservation,
    /// A kind that this version does not know.
    Other(String),
}

impl EntityKind {
    /// The kind as it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Guest => "guest",
            Self::Reservation => "reservation",
            Self::Other(name) => name,
        }
    }
}

impl From<String> for EntityKind {
    fn from(name: String) -> Self {
        match name.as_str() {
            "guest" => Self::Guest,
            "reservation" => Self::Reservation,
            _ => Self::Other(name),
        }
    }
}

impl From<EntityKind> for String {
    fn from(kind: EntityKind) -> Self {
        kind.as_str().to_owned()
    }
}

/// One commit of one entity.
///
/// `version` counts the entity's commits from 1 without gaps: it is the truth for order; clocks are for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityRef {
    /// What kind of thing changed.
    pub kind: EntityKind,
    /// Its id, unique within its kind and sender.
    pub id: EntityId,
    /// The number of the commit, from 1.
    pub version: u64,
}
