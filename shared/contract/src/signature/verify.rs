//! The receiver's half: the one way from bytes to a [`Verified`] delivery.

use super::{Cause, TimelyHeaders, Unauthentic, tag};
use crate::{clock::UnixSeconds, id::IdempotencyKey, secret::Secret};
use bytes::Bytes;
use hmac::digest::CtOutput;
use std::hint::black_box;

/// A delivery whose signature was checked over its raw bytes. Only [`TimelyHeaders::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    id: IdempotencyKey,
    timestamp: UnixSeconds,
    body: Bytes,
    key: usize,
}

impl Verified {
    /// The idempotency key.
    pub fn id(&self) -> &IdempotencyKey {
        &self.id
    }

    /// When the sender made this attempt.
    pub fn timestamp(&self) -> UnixSeconds {
        self.timestamp
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
    /// Compares every candidate with the tag of every active key, in constant time and without stopping early: one
    /// HMAC for each key, however many candidates came, and as many when none matches.
    pub fn verify<'k>(
        self,
        body: Bytes,
        keys: impl IntoIterator<Item = &'k Secret>,
    ) -> Result<Verified, Unauthentic> {
        self.verify_as_one_of(body, keys, &[])
    }

    /// The same, where senders have different numbers of keys: a refusal costs as many HMACs as there are `decoys`, so that
    /// its time says nothing about a sender. A decoy that matches counts for nothing.
    pub fn verify_as_one_of<'k>(
        self,
        body: Bytes,
        keys: impl IntoIterator<Item = &'k Secret>,
        decoys: &[Secret],
    ) -> Result<Verified, Unauthentic> {
        let timestamp = self.timestamp.0.to_string();
        let matches = |key| {
            let expected = tag(key, self.id.as_str().as_bytes(), timestamp.as_bytes(), &body);
            let candidates = self.candidates.iter();
            candidates.fold(false, |matched, candidate| {
                matched | (expected == CtOutput::new((*candidate).into()))
            })
        };
        let (mut signed_by, mut compared) = (None, 0);
        for key in keys {
            if matches(key) {
                signed_by = signed_by.or(Some(compared));
            }
            compared += 1;
        }
        if let Some(key) = signed_by {
            return Ok(Verified {
                id: self.id,
                timestamp: self.timestamp,
                body,
                key,
            });
        }
        for decoy in decoys.iter().skip(compared) {
            black_box(matches(decoy));
        }
        Err(Cause::SignatureMismatch.into())
    }
}
