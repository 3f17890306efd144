//! Turns a parsed JSON value into a typed one: first the type's shape, then its rules.
//!
//! Refusals name a pointer and a code, never a value: the messages of serde and validator quote the offending value,
//! which may be personal data.

mod rules;

pub use rules::field_errors;

use contract::{FieldError, clock::NOT_MILLISECONDS};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

const WRONG_TYPE: &str = "it has the wrong type";

/// A parsed value as a type, by its shape alone.
///
/// # Errors
/// The pointer and the kind of the first thing that does not fit.
pub fn fit<T: DeserializeOwned + Serialize>(value: &Value) -> Result<T, FieldError> {
    let typed: T = serde_path_to_error::deserialize(value)
        .map_err(|error| misfit(pointer(error.path()), &error.inner().to_string()))?;
    let read = serde_json::to_value(&typed).unwrap_or_default();
    match array_for_object("", value, &read) {
        Some(pointer) => Err(FieldError::new(pointer, "wrong_type", WRONG_TYPE)),
        None => Ok(typed),
    }
}

/// Where an array was read as an object: serde takes the items for the fields in their order.
fn array_for_object(pointer: &str, sent: &Value, read: &Value) -> Option<String> {
    match (sent, read) {
        (Value::Array(_), Value::Object(_)) => Some(pointer.to_owned()),
        (Value::Array(sent), Value::Array(read)) => {
            let mut pairs = sent.iter().zip(read).enumerate();
            pairs
                .find_map(|(index, (sent, read))| array_for_object(&format!("{pointer}/{index}"), sent, read))
        }
        (Value::Object(sent), Value::Object(read)) => read
            .iter()
            .filter_map(|(name, read)| Some((name, sent.get(name)?, read)))
            .find_map(|(name, sent, read)| array_for_object(&pointer_to(pointer, name), sent, read)),
        _ => None,
    }
}

/// A pointer one step further down (RFC 6901).
pub fn pointer_to(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The JSON pointer (RFC 6901) of a path.
fn pointer(path: &Path) -> String {
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => pointer_to(&pointer, key),
        Segment::Enum { .. } | Segment::Unknown => pointer,
    })
}

/// serde distinguishes kinds of errors by their message only; only parts that quote our own field names are used.
fn misfit(at: String, words: &str) -> FieldError {
    if let Some(field) = quoted(words, "missing field `") {
        return FieldError::new(format!("{at}/{field}"), "required", "it is required");
    }
    let (code, message) = if words.starts_with("unknown field") {
        ("unknown_field", "there is no such field")
    } else if words.starts_with("unknown variant") {
        ("unknown_value", "it is not one of the allowed values")
    } else if words.starts_with("invalid type") {
        ("wrong_type", WRONG_TYPE)
    } else if words.starts_with(NOT_MILLISECONDS) {
        (
            "not_milliseconds",
            "as a number it is Unix milliseconds, from 2000 on",
        )
    } else if words.starts_with("not a date") {
        ("not_a_date", "it is not a date (YYYY-MM-DD)")
    } else {
        ("invalid", "it is not valid")
    };
    FieldError::new(at, code, message)
}

fn quoted<'w>(words: &'w str, before: &str) -> Option<&'w str> {
    words.strip_prefix(before)?.split('`').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::json;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Guest {
        last_name: String,
        #[serde(default)]
        documents: Vec<Document>,
    }

    #[derive(Debug, Deserialize, Serialize)]
    struct Document {
        kind: Kind,
    }

    #[derive(Debug, Deserialize, Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Passport,
    }

    fn refused(body: &str) -> FieldError {
        fit::<Guest>(&json::parse(body.as_bytes()).unwrap()).unwrap_err()
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_pointer_and_never_quoted() {
        let canary = "canary-7";
        for (body, pointer, code) in [
            (r#"{}"#.to_owned(), "/last_name", "required"),
            (
                format!(r#"{{"last_name": ["{canary}"]}}"#),
                "/last_name",
                "wrong_type",
            ),
            (
                format!(
                    r#"{{"last_name": "x", "documents": [{{"kind": "passport"}}, {{"kind": "{canary}"}}]}}"#
                ),
                "/documents/1/kind",
                "unknown_value",
            ),
            (
                format!(r#"{{"last_name": "x", "documents": "{canary}"}}"#),
                "/documents",
                "wrong_type",
            ),
            (
                r#"{"last_name": "x", "documents": [{}]}"#.to_owned(),
                "/documents/0/kind",
                "required",
            ),
            (
                format!(r#"{{"last_name": "x", "a~b/c": "{canary}"}}"#),
                "/a~0b~1c",
                "unknown_field",
            ),
            (format!(r#"["{canary}"]"#), "", "wrong_type"),
            (
                r#"{"last_name": "x", "documents": [{"kind": "passport"}, ["passport"]]}"#.to_owned(),
                "/documents/1",
                "wrong_type",
            ),
        ] {
            let error = refused(&body);
            assert_eq!(
                (error.pointer.as_str(), error.code.as_str()),
                (pointer, code),
                "{body}"
            );
            assert!(!format!("{error:?}").contains(canary), "{body}");
        }
    }
}
