//! The key as a client sends it.

use api::Request;
use contract::{Problem, ProblemCode};
use http::HeaderMap;
use std::fmt;

/// The header that carries it.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Its longest form, in bytes; the table's column is as wide.
const KEY_LEN_MAX: usize = 255;

/// 1 to 255 visible ASCII characters. Sent bare or as the quoted string of a structured field, as the draft of the
/// standard has it (draft-ietf-httpapi-idempotency-key-header, RFC 9651 section 3.3.3), it is the same key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

impl fmt::Debug for Key {
    /// Shows nothing of the key: clients put anything into it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key(..)")
    }
}

impl Key {
    /// The request's key, if it has one.
    ///
    /// # Errors
    /// 400 when the header stands more than once, is empty, too long, or holds anything but visible ASCII, or when it
    /// begins with a quote and is no quoted string.
    pub fn of(request: &Request) -> Result<Option<Self>, Problem> {
        Self::from_headers(&request.headers)
    }

    /// As [`Key::of`].
    ///
    /// # Errors
    /// As [`Key::of`].
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let text = value.to_str().ok().and_then(|text| match text.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => Some(text.to_owned()),
        });
        let valid = |key: &String| {
            (1..=KEY_LEN_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
        };
        match text.filter(valid) {
            Some(key) if values.next().is_none() => Ok(Some(Self(key))),
            _ => Err(Problem::new(ProblemCode::InvalidIdempotencyKey)),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a quoted string says, after its first quote; only a quote and a backslash are escaped in it.
fn unquoted(quoted: &str) -> Option<String> {
    let mut characters = quoted.strip_suffix('"')?.chars();
    let mut text = String::new();
    while let Some(character) = characters.next() {
        text.push(match character {
            '"' => return None,
            '\\' => characters
                .next()
                .filter(|escaped| matches!(escaped, '"' | '\\'))?,
            other => other,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(values: &[&[u8]]) -> Result<Option<Key>, ProblemCode> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        }
        Key::from_headers(&headers).map_err(|problem| problem.code)
    }

    #[test]
    fn a_key_is_visible_ascii() {
        assert_eq!(read(&[]), Ok(None));
        for good in [
            "a",
            "8e03978e-40d5-43dd-bc93-6894a57f9324",
            "mid\"dle\\",
            "!~",
            &"k".repeat(255),
        ] {
            assert_eq!(read(&[good.as_bytes()]), Ok(Some(Key(good.to_owned()))));
        }
        let long = "k".repeat(10_000);
        for bad in [
            &b""[..],
            b"a b",
            b" ",
            "é".as_bytes(),
            b"\xff",
            long.as_bytes(),
            &long.as_bytes()[..256],
        ] {
            assert_eq!(read(&[bad]), Err(ProblemCode::InvalidIdempotencyKey));
        }
        assert_eq!(read(&[b"a", b"a"]), Err(ProblemCode::InvalidIdempotencyKey));
    }

    #[test]
    fn case19_a_quoted_key_is_the_bare_one() {
        let long = "k".repeat(255);
        for (quoted, bare) in [
            (r#""k-1""#, "k-1"),
            (r#""a\"b""#, "a\"b"),
            (r#""a\\b""#, "a\\b"),
            (r#""\"""#, "\""),
            (&format!("\"{long}\""), &long),
        ] {
            assert_eq!(
                read(&[quoted.as_bytes()]),
                Ok(Some(Key(bare.to_owned()))),
                "{quoted}"
            );
        }
        for bad in [
            "\"",
            "\"\"",
            "\"k",
            r#""k\""#,
            r#""k\n""#,
            r#""a"b""#,
            r#""k""k""#,
            "\"a b\"",
            "\"k\";p=1",
            &format!("\"{long}k\""),
        ] {
            assert_eq!(
                read(&[bad.as_bytes()]),
                Err(ProblemCode::InvalidIdempotencyKey),
                "{bad}"
            );
        }
    }
}
