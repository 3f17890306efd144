//! Verifies a delivery of pms-emitter (Standard Webhooks 1.0), with the crates `hmac`, `sha2` and `base64`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const TOLERANCE_SECONDS: u64 = 300;

fn key_of(secret: &str) -> Option<Vec<u8>> {
    match secret.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).ok(),
        None => Some(secret.as_bytes().to_vec()),
    }
}

/// `body`: the raw bytes, as they came. The headers are `webhook-id`, `webhook-timestamp` and `webhook-signature`.
pub fn verify(secret: &str, id: &str, timestamp: &str, signatures: &str, body: &[u8], now: u64) -> bool {
    let in_time = timestamp
        .parse::<u64>()
        .is_ok_and(|sent| sent.abs_diff(now) <= TOLERANCE_SECONDS);
    let Some(mac) = key_of(secret).and_then(|key| Hmac::<Sha256>::new_from_slice(&key).ok()) else {
        return false;
    };
    let mac = mac.chain_update(format!("{id}.{timestamp}.")).chain_update(body);
    // Several signatures stand there while a secret is replaced: any of them will do.
    let mut encoded = signatures.split(' ').filter_map(|one| one.strip_prefix("v1,"));
    in_time
        && encoded.any(|one| {
            let given = STANDARD.decode(one).unwrap_or_default();
            mac.clone().verify_slice(&given).is_ok()
        })
}
