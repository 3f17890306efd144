//! Identity documents. The number stays in the PMS: an event carries its last characters and a keyed digest.
//!
//! Digests of two emitters match when they share the key, and mean nothing to anyone without it.

use contract::Country;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;
use std::{fmt, str::FromStr};

/// The shortest and the longest key, in bytes.
pub const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// How many characters of a number an event shows at most; never more than half of them.
const SHOWN_MAX: usize = 4;

/// The key of document digests. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct DigestKey(Vec<u8>);

/// The text is no digest key: it has fewer than 16 or more than 256 bytes, or white space at an edge, which mostly comes from the
/// tool that wrote it and would be a part of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest key must have 16 to 256 bytes, without white space at its edges")]
pub struct InvalidDigestKey;

/// A document of a guest. `digest` belongs to the other fields and the key of the time it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// `passport`, `id_card`, ...: lower-case letters, digits and `_`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who issued it.
    pub issuing_country: Option<Country>,
    /// As it was typed, trimmed.
    pub number: String,
    /// The last day of its validity.
    pub expires_on: Option<Date>,
    /// HMAC-SHA256, in hexadecimal.
    pub digest: String,
}

impl DigestKey {
    /// Digests what tells a document from another: its type, its issuer, and its number without separators and letter
    /// case, so that `AB 123-4` and `ab1234` are one.
    pub fn digest(&self, kind: &str, issuing_country: Option<&Country>, number: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        for part in [
            kind,
            issuing_country.map_or("", Country::as_str),
            &compact(number),
        ] {
            mac.update(part.as_bytes());
            mac.update(&[0]);
        }
        HEXLOWER.encode(&mac.finalize().into_bytes())
    }
}

impl FromStr for DigestKey {
    type Err = InvalidDigestKey;
    fn from_str(text: &str) -> Result<Self, InvalidDigestKey> {
        (KEY_BYTES.contains(&text.len()) && text.trim() == text)
            .then(|| Self(text.as_bytes().to_vec()))
            .ok_or(InvalidDigestKey)
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("DigestKey(..)")
    }
}

impl Document {
    /// As the PMS shows it to its staff.
    pub fn to_json(&self) -> Value {
        json!({
            "type": self.kind,
            "issuing_country": self.issuing_country,
            "number": self.number,
            "expires_on": self.expires_on,
        })
    }

    /// As events carry it: without the number.
    pub fn to_event_json(&self) -> Value {
        json!({
            "type": self.kind,
            "issuing_country": self.issuing_country,
            "last4": last_characters(&self.number),
            "digest": self.digest,
            "expires_on": self.expires_on,
        })
    }
}

fn compact(number: &str) -> String {
    number
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_uppercase)
        .collect()
}

fn last_characters(number: &str) -> String {
    let compact: Vec<char> = compact(number).chars().collect();
    let shown = SHOWN_MAX.min(compact.len() / 2);
    compact[compact.len() - shown..].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> DigestKey {
        text.parse().unwrap()
    }

    #[test]
    fn the_digest_sees_through_spelling_and_rests_on_key_type_and_issuer() {
        let (one, other) = (key("0123456789abcdef"), key("0123456789abcdeg"));
        let portugal = Country::parse("PT").unwrap();
        let digest = one.digest("passport", Some(&portugal), "AB 123-4");
        assert_eq!(digest, one.digest("passport", Some(&portugal), "ab1234"));
        // HMAC-SHA256 over "passport\0PT\0AB1234\0", computed with another program.
        assert_eq!(digest, EXPECTED_DIGEST);
        for different in [
            other.digest("passport", Some(&portugal), "AB1234"),
            one.digest("id_card", Some(&portugal), "AB1234"),
            one.digest("passport", None, "AB1234"),
            one.digest("passport", Some(&portugal), "AB1235"),
            one.digest("passportPT", None, "AB1234"),
        ] {
            assert_ne!(digest, different);
        }
    }

    const EXPECTED_DIGEST: &str = "79258dfccc003a5ffdcced1d6b3c0b455bb095986ae388ef1bb9c4cf9cbc8a1c";

    #[test]
    fn events_never_carry_the_number_nor_most_of_a_short_one() {
        for (number, shown) in [
            ("AB 123-456", "3456"),
            ("12345", "45"),
            ("7", ""),
            ("1234567", "567"),
        ] {
            assert_eq!(last_characters(number), shown);
        }
        let document = Document {
            kind: "passport".to_owned(),
            issuing_country: None,
            number: "AB123456".to_owned(),
            expires_on: None,
            digest: "d1".to_owned(),
        };
        assert!(!document.to_event_json().to_string().contains("AB12"));
    }

    #[test]
    fn a_key_never_prints_and_is_never_short() {
        assert_eq!(format!("{:?}", key("0123456789abcdef")), "DigestKey(..)");
        assert!("0123456789abcde".parse::<DigestKey>().is_err());
    }
}
