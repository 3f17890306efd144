//! The envelope of an event: the fields around its payload.
//!
//! The emitter serialises it once, in the transaction of the change, and sends those bytes unchanged on every attempt
//! and replay. The receiver reads it from a verified delivery. It requires only the fields that it needs, and keeps
//! fields that it does not know.

use crate::{
    clock::UnixMillis,
    entity::{EntityKind, EntityRef},
    event_type::{EVENT_TYPE_LEN_MAX, EventType, SCHEMA_VERSION},
    feed::FetchedBody,
    id::{IdempotencyKey, PropertyId, is_valid_id},
    json::{self, Fields},
    problem::FieldError,
    scheme::Verified,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One event: one commit of one entity, with its whole state after the change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Envelope {
    /// The event's type, known to the catalogue or not.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Equal to `webhook-id`; the same on every retry and replay.
    pub idempotency_key: IdempotencyKey,
    /// When the change was committed.
    pub timestamp: UnixMillis,
    /// The version of the payload's shape.
    pub schema_version: u32,
    /// The property that the entity belongs to; only events about no entity may lack it.
    pub property_id: Option<PropertyId>,
    /// What changed; `ping` has none.
    pub entity: Option<EntityRef>,
    /// Relates this event to the request that caused it.
    pub correlation_id: Option<String>,
    /// The names of the fields that changed.
    #[serde(default)]
    pub changed: Vec<String>,
    /// The whole state after the change.
    pub payload: Map<String, Value>,
    /// Whether it was sent to try the way alone: it is kept and has no effect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
}

/// The members of an envelope, in the order of their places in [`Members`].
const MEMBERS: [&str; 10] = [
    "type",
    "idempotency_key",
    "timestamp",
    "schema_version",
    "property_id",
    "entity",
    "correlation_id",
    "changed",
    "payload",
    "test",
];

/// The members of an envelope as they came, each still to be checked; absent and null mean the same.
type Members = [Option<Value>; MEMBERS.len()];

impl Envelope {
    /// The type, if it is in the catalogue and its payload has a shape that this version knows.
    pub fn known_type(&self) -> Option<EventType> {
        self.event_type
            .parse()
            .ok()
            .filter(|_| self.schema_version == SCHEMA_VERSION)
    }

    /// The bytes that are signed and sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an envelope always serialises")
    }

    /// Reads the envelope of a delivery whose signature was checked, or returns everything that is wrong with it.
    pub fn parse(delivery: &Verified) -> Result<Self, Vec<FieldError>> {
        Self::read(delivery.body(), delivery.id(), Fields::All)
    }

    /// As [`parse`](Self::parse), and as strict, but the payload is reduced to the `fields`.
    pub fn parse_keeping(delivery: &Verified, fields: &[&str]) -> Result<Self, Vec<FieldError>> {
        Self::read(delivery.body(), delivery.id(), Fields::Only(fields))
    }

    /// As [`parse_keeping`](Self::parse_keeping), of an event that was read from its sender's feed.
    pub fn parse_fetched(fetched: &FetchedBody, fields: &[&str]) -> Result<Self, Vec<FieldError>> {
        Self::read(fetched.body(), Some(fetched.id()), Fields::Only(fields))
    }

    fn read(body: &[u8], id: Option<&IdempotencyKey>, payload: Fields<'_>) -> Result<Self, Vec<FieldError>> {
        let whole = |code: &str, message: String| vec![FieldError::new("", code, message)];
        let parsed = json::parse_members(body, &MEMBERS, ("payload", payload));
        match parsed {
            Ok(Some(members)) => check(members, id),
            Ok(None) => Err(whole("not_an_object", "the body is not a JSON object".to_owned())),
            Err(why) => Err(whole("invalid_json", why.to_string())),
        }
    }
}

fn check(members: Members, webhook_id: Option<&IdempotencyKey>) -> Result<Envelope, Vec<FieldError>> {
    let mut errors = Vec::new();
    let [
        event_type,
        idempotency_key,
        timestamp,
        schema_version,
        property_id,
        entity,
        correlation_id,
        changed,
        payload,
        test,
    ] = members.map(Option::unwrap_or_default);
    let event_type = take(&mut errors, "/type", event_type, event_type_of);
    let idempotency_key = take(&mut errors, "/idempotency_key", idempotency_key, typed);
    let timestamp = timestamp_of(&mut errors, timestamp);
    let schema_version = take(&mut errors, "/schema_version", schema_version, typed::<u32>);
    let property_id = take_optional(&mut errors, "/property_id", property_id, typed);
    let entity = take_optional(&mut errors, "/entity", entity, entity_of);
    let correlation_id = take_optional(&mut errors, "/correlation_id", correlation_id, correlation_of);
    let changed = take_optional(&mut errors, "/changed", changed, typed);
    let payload = take_optional(&mut errors, "/payload", payload, object_of);
    let test = take_optional(&mut errors, "/test", test, typed);
    if let (Some(key), Some(signed)) = (&idempotency_key, webhook_id)
        && key != signed
    {
        errors.push(FieldError::new(
            "/idempotency_key",
            "differs",
            "differs from the header with the id",
        ));
    }
    let kind = event_type
        .as_deref()
        .and_then(|name| name.parse().ok())
        .and_then(EventType::entity_kind);
    if let Some(kind) = kind {
        require_entity(&mut errors, &kind, entity.as_ref(), property_id.as_ref());
    }
    match (event_type, idempotency_key, timestamp, schema_version) {
        (Some(event_type), Some(idempotency_key), Some(timestamp), Some(schema_version))
            if errors.is_empty() =>
        {
            Ok(Envelope {
                event_type,
                idempotency_key,
                timestamp,
                schema_version,
                property_id,
                entity,
                correlation_id,
                changed: changed.unwrap_or_default(),
                payload: payload.unwrap_or_default(),
                test: test.unwrap_or_default(),
            })
        }
        _ => Err(errors),
    }
}

fn require_entity(
    errors: &mut Vec<FieldError>,
    kind: &EntityKind,
    entity: Option<&EntityRef>,
    property: Option<&PropertyId>,
) {
    match entity {
        None => missing_once(errors, "/entity"),
        Some(entity) if entity.kind != *kind => {
            errors.push(FieldError::new(
                "/entity/kind",
                "differs",
                "is not the kind that the type is about",
            ));
        }
        Some(_) => {}
    }
    if property.is_none() {
        missing_once(errors, "/property_id");
    }
}

/// A field that was there but wrong has its error already.
fn missing_once(errors: &mut Vec<FieldError>, pointer: &str) {
    if errors.iter().all(|error| error.pointer != pointer) {
        errors.push(FieldError::new(pointer, "required", "is required"));
    }
}

fn take<T>(
    errors: &mut Vec<FieldError>,
    pointer: &str,
    value: Value,
    read: impl Fn(Value) -> Option<T>,
) -> Option<T> {
    if value.is_null() {
        errors.push(FieldError::new(pointer, "required", "is required"));
        return None;
    }
    take_optional(errors, pointer, value, read)
}

fn take_optional<T>(
    errors: &mut Vec<FieldError>,
    pointer: &str,
    value: Value,
    read: impl Fn(Value) -> Option<T>,
) -> Option<T> {
    if value.is_null() {
        return None;
    }
    let read = read(value);
    if read.is_none() {
        errors.push(FieldError::new(
            pointer,
            "invalid",
            "is not of the form that the contract asks for",
        ));
    }
    read
}

/// A number that cannot be milliseconds has an error code of its own: its sender uses another unit.
fn timestamp_of(errors: &mut Vec<FieldError>, value: Value) -> Option<UnixMillis> {
    const POINTER: &str = "/timestamp";
    if value
        .as_i64()
        .is_some_and(|number| UnixMillis::from_number(number).is_none())
    {
        let words = "as a number it is Unix milliseconds, from 2000 on";
        errors.push(FieldError::new(POINTER, "not_milliseconds", words));
        return None;
    }
    take(errors, POINTER, value, typed)
}

fn typed<T: for<'de> Deserialize<'de>>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

fn object_of(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

fn event_type_of(value: Value) -> Option<String> {
    let name: String = typed(value)?;
    let shaped = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte));
    (shaped && (1..=EVENT_TYPE_LEN_MAX).contains(&name.len())).then_some(name)
}

fn entity_of(value: Value) -> Option<EntityRef> {
    let entity: EntityRef = typed(value)?;
    (entity.version >= 1 && is_valid_id(entity.kind.as_str())).then_some(entity)
}

fn correlation_of(value: Value) -> Option<String> {
    typed(value).filter(|id: &String| is_valid_id(id))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
