//! What a signature is computed with, and how it is written.

use crate::secret::Secret;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

/// What a signature is computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// For old senders: SHA-1 is broken as a digest, HMAC with it is not.
    HmacSha1,
    /// HMAC-SHA256.
    HmacSha256,
    /// HMAC-SHA512.
    HmacSha512,
    /// Ed25519 (RFC 8032): the sender keeps the key that signs, the receiver has the public one.
    Ed25519,
}

/// How the bytes of a signature are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Digits in either case.
    Hex,
    /// Of the standard alphabet, padded and canonical.
    Base64,
}

impl Algorithm {
    /// The bytes of a signature.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha512 | Self::Ed25519 => 64,
        }
    }

    /// The one place where a tag is computed: the same pieces when signing and when verifying. Empty for
    /// [`Ed25519`](Self::Ed25519), which has none.
    pub(crate) fn tag<'m>(self, key: &Secret, pieces: impl IntoIterator<Item = &'m [u8]>) -> Vec<u8> {
        match self {
            Self::HmacSha1 => mac::<Hmac<Sha1>>(key, pieces),
            Self::HmacSha256 => mac::<Hmac<Sha256>>(key, pieces),
            Self::HmacSha512 => mac::<Hmac<Sha512>>(key, pieces),
            Self::Ed25519 => Vec::new(),
        }
    }
}

fn mac<'m, M: Mac + KeyInit>(key: &Secret, pieces: impl IntoIterator<Item = &'m [u8]>) -> Vec<u8> {
    #[cfg(test)]
    super::tests::TAGS_COMPUTED.with(|count| count.set(count.get() + 1));
    let mut mac = <M as KeyInit>::new_from_slice(key.bytes()).expect("HMAC takes a key of any length");
    for piece in pieces {
        mac.update(piece);
    }
    mac.finalize().into_bytes().to_vec()
}

impl Encoding {
    pub(super) fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Hex => HEXLOWER_PERMISSIVE.decode(text).ok(),
            Self::Base64 => STANDARD.decode(text).ok(),
        }
    }

    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => HEXLOWER.encode(bytes),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }
}
