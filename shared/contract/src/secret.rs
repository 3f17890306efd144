//! Signing secrets, which are never printed.
//!
//! A secret is `whsec_` and the base64 of 24 to 64 bytes (Standard Webhooks 1.0), or a plain string of at least 16
//! bytes used as it is. A list of secrets is separated by white space: sign with all, accept any, which is how one is
//! rotated. A damaged `whsec_` secret is not accepted as a plain one (`damage`): it would differ from the key at the
//! other end, and every delivery would be refused.

mod damage;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fmt, str::FromStr};

const STANDARD_PREFIX: &str = "whsec_";
const STANDARD_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const PLAIN_BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// The most secrets that a list may hold: two for a rotation, and two more for a mistake during one.
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
    /// After `whsec_` stands something that is not padded, canonical base64 of the standard alphabet.
    #[error("the part after whsec_ is not base64 (of the alphabet with + and /, with its = at the end)")]
    NotBase64,
    /// It holds `whsec`, but does not begin with `whsec_`: written otherwise, or with something before it.
    #[error("it looks like a whsec_ secret but does not begin with whsec_ in lower case")]
    Prefix,
    /// A `whsec_` secret behind the version of a signature.
    #[error("it begins with v1, which belongs to a signature: a secret begins with whsec_")]
    SignaturePrefix,
    /// A `whsec_` secret beside something that is no secret, such as `Bearer`.
    #[error("beside a whsec_ secret stands something that is none")]
    Beside,
    /// White space inside a `whsec_` secret.
    #[error(
        "it looks like one whsec_ secret that is broken by white space; if it is two, the plain one goes first"
    )]
    Broken,
    /// `whsk_`, which is the sender's alone, or `whpk_` where only a shared secret can be.
    #[error(
        "it begins like a key of asymmetric signatures: a shared secret begins with whsec_, and of v1a a source takes the public key, whpk_"
    )]
    Asymmetric,
    /// The quotes would be a part of the secret.
    #[error("it stands in quotes, which would be a part of it")]
    Quoted,
    /// A character that nobody sees would be a part of the secret.
    #[error("it holds an invisible character")]
    Invisible,
    /// `whsec_` with fewer than 24 or more than 64 bytes.
    #[error("a whsec_ secret must hold 24 to 64 bytes")]
    StandardLength,
    /// A plain secret of fewer than 16 or more than 256 bytes.
    #[error("a plain secret must have 16 to 256 bytes")]
    PlainLength,
    /// Not the base64 or hex that the scheme asks for.
    #[error(
        "it is not written as the scheme asks for: padded base64 of the alphabet with + and /, or hex digits"
    )]
    NotEncoded,
    /// Base64 or hex of fewer than 16 or more than 256 bytes.
    #[error("it must hold 16 to 256 bytes")]
    EncodedLength,
    /// No public key of Ed25519, or one for which anybody can sign.
    #[error(
        "it is no public key of Ed25519: whpk_ and the base64 of 32 bytes, or as the scheme writes keys, that are a point of its curve"
    )]
    PublicKey,
    /// No private key of Ed25519.
    #[error("it is no private key of Ed25519: whsk_ and the base64 of 32 or 64 bytes that belong together")]
    PrivateKey,
    /// It is sent in a header as it is, and a header cannot hold it.
    #[error("it is sent as a token in a header, so it must be one word of visible ASCII characters")]
    NotAToken,
    /// More than [`SECRETS_MAX`].
    #[error("more than {SECRETS_MAX} secrets")]
    TooMany,
}

impl Secret {
    /// The key itself.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A key of these bytes, whose number was checked.
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// A key that is the text itself, whatever it begins with.
    ///
    /// # Errors
    /// When it is too short or too long, or holds what nobody sees.
    pub(crate) fn of_text(text: &str) -> Result<Self, SecretError> {
        if text.is_empty() {
            return Err(SecretError::Missing);
        }
        if text.contains(damage::is_invisible) || text.trim() != text {
            return Err(SecretError::Invisible);
        }
        if PLAIN_BYTES.contains(&text.len()) {
            Ok(Self(text.as_bytes().to_vec()))
        } else {
            Err(SecretError::PlainLength)
        }
    }

    /// A text that means this key, for a table of encrypted secrets. What was a plain string may be `whsec_` now: the key is the same.
    pub fn text(&self) -> String {
        if STANDARD_BYTES.contains(&self.0.len()) {
            format!("{STANDARD_PREFIX}{}", STANDARD.encode(&self.0))
        } else {
            String::from_utf8_lossy(&self.0).into_owned()
        }
    }

    /// A secret of 32 bytes in the form of Standard Webhooks, for configuration files.
    pub fn encode(bytes: &[u8; 32]) -> String {
        format!("{STANDARD_PREFIX}{}", STANDARD.encode(bytes))
    }
}

impl FromStr for Secret {
    type Err = SecretError;
    fn from_str(text: &str) -> Result<Self, SecretError> {
        if let Some(damage) = damage::of(text) {
            return Err(damage);
        }
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
        let items: Vec<&str> = text.split_whitespace().collect();
        if let Some(damage) = damage::of_list(&items) {
            return Err(damage);
        }
        let secrets: Vec<Secret> = items.into_iter().map(str::parse).collect::<Result<_, _>>()?;
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
mod tests;
