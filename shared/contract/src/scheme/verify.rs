//! The receiver's half: the one way from bytes to a [`Verified`] delivery.

use super::{
    Algorithm, Cause, Decoys, Key, Scheme, TimelyHeaders, Unauthentic,
    header::{Named, Proof},
};
use crate::{clock::UnixSeconds, id::IdempotencyKey};
use bytes::Bytes;
use std::{hint::black_box, sync::Arc};
use subtle::ConstantTimeEq;

/// A delivery whose proof was checked over its raw bytes. Only [`TimelyHeaders::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    pub(super) scheme: Arc<Scheme>,
    pub(super) named: Named,
    body: Bytes,
    key: usize,
}

impl Verified {
    /// The scheme that it was read by.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The idempotency key, if the headers have one that is signed.
    pub fn id(&self) -> Option<&IdempotencyKey> {
        self.named.id.as_ref()
    }

    /// The id of the delivery, which nobody signed or vouched for.
    pub fn delivery_id(&self) -> Option<&str> {
        let is_signed = self.scheme.definition.signature.is_some();
        self.named.unsigned_id.as_deref().filter(|_| is_signed)
    }

    /// An id that a token vouches for.
    pub(super) fn vouched_id(&self) -> Option<&str> {
        let is_signed = self.scheme.definition.signature.is_some();
        self.named.unsigned_id.as_deref().filter(|_| !is_signed)
    }

    /// When the sender made this attempt, if the headers say it.
    pub fn timestamp(&self) -> Option<UnixSeconds> {
        self.named.timestamp.as_ref().map(|stamp| stamp.at)
    }

    /// The raw bytes that were signed.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Which of the keys signed it: the first of them, by its place.
    pub fn key(&self) -> usize {
        self.key
    }
}

impl TimelyHeaders {
    /// Compares every signature with every active key, in constant time and without stopping early: one HMAC for each key,
    /// however many signatures came, and as many when none matches.
    ///
    /// # Errors
    /// When no key made any of the signatures.
    pub fn verify<'k>(
        self,
        body: Bytes,
        keys: impl IntoIterator<Item = &'k Key>,
    ) -> Result<Verified, Unauthentic> {
        self.verify_as_one_of(body, keys, &Decoys::default())
    }

    /// The same, where senders have different numbers of keys: a refusal costs as much as the `decoys` say, so that its time
    /// says nothing about a sender. A decoy that matches counts for nothing.
    ///
    /// # Errors
    /// When no key made any of the signatures.
    pub fn verify_as_one_of<'k>(
        self,
        body: Bytes,
        keys: impl IntoIterator<Item = &'k Key>,
        decoys: &Decoys,
    ) -> Result<Verified, Unauthentic> {
        let (mut signed_by, mut compared) = (None, Vec::new());
        for (place, key) in keys.into_iter().enumerate() {
            let algorithm = key.algorithm(&self.scheme);
            if self.matches(key, algorithm, &body) {
                signed_by = signed_by.or(Some(place));
            }
            compared.extend(algorithm);
        }
        if let Some(key) = signed_by {
            return Ok(Verified {
                scheme: self.scheme,
                named: self.named,
                body,
                key,
            });
        }
        for (algorithm, decoy) in decoys.beyond(&compared) {
            black_box(self.matches(decoy, Some(algorithm), &body));
        }
        Err(Cause::SignatureMismatch.into())
    }

    /// Whether a key made any of the signatures. Of a scheme with tokens, a decoy with an algorithm only costs what it costs
    /// where there are signatures.
    fn matches(&self, key: &Key, algorithm: Option<Algorithm>, body: &[u8]) -> bool {
        let rule = self.scheme.definition.signature.as_ref();
        let id = self
            .named
            .id
            .as_ref()
            .map_or("", IdempotencyKey::as_str)
            .as_bytes();
        let stamp = self.named.timestamp.as_ref();
        let timestamp = stamp.map_or("", |stamp| stamp.text.as_str()).as_bytes();
        let pieces = rule.map(|rule| rule.signed.pieces(id, timestamp, body));
        let pieces = pieces.into_iter().flatten();
        match (&self.proof, key) {
            (Proof::Token(token), Key::Shared(secret)) => match algorithm {
                None => secret.bytes().ct_eq(&token.0).into(),
                Some(algorithm) => {
                    black_box(algorithm.tag(secret, [body]));
                    false
                }
            },
            (Proof::Signatures(signatures), Key::Shared(secret)) => {
                let Some(algorithm) = algorithm else { return false };
                let expected = algorithm.tag(secret, pieces);
                let same = |(of, bytes): &(Algorithm, Vec<u8>)| {
                    bool::from(expected.ct_eq(bytes)) && *of == algorithm
                };
                signatures
                    .iter()
                    .fold(false, |matched, signature| matched | same(signature))
            }
            (Proof::Signatures(signatures), Key::Public(key)) => {
                let of_ed25519 = signatures.iter().filter(|(of, _)| *of == Algorithm::Ed25519);
                let mut message = None;
                of_ed25519.fold(false, |matched, (_, signature)| {
                    let message = message.get_or_insert_with(|| pieces.clone().collect::<Vec<_>>().concat());
                    matched | key.verifies(message, signature)
                })
            }
            (Proof::Token(_), Key::Public(_)) => false,
        }
    }
}
