//! A request's body as JSON: the right content type, then one strict parse. What it must look like is `shape`'s.

use contract::{Problem, ProblemCode, json};
use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use serde_json::Value;

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

#[cfg(test)]
mod tests {
    use super::*;

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
