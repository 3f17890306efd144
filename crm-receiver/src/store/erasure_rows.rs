//! The register of erased guests, and the wiping that goes with it.
//!
//! What is kept of an erased guest is the key of each event, so that a repeat is still known, and the register's row,
//! which outranks every version for ever.

use super::{
    batch_rows::{by_source, padded},
    record_rows, timeline_rows,
};
use crate::profile::GuestKey;
use contract::{EventId, UnixMillis};
use db::{DbError, Tx, params, placeholders};
use std::collections::{BTreeMap, BTreeSet};

/// The erased ones among the guests.
pub(super) async fn among<'g>(
    tx: &mut Tx,
    guests: impl Iterator<Item = &'g GuestKey>,
) -> Result<BTreeSet<GuestKey>, DbError> {
    let mut erased = BTreeSet::new();
    for (source, ids) in by_source(guests.map(|guest| (&guest.source, guest.id.as_str()))) {
        for ids in padded(&ids) {
            let places = placeholders(1, ids.len());
            let sql = format!("SELECT entity_id FROM erasures WHERE source_id = ? AND entity_id IN {places}");
            let mut params = params![source.as_str()];
            params.extend(ids.iter().map(|id| (*id).into()));
            for row in tx.query(&sql, params).await? {
                erased.insert(GuestKey {
                    source: source.clone(),
                    id: record_rows::parsed(&row, "entity_id")?,
                });
            }
        }
    }
    Ok(erased)
}

/// Enters the guests into the register, each with the event that erased it.
pub(super) async fn register(
    tx: &mut Tx,
    erased: &BTreeMap<GuestKey, EventId>,
    now: UnixMillis,
) -> Result<(), DbError> {
    for (guest, event_id) in erased {
        let sql = "INSERT INTO erasures (source_id, entity_id, event_id, erased_at) VALUES (?, ?, ?, ?)";
        let (source, id) = (guest.source.as_str(), guest.id.as_str());
        tx.execute(sql, params![source, id, event_id.as_str(), now])
            .await?;
    }
    Ok(())
}

/// Wipes everything that was received of the guests: states, history, bodies, fingerprints, and what failed.
pub(super) async fn wipe(tx: &mut Tx, guests: &BTreeSet<GuestKey>) -> Result<(), DbError> {
    record_rows::forget(tx, guests).await?;
    timeline_rows::forget(tx, guests).await?;
    for guest in guests {
        // What is still accepted is left whole: its turn will come, and then it is suppressed.
        let of_guest = "source_id = ? AND entity_kind = 'guest' AND entity_id = ? AND status <> 'accepted'";
        let bodies = format!(
            "DELETE FROM inbox_bodies WHERE event_id IN (SELECT event_id FROM inbox WHERE {of_guest})"
        );
        let events = format!(
            "UPDATE inbox SET salt = NULL, fingerprint = NULL, last_error = NULL, \
             status = CASE status WHEN 'dead_letter' THEN 'suppressed' ELSE status END WHERE {of_guest}"
        );
        // The events first: this waits for whoever inserts one now, whose body would else be overlooked.
        for sql in [events, bodies] {
            tx.execute(&sql, params![guest.source.as_str(), guest.id.as_str()])
                .await?;
        }
    }
    Ok(())
}
