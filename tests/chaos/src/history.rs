//! What the clients were told: the one side of the books that no service can touch.

use std::collections::{BTreeMap, HashMap};

/// What an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A guest.
    Guest,
    /// A reservation.
    Reservation,
}

/// A guest or a reservation by the emitter's id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entity {
    /// Which of the two.
    pub kind: Kind,
    /// Its id.
    pub id: String,
}

/// The clients' own record.
#[derive(Debug, Default)]
pub struct History {
    /// The versions of each entity that a client was told of as made by it.
    pub confirmed: HashMap<Entity, Vec<u64>>,
    /// Writes that needed more than one attempt.
    pub repeated: u64,
    /// Writes that were refused, by the reason.
    pub refused: BTreeMap<String, u64>,
    /// Writes of which nobody knows: no answer came for as long as a client waits.
    pub unknown: u64,
}

impl Kind {
    /// As both services name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Reservation => "reservation",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Guest, Self::Reservation]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

impl History {
    /// A client was told that its write made this version.
    pub fn confirm(&mut self, entity: &Entity, version: u64) {
        match self.confirmed.get_mut(entity) {
            Some(versions) => versions.push(version),
            None => {
                self.confirmed.insert(entity.clone(), vec![version]);
            }
        }
    }

    /// Confirmed writes.
    pub fn writes(&self) -> u64 {
        self.confirmed
            .values()
            .map(|versions| versions.len() as u64)
            .sum()
    }
}
