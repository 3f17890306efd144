//! The errors of a store method, grouped by what its caller can do about them.

use strum::{IntoStaticStr, VariantNames};

/// Why an operation on the database failed. It holds no value of any row: it may be logged.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum DbError {
    /// The database cannot be opened, for this reason.
    #[error("the database cannot be opened: {reason}")]
    Open {
        /// A sentence for the operator.
        reason: String,
    },
    /// The server cannot be reached, the connection was lost before COMMIT, or the queue is full. Nothing was written.
    #[error("the database is unavailable")]
    Unavailable,
    /// The caller's deadline passed. The operation may still take effect.
    #[error("the database did not answer in time")]
    Timeout,
    /// The connection was lost after COMMIT was sent, so its result is unknown. Never repeat blindly; look the id up.
    #[error("it is unknown whether the commit took effect")]
    CommitUnknown,
    /// A unique key is taken. The transaction may go on.
    #[error("a unique key is taken")]
    Duplicate,
    /// Another transaction held a row lock for longer than the wait limit, also in the re-runs.
    #[error("a row stayed locked for too long")]
    LockTimeout,
    /// Deadlocks or lost certifications used up the re-runs.
    #[error("too many concurrent writers")]
    Contended,
    /// The server takes no writes.
    #[error("the database is read-only")]
    ReadOnly,
    /// No disk space for the write.
    #[error("the database is full")]
    Full,
    /// The statement itself is wrong. The transaction may go on.
    #[error("statement refused (error {code}): {message}")]
    Statement {
        /// The engine's own code.
        code: i64,
        /// The engine's message, where it cannot hold a value of a row.
        message: String,
    },
    /// A column does not have the type that the code expects.
    #[error("column {column} is no {expected}")]
    Decode {
        /// The column asked for.
        column: String,
        /// What it was expected to be.
        expected: &'static str,
    },
    /// The operation panicked; it was rolled back.
    #[error("a database operation panicked")]
    Panicked,
}

impl DbError {
    /// Whether the rows of a batch may have caused the error, rather than the database or other writers: then a smaller
    /// batch may succeed. A passed deadline counts too, since a smaller batch takes less time.
    pub fn may_be_caused_by_rows(&self) -> bool {
        match self {
            Self::Timeout => true,
            Self::Contended | Self::LockTimeout => false,
            _ => !self.is_outage(),
        }
    }

    /// Whether the database as a whole failed, rather than this statement or concurrent ones. Such an error opens the
    /// store's breaker and is answered with 503.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Open { .. }
            | Self::Unavailable
            | Self::Timeout
            | Self::CommitUnknown
            | Self::ReadOnly
            | Self::Full => true,
            Self::Duplicate
            | Self::LockTimeout
            | Self::Contended
            | Self::Statement { .. }
            | Self::Decode { .. }
            | Self::Panicked => false,
        }
    }

    /// `reason` is a sentence for the operator.
    pub(super) fn open(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Open { reason }
    }

    pub(super) fn misuse(message: &str) -> Self {
        Self::Statement {
            code: 0,
            message: message.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DbError;

    #[test]
    fn only_its_own_errors_send_a_batch_in_halves() {
        for (error, halved) in [
            (DbError::Unavailable, false),
            (DbError::Contended, false),
            (DbError::LockTimeout, false),
            (DbError::Timeout, true),
            (DbError::Duplicate, true),
            (DbError::Panicked, true),
        ] {
            assert_eq!(error.may_be_caused_by_rows(), halved, "{error}");
        }
    }
}
