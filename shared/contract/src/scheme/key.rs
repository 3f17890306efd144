//! What a signature is checked with, read from the text that an operator enters.

use super::{Algorithm, Scheme};
use crate::secret::{Secret, SecretError};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use curve25519_dalek::edwards::CompressedEdwardsY;
use data_encoding::HEXLOWER_PERMISSIVE;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

/// What a public key of Standard Webhooks begins with.
const PUBLIC_PREFIX: &str = "whpk_";
const PUBLIC_LEN: usize = 32;
/// The bytes of a secret that is written as base64 or hex.
const ENCODED_BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// How the text of a secret becomes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyForm {
    /// `whsec_` and base64, or plain text (Standard Webhooks).
    Standard,
    /// The whole text is the key, whatever it begins with.
    Text,
    /// The base64 of the key.
    Base64,
    /// The hex digits of the key.
    Hex,
}

/// What a signature is checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The sender has the same one.
    Shared(Secret),
    /// Of a sender that keeps the other half.
    Public(PublicKey),
}

/// A key of Ed25519 that checks signatures and makes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_LEN]);

impl From<Secret> for Key {
    fn from(secret: Secret) -> Self {
        Self::Shared(secret)
    }
}

impl PublicKey {
    pub(super) const fn new(bytes: [u8; PUBLIC_LEN]) -> Self {
        Self(bytes)
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        #[cfg(test)]
        super::tests::TAGS_COMPUTED.with(|count| count.set(count.get() + 1));
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}

impl Key {
    /// What signatures of this key are computed with under a scheme; None for a token.
    pub(super) fn algorithm(&self, scheme: &Scheme) -> Option<Algorithm> {
        let mut versions = scheme.definition.signature.iter().flat_map(|rule| &rule.versions);
        versions
            .find(|version| (version.algorithm == Algorithm::Ed25519) == matches!(self, Self::Public(_)))
            .map(|version| version.algorithm)
    }
}

impl Scheme {
    /// The key that a text means under this scheme.
    ///
    /// # Errors
    /// What is wrong with it; the text is never quoted.
    pub fn key(&self, text: &str) -> Result<Key, SecretError> {
        let takes = |wanted: fn(Algorithm) -> bool| {
            let mut versions = self.definition.signature.iter().flat_map(|rule| &rule.versions);
            versions.any(|version| wanted(version.algorithm))
        };
        let is_public = |algorithm| algorithm == Algorithm::Ed25519;
        if takes(is_public)
            && (text.starts_with(PUBLIC_PREFIX) || !takes(|other| other != Algorithm::Ed25519))
        {
            return self.public_key(text).map(Key::Public);
        }
        let secret = match self.definition.key {
            KeyForm::Standard => text.parse(),
            KeyForm::Text => Secret::of_text(text),
            KeyForm::Base64 => encoded(STANDARD.decode(text).ok()),
            KeyForm::Hex => encoded(HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()),
        };
        secret.map(Key::Shared)
    }

    fn public_key(&self, text: &str) -> Result<PublicKey, SecretError> {
        let bytes = match (text.strip_prefix(PUBLIC_PREFIX), self.definition.key) {
            (Some(encoded), _) => STANDARD.decode(encoded).ok(),
            (None, KeyForm::Hex) => HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(),
            (None, _) => STANDARD.decode(text).ok(),
        };
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes
            .filter(is_usable)
            .map(PublicKey)
            .ok_or(SecretError::PublicKey)
    }

    /// The text of a new secret of 32 random bytes, unless only the sender can make its keys.
    pub fn make_secret(&self, bytes: &[u8; 32]) -> Option<String> {
        let makes = |rule: &super::definition::SignatureRule| {
            let mut versions = rule.versions.iter();
            versions.any(|version| version.algorithm != Algorithm::Ed25519)
        };
        if !self.definition.signature.as_ref().is_none_or(makes) {
            return None;
        }
        Some(match self.definition.key {
            KeyForm::Standard | KeyForm::Text => Secret::encode(bytes),
            KeyForm::Base64 => STANDARD.encode(bytes),
            KeyForm::Hex => HEXLOWER_PERMISSIVE.encode(bytes),
        })
    }
}

fn encoded(bytes: Option<Vec<u8>>) -> Result<Secret, SecretError> {
    let bytes = bytes.ok_or(SecretError::NotEncoded)?;
    if ENCODED_BYTES.contains(&bytes.len()) {
        Ok(Secret::of_bytes(bytes))
    } else {
        Err(SecretError::EncodedLength)
    }
}

/// Whether signatures can be checked with these bytes, and not everybody can make them: a point of the curve (RFC 8032, section
/// 5.1.3) that is not of order 1, 2, 4 or 8. The library that checks signatures says neither before one comes.
fn is_usable(bytes: &[u8; PUBLIC_LEN]) -> bool {
    let point = CompressedEdwardsY(*bytes).decompress();
    point.is_some_and(|point| !point.is_small_order())
}
