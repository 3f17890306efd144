//! A JSON body as a typed value: one strict parse, then the type's shape.
//!
//! Refusals name a pointer and a code, never a value: serde's own messages quote what they stumble over, which may be
//! personal data.

use contract::{FieldError, Problem, ProblemCode, json};
use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

const WRONG_TYPE: &str = "it has the wrong type";

/// Checks that the body is plain JSON: `application/json`, in UTF-8 if it says so, not encoded.
///
/// # Errors
/// 415 otherwise.
pub fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |detail: &str| Problem::new(ProblemCode::UnsupportedMediaType).with_detail(detail);
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(refused("the body must not be encoded"));
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(only), None) if is_json(only) => Ok(()),
        _ => Err(refused("the content type must be application/json, in UTF-8")),
    }
}

/// Whether a content type is `application/json` without a charset other than UTF-8 (RFC 8259 knows no other).
pub fn is_json(content_type: &HeaderValue) -> bool {
    let Ok(text) = content_type.to_str() else {
        return false;
    };
    let mut parts = text.split(';').map(str::trim);
    let essence = parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    essence
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

/// Parses a body strictly: no key twice, no number that readers disagree on, bounded depth.
///
/// # Errors
/// 400 `invalid_json`.
pub fn parse(body: &[u8]) -> Result<Value, Problem> {
    json::parse(body).map_err(|error| Problem::new(ProblemCode::InvalidJson).with_detail(error.to_string()))
}

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

/// serde tells kinds of errors apart by their words alone; only what quotes our own field names is taken from them.
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
        fit::<Guest>(&parse(body.as_bytes()).unwrap()).unwrap_err()
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

    #[test]
    fn what_is_no_strict_json_is_a_400() {
        for body in [
            "",
            "{",
            r#"{"last_name":"x","last_name":"y"}"#,
            &"[".repeat(100_000),
            "\u{feff}{}",
        ] {
            assert_eq!(parse(body.as_bytes()).unwrap_err().code, ProblemCode::InvalidJson);
        }
    }

    #[test]
    fn only_plain_json_is_taken() {
        let check = |headers: &[(&str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
            }
            require_json(&map).is_ok()
        };
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(check(&[("content-type", good)]), "{good}");
        }
        for bad in [
            "text/plain",
            "",
            "application/json; charset=latin1",
            "application/jsonp",
            "application/xml",
        ] {
            assert!(!check(&[("content-type", bad)]), "{bad}");
        }
        assert!(!check(&[]));
        assert!(!check(&[
            ("content-type", "application/json"),
            ("content-type", "application/json")
        ]));
        assert!(!check(&[
            ("content-type", "application/json"),
            ("content-encoding", "gzip")
        ]));
    }
}
