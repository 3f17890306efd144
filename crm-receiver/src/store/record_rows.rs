//! The rows of records and of the guests that reservations name.
//!
//! A row is locked by raising its revision, before it is read: whoever comes second waits, and reads what the first
//! has committed. On a cluster the two raised revisions collide at COMMIT, and the second runs again.

use super::{batch_rows::padded, tree_room::TreeRoom};
use crate::profile::{GuestKey, Record, RecordKey, RecordKind, record::Members};
use contract::{EventType, PropertyId, SourceId};
use db::{DbError, Dialect, Params, Row, Tx, params, placeholders};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const KEY: [&str; 3] = ["source_id", "kind", "entity_id"];

const STATE: [&str; 8] = [
    "version",
    "property_id",
    "digest",
    "deleted",
    "occurred_at",
    "type",
    "event_id",
    "state",
];

/// Makes sure that there is a row for each record, and holds them all until the transaction ends. In the order of
/// their keys, so that two batches never wait for each other.
pub(super) async fn lock(tx: &mut Tx, keys: &BTreeSet<RecordKey>) -> Result<(), DbError> {
    // One writer: nobody else is there to be kept out.
    if tx.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let raise = tx.dialect().on_conflict_add(&KEY, &["revision"]);
    let columns = [KEY.as_slice(), &["revision", "version", "deleted", "occurred_at"]].concat();
    let mut params = Params::with_capacity(keys.len() * columns.len());
    for key in keys {
        params.extend(bind_key(key));
        params.extend(params![1, 0, 0, 0]);
    }
    tx.insert("records", &columns, &raise, params).await
}

/// Those of the records that are there.
pub(super) async fn read(
    tx: &mut Tx,
    keys: &BTreeSet<RecordKey>,
    room: &mut TreeRoom,
) -> Result<BTreeMap<RecordKey, Record>, DbError> {
    let mut records = BTreeMap::new();
    for ((source, kind), ids) in by_source_and_kind(keys) {
        for ids in padded(&ids) {
            let places = placeholders(1, ids.len());
            let columns = STATE.join(", ");
            let sql = format!(
                "SELECT entity_id, {columns} FROM records \
                 WHERE source_id = ? AND kind = ? AND version > 0 AND entity_id IN {places}"
            );
            let mut params = params![source.as_str(), kind.as_str()];
            params.extend(ids.iter().map(|id| (*id).into()));
            for row in tx.query(&sql, params).await? {
                let record = record(source, kind, &row, room)?;
                records.insert(record.key.clone(), record);
            }
        }
    }
    Ok(records)
}

/// Writes the states that stand now. Their rows are locked.
pub(super) async fn write(tx: &mut Tx, records: &BTreeMap<RecordKey, Record>) -> Result<(), DbError> {
    let update = tx.dialect().on_conflict_update(&KEY, &STATE);
    let columns = [KEY.as_slice(), &["revision"], STATE.as_slice()].concat();
    let mut params = Params::with_capacity(records.len() * columns.len());
    for record in records.values() {
        params.extend(bind_key(&record.key));
        params.extend(params![
            1,
            record.version,
            record.property_id.as_ref().map(PropertyId::as_str),
            &record.digest,
            record.deleted,
            record.occurred_at,
            record.event_type.as_str(),
            record.event_id.as_str(),
            serde_json::to_string(&*record.state).expect("a JSON object always serialises"),
        ]);
    }
    tx.insert("records", &columns, &update, params).await
}

/// Forgets the states of erased guests; the rows remain, to be locked.
pub(super) async fn forget(tx: &mut Tx, guests: &BTreeSet<GuestKey>) -> Result<(), DbError> {
    for guest in guests {
        let sql = "UPDATE records SET version = 0, property_id = NULL, digest = NULL, deleted = 0, occurred_at = 0, \
                   type = NULL, event_id = NULL, state = NULL WHERE source_id = ? AND kind = ? AND entity_id = ?";
        tx.execute(sql, bind_key(&guest.record())).await?;
        let sql = "DELETE FROM record_refs WHERE source_id = ? AND guest_id = ?";
        tx.execute(sql, params![guest.source.as_str(), guest.id.as_str()])
            .await?;
    }
    Ok(())
}

/// Writes which guests the reservations name, in place of what they named before.
pub(super) async fn write_refs(
    tx: &mut Tx,
    refs: &BTreeMap<&RecordKey, BTreeSet<GuestKey>>,
) -> Result<(), DbError> {
    let keys: BTreeSet<RecordKey> = refs.keys().map(|key| (*key).clone()).collect();
    for ((source, _), ids) in by_source_and_kind(&keys) {
        for ids in padded(&ids) {
            let places = placeholders(1, ids.len());
            let sql = format!("DELETE FROM record_refs WHERE source_id = ? AND reservation_id IN {places}");
            let mut params = params![source.as_str()];
            params.extend(ids.iter().map(|id| (*id).into()));
            tx.execute(&sql, params).await?;
        }
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
) -> Result<BTreeMap<GuestKey, BTreeSet<RecordKey>>, DbError> {
    let mut found: BTreeMap<GuestKey, BTreeSet<RecordKey>> = BTreeMap::new();
    let grouped = super::batch_rows::by_source(guests.iter().map(|guest| (&guest.source, guest.id.as_str())));
    for (source, ids) in grouped {
        for ids in padded(&ids) {
            let places = placeholders(1, ids.len());
            let sql = format!(
                "SELECT reservation_id, guest_id FROM record_refs WHERE source_id = ? AND guest_id IN {places}"
            );
            let mut params = params![source.as_str()];
            params.extend(ids.iter().map(|id| (*id).into()));
            for row in tx.query(&sql, params).await? {
                let guest = GuestKey {
                    source: source.clone(),
                    id: parsed(&row, "guest_id")?,
                };
                let reservation = RecordKey {
                    source: source.clone(),
                    kind: RecordKind::Reservation,
                    id: parsed(&row, "reservation_id")?,
                };
                found.entry(guest).or_default().insert(reservation);
            }
        }
    }
    Ok(found)
}

/// One list of ids for each source and kind.
pub(super) fn by_source_and_kind(keys: &BTreeSet<RecordKey>) -> BTreeMap<(&SourceId, RecordKind), Vec<&str>> {
    let mut grouped = BTreeMap::<_, Vec<_>>::new();
    for key in keys {
        grouped
            .entry((&key.source, key.kind))
            .or_default()
            .push(key.id.as_str());
    }
    grouped
}

/// A column that holds the text of a typed value.
pub(super) fn parsed<T: std::str::FromStr>(row: &Row, column: &str) -> Result<T, DbError> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| unreadable(column))
}

/// A column whose text this code did not write.
pub(super) fn unreadable(column: &str) -> DbError {
    DbError::Decode {
        column: column.to_owned(),
        expected: "value of ours",
    }
}

fn bind_key(key: &RecordKey) -> Params {
    params![key.source.as_str(), key.kind.as_str(), key.id.as_str()]
}

fn record(source: &SourceId, kind: RecordKind, row: &Row, room: &mut TreeRoom) -> Result<Record, DbError> {
    let digest: Vec<u8> = row.get("digest")?;
    let state: String = row.get("state")?;
    room.take(&state)?;
    let Members(state) = serde_json::from_str(&state).map_err(|_| unreadable("state"))?;
    let property_id: Option<String> = row.get("property_id")?;
    let event_type: String = row.get("type")?;
    Ok(Record {
        key: RecordKey {
            source: source.clone(),
            kind,
            id: parsed(row, "entity_id")?,
        },
        property_id: property_id
            .map(|id| id.parse().map_err(|_| unreadable("property_id")))
            .transpose()?,
        version: row.get("version")?,
        digest: digest.try_into().map_err(|_| unreadable("digest"))?,
        deleted: row.get("deleted")?,
        occurred_at: row.get("occurred_at")?,
        event_type: EventType::known(&event_type).ok_or_else(|| unreadable("type"))?,
        event_id: parsed(row, "event_id")?,
        state: Arc::new(state),
    })
}
