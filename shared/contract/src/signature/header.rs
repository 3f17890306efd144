//! The three headers, read strictly: each exactly once and well-formed, then the time, then the signatures' number.
//!
//! All of it is done before the body is read and before any HMAC is computed, so that a flood of invalid requests stays
//! cheap.

use super::{Cause, Unauthentic, VERSION_PREFIX, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};
use crate::{clock::UnixSeconds, id::IdempotencyKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The most signatures that a header may carry; a rotation needs two.
pub const SIGNATURES_MAX: usize = 8;

/// Bytes of an HMAC-SHA256 tag.
const TAG_LEN: usize = 32;

/// The three headers, each seen exactly once and well-formed.
#[derive(Clone, Debug)]
pub struct SignedHeaders {
    id: IdempotencyKey,
    timestamp: UnixSeconds,
    signature: Vec<u8>,
}

/// Headers whose timestamp lies within the allowed skew, and whose signatures can be compared.
#[derive(Clone, Debug)]
pub struct TimelyHeaders {
    pub(super) id: IdempotencyKey,
    pub(super) timestamp: UnixSeconds,
    pub(super) candidates: Vec<[u8; TAG_LEN]>,
}

impl SignedHeaders {
    /// Reads them from the request's header lines. Names are compared without regard to case; values are raw bytes.
    pub fn read<'a>(lines: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Unauthentic> {
        let (mut id, mut timestamp, mut signature) = (None, None, None);
        for (name, value) in lines {
            let slot = match name {
                _ if name.eq_ignore_ascii_case(WEBHOOK_ID) => &mut id,
                _ if name.eq_ignore_ascii_case(WEBHOOK_TIMESTAMP) => &mut timestamp,
                _ if name.eq_ignore_ascii_case(WEBHOOK_SIGNATURE) => &mut signature,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(Cause::RepeatedHeader.into());
            }
        }
        let (Some(id), Some(timestamp), Some(signature)) = (id, timestamp, signature) else {
            return Err(Cause::MissingHeader.into());
        };
        Ok(Self {
            id: std::str::from_utf8(id)
                .ok()
                .and_then(|id| id.parse().ok())
                .ok_or(Cause::MalformedId)?,
            timestamp: parse_timestamp(timestamp).ok_or(Cause::MalformedTimestamp)?,
            signature: signature.to_vec(),
        })
    }

    /// Checks the timestamp against our clock, as strictly ahead as behind; exactly the limit is inside. Then reads
    /// the signatures.
    pub fn within(self, now: UnixSeconds, max_skew_seconds: u32) -> Result<TimelyHeaders, Unauthentic> {
        let skew = self.timestamp.0 - now.0;
        let unauthentic = |cause| Unauthentic {
            cause,
            skew_seconds: Some(skew),
        };
        if skew.unsigned_abs() > u64::from(max_skew_seconds) {
            return Err(unauthentic(Cause::Skew));
        }
        let candidates = parse_signatures(&self.signature).map_err(unauthentic)?;
        Ok(TimelyHeaders {
            id: self.id,
            timestamp: self.timestamp,
            candidates,
        })
    }
}

/// `^[1-9][0-9]{9}$`: no sign, no blank, no leading zero, so that one instant has one spelling.
fn parse_timestamp(raw: &[u8]) -> Option<UnixSeconds> {
    let shaped = raw.len() == 10 && raw[0] != b'0' && raw.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(raw).ok().filter(|_| shaped)?;
    text.parse().ok().map(UnixSeconds)
}

fn parse_signatures(raw: &[u8]) -> Result<Vec<[u8; TAG_LEN]>, Cause> {
    let parts = || raw.split(|byte| *byte == b' ');
    if parts().take(SIGNATURES_MAX + 1).count() > SIGNATURES_MAX {
        return Err(Cause::TooManySignatures);
    }
    let candidates: Vec<_> = parts().filter_map(parse_signature).collect();
    if candidates.is_empty() {
        Err(Cause::MalformedSignature)
    } else {
        Ok(candidates)
    }
}

/// A tag of the known version; padded, canonical base64 of exactly its length.
fn parse_signature(part: &[u8]) -> Option<[u8; TAG_LEN]> {
    let encoded = part.strip_prefix(VERSION_PREFIX.as_bytes())?;
    STANDARD.decode(encoded).ok()?.try_into().ok()
}
