//! Which bodies are JSON: by the essence of their content type, whatever its parameters, and in UTF-8.

use contract::{Problem, ProblemCode};
use http::{
    HeaderMap, HeaderValue, Method,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

/// The media type of JSON.
pub const JSON: &str = "application/json";
/// The media type of a merge patch (RFC 7396), which PUT and PATCH carry out.
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// The labels of UTF-8 (WHATWG Encoding Standard, and MySQL's) and of ASCII, which is UTF-8 too, by their letters and digits.
const UTF_8: [&str; 7] = [
    "utf8",
    "utf8mb4",
    "unicode11utf8",
    "unicode20utf8",
    "xunicode20utf8",
    "ascii",
    "usascii",
];

/// Checks that the body is plain JSON: `application/json`, or a merge patch where the method merges, not encoded, and in
/// no other encoding than UTF-8.
///
/// # Errors
/// 415 otherwise.
pub fn require_json(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |detail: &str| Problem::new(ProblemCode::UnsupportedMediaType).with_detail(detail);
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(refused("the body must not be encoded"));
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(only), None) if is_json(method, only) => Ok(()),
        _ => Err(refused("the content type must be application/json, in UTF-8")),
    }
}

/// The media types that a body of this method may have, as `Accept` and `Accept-Patch` list them.
pub(super) fn accepted(method: &Method) -> &'static str {
    if merges(method) {
        "application/json, application/merge-patch+json"
    } else {
        JSON
    }
}

fn merges(method: &Method) -> bool {
    matches!(*method, Method::PUT | Method::PATCH)
}

/// Whether a content type is JSON by its essence. Its parameters have no effect (RFC 8259, section 11), but for a
/// `charset` that names another encoding than the one that JSON has.
fn is_json(method: &Method, content_type: &HeaderValue) -> bool {
    let text = String::from_utf8_lossy(content_type.as_bytes());
    let (essence, parameters) = text.split_once(';').unwrap_or((&text, ""));
    let is = |media_type: &str| essence.trim().eq_ignore_ascii_case(media_type);
    (is(JSON) || merges(method) && is(MERGE_PATCH))
        && charsets(parameters).iter().all(|label| is_utf_8(label))
}

/// A charset that is named without a label says nothing.
fn is_utf_8(label: &str) -> bool {
    let letters = label.chars().filter(char::is_ascii_alphanumeric);
    let plain: String = letters.map(|letter| letter.to_ascii_lowercase()).collect();
    label.trim().is_empty() || UTF_8.contains(&plain.as_str())
}

/// The values of the parameters `charset`, out of their quotes (RFC 9110, section 5.6.6).
fn charsets(parameters: &str) -> Vec<String> {
    let mut charsets = Vec::new();
    let mut rest = parameters;
    while !rest.is_empty() {
        let end = rest.find(['=', ';']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let (value, after) = match after.strip_prefix('=').map(str::trim_start) {
            None => (String::new(), after),
            Some(after) => match after.strip_prefix('"') {
                Some(quoted) => unquoted(quoted),
                None => {
                    let (value, after) = after.split_at(after.find(';').unwrap_or(after.len()));
                    (value.to_owned(), after)
                }
            },
        };
        if name.trim().eq_ignore_ascii_case("charset") {
            charsets.push(value);
        }
        rest = after.split_once(';').map_or("", |(_, rest)| rest);
    }
    charsets
}

/// A quoted string after its first quote, and what follows its last.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, headers: &[(&str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        require_json(method, &map).is_ok()
    }

    #[test]
    fn only_plain_json_is_taken() {
        for bad in [
            "text/plain",
            "",
            "application/jsonp",
            "application/xml",
            "application/json/x",
            "application/json, text/plain",
            "application/merge-patch+json",
            "text/json",
            ";application/json",
        ] {
            assert!(!check(&Method::POST, &[("content-type", bad)]), "{bad}");
        }
        assert!(!check(&Method::POST, &[]));
        let twice = [
            ("content-type", "application/json"),
            ("content-type", "application/json"),
        ];
        assert!(!check(&Method::POST, &twice));
        let packed = [("content-type", "application/json"), ("content-encoding", "gzip")];
        assert!(!check(&Method::POST, &packed));
    }

    #[test]
    fn case15_a_content_type_is_its_essence_and_no_other_encoding() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; charset=utf8",
            "application/json; charset=UTF_8",
            "application/json ; charset=\"UTF\\-8\"",
            "application/json; charset=us-ascii",
            "application/json; charset=",
            "application/json; charset=\"\"",
            "application/json; charset",
            "application/json;",
            "application/json;;;",
            "application/json; profile=\"a; charset=latin1\"; version=2",
            "application/json; profile=\"a\\\"; charset=latin1\"",
            "application/json; profile=\"not ended; charset=latin1",
            "application/json; xcharset=latin1; x=\"\u{e9}\"",
        ] {
            assert!(check(&Method::POST, &[("content-type", good)]), "{good}");
        }
        for bad in [
            "application/json; charset=latin1",
            "application/json; CHARSET = \"ISO-8859-1\"",
            "application/json; charset=utf-16",
            "application/json; charset=utf-16le",
            "application/json; charset=windows-1252",
            "application/json; charset=utf-7",
            "application/json; charset=utf-8; charset=utf-7",
            "application/json; profile=\"a;b\"; charset=latin1",
            "application/json; version; charset=shift_jis",
        ] {
            assert!(!check(&Method::POST, &[("content-type", bad)]), "{bad}");
        }
    }

    #[test]
    fn case15_a_merge_patch_is_taken_where_a_method_merges() {
        let patch = [("content-type", "application/merge-patch+json; charset=utf8")];
        for (method, taken) in [(Method::PATCH, true), (Method::PUT, true), (Method::POST, false)] {
            assert_eq!(check(&method, &patch), taken, "{method}");
            assert!(check(&method, &[("content-type", JSON)]), "{method}");
        }
    }
}
