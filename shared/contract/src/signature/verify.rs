//! The receiver's half: the one way from bytes to a [`Verified`] delivery.

use super::{Cause, TimelyHeaders, Unauthentic, tag};
use crate::{clock::UnixSeconds, id::IdempotencyKey, secret::Secret};
use bytes::Bytes;
use hmac::digest::CtOutput;

/// A delivery whose signature was checked over its raw bytes. Only [`TimelyHeaders::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    id: IdempotencyKey,
    timestamp: UnixSeconds,
    body: Bytes,
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
}

impl TimelyHeaders {
    /// Compares every candidate with the tag of every active key, in constant time and without stopping early: one
    /// HMAC for each key, however many candidates came, and as many when none matches.
    pub fn verify(self, body: Bytes, keys: &[Secret]) -> Result<Verified, Unauthentic> {
        let timestamp = self.timestamp.0.to_string();
        let mut matched = false;
        for key in keys {
            let expected = tag(key, self.id.as_str().as_bytes(), timestamp.as_bytes(), &body);
            for candidate in &self.candidates {
                matched |= expected == CtOutput::new((*candidate).into());
            }
        }
        if matched {
            Ok(Verified {
                id: self.id,
                timestamp: self.timestamp,
                body,
            })
        } else {
            Err(Cause::SignatureMismatch.into())
        }
    }
}
