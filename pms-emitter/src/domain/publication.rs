//! An event that somebody else publishes: what a request says of it, and the envelope that becomes of it.

use super::{
    guest_command::take_property, notice::WEBHOOK, payload_schema::PayloadSchema, record_size::json_len,
    refusal::Refusal, type_definition::is_ours,
};
use contract::{
    EntityId, EntityKind, EntityRef, Envelope, EventId, FieldError, PropertyId, UnixMillis,
    event_type::SCHEMA_VERSION, id::is_valid_id, json::canonical,
};
use kit::shape::pointer_to;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The longest payload, in bytes of JSON without white space.
pub const PAYLOAD_BYTES_MAX: usize = 192 * 1024;
/// Bytes of the salt of a [`ContentDigest`].
pub const SALT_LEN: usize = 16;
/// How the version of an entity stands in the bytes of an envelope that has none yet.
const NO_VERSION: &str = "\"version\":0}";
/// How an envelope without a payload ends.
const NO_PAYLOAD: &str = "{}}";

/// What an event is about. Its versions are counted here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What kind of thing it is, none of ours.
    pub kind: EntityKind,
    /// Its id, unique in its kind and property.
    pub id: EntityId,
}

/// An event as a request says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// Its id, if the request gives one.
    pub id: Option<EventId>,
    /// Its type, none of ours.
    pub event_type: String,
    /// Whose it is.
    pub property_id: PropertyId,
    /// What it is about.
    pub subject: Option<Subject>,
    /// An object.
    pub payload: Value,
}

/// The digest of what two events with one id must have in common. It is kept under a salt of its own: without one, the digest of
/// personal data could be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentDigest([u8; 32]);

impl ContentDigest {
    /// As it is kept: the salt, and the SHA-256 of it and the digest.
    pub fn salted(&self, salt: [u8; SALT_LEN]) -> Vec<u8> {
        let digest = Sha256::new().chain_update(salt).chain_update(self.0).finalize();
        [&salt[..], &digest[..]].concat()
    }

    /// Whether a kept one is of this content.
    pub fn is_of(&self, kept: &[u8]) -> bool {
        let salt = kept.get(..SALT_LEN).and_then(|salt| salt.try_into().ok());
        salt.is_some_and(|salt| self.salted(salt) == kept)
    }
}

/// The bytes of an envelope around the version of its entity, which is known in the transaction that writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Up to the version; all of it where there is no entity.
    pub head: String,
    /// Behind the version; none where there is no entity.
    pub tail: Option<String>,
}

impl Body {
    /// How many bytes it has, but for the version.
    pub fn bytes(&self) -> usize {
        self.head.len() + self.tail.as_ref().map_or(0, String::len)
    }

    /// The bytes, with the version where one belongs.
    pub fn with_version(&self, version: i64) -> Vec<u8> {
        match &self.tail {
            Some(tail) => format!("{}{version}{tail}", self.head).into_bytes(),
            None => self.head.clone().into_bytes(),
        }
    }
}

impl Publication {
    /// Reads one event of a request.
    ///
    /// # Errors
    /// What the rules refuse.
    pub fn read(mut request: Map<String, Value>) -> Result<Self, Refusal> {
        let mut errors = Vec::new();
        let id = match present(request.remove("id")) {
            None => None,
            Some(Value::String(id)) => {
                let id = id.parse::<EventId>();
                if id.is_err() {
                    errors.push(error(
                        "/id",
                        "invalid",
                        "it must be 1 to 64 letters, digits, - and _",
                    ));
                }
                id.ok()
            }
            Some(_) => {
                errors.push(wrong_type("/id"));
                None
            }
        };
        let event_type = match present(request.remove("type")) {
            Some(Value::String(name)) => Some(name),
            Some(_) => {
                errors.push(wrong_type("/type"));
                None
            }
            None => {
                errors.push(error("/type", "required", "it is required"));
                None
            }
        };
        if event_type.as_deref().is_some_and(is_ours) {
            errors.push(error(
                "/type",
                "reserved",
                "events of this kind are made here alone",
            ));
        }
        let property_id = match take_property(&mut request) {
            Ok(property) => Some(property),
            Err(Refusal::Invalid(broken)) => {
                errors.extend(broken);
                None
            }
            Err(other) => return Err(other),
        };
        let subject = present(request.remove("entity"))
            .map(subject)
            .transpose()
            .unwrap_or_else(|broken| {
                errors.extend(broken);
                None
            });
        let payload = match present(request.remove("payload")) {
            None => Value::Object(Map::new()),
            Some(payload @ Value::Object(_)) => payload,
            Some(_) => {
                errors.push(wrong_type("/payload"));
                Value::Null
            }
        };
        if json_len(&payload) > PAYLOAD_BYTES_MAX {
            let message = format!("a payload may have {PAYLOAD_BYTES_MAX} bytes");
            errors.push(FieldError::new("/payload", "too_long", message));
        }
        errors.extend(request.keys().map(|name| unknown_field("", name)));
        match (event_type, property_id) {
            (Some(event_type), Some(property_id)) if errors.is_empty() => Ok(Self {
                id,
                event_type,
                property_id,
                subject,
                payload,
            }),
            _ => Err(Refusal::Invalid(errors)),
        }
    }

    /// Checks the payload against the schema of its type, if that has one.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(&self, schema: Option<&PayloadSchema>) -> Result<(), Refusal> {
        let checked = schema.map_or(Ok(()), |schema| schema.check(&self.payload, "/payload"));
        checked.map_err(|error| Refusal::Invalid(vec![error]))
    }

    /// The digest of all that it says but its id.
    pub fn content(&self) -> ContentDigest {
        let mut digest = Sha256::new();
        let (kind, id) = match &self.subject {
            Some(subject) => (subject.kind.as_str(), subject.id.as_str()),
            None => ("", ""),
        };
        for part in [&self.event_type, self.property_id.as_str(), kind, id] {
            digest.update(part);
            digest.update([0]);
        }
        digest.update(canonical(&self.payload));
        ContentDigest(digest.finalize().into())
    }

    /// The bytes that are sent, of an event with this id that is committed at `now`.
    pub fn body(&self, id: &EventId, now: UnixMillis, correlation_id: &str) -> Body {
        let envelope = Envelope {
            test: false,
            event_type: self.event_type.clone(),
            idempotency_key: id.clone().into(),
            timestamp: now,
            schema_version: SCHEMA_VERSION,
            property_id: Some(self.property_id.clone()),
            entity: self.subject.as_ref().map(|subject| EntityRef {
                kind: subject.kind.clone(),
                id: subject.id.clone(),
                version: 0,
            }),
            correlation_id: Some(correlation_id.to_owned()),
            changed: Vec::new(),
            payload: Map::new(),
        };
        let mut text = String::from_utf8(envelope.to_bytes()).expect("JSON is UTF-8");
        // The payload is the last member. It is written where the empty one stands, so that it need not be copied before.
        text.truncate(text.len() - NO_PAYLOAD.len());
        let payload = self.payload.to_string();
        if self.subject.is_none() {
            text.push_str(&payload);
            text.push('}');
            return Body {
                head: text,
                tail: None,
            };
        }
        // Beside the entity there are only names, numbers and ids, none of which has a quote in it.
        let place = text
            .find(NO_VERSION)
            .expect("an entity has its version at its end")
            + NO_VERSION.len()
            - 2;
        let tail = format!("{}{payload}}}", &text[place + 1..]);
        text.truncate(place);
        Body {
            head: text,
            tail: Some(tail),
        }
    }
}

fn present(value: Option<Value>) -> Option<Value> {
    value.filter(|value| !value.is_null())
}

fn subject(value: Value) -> Result<Subject, Vec<FieldError>> {
    let Value::Object(mut members) = value else {
        return Err(vec![wrong_type("/entity")]);
    };
    let mut errors = Vec::new();
    let mut take = |name: &str| {
        let pointer = pointer_to("/entity", name);
        match present(members.remove(name)) {
            Some(Value::String(text)) if is_valid_id(&text) => return Some(text),
            Some(Value::String(_)) => {
                errors.push(error(
                    &pointer,
                    "invalid",
                    "it must be 1 to 64 letters, digits, - and _",
                ));
            }
            Some(_) => errors.push(wrong_type(&pointer)),
            None => errors.push(error(&pointer, "required", "it is required")),
        }
        None
    };
    let (kind, id) = (take("kind").map(EntityKind::from), take("id"));
    let is_webhook = |kind: &EntityKind| kind.as_str() == WEBHOOK;
    if matches!(kind, Some(EntityKind::Guest | EntityKind::Reservation))
        || kind.as_ref().is_some_and(is_webhook)
    {
        errors.push(error(
            "/entity/kind",
            "reserved",
            "the versions of these are counted by their own changes",
        ));
    }
    if members.contains_key("version") {
        errors.push(error("/entity/version", "read_only", "versions are counted here"));
        members.remove("version");
    }
    errors.extend(members.keys().map(|name| unknown_field("/entity", name)));
    match (kind, id.and_then(|id| id.parse().ok())) {
        (Some(kind), Some(id)) if errors.is_empty() => Ok(Subject { kind, id }),
        _ => Err(errors),
    }
}

fn error(pointer: &str, code: &str, message: &str) -> FieldError {
    FieldError::new(pointer, code, message)
}

fn wrong_type(pointer: &str) -> FieldError {
    error(pointer, "wrong_type", "it has the wrong type")
}

fn unknown_field(parent: &str, name: &str) -> FieldError {
    FieldError::new(
        pointer_to(parent, name),
        "unknown_field",
        "there is no such field",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(request: Value) -> Result<Publication, Refusal> {
        match request {
            Value::Object(members) => Publication::read(members),
            _ => unreachable!(),
        }
    }

    fn codes(request: Value) -> Vec<(String, String)> {
        match read(request) {
            Err(Refusal::Invalid(errors)) => errors
                .into_iter()
                .map(|error| (error.pointer, error.code))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    fn booking() -> Value {
        json!({"id": "evt_1", "type": "booking.created", "property_id": "LIS01", "entity": {"kind": "booking", "id": "b-1"},
            "payload": {"text": "\"version\":0}", "total": "1.00"}})
    }

    #[test]
    fn every_broken_rule_is_named() {
        let expected = [
            ("/id", "invalid"),
            ("/type", "reserved"),
            ("/property_id", "unknown_value"),
            ("/entity/id", "required"),
            ("/entity/kind", "reserved"),
            ("/entity/version", "read_only"),
            ("/payload", "wrong_type"),
            ("/changed", "unknown_field"),
        ];
        let request = json!({"id": "a.b", "type": "guest.created", "property_id": "x", "entity": {"kind": "guest", "version": 7},
            "payload": [], "changed": []});
        let expected: Vec<_> = expected
            .map(|(pointer, code)| (pointer.to_owned(), code.to_owned()))
            .to_vec();
        assert_eq!(codes(request), expected);
        assert_eq!(codes(json!({})), [("/type".to_owned(), "required".to_owned())]);
        let long = json!({"type": "booking.created", "payload": {"x": "y".repeat(PAYLOAD_BYTES_MAX)}});
        assert_eq!(codes(long), [("/payload".to_owned(), "too_long".to_owned())]);
    }

    #[test]
    fn the_version_stands_in_the_bytes_where_the_entity_has_it() {
        let publication = read(booking()).unwrap();
        let id: EventId = "evt_1".parse().unwrap();
        let body = publication.body(&id, UnixMillis(1_763_769_600_000), "req_1");
        let sent: Value = serde_json::from_slice(&body.with_version(41)).unwrap();
        assert_eq!(
            sent["entity"],
            json!({"kind": "booking", "id": "b-1", "version": 41})
        );
        assert_eq!(sent["payload"], booking()["payload"]);
        assert_eq!(
            (&sent["idempotency_key"], &sent["property_id"]),
            (&json!("evt_1"), &json!("LIS01"))
        );
        let mut without = booking();
        without["entity"] = Value::Null;
        let body = read(without)
            .unwrap()
            .body(&id, UnixMillis(1_763_769_600_000), "req_1");
        assert_eq!(body.tail, None);
        let sent: Value = serde_json::from_slice(&body.with_version(0)).unwrap();
        assert_eq!(sent["entity"], Value::Null);
    }

    #[test]
    fn a_repeat_is_known_by_what_it_says_and_not_by_how_it_is_written() {
        let content = |request| read(request).unwrap().content();
        let kept = content(booking()).salted([7; SALT_LEN]);
        assert_ne!(
            kept,
            content(booking()).salted([8; SALT_LEN]),
            "two rows of one content look different"
        );
        let mut same = booking();
        same["payload"] = json!({"total": "1.00", "text": "\"version\":0}"});
        same["id"] = json!("evt_2");
        assert!(content(same).is_of(&kept));
        for (member, value) in [
            ("type", json!("booking.confirmed")),
            ("property_id", json!("LIS02")),
            ("entity", json!({"kind": "booking", "id": "b-2"})),
            ("entity", Value::Null),
            ("payload", json!({})),
        ] {
            let mut other = booking();
            other[member] = value;
            assert!(!content(other).is_of(&kept), "{member}");
        }
        assert!(!content(booking()).is_of(&[]));
    }
}
