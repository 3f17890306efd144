//! Maps the receiver's own errors to HTTP problems; nothing else does.

use crate::ingest::IngestError;
use contract::{Problem, ProblemCode};

/// The `Retry-After` for a sender.
const RETRY_AFTER_SECONDS: u32 = 1;

impl From<IngestError> for Problem {
    /// Logged where it happened: a batch fails as a whole, and its rows are many.
    fn from(error: IngestError) -> Self {
        let code = match error {
            IngestError::Overloaded => ProblemCode::Overloaded,
            IngestError::OverShare => ProblemCode::TooManyRequests,
            IngestError::Unavailable => ProblemCode::Unavailable,
            IngestError::InFlight => ProblemCode::InFlight,
            IngestError::Failed => return Self::new(ProblemCode::Internal),
        };
        Self::new(code).with_retry_after(RETRY_AFTER_SECONDS)
    }
}
