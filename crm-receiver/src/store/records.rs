//! Records: the latest known state of each guest and reservation.
//!
//! A row is locked by raising its revision, before it is read: a second transaction waits, and reads what the first has
//! committed. On a cluster the two raised revisions collide at COMMIT, and the second runs again.

use super::{grouped, state_budget::StateBudget};
use crate::profile::{GuestKey, Record, RecordKey, RecordKind, record::Members};
use contract::{PropertyId, SourceId};
use db::{DbError, Dialect, InList, Params, Row, Tx, params, read_id, read_optional_id};
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
    // SQLite has one writer: no lock is needed.
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
    budget: &mut StateBudget,
) -> Result<BTreeMap<RecordKey, Record>, DbError> {
    let mut records = BTreeMap::new();
    for ((source, kind), list) in by_source_and_kind(keys) {
        let columns = STATE.join(", ");
        let sql = format!(
            "SELECT entity_id, {columns} FROM records \
             WHERE source_id = ? AND kind = ? AND version > 0 AND entity_id IN {list}"
        );
        let params = list.after(params![source.as_str(), kind.into_str()]);
        for row in tx.query(&sql, params).await? {
            let record = record(source, kind, &row, budget)?;
            records.insert(record.key.clone(), record);
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
    }
    Ok(())
}

/// One list of ids for each source and kind.
pub(super) fn by_source_and_kind(
    keys: &BTreeSet<RecordKey>,
) -> impl Iterator<Item = ((&SourceId, RecordKind), InList)> {
    grouped(keys.iter().map(|key| ((&key.source, key.kind), key.id.as_str())))
}

fn bind_key(key: &RecordKey) -> Params {
    params![key.source.as_str(), key.kind.into_str(), key.id.as_str()]
}

fn record(
    source: &SourceId,
    kind: RecordKind,
    row: &Row,
    budget: &mut StateBudget,
) -> Result<Record, DbError> {
    let digest: Vec<u8> = row.get("digest")?;
    let state: String = row.get("state")?;
    budget.take(&state)?;
    let Members(state) = serde_json::from_str(&state).map_err(|_| DbError::unreadable("state"))?;
    Ok(Record {
        key: RecordKey {
            source: source.clone(),
            kind,
            id: read_id(row, "entity_id")?,
        },
        property_id: read_optional_id(row, "property_id")?,
        version: row.get("version")?,
        digest: digest.try_into().map_err(|_| DbError::unreadable("digest"))?,
        deleted: row.get("deleted")?,
        occurred_at: row.get("occurred_at")?,
        event_type: read_id(row, "type")?,
        event_id: read_id(row, "event_id")?,
        state: Arc::new(state),
    })
}
