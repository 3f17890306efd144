//! How much of an event's payload an endpoint is sent: all of it, the parts at some JSON pointers, or nothing. A hotel sends no
//! more of a guest than is needed.
//!
//! The envelope around the payload always stays, so that a receiver knows what happened to what. What is sent is a pure function
//! of the stored body: every attempt and every replay sends the same bytes. The rules stand in docs/filters.md.

use bytes::Bytes;
use contract::{FieldError, Pointer, json, pointer::index};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The most pointers of one endpoint. How long one may be says [`Pointer`].
pub const POINTERS_MAX: usize = 64;

const FULL: &str = "full";
const THIN: &str = "thin";
/// The member of an envelope that is reduced.
const PAYLOAD: &str = "payload";

/// What is left of a payload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum PayloadShape {
    /// All of it: the stored bytes.
    #[default]
    Full,
    /// What stands at these pointers into the payload.
    Parts(Vec<Pointer>),
    /// Nothing: the envelope has the type and the ids.
    Thin,
}

/// The stored body is no envelope of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored body is no envelope")]
pub struct NoEnvelope;

/// What is stored says nothing of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be full, thin or a list of JSON pointers")]
pub struct Unreadable;

impl TryFrom<Value> for PayloadShape {
    type Error = Unreadable;
    fn try_from(json: Value) -> Result<Self, Unreadable> {
        Self::parse(&json).map_err(|_| Unreadable)
    }
}

impl From<PayloadShape> for Value {
    fn from(shape: PayloadShape) -> Self {
        shape.to_json()
    }
}

impl PayloadShape {
    /// Reads it as a client sends it, or as [`to_json`](Self::to_json) gave it: `"full"`, `"thin"`, or a list of pointers.
    ///
    /// # Errors
    /// Everything that is wrong with it; the pointers begin at the value.
    pub fn parse(json: &Value) -> Result<Self, Vec<FieldError>> {
        let refused = |code: &str, message: &str| Err(vec![FieldError::new("", code, message)]);
        match json {
            Value::String(name) if name == FULL => Ok(Self::Full),
            Value::String(name) if name == THIN => Ok(Self::Thin),
            Value::String(_) => refused(
                "unknown_value",
                "it must be full, thin or a list of JSON pointers",
            ),
            Value::Array(items) if items.is_empty() => refused("required", "an empty list is thin"),
            Value::Array(items) if items.len() > POINTERS_MAX => {
                refused("too_many", "it has at most 64 pointers")
            }
            Value::Array(items) => parts(items).map(Self::Parts),
            _ => refused("wrong_type", "it must be full, thin or a list of JSON pointers"),
        }
    }

    /// It as JSON; its text is what is stored.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Full => FULL.into(),
            Self::Thin => THIN.into(),
            Self::Parts(pointers) => pointers.iter().map(ToString::to_string).collect(),
        }
    }

    /// The body to send of an event whose body is stored as `stored`.
    ///
    /// # Errors
    /// When the stored bytes would have to be reduced and are no envelope.
    pub fn body(&self, stored: &Bytes) -> Result<Bytes, NoEnvelope> {
        let wanted = match self {
            Self::Full => return Ok(stored.clone()),
            Self::Thin => Wanted::default(),
            Self::Parts(pointers) => Wanted::of(pointers),
        };
        let Ok(Value::Object(mut envelope)) = json::parse(stored) else {
            return Err(NoEnvelope);
        };
        let payload = envelope.get_mut(PAYLOAD).ok_or(NoEnvelope)?;
        if !payload.is_object() {
            return Err(NoEnvelope);
        }
        let kept = wanted.parts_of(payload.take());
        *payload = kept.unwrap_or_else(|| Map::new().into());
        Ok(Value::Object(envelope).to_string().into())
    }
}

fn parts(items: &[Value]) -> Result<Vec<Pointer>, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut pointers = Vec::new();
    for (place, item) in items.iter().enumerate() {
        match item.as_str().map(str::parse) {
            Some(Ok(pointer)) => pointers.push(pointer),
            Some(Err(why)) => errors.push(FieldError::new(format!("/{place}"), "invalid", why)),
            None => {
                let message = "it must be a JSON pointer into the payload, such as /status";
                errors.push(FieldError::new(format!("/{place}"), "wrong_type", message));
            }
        }
    }
    if errors.is_empty() {
        Ok(pointers)
    } else {
        Err(errors)
    }
}

/// What is wanted of a value: the whole, or something inside.
#[derive(Default)]
struct Wanted<'p> {
    whole: bool,
    inside: BTreeMap<&'p str, Self>,
}

impl<'p> Wanted<'p> {
    fn of(pointers: &'p [Pointer]) -> Self {
        let mut wanted = Self::default();
        for pointer in pointers {
            let steps = pointer.steps().iter();
            let end = steps.fold(&mut wanted, |level, step| level.inside.entry(step).or_default());
            end.whole = true;
        }
        wanted
    }

    /// What is left of a value, each member where it stood. The items of a list that are left move together. None where nothing
    /// is, as when a pointer leads into a text.
    fn parts_of(&self, value: Value) -> Option<Value> {
        match value {
            value if self.whole => Some(value),
            Value::Object(members) => {
                let kept = members
                    .into_iter()
                    .filter_map(|(name, value)| {
                        let kept = self.inside.get(name.as_str())?.parts_of(value)?;
                        Some((name, kept))
                    })
                    .collect::<Map<_, _>>();
                (!kept.is_empty()).then(|| kept.into())
            }
            Value::Array(mut items) => {
                let mut places: Vec<_> = self
                    .inside
                    .iter()
                    .filter_map(|(step, wanted)| Some((index(step)?, wanted)))
                    .collect();
                places.sort_unstable_by_key(|(place, _)| *place);
                let kept: Vec<_> = places
                    .into_iter()
                    .filter_map(|(place, wanted)| wanted.parts_of(items.get_mut(place)?.take()))
                    .collect();
                (!kept.is_empty()).then(|| kept.into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{
        Envelope, UnixSeconds,
        scheme::{Scheme, Verified},
    };
    use serde_json::json;

    const SECRET: &str = "the-secret-of-one-endpoint";

    fn stored() -> Bytes {
        let envelope = json!({
            "type": "reservation.checked_in", "idempotency_key": "evt_1", "timestamp": "2026-03-14T09:26:53.589Z",
            "schema_version": 1, "property_id": "LIS01",
            "entity": {"kind": "reservation", "id": "res_1", "version": 7},
            "correlation_id": "req_1", "changed": ["status"],
            "payload": {
                "status": "checked_in", "rate": 0.1, "total": "120.50", "guest": {"first": "Ana", "last": "Sá", "a/b": 1},
                "nights": [{"price": "99", "date": "2026-03-14"}, {"price": "101", "date": "2026-03-15"}], "room_id": null,
            },
        });
        envelope.to_string().into()
    }

    fn shape(json: &Value) -> PayloadShape {
        PayloadShape::parse(json).unwrap()
    }

    fn payload(pointers: &Value) -> Value {
        let body = shape(pointers).body(&stored()).unwrap();
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        let payload = body["payload"].take();
        let mut expected: Value = serde_json::from_slice(&stored()).unwrap();
        expected["payload"] = Value::Null;
        assert_eq!(body.to_string(), expected.to_string(), "the envelope stays");
        payload
    }

    /// As a receiver reads a delivery of it.
    fn received(body: Bytes) -> Envelope {
        let scheme = Scheme::standard();
        let (id, at) = ("evt_1".parse().unwrap(), UnixSeconds(1_763_769_600));
        let lines = scheme.sign(&[scheme.signing_key(SECRET).unwrap()], &id, at, &body);
        let lines = lines
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let headers = scheme.read(lines).unwrap().within(at, 0).unwrap();
        let verified: Verified = headers.verify(body, &[scheme.key(SECRET).unwrap()]).unwrap();
        Envelope::parse(&verified).unwrap()
    }

    #[test]
    fn a_full_body_is_the_stored_bytes() {
        let odd = Bytes::from_static(b" no JSON at all ");
        assert_eq!(shape(&json!("full")).body(&odd), Ok(odd));
    }

    #[test]
    fn what_the_pointers_name_is_left_where_it_stood() {
        for (pointers, left) in [
            (json!(["/status"]), r#"{"status":"checked_in"}"#),
            (
                json!(["/total", "/status", "/rate"]),
                r#"{"status":"checked_in","rate":0.1,"total":"120.50"}"#,
            ),
            (
                json!(["/guest/last", "/guest/a~1b"]),
                r#"{"guest":{"last":"Sá","a/b":1}}"#,
            ),
            (
                json!(["/guest/last", "/guest"]),
                r#"{"guest":{"first":"Ana","last":"Sá","a/b":1}}"#,
            ),
            (json!(["/nights/1/price"]), r#"{"nights":[{"price":"101"}]}"#),
            (
                json!(["/nights/1/price", "/nights/0/date"]),
                r#"{"nights":[{"date":"2026-03-14"},{"price":"101"}]}"#,
            ),
            (json!(["/room_id"]), r#"{"room_id":null}"#),
            (
                json!(["/absent", "/status/x", "/nights/7", "/nights/00", "/guest/x"]),
                "{}",
            ),
        ] {
            assert_eq!(payload(&pointers).to_string(), left, "{pointers}");
        }
        assert_eq!(payload(&json!("thin")), json!({}));
    }

    #[test]
    fn the_same_stored_body_gives_the_same_bytes_and_our_receiver_reads_its_envelope() {
        for json in [json!("full"), json!("thin"), json!(["/status", "/guest/last"])] {
            let shape = shape(&json);
            let body = shape.body(&stored()).unwrap();
            assert_eq!(
                shape.body(&Bytes::copy_from_slice(&stored())).unwrap(),
                body,
                "{json}"
            );
            let (sent, whole) = (received(body), received(stored()));
            let payload = sent.payload.clone();
            assert_eq!(Envelope { payload, ..whole }, sent, "{json}");
        }
    }

    #[test]
    fn a_body_that_is_no_envelope_is_not_reduced() {
        for stored in ["", "7", "[]", "{}", r#"{"payload":null}"#, r#"{"payload":[]}"#] {
            let stored = Bytes::from_static(stored.as_bytes());
            assert_eq!(PayloadShape::Thin.body(&stored), Err(NoEnvelope), "{stored:?}");
        }
    }

    #[test]
    fn a_shape_is_stored_as_it_was_sent_and_what_is_none_is_refused() {
        for json in [json!("full"), json!("thin"), json!(["/status", "/a~1b/~0"])] {
            assert_eq!(shape(&json).to_json(), json);
        }
        for (json, expected) in [
            (json!(null), ("", "wrong_type")),
            (json!("Full"), ("", "unknown_value")),
            (json!({}), ("", "wrong_type")),
            (json!([]), ("", "required")),
            (json!(["/a", "b"]), ("/1", "invalid")),
            (json!(["/a", ""]), ("/1", "invalid")),
            (json!([7]), ("/0", "wrong_type")),
            (json!([format!("/{}", "x".repeat(256))]), ("/0", "invalid")),
            (json!(vec!["/a"; POINTERS_MAX + 1]), ("", "too_many")),
        ] {
            let errors = PayloadShape::parse(&json).unwrap_err();
            let [error] = &errors[..] else {
                panic!("{errors:?}")
            };
            assert_eq!((error.pointer.as_str(), error.code.as_str()), expected, "{json}");
        }
        assert!(PayloadShape::parse(&json!(vec!["/a"; POINTERS_MAX])).is_ok());
    }
}
