//! The history: one row for each event about a record.

use super::records::by_source_and_kind;
use crate::profile::{GuestKey, RecordKey, RecordKind, history::HistoryEntry};
use contract::{EventId, PropertyId, SourceId};
use db::{DbError, Params, Row, Tx, params, read_id, read_optional_id};
use std::collections::{BTreeMap, BTreeSet};

const COLUMNS: [&str; 10] = [
    "event_id",
    "source_id",
    "kind",
    "entity_id",
    "version",
    "occurred_at",
    "type",
    "property_id",
    "changed",
    "consents",
];

/// Adds what the events say. An event that is projected again, after a requeue, has its row already.
pub(super) async fn add(tx: &mut Tx, history: &[(EventId, HistoryEntry)]) -> Result<(), DbError> {
    let skip = tx.dialect().skip_existing("event_id");
    let mut params = Params::with_capacity(history.len() * COLUMNS.len());
    for (event_id, entry) in history {
        params.extend(params![
            event_id.as_str(),
            entry.key.source.as_str(),
            entry.key.kind.into_str(),
            entry.key.id.as_str(),
            entry.version,
            entry.occurred_at,
            entry.event_type.as_str(),
            entry.property_id.as_ref().map(PropertyId::as_str),
            serde_json::to_string(&entry.changed).expect("names always serialise"),
            serde_json::to_string(&entry.consents).expect("consents always serialise"),
        ]);
    }
    tx.insert("timeline", &COLUMNS, &skip, params).await
}

/// The history of the records.
pub(super) async fn read(
    tx: &mut Tx,
    keys: &BTreeSet<RecordKey>,
) -> Result<BTreeMap<RecordKey, Vec<HistoryEntry>>, DbError> {
    let mut history: BTreeMap<RecordKey, Vec<HistoryEntry>> = BTreeMap::new();
    for ((source, kind), list) in by_source_and_kind(keys) {
        let columns = COLUMNS.join(", ");
        let sql = format!(
            "SELECT {columns} FROM timeline WHERE source_id = ? AND kind = ? AND entity_id IN {list}"
        );
        let params = list.after(params![source.as_str(), kind.into_str()]);
        for row in tx.query(&sql, params).await? {
            let entry = entry(source, kind, &row)?;
            history.entry(entry.key.clone()).or_default().push(entry);
        }
    }
    Ok(history)
}

/// Forgets the history of erased guests.
pub(super) async fn forget(tx: &mut Tx, guests: &BTreeSet<GuestKey>) -> Result<(), DbError> {
    for guest in guests {
        let sql = "DELETE FROM timeline WHERE source_id = ? AND kind = ? AND entity_id = ?";
        let kind = RecordKind::Guest.into_str();
        tx.execute(sql, params![guest.source.as_str(), kind, guest.id.as_str()])
            .await?;
    }
    Ok(())
}

fn entry(source: &SourceId, kind: RecordKind, row: &Row) -> Result<HistoryEntry, DbError> {
    let (changed, consents): (String, String) = (row.get("changed")?, row.get("consents")?);
    Ok(HistoryEntry {
        occurred_at: row.get("occurred_at")?,
        key: RecordKey {
            source: source.clone(),
            kind,
            id: read_id(row, "entity_id")?,
        },
        version: row.get("version")?,
        event_type: read_id(row, "type")?,
        property_id: read_optional_id(row, "property_id")?,
        changed: serde_json::from_str(&changed).map_err(|_| DbError::unreadable("changed"))?,
        consents: serde_json::from_str(&consents).map_err(|_| DbError::unreadable("consents"))?,
    })
}
