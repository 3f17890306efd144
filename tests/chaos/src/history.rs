//! The answers that the clients got: the part of the books that no service can change.

use harness::books::{Entity, Kind};
use std::collections::{BTreeMap, HashMap};

/// The clients' own record.
#[derive(Debug, Default)]
pub struct History {
    /// The endpoints that there were before the first write.
    pub endpoints: Vec<Endpoint>,
    /// The versions of each entity that were confirmed to the client that made them.
    pub confirmed: HashMap<Entity, Vec<u64>>,
    /// Writes that needed more than one attempt.
    pub repeated: u64,
    /// Writes that were refused, by the reason.
    pub refused: BTreeMap<String, u64>,
    /// Writes of unknown result: no answer came for as long as a client waits.
    pub unknown: u64,
}

/// Whom events are delivered to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The emitter's id of it.
    pub id: String,
    /// Under which path of the tap.
    pub path: String,
    /// What the events are about that it gets.
    pub kinds: Vec<Kind>,
    /// Whether it asks for the events of each entity in their order.
    pub in_order: bool,
}

impl History {
    /// A client was answered that its write made this version.
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
