//! The sender's half: a signature header over the exact bytes that go out.

use super::VERSION_PREFIX;
use crate::{clock::UnixSeconds, id::IdempotencyKey, scheme::Algorithm, secret::Secret};
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
    let pieces = [id.as_str().as_bytes(), b".", timestamp.as_bytes(), b".", body];
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| Algorithm::HmacSha256.tag(secret, pieces))
        .map(|tag| format!("{VERSION_PREFIX}{}", STANDARD.encode(tag)))
        .collect();
    SignatureHeader(signatures.join(" "))
}
