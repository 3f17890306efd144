//! The guests that were erased: nothing about them is kept but the key of what was sent.

use super::batch_rows::{by_source, padded};
use crate::ingest::accepted::Entry;
use contract::{EntityKind, EventType, SourceId};
use kit::{
    db::{DbError, Tx, placeholders},
    params,
};
use std::{collections::HashSet, sync::Arc};

/// The erased ones among the guests of a batch.
pub(super) struct Erased(HashSet<(SourceId, String)>);

impl Erased {
    /// Asks the register. A guest that is erased at this very moment is caught by the projector.
    pub(super) async fn among(tx: &mut Tx, batch: &[Arc<Entry>]) -> Result<Self, DbError> {
        let guests = batch
            .iter()
            .filter_map(|entry| Some((&entry.arrival.source, guest_id(entry)?)));
        let mut erased = HashSet::new();
        for (source, ids) in by_source(guests) {
            for ids in padded(&ids) {
                let places = placeholders(1, ids.len());
                let sql =
                    format!("SELECT entity_id FROM erasures WHERE source_id = ? AND entity_id IN {places}");
                let mut params = params![source.as_str()];
                params.extend(ids.iter().map(Into::into));
                for row in tx.query(&sql, params).await? {
                    erased.insert((source.clone(), row.get("entity_id")?));
                }
            }
        }
        Ok(Self(erased))
    }

    /// Whether the event is about one of them. A further erasure is left to the projector: it may list new aliases.
    pub(super) fn holds(&self, entry: &Entry) -> bool {
        if entry.arrival.envelope.known_type() == Some(EventType::GuestErased) {
            return false;
        }
        let key = |id: &str| (entry.arrival.source.clone(), id.to_owned());
        !self.0.is_empty() && guest_id(entry).is_some_and(|id| self.0.contains(&key(id)))
    }
}

fn guest_id(entry: &Entry) -> Option<&str> {
    let entity = entry.arrival.envelope.entity.as_ref()?;
    (entity.kind == EntityKind::Guest).then(|| entity.id.as_str())
}
