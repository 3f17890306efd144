//! The register of erased guests, and the wiping that goes with an erasure.
//!
//! What is kept of an erased guest is the key of each event, so that a repeat is still known, and the register's row,
//! which outranks every version for ever.

use super::{grouped, record_refs, records, timeline};
use crate::profile::GuestKey;
use contract::{EntityId, EventId, SourceId, UnixMillis};
use db::{DbError, Tx, params, read_id};
use std::collections::{BTreeMap, BTreeSet};

/// Whether a read of the register waits for transactions that are entering guests at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadLock {
    /// It does not wait: what is not committed yet is not seen.
    None,
    /// It waits for them to end. SQLite, with its one writer, needs no lock for it.
    Shared,
}

/// The erased ones among the guests, each given as its source and id.
pub(super) async fn erased_among<'g>(
    tx: &mut Tx,
    guests: impl Iterator<Item = (&'g SourceId, &'g EntityId)>,
    read_lock: ReadLock,
) -> Result<BTreeSet<GuestKey>, DbError> {
    let lock = match read_lock {
        ReadLock::Shared => tx.dialect().in_share_mode(),
        ReadLock::None => "",
    };
    let mut erased = BTreeSet::new();
    for (source, list) in grouped(guests.map(|(source, id)| (source, id.as_str()))) {
        let sql = format!("SELECT entity_id FROM erasures WHERE source_id = ? AND entity_id IN {list}{lock}");
        for row in tx.query(&sql, list.after(params![source.as_str()])).await? {
            erased.insert(GuestKey {
                source: source.clone(),
                id: read_id(&row, "entity_id")?,
            });
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

/// Wipes everything that was received of the guests: states, history, bodies, fingerprints, and why events failed.
pub(super) async fn wipe(tx: &mut Tx, guests: &BTreeSet<GuestKey>) -> Result<(), DbError> {
    records::forget(tx, guests).await?;
    record_refs::forget(tx, guests).await?;
    timeline::forget(tx, guests).await?;
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
        // The events first: this waits for a transaction that inserts one now, whose body would otherwise be missed.
        for sql in [events, bodies] {
            tx.execute(&sql, params![guest.source.as_str(), guest.id.as_str()])
                .await?;
        }
    }
    Ok(())
}
