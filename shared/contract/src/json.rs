//! One strict JSON parse, for everything that comes from outside.
//!
//! Two parsers that read one text differently are a security hole. So a repeated key, also when written with escapes,
//! is refused, and so are numbers that a double cannot hold exactly. Depth is bounded. [`canonical`] writes a value so
//! that equal states are equal bytes.

mod extent;
mod members;
mod order;
mod skim;

pub use extent::Extent;
pub use members::{Fields, parse_members};
pub use order::in_order;

use serde::{
    Serialize,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use skim::Skim;
use std::fmt;

/// How deep arrays and objects may nest.
pub const DEPTH_MAX: usize = 64;

/// The largest integer that every JSON reader keeps exactly: 2^53 - 1 (RFC 7493, section 2.2).
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// Why a text is refused. It never quotes the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The bytes are not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Not JSON (RFC 8259), or more than one value.
    #[error("not valid JSON at line {line}, column {column}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// An object has the same key twice.
    #[error("an object has the same key twice")]
    DuplicateKey,
    /// A number that is not exact in a double, or out of its range.
    #[error("a number is outside what JSON readers keep exactly")]
    InexactNumber,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
}

/// Parses one JSON value that fills the whole text.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    parse_as(bytes, |rules, parser| {
        Strict {
            fields: Fields::All,
            rules,
        }
        .deserialize(parser)
    })
}

type Parser<'de> = serde_json::Deserializer<serde_json::de::StrRead<'de>>;

fn parse_as<'de, T>(
    bytes: &'de [u8],
    read: impl FnOnce(Rules<'_>, &mut Parser<'de>) -> serde_json::Result<T>,
) -> Result<T, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    let mut refused = None;
    let mut parser = serde_json::Deserializer::from_str(text);
    let rules = Rules {
        depth: 0,
        refused: &mut refused,
    };
    let parsed = read(rules, &mut parser).and_then(|value| {
        parser.end()?;
        Ok(value)
    });
    parsed.map_err(|error| {
        refused.unwrap_or(JsonError::Syntax {
            line: error.line(),
            column: error.column(),
        })
    })
}

/// Writes a value with sorted keys and without white space: equal values are equal bytes.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(key, out);
                out.push(b':');
                write_canonical(value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_canonical(item, out);
            }
            out.push(b']');
        }
        scalar => write(scalar, out),
    }
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a JSON value always writes to memory");
}

/// The rules for every value, whether it is built or only checked.
struct Rules<'r> {
    depth: usize,
    refused: &'r mut Option<JsonError>,
}

impl Rules<'_> {
    fn refuse<E: de::Error>(&mut self, why: JsonError) -> E {
        let error = E::custom(&why);
        *self.refused = Some(why);
        error
    }

    fn deeper<E: de::Error>(&mut self) -> Result<Rules<'_>, E> {
        if self.depth == DEPTH_MAX {
            return Err(self.refuse(JsonError::TooDeep));
        }
        Ok(Rules {
            depth: self.depth + 1,
            refused: self.refused,
        })
    }

    fn exact<E: de::Error>(&mut self, magnitude: u64) -> Result<(), E> {
        if magnitude > SAFE_INTEGER_MAX {
            return Err(self.refuse(JsonError::InexactNumber));
        }
        Ok(())
    }

    fn in_range<E: de::Error>(&mut self, number: f64) -> Result<(), E> {
        // An integer past 64 bits arrives here too, already rounded.
        if !number.is_finite() || number.abs() > SAFE_INTEGER_MAX as f64 {
            return Err(self.refuse(JsonError::InexactNumber));
        }
        Ok(())
    }
}

struct Strict<'r, 'k> {
    fields: Fields<'k>,
    rules: Rules<'r>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_, '_> {
    type Value = Value;
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_, '_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E: de::Error>(mut self, value: u64) -> Result<Value, E> {
        self.rules.exact(value).map(|()| value.into())
    }
    fn visit_i64<E: de::Error>(mut self, value: i64) -> Result<Value, E> {
        self.rules.exact(value.unsigned_abs()).map(|()| value.into())
    }
    fn visit_f64<E: de::Error>(mut self, value: f64) -> Result<Value, E> {
        self.rules.in_range(value).map(|()| value.into())
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }
    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let whole = Strict {
                fields: Fields::All,
                rules: self.rules.deeper()?,
            };
            let Some(item) = items.next_element_seed(whole)? else {
                return Ok(Value::Array(list));
            };
            list.push(item);
        }
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::with_capacity(self.fields.at_most());
        let mut dropped = skim::Keys::default();
        while let Some(key) = members.next_key::<skim::Key<'de>>()? {
            let rules = self.rules.deeper()?;
            if self.fields.has(key.as_str()) {
                let value = members.next_value_seed(Strict {
                    fields: Fields::All,
                    rules,
                })?;
                if object.insert(key.into(), value).is_some() {
                    return Err(self.rules.refuse(JsonError::DuplicateKey));
                }
            } else {
                members.next_value_seed(Skim {
                    rules,
                    keys: &mut dropped,
                })?;
                dropped.push(key);
            }
        }
        if dropped.repeat_since(0) {
            return Err(self.rules.refuse(JsonError::DuplicateKey));
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests;
