//! The signature of our own events, after Standard Webhooks 1.0: HMAC-SHA256 over `{id}.{timestamp}.{raw body}`. How it is
//! checked, and how other senders sign, is [`scheme`](crate::scheme).

mod sign;

pub use sign::{SignatureHeader, sign};

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

/// What each of our signatures begins with.
const VERSION_PREFIX: &str = "v1,";
