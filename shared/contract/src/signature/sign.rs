//! The sender's half: a signature header over the exact bytes that go out.

use super::{VERSION_PREFIX, tag};
use crate::{clock::UnixSeconds, id::IdempotencyKey, secret::Secret};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The value of `webhook-signature`: one signature for each active secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureHeader(String);

impl SignatureHeader {
    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Signs one attempt with every active secret, so that a receiver in the middle of a rotation accepts it.
pub fn sign(secrets: &[Secret], id: &IdempotencyKey, timestamp: UnixSeconds, body: &[u8]) -> SignatureHeader {
    let timestamp = timestamp.0.to_string();
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| tag(secret, id.as_str().as_bytes(), timestamp.as_bytes(), body))
        .map(|tag| format!("{VERSION_PREFIX}{}", STANDARD.encode(tag.into_bytes())))
        .collect();
    SignatureHeader(signatures.join(" "))
}
