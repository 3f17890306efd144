//! Signing secrets, which never print.
//!
//! A secret is `whsec_` and the base64 of 24 to 64 bytes (Standard Webhooks 1.0), or a plain string of at least 16
//! bytes used as it is. A list of secrets is separated by white space: sign with all, accept any, which is how one is
//! rotated.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fmt, str::FromStr};

const STANDARD_PREFIX: &str = "whsec_";
const STANDARD_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const PLAIN_BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// The most secrets that a list may hold: two of a rotation, and room for a mistake in the middle of one.
pub const SECRETS_MAX: usize = 4;

/// The key of an HMAC. Its `Debug` shows nothing of it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// One to [`SECRETS_MAX`] secrets: the first is the newest.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretList(Vec<Secret>);

/// Why a text is no secret. It never quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No secret at all.
    #[error("no secret is given")]
    Missing,
    /// After `whsec_` stands something that is not padded, canonical base64.
    #[error("the part after whsec_ is not base64")]
    NotBase64,
    /// `whsec_` with fewer than 24 or more than 64 bytes.
    #[error("a whsec_ secret must hold 24 to 64 bytes")]
    StandardLength,
    /// A plain secret of fewer than 16 or more than 256 bytes.
    #[error("a plain secret must have 16 to 256 bytes")]
    PlainLength,
    /// More than [`SECRETS_MAX`].
    #[error("more than {SECRETS_MAX} secrets")]
    TooMany,
}

impl Secret {
    /// The key itself.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A secret of 32 bytes in the form of Standard Webhooks, for configuration files.
    pub fn encode(bytes: &[u8; 32]) -> String {
        format!("{STANDARD_PREFIX}{}", STANDARD.encode(bytes))
    }
}

impl FromStr for Secret {
    type Err = SecretError;
    fn from_str(text: &str) -> Result<Self, SecretError> {
        let Some(encoded) = text.strip_prefix(STANDARD_PREFIX) else {
            return match text.len() {
                0 => Err(SecretError::Missing),
                length if PLAIN_BYTES.contains(&length) => Ok(Self(text.as_bytes().to_vec())),
                _ => Err(SecretError::PlainLength),
            };
        };
        let key = STANDARD.decode(encoded).map_err(|_| SecretError::NotBase64)?;
        if STANDARD_BYTES.contains(&key.len()) {
            Ok(Self(key))
        } else {
            Err(SecretError::StandardLength)
        }
    }
}

impl FromStr for SecretList {
    type Err = SecretError;
    fn from_str(text: &str) -> Result<Self, SecretError> {
        let secrets: Vec<Secret> = text
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        match secrets.len() {
            0 => Err(SecretError::Missing),
            1..=SECRETS_MAX => Ok(Self(secrets)),
            _ => Err(SecretError::TooMany),
        }
    }
}

impl SecretList {
    /// The secrets, at least one.
    pub fn as_slice(&self) -> &[Secret] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

impl fmt::Debug for SecretList {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SecretList({} secrets)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_both_forms() {
        assert_eq!(
            "sixteen bytes is".parse::<Secret>().unwrap().bytes(),
            b"sixteen bytes is"
        );
        let encoded = Secret::encode(&[7; 32]);
        assert_eq!(encoded.parse::<Secret>().unwrap().bytes(), [7; 32]);
    }

    #[test]
    fn refuses_short_and_broken_ones() {
        for (text, why) in [
            ("", SecretError::Missing),
            ("fifteen bytes .", SecretError::PlainLength),
            ("whsec_", SecretError::StandardLength),
            ("whsec_AAAA", SecretError::StandardLength),
            ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7o", SecretError::NotBase64),
            (
                "whsec_not base64 but long enough to be plain",
                SecretError::NotBase64,
            ),
        ] {
            assert_eq!(text.parse::<Secret>(), Err(why), "{text}");
        }
        assert_eq!("  ".parse::<SecretList>(), Err(SecretError::Missing));
        assert_eq!(
            "a-long-enough-secret short".parse::<SecretList>(),
            Err(SecretError::PlainLength)
        );
        assert_eq!(
            "a-long-enough-secret ".repeat(5).parse::<SecretList>(),
            Err(SecretError::TooMany)
        );
    }

    #[test]
    fn never_prints() {
        let list: SecretList = "canary-canary-canary canary-canary-second".parse().unwrap();
        let shown = format!("{list:?} {:?} {:#?}", list.as_slice(), list.as_slice()[0]);
        assert!(!shown.contains("canary") && !shown.contains("99"), "{shown}");
    }
}
