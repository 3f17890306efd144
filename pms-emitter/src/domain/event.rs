//! The event of a committed change, as the envelope that is sent.

use super::{change::Change, property::Property};
use contract::{EntityRef, Envelope, EventId, PropertyId, UnixMillis, event_type::SCHEMA_VERSION};
use serde::Serialize;
use serde_json::{Map, Value};

/// An entity as its events carry it.
pub trait EventPayload {
    /// The whole state, without free text and without document numbers.
    fn payload(&self) -> Map<String, Value>;
    /// Kind, id and version.
    fn entity_ref(&self) -> EntityRef;
    /// The property that it belongs to.
    fn property_id(&self) -> &PropertyId;
}

/// Adds to a reservation's event its property's time zone, and the business date on which the change was decided. Night audits
/// make no events, so a receiver learns from these what day it is at the property.
pub fn add_property_day(event: &mut Envelope, property: &Property) {
    let zone = property.timezone.iana_name();
    for (name, value) in [
        ("timezone", zone.map(Value::from)),
        ("business_date", Some(property.business_date.to_string().into())),
    ] {
        event.payload.insert(name.to_owned(), value.into());
    }
}

/// A struct of plain data as the JSON object that it is, its members in their order.
pub fn object_of<T: Serialize>(plain: &T) -> Map<String, Value> {
    match serde_json::to_value(plain) {
        Ok(Value::Object(object)) => object,
        _ => unreachable!("a struct of plain data is an object"),
    }
}

/// The envelope of a change that is committed at `now`; its idempotency key is the event's id.
pub fn envelope<T: EventPayload>(
    id: &EventId,
    change: &Change<T>,
    now: UnixMillis,
    correlation_id: Option<String>,
) -> Envelope {
    Envelope {
        test: false,
        event_type: change.event_type.as_str().to_owned(),
        idempotency_key: id.clone().into(),
        timestamp: now,
        schema_version: SCHEMA_VERSION,
        property_id: Some(change.state.property_id().clone()),
        entity: Some(change.state.entity_ref()),
        correlation_id,
        changed: change.changed.iter().map(|name| (*name).to_owned()).collect(),
        payload: change.state.payload(),
    }
}
