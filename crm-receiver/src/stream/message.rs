//! A change of an event as clients see it: encoded once, for all of them.

use super::Place;
use crate::{
    event::EventStatus,
    store::{EventRow, ShownEntity, StreamBatch, StreamChange, StreamChangeKind},
};
use api::event_stream;
use bytes::Bytes;
use contract::UnixMillis;
use serde::Serialize;
use std::sync::Arc;

/// A batch whose changes are encoded.
#[derive(Debug)]
pub(super) struct EncodedBatch {
    pub(super) seq: i64,
    /// None: the event is not kept any more.
    pub(super) messages: Vec<Option<Message>>,
}

/// One change, encoded, beside what filters look at.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) status: EventStatus,
    pub(super) event: Arc<EventRow>,
    pub(super) bytes: Bytes,
}

/// The event as `GET /events` shows it, with its status at that time and without what says how it was tried.
#[derive(Serialize)]
struct Shown<'e> {
    event_id: &'e str,
    idempotency_key: &'e str,
    source: &'e str,
    #[serde(rename = "type")]
    event_type: &'e str,
    status: EventStatus,
    property_id: Option<&'e str>,
    entity: Option<&'e ShownEntity>,
    occurred_at: UnixMillis,
    received_at: UnixMillis,
    correlation_id: &'e str,
}

impl EncodedBatch {
    pub(super) fn of(batch: StreamBatch) -> Self {
        let seq = batch.seq;
        let changes = batch.changes.into_iter().enumerate();
        let messages = changes.map(|(position, change)| {
            let position = Some(position);
            change.map(|change| Message::of(Place { seq, position }, change))
        });
        Self {
            seq,
            messages: messages.collect(),
        }
    }
}

impl Message {
    fn of(place: Place, change: StreamChange) -> Self {
        let StreamChange { kind, status, event } = change;
        let shown = Shown {
            event_id: &event.event_id,
            idempotency_key: &event.idempotency_key,
            source: &event.source,
            event_type: &event.event_type,
            status,
            property_id: event.property_id.as_deref(),
            entity: event.entity.as_ref(),
            occurred_at: event.occurred_at,
            received_at: event.received_at,
            correlation_id: &event.correlation_id,
        };
        let data = serde_json::to_string(&shown).expect("a row is plain data");
        let name = match kind {
            StreamChangeKind::Received => "received",
            StreamChangeKind::Decided => "decided",
        };
        Self {
            status,
            bytes: event_stream::message(&place.to_string(), name, &data),
            event,
        }
    }
}
