//! Signing and verifying, after Standard Webhooks 1.0: HMAC-SHA256 over `{id}.{timestamp}.{raw body}`.
//!
//! ```text
//! header lines -> SignedHeaders::read -> SignedHeaders::within -> TimelyHeaders::verify -> Verified
//! ```
//! Each step is a type, so that unverified bytes cannot be parsed and the order of the checks cannot be changed by a
//! caller. Whatever fails is an [`Unauthentic`]; its cause is for counters, never for the answer.

mod header;
mod sign;
mod verify;

pub use header::{SIGNATURES_MAX, SignedHeaders, TimelyHeaders};
pub use sign::{SignatureHeader, sign};
pub use verify::Verified;

use crate::secret::Secret;
use hmac::{Hmac, KeyInit, Mac, digest::CtOutput};
use sha2::Sha256;
use strum::{IntoStaticStr, VariantNames};

/// The header with the event's id, which is its idempotency key.
pub const WEBHOOK_ID: &str = "webhook-id";
/// The header with the Unix seconds of this attempt.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// The header with one or more signatures, separated by spaces.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";
/// The header with the number of this attempt, from 1. It is not signed: for people.
pub const WEBHOOK_ATTEMPT: &str = "webhook-attempt";
/// The header with the trace that a request or an event belongs to (W3C Trace Context). It is not signed either.
pub const TRACEPARENT: &str = "traceparent";

/// The only scheme that is accepted; signatures of unknown schemes are ignored.
const VERSION_PREFIX: &str = "v1,";

/// The delivery is not authentic. The answer is the same whatever the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthentic {
    /// What failed, for the counters.
    pub cause: Cause,
    /// The sender's clock minus ours, when the timestamp could be read.
    pub skew_seconds: Option<i64>,
}

/// What made a delivery unauthentic, as counters and logs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// One of the three headers is not there.
    MissingHeader,
    /// One of the three headers stands twice: picking one would be a guess.
    RepeatedHeader,
    /// `webhook-id` is no id.
    MalformedId,
    /// `webhook-timestamp` does not match `^[1-9][0-9]{9}$`.
    MalformedTimestamp,
    /// The timestamp is further from our clock than allowed.
    Skew,
    /// More than [`SIGNATURES_MAX`] signatures.
    TooManySignatures,
    /// No signature of the known version that could be a SHA-256 tag.
    MalformedSignature,
    /// No signature matches any active key.
    SignatureMismatch,
}

impl From<Cause> for Unauthentic {
    fn from(cause: Cause) -> Self {
        Self {
            cause,
            skew_seconds: None,
        }
    }
}

/// The one place where a tag is computed: the same three parts when signing and when verifying.
fn tag(key: &Secret, id: &[u8], timestamp: &[u8], body: &[u8]) -> CtOutput<Hmac<Sha256>> {
    #[cfg(test)]
    tests::TAGS_COMPUTED.with(|count| count.set(count.get() + 1));
    let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes()).expect("HMAC takes a key of any length");
    for part in [id, b".", timestamp, b".", body] {
        mac.update(part);
    }
    mac.finalize()
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
