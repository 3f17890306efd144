//! A JSON body as a typed value: one strict parse, then the type's shape.
//!
//! Refusals name a pointer and a code, never a value: serde's own messages quote what they stumble over, which may be
//! personal data.

use contract::{FieldError, Problem, ProblemCode, json};
use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

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

/// Parses a body strictly into a type.
///
/// # Errors
/// 400 `invalid_json`, or 422 with the pointer of the first thing that does not fit the type.
pub fn parse_as<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    shape(parse(body)?)
}

/// A parsed object as a type: for merged documents, where patch and state are joined first.
///
/// # Errors
/// 422 with the pointer of the first thing that does not fit.
pub fn shape<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    // serde would also read a struct from an array of its fields' values.
    if !value.is_object() {
        return Err(Problem::validation(vec![FieldError::new(
            "",
            "wrong_type",
            "it must be an object",
        )]));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let at = pointer(error.path());
        Problem::validation(vec![misfit(at, &error.inner().to_string())])
    })
}

/// The JSON pointer (RFC 6901) of a path.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let name = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { .. } | Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&name);
    }
    pointer
}

/// serde tells kinds of errors apart by their words alone; only what quotes our own field names is taken from them.
fn misfit(at: String, words: &str) -> FieldError {
    if let Some(field) = quoted(words, "missing field `") {
        return FieldError::new(format!("{at}/{field}"), "required", "it is required");
    }
    let (code, message) = if words.starts_with("unknown field") {
        ("unknown_field", "there is no such field")
    } else if words.starts_with("unknown variant") {
        ("not_allowed", "it is not one of the allowed values")
    } else if words.starts_with("invalid type") {
        ("wrong_type", "it has the wrong type")
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

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Guest {
        #[expect(dead_code, reason = "only its shape counts")]
        last_name: String,
        #[serde(default)]
        #[expect(dead_code, reason = "only its shape counts")]
        documents: Vec<Document>,
    }

    #[derive(Debug, Deserialize)]
    struct Document {
        #[expect(dead_code, reason = "only its shape counts")]
        kind: Kind,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Passport,
    }

    fn refused(body: &str) -> Problem {
        parse_as::<Guest>(body.as_bytes()).unwrap_err()
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
                "not_allowed",
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
        ] {
            let problem = refused(&body);
            assert_eq!(problem.code, ProblemCode::ValidationFailed, "{body}");
            assert_eq!(
                (
                    problem.errors[0].pointer.as_str(),
                    problem.errors[0].code.as_str()
                ),
                (pointer, code),
                "{body}"
            );
            assert!(
                !problem.to_json("/", "req").to_string().contains(canary),
                "{body}"
            );
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
            assert_eq!(refused(body).code, ProblemCode::InvalidJson);
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
