//! The bodies that other senders send, as shapes into which the facts of a stored event are put.

use crate::clock::UnixMillis;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use std::borrow::Cow;

/// What marks an event as sent to try the way alone, in every shape.
const TEST: &str = "test";

/// The facts of a stored event. The payload is its bytes as they stand, so nothing of it is written again in another way.
#[derive(Debug, Deserialize)]
pub(super) struct StoredEvent<'b> {
    #[serde(rename = "type", borrow)]
    pub event_type: Cow<'b, str>,
    #[serde(borrow)]
    idempotency_key: Cow<'b, str>,
    pub timestamp: UnixMillis,
    #[serde(default)]
    property_id: Option<String>,
    #[serde(borrow)]
    payload: &'b RawValue,
    #[serde(default)]
    test: bool,
}

/// An object of constants and facts, in the order in which they are sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct BodyShape(Vec<(String, Member)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Member {
    Constant(String),
    Fact(Fact),
    Object(BodyShape),
}

/// What of an event stands in a body. Nothing of an attempt is among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Fact {
    #[serde(rename = "{type}")]
    Type,
    #[serde(rename = "{id}")]
    Id,
    /// RFC 3339.
    #[serde(rename = "{time}")]
    Time,
    /// Unix seconds.
    #[serde(rename = "{seconds}")]
    Seconds,
    /// Null for what belongs to no property.
    #[serde(rename = "{property_id}")]
    PropertyId,
    #[serde(rename = "{payload}")]
    Payload,
}

impl<'b> StoredEvent<'b> {
    /// Reads a stored body.
    pub fn read(stored: &'b [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(stored)
    }
}

impl BodyShape {
    /// The bytes of a body of this shape.
    pub fn body(&self, event: &StoredEvent<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(event.payload.get().len() + 256);
        self.write(event, event.test, &mut out);
        out
    }

    fn write(&self, event: &StoredEvent<'_>, is_test: bool, out: &mut Vec<u8>) {
        out.push(b'{');
        for (place, (name, member)) in self.0.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write_text(name, out);
            out.push(b':');
            match member {
                Member::Constant(text) => write_text(text, out),
                Member::Fact(fact) => fact.write(event, out),
                Member::Object(shape) => shape.write(event, false, out),
            }
        }
        if is_test {
            out.push(b',');
            write_text(TEST, out);
            out.extend_from_slice(b":true");
        }
        out.push(b'}');
    }
}

impl Fact {
    fn write(self, event: &StoredEvent<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Type => write_text(&event.event_type, out),
            Self::Id => write_text(&event.idempotency_key, out),
            Self::Time => write_text(&event.timestamp.to_rfc3339(), out),
            Self::Seconds => out.extend_from_slice(event.timestamp.seconds().0.to_string().as_bytes()),
            Self::PropertyId => match &event.property_id {
                Some(id) => write_text(id, out),
                None => out.extend_from_slice(b"null"),
            },
            Self::Payload => out.extend_from_slice(event.payload.get().as_bytes()),
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a text always writes to memory");
}

impl TryFrom<Value> for BodyShape {
    type Error = &'static str;
    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let Value::Object(members) = value else {
            return Err("a body is an object");
        };
        if members.is_empty() {
            return Err("a body has members");
        }
        let member = |(name, value)| {
            let member = match value {
                Value::String(text) if text.starts_with('{') => serde_json::from_value(text.into())
                    .map(Member::Fact)
                    .map_err(|_| "there is no such fact"),
                Value::String(text) => Ok(Member::Constant(text)),
                object => Self::try_from(object).map(Member::Object),
            };
            Ok((name, member?))
        };
        members
            .into_iter()
            .map(member)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}
