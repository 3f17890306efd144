//! The rows of new events and of their bodies.

use super::{
    erased::Erased,
    inbox::{Verdict, new_entries},
};
use crate::event::{EventStatus, Fingerprint, InboxEntry};
use contract::PropertyId;
use db::{DbError, Params, Tx, params};
use std::sync::Arc;

const COLUMNS: [&str; 18] = [
    "event_id",
    "source_id",
    "idempotency_key",
    "fingerprint",
    "salt",
    "status",
    "type",
    "schema_version",
    "property_id",
    "entity_kind",
    "entity_id",
    "entity_version",
    "correlation_id",
    "occurred_at",
    "received_at",
    "attempts",
    "last_error",
    "due_at",
];

/// Inserts the keys that are not there yet, and leaves the others alone.
pub(super) async fn insert_events(
    tx: &mut Tx,
    batch: &[Arc<InboxEntry>],
    erased: &Erased,
) -> Result<(), DbError> {
    let skip = tx.dialect().skip_existing("event_id");
    let mut params = Params::with_capacity(batch.len() * COLUMNS.len());
    for entry in batch {
        bind(&mut params, entry, erased.holds(entry));
    }
    tx.insert("inbox", &COLUMNS, &skip, params).await
}

fn bind(params: &mut Params, entry: &InboxEntry, erased: bool) {
    let arrival = &entry.arrival;
    let envelope = &arrival.envelope;
    let entity = envelope.entity.as_ref();
    let status = if erased {
        EventStatus::Suppressed
    } else {
        arrival.intake.status()
    };
    let fingerprint = (!erased).then_some(&entry.fingerprint);
    params.extend(params![
        entry.event_id.as_str(),
        arrival.source.as_str(),
        arrival.key.as_str(),
        fingerprint.map(Fingerprint::digest),
        fingerprint.map(Fingerprint::salt),
        status.as_str(),
        &envelope.event_type,
        envelope.schema_version,
        envelope.property_id.as_ref().map(PropertyId::as_str),
        entity.map(|entity| entity.kind.as_str()),
        entity.map(|entity| entity.id.as_str()),
        entity.map(|entity| entity.version),
        &entry.correlation_id,
        envelope.timestamp,
        entry.received_at,
        0,
        &arrival.reason,
        entry.received_at,
    ]);
}

/// Inserts the bodies of what is new, unless its guest is erased.
pub(super) async fn insert_bodies(
    tx: &mut Tx,
    batch: &[Arc<InboxEntry>],
    verdicts: &[Verdict],
    erased: &Erased,
) -> Result<(), DbError> {
    let kept = new_entries(batch, verdicts).filter(|entry| !erased.holds(entry));
    let skip = tx.dialect().skip_existing("event_id");
    let params = kept
        .flat_map(|entry| params![entry.event_id.as_str(), entry.arrival.body.as_ref()])
        .collect();
    tx.insert("inbox_bodies", &["event_id", "body"], &skip, params)
        .await
}
