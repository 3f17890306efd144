//! The guests that were erased: nothing about them is kept but the key of what was sent.

use super::batch_rows::{by_source, padded};
use crate::event::{InboxEntry, Intake};
use contract::{EntityKind, EventType, SourceId};
use db::{DbError, Dialect, Tx, params, placeholders};
use std::{collections::HashSet, sync::Arc};

/// The erased ones among the guests of a batch.
pub(super) struct Erased(HashSet<(SourceId, String)>);

impl Erased {
    /// Asks the register. A guest that is erased at this very moment is caught by the projector, or by
    /// [`suppress_overtaken`](Self::suppress_overtaken).
    pub(super) async fn among(tx: &mut Tx, batch: &[Arc<InboxEntry>]) -> Result<Self, DbError> {
        find(tx, batch.iter(), "").await.map(Self)
    }

    /// Looks again for those whose rows are inserted by now and never come to the projector. Whoever erases a guest
    /// enters it first and then wipes its rows: either that waits for ours, or we wait here for the entry.
    pub(super) async fn suppress_overtaken(
        &mut self,
        tx: &mut Tx,
        batch: &[Arc<InboxEntry>],
    ) -> Result<(), DbError> {
        let lock = match tx.dialect() {
            // One writer: nothing was entered since the first look.
            Dialect::Sqlite => return Ok(()),
            Dialect::Mysql => " LOCK IN SHARE MODE",
        };
        let open = |entry: &&Arc<InboxEntry>| entry.arrival.intake != Intake::Fold && !self.holds(entry);
        let open: Vec<_> = batch.iter().filter(open).collect();
        self.0.extend(find(tx, open.iter().copied(), lock).await?);
        for entry in open.into_iter().filter(|entry| self.holds(entry)) {
            let sql = "UPDATE inbox SET status = 'suppressed', salt = NULL, fingerprint = NULL, last_error = NULL \
                       WHERE event_id = ?";
            tx.execute(sql, params![entry.event_id.as_str()]).await?;
        }
        Ok(())
    }

    /// Whether the event is about one of them. A further erasure is left to the projector: it may list new aliases.
    pub(super) fn holds(&self, entry: &InboxEntry) -> bool {
        if entry.arrival.envelope.known_type() == Some(EventType::GuestErased) {
            return false;
        }
        let key = |id: &str| (entry.arrival.source.clone(), id.to_owned());
        !self.0.is_empty() && guest_id(entry).is_some_and(|id| self.0.contains(&key(id)))
    }
}

/// The guests of the entries that stand in the register; `lock` ends the query.
async fn find<'b>(
    tx: &mut Tx,
    entries: impl Iterator<Item = &'b Arc<InboxEntry>>,
    lock: &str,
) -> Result<HashSet<(SourceId, String)>, DbError> {
    let guests = entries.filter_map(|entry| Some((&entry.arrival.source, guest_id(entry)?)));
    let mut erased = HashSet::new();
    for (source, ids) in by_source(guests) {
        for ids in padded(&ids) {
            let places = placeholders(1, ids.len());
            let sql =
                format!("SELECT entity_id FROM erasures WHERE source_id = ? AND entity_id IN {places}{lock}");
            let mut params = params![source.as_str()];
            params.extend(ids.iter().map(|id| (*id).into()));
            for row in tx.query(&sql, params).await? {
                erased.insert((source.clone(), row.get("entity_id")?));
            }
        }
    }
    Ok(erased)
}

fn guest_id(entry: &InboxEntry) -> Option<&str> {
    let entity = entry.arrival.envelope.entity.as_ref()?;
    (entity.kind == EntityKind::Guest).then(|| entity.id.as_str())
}
