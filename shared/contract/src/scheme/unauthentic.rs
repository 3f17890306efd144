//! Why a delivery is not authentic.

use strum::{IntoStaticStr, VariantNames};

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
    /// One of the headers that prove it is not there.
    MissingHeader,
    /// One of them stands twice: picking one would be a guess.
    RepeatedHeader,
    /// The header of the id holds none.
    MalformedId,
    /// The header of the time is none, such as `^[1-9][0-9]{9}$` of Standard Webhooks.
    MalformedTimestamp,
    /// The timestamp is further from our clock than allowed.
    Skew,
    /// More signatures than a rotation needs.
    TooManySignatures,
    /// No signature of a known version, of its length.
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
