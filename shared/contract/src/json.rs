//! One strict JSON parse, for everything that comes from outside.
//!
//! Two parsers that read one text differently are a hole: a key that stands twice, also by escape, is refused, and so
//! are numbers that a double cannot hold exactly. Depth is bounded. [`canonical`] writes a value so that equal states
//! are equal bytes.

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
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
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    let mut refused = None;
    let mut parser = serde_json::Deserializer::from_str(text);
    let parsed = Strict {
        depth: 0,
        refused: &mut refused,
    }
    .deserialize(&mut parser)
    .and_then(|value| {
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
            let mut keys: Vec<_> = members.keys().collect();
            keys.sort_unstable();
            out.push(b'{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_scalar(&Value::String(key.clone()), out);
                out.push(b':');
                write_canonical(&members[key], out);
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
        scalar => write_scalar(scalar, out),
    }
}

fn write_scalar(value: &Value, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a JSON value always writes to memory");
}

struct Strict<'r> {
    depth: usize,
    refused: &'r mut Option<JsonError>,
}

impl Strict<'_> {
    fn refuse<E: de::Error>(&mut self, why: JsonError) -> E {
        let error = E::custom(&why);
        *self.refused = Some(why);
        error
    }

    fn deeper<E: de::Error>(&mut self) -> Result<Strict<'_>, E> {
        if self.depth == DEPTH_MAX {
            return Err(self.refuse(JsonError::TooDeep));
        }
        Ok(Strict {
            depth: self.depth + 1,
            refused: self.refused,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
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
        if value > SAFE_INTEGER_MAX {
            Err(self.refuse(JsonError::InexactNumber))
        } else {
            Ok(value.into())
        }
    }
    fn visit_i64<E: de::Error>(mut self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > SAFE_INTEGER_MAX {
            return Err(self.refuse(JsonError::InexactNumber));
        }
        Ok(value.into())
    }
    fn visit_f64<E: de::Error>(mut self, value: f64) -> Result<Value, E> {
        // An integer past 64 bits arrives here too, already rounded.
        if !value.is_finite() || value.abs() > SAFE_INTEGER_MAX as f64 {
            return Err(self.refuse(JsonError::InexactNumber));
        }
        Ok(value.into())
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }
    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.deeper()?)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(self.refuse(JsonError::DuplicateKey));
            }
            let value = members.next_value_seed(self.deeper()?)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_a_key_that_stands_twice_also_by_escape() {
        for text in [
            r#"{"id":1,"id":1}"#,
            r#"{"id":1,"\u0069d":2}"#,
            r#"[{"a":{"b":1,"b":2}}]"#,
        ] {
            assert_eq!(parse(text.as_bytes()), Err(JsonError::DuplicateKey), "{text}");
        }
    }

    #[test]
    fn refuses_numbers_that_readers_disagree_on() {
        for text in [
            "9007199254740992",
            "-9007199254740992",
            "9223372036854775808",
            "18446744073709551616",
            "1e300",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(JsonError::InexactNumber), "{text}");
        }
        assert!(matches!(parse(b"1e400"), Err(JsonError::Syntax { .. })));
        assert_eq!(parse(b"9007199254740991"), Ok(9_007_199_254_740_991_u64.into()));
    }

    #[test]
    fn a_number_is_the_same_when_it_is_read_again() {
        for number in [
            "-10995116277760.4623",
            "0.1",
            "1e-320",
            "5e-324",
            "123456.78901234567890123",
        ] {
            let value = parse(number.as_bytes()).unwrap();
            assert_eq!(parse(&canonical(&value)), Ok(value), "{number}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(parse(&nested(DEPTH_MAX + 1)), Err(JsonError::TooDeep));
        assert_eq!(parse(&nested(100_000)), Err(JsonError::TooDeep));
    }

    #[test]
    fn refuses_what_is_not_one_json_text() {
        assert_eq!(parse(b"\xff"), Err(JsonError::NotUtf8));
        for text in [
            "",
            "{",
            "{}{}",
            "\u{feff}{}",
            "'a'",
            r#""\ud800""#,
            "NaN",
            "[1,]",
            "01",
        ] {
            assert!(
                matches!(parse(text.as_bytes()), Err(JsonError::Syntax { .. })),
                "{text:?}"
            );
        }
    }

    #[test]
    fn canonical_sorts_keys_at_every_level() {
        let value = parse(br#"{ "b": [ {"z":1, "a":"\u00e9"} ], "a": null }"#).unwrap();
        assert_eq!(
            canonical(&value),
            r#"{"a":null,"b":[{"a":"é","z":1}]}"#.as_bytes()
        );
    }

    proptest! {
        #[test]
        fn never_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn canonical_text_reads_back(text in "[ -~é]{0,20}", number in -(1_i64 << 53) + 1..(1_i64 << 53)) {
            let value = serde_json::json!({"t": text, "n": [number, null, true]});
            prop_assert_eq!(parse(&canonical(&value)), Ok(value));
        }
    }
}
