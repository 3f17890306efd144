//! The key as a client sends it.

use crate::http::Request;
use contract::{Problem, ProblemCode};
use http::HeaderMap;
use std::fmt;

/// The header that carries it.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Its longest form, in bytes; the table's column is as wide.
const KEY_LEN_MAX: usize = 255;

/// 1 to 255 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

impl fmt::Debug for Key {
    /// Clients put anything into their keys.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key(..)")
    }
}

impl Key {
    /// The request's key, if it has one.
    ///
    /// # Errors
    /// 400 when the header stands more than once, is empty, too long, or holds anything but visible ASCII.
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
        let bytes = value.as_bytes();
        let valid = (1..=KEY_LEN_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        match value.to_str() {
            Ok(text) if valid && values.next().is_none() => Ok(Some(Self(text.to_owned()))),
            _ => Err(Problem::new(ProblemCode::InvalidIdempotencyKey)),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
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
            "\"quoted\"",
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
}
