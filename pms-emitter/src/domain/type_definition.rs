//! A type of events that somebody registered: what it is called, what its payload looks like, and an example.
//!
//! Types that come with the program stand in `shipped_types`; one of their names cannot be registered.

use super::{body, payload_schema::PayloadSchema, record_size::json_len, refusal::Refusal, shipped_types};
use contract::{FieldError, UnixMillis, event_type::EVENT_TYPE_LEN_MAX};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{fmt, str::FromStr};
use validator::Validate;

/// The most types that may be registered.
pub const TYPES_MAX: i64 = 1_000;
/// The longest category, in characters.
pub const CATEGORY_LEN_MAX: u64 = 64;
/// The longest description, in characters.
pub const DESCRIPTION_LEN_MAX: u64 = 500;
/// The longest example, in bytes of JSON without white space.
pub const EXAMPLE_BYTES_MAX: usize = 64 * 1024;

/// Kinds of types that are made here alone: nobody else may publish them, since a receiver takes them for ours.
const OURS: [&str; 4] = ["delivery.", "guest.", "reservation.", "webhook."];
const PING: &str = "ping";

/// Fields of the answer that a client may send back and that change nothing.
const READ_ONLY: &[&str] = &["origin", "packs", "version", "created_at", "updated_at"];

/// The name of a type that others may publish: words of lower-case letters, digits and `_`, with dots between them, two words at
/// least.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TypeName(String);

/// The text is no name of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a type")]
pub struct InvalidTypeName;

impl FromStr for TypeName {
    type Err = InvalidTypeName;

    fn from_str(text: &str) -> Result<Self, InvalidTypeName> {
        let is_word = |word: &str| {
            let mut bytes = word.bytes();
            bytes.next().is_some_and(|first| first.is_ascii_lowercase())
                && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let is_name = text.len() <= EVENT_TYPE_LEN_MAX && text.contains('.') && text.split('.').all(is_word);
        is_name.then(|| Self(text.to_owned())).ok_or(InvalidTypeName)
    }
}

impl TypeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Whether events of this type are made here alone.
pub fn is_ours(event_type: &str) -> bool {
    event_type == PING || OURS.iter().any(|kind| event_type.starts_with(kind))
}

/// A registered type. `version` counts its changes from 1.
///
/// Invariant: `schema` is one that [`PayloadSchema`] compiles, and `example` satisfies it.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeDefinition {
    /// What it is called.
    pub name: TypeName,
    /// From 1.
    pub version: u64,
    /// Another text after each change, also when a deleted type is made again.
    pub revision: String,
    /// What it is found by.
    pub category: Option<String>,
    /// What it means.
    pub description: Option<String>,
    /// What a payload must satisfy; without one, any object is a payload.
    pub schema: Option<Value>,
    /// A payload.
    pub example: Option<Value>,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it was last changed.
    pub updated_at: UnixMillis,
}

#[derive(Deserialize, Serialize, Validate)]
#[serde(deny_unknown_fields)]
struct Input {
    #[serde(default, deserialize_with = "body::text")]
    #[validate(length(max = CATEGORY_LEN_MAX), custom(function = body::one_line))]
    category: Option<String>,
    #[serde(default, deserialize_with = "body::text")]
    #[validate(length(max = DESCRIPTION_LEN_MAX), custom(function = body::free_text))]
    description: Option<String>,
}

impl TypeDefinition {
    /// A new type from a request body: `type`, `category`, `description`, `schema`, `example`.
    ///
    /// # Errors
    /// What the rules refuse; `Shipped` for the name of one that comes with the program.
    pub fn create(
        mut request: Map<String, Value>,
        revision: String,
        now: UnixMillis,
    ) -> Result<Self, Refusal> {
        body::drop_read_only(&mut request, READ_ONLY);
        let name = match request.remove("type") {
            None | Some(Value::Null) => return Err(Refusal::field("/type", "required", "it is required")),
            Some(Value::String(name)) => name,
            Some(_) => return Err(Refusal::field("/type", "wrong_type", "it has the wrong type")),
        };
        let message =
            "it must be lower-case words with dots between them, two at least and 64 characters at most";
        let valid: TypeName = name
            .parse()
            .map_err(|_| Refusal::field("/type", "invalid", message))?;
        if shipped_types::find(valid.as_str()).is_some() {
            return Err(Refusal::ShippedType);
        }
        if is_ours(valid.as_str()) {
            let message = "events of this kind are made here alone";
            return Err(Refusal::field("/type", "reserved", message));
        }
        Self::read(valid, request, revision, now)
    }

    /// This type with the members of a patch in place of its own: null clears one, `schema` and `example` are replaced as a whole.
    /// None when that changes nothing.
    ///
    /// # Errors
    /// What the rules refuse.
    pub fn merge(
        &self,
        mut patch: Map<String, Value>,
        revision: String,
        now: UnixMillis,
    ) -> Result<Option<Self>, Refusal> {
        body::drop_read_only(&mut patch, READ_ONLY);
        if let Some(name) = patch.remove("type")
            && name.as_str() != Some(self.name.as_str())
        {
            return Err(Refusal::field("/type", "immutable", "cannot be changed"));
        }
        let mut merged = Map::new();
        for (name, value) in [
            ("category", self.category.clone().map(Value::from)),
            ("description", self.description.clone().map(Value::from)),
            ("schema", self.schema.clone()),
            ("example", self.example.clone()),
        ] {
            merged.insert(name.to_owned(), value.unwrap_or_default());
        }
        merged.extend(patch);
        let merged = Self {
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            ..Self::read(self.name.clone(), merged, self.revision.clone(), now)?
        };
        Ok((merged != *self).then(|| Self {
            version: self.version + 1,
            revision,
            updated_at: now,
            ..merged
        }))
    }

    fn read(
        name: TypeName,
        mut request: Map<String, Value>,
        revision: String,
        now: UnixMillis,
    ) -> Result<Self, Refusal> {
        let present = |value: Option<Value>| value.filter(|value| !value.is_null());
        let (schema, example) = (
            present(request.remove("schema")),
            present(request.remove("example")),
        );
        let input: Input = body::read(&Value::Object(request)).map_err(Refusal::Invalid)?;
        check_example(schema.as_ref(), example.as_ref()).map_err(|error| Refusal::Invalid(vec![error]))?;
        Ok(Self {
            name,
            version: 1,
            revision,
            category: input.category,
            description: input.description,
            schema,
            example,
            created_at: now,
            updated_at: now,
        })
    }

    /// The names of the fields in which another state of it differs.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        super::change::changed_fields!(self, other, [category, description, schema, example])
    }

    /// The type as the API shows it.
    pub fn to_json(&self) -> Value {
        json!({
            "type": self.name.as_str(),
            "origin": "custom",
            "packs": [],
            "version": self.version,
            "category": self.category,
            "description": self.description,
            "schema": self.schema,
            "example": self.example,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }
}

/// The schema keeps its rules, and the example is a payload that satisfies it.
fn check_example(schema: Option<&Value>, example: Option<&Value>) -> Result<(), FieldError> {
    let compiled = schema
        .map(|schema| PayloadSchema::compile(schema, "/schema"))
        .transpose()?;
    let Some(example) = example else {
        return Ok(());
    };
    if !example.is_object() {
        return Err(FieldError::new(
            "/example",
            "wrong_type",
            "a payload is an object",
        ));
    }
    if json_len(example) > EXAMPLE_BYTES_MAX {
        let message = format!("an example may have {EXAMPLE_BYTES_MAX} bytes");
        return Err(FieldError::new("/example", "too_long", message));
    }
    compiled.map_or(Ok(()), |compiled| compiled.check(example, "/example"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lower_case_words_with_dots() {
        for good in [
            "booking.created",
            "a.b",
            "spa.treatment_2.booked",
            &format!("a.{}", "b".repeat(62)),
        ] {
            assert!(good.parse::<TypeName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "booking",
            ".created",
            "booking.",
            "a..b",
            "Booking.created",
            "a.2b",
            "a._b",
            "a.b-c",
            "a. b",
            "a.b ",
            "ä.b",
            &format!("a.{}", "b".repeat(63)),
        ] {
            assert_eq!(bad.parse::<TypeName>(), Err(InvalidTypeName), "{bad}");
        }
    }

    #[test]
    fn ours_are_those_that_are_made_here() {
        for ours in [
            "guest.created",
            "guest.invented",
            "reservation.x",
            "ping",
            "webhook.failing",
            "delivery.dead",
        ] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in ["guests.created", "booking.created", "pings.x", "webhooks.x"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
