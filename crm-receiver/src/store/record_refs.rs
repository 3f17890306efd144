//! Which guests each reservation names: the way from a guest to its reservations.

use super::{grouped, records::by_source_and_kind};
use crate::profile::{GuestKey, RecordKey, RecordKind, linkage::Reservations};
use db::{DbError, Tx, params, read_id};
use std::collections::{BTreeMap, BTreeSet};

/// Writes which guests the reservations name, in place of those that they named before.
pub(super) async fn write(
    tx: &mut Tx,
    refs: &BTreeMap<&RecordKey, BTreeSet<GuestKey>>,
) -> Result<(), DbError> {
    let keys: BTreeSet<RecordKey> = refs.keys().map(|key| (*key).clone()).collect();
    for ((source, _), list) in by_source_and_kind(&keys) {
        let sql = format!("DELETE FROM record_refs WHERE source_id = ? AND reservation_id IN {list}");
        tx.execute(&sql, list.after(params![source.as_str()])).await?;
    }
    let links = refs
        .iter()
        .flat_map(|(key, guests)| guests.iter().map(move |guest| (*key, guest)));
    let params = links
        .flat_map(|(key, guest)| params![key.source.as_str(), key.id.as_str(), guest.id.as_str()])
        .collect();
    let columns = ["source_id", "reservation_id", "guest_id"];
    tx.insert("record_refs", &columns, "", params).await
}

/// The reservations that name one of the guests.
pub(super) async fn reservations_of(
    tx: &mut Tx,
    guests: &BTreeSet<GuestKey>,
) -> Result<Reservations, DbError> {
    let mut found = Reservations::new();
    for (source, list) in grouped(guests.iter().map(|guest| (&guest.source, guest.id.as_str()))) {
        let sql = format!(
            "SELECT reservation_id, guest_id FROM record_refs WHERE source_id = ? AND guest_id IN {list}"
        );
        for row in tx.query(&sql, list.after(params![source.as_str()])).await? {
            let guest = GuestKey {
                source: source.clone(),
                id: read_id(&row, "guest_id")?,
            };
            let reservation = RecordKey {
                source: source.clone(),
                kind: RecordKind::Reservation,
                id: read_id(&row, "reservation_id")?,
            };
            found.entry(guest).or_default().insert(reservation);
        }
    }
    Ok(found)
}

/// Forgets which reservations name the erased guests.
pub(super) async fn forget(tx: &mut Tx, guests: &BTreeSet<GuestKey>) -> Result<(), DbError> {
    for guest in guests {
        let sql = "DELETE FROM record_refs WHERE source_id = ? AND guest_id = ?";
        tx.execute(sql, params![guest.source.as_str(), guest.id.as_str()])
            .await?;
    }
    Ok(())
}
