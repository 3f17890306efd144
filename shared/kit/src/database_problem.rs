//! The HTTP answer to a client when the database failed.

use contract::{Problem, ProblemCode};
use db::DbError;

/// The `Retry-After` when the database is unavailable.
const RETRY_AFTER_SECONDS: u32 = 1;

/// An outage, a conflict or a lock timeout is 503: the client may try again. Any other error is a bug, and 500. It is
/// logged here, where it is handled. An error that the caller handles itself, such as `Duplicate`, does not reach this
/// function.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
pub fn database_problem(error: DbError) -> Problem {
    if error.is_outage() || matches!(error, DbError::LockTimeout | DbError::Contended) {
        tracing::warn!(error = %error, "database unavailable");
        return Problem::new(ProblemCode::Unavailable).with_retry_after(RETRY_AFTER_SECONDS);
    }
    tracing::error!(error = %error, "database operation failed");
    Problem::new(ProblemCode::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_503_with_retry_after_and_a_mistake_of_ours_500_without_its_words() {
        for error in [
            DbError::Unavailable,
            DbError::CommitUnknown,
            DbError::Contended,
            DbError::LockTimeout,
        ] {
            let problem = database_problem(error);
            assert_eq!(
                (problem.code, problem.retry_after_seconds),
                (ProblemCode::Unavailable, Some(1))
            );
        }
        let mistake = DbError::Statement {
            code: 1,
            message: "no such table: guests".to_owned(),
        };
        let problem = database_problem(mistake);
        assert_eq!((problem.code, &problem.detail), (ProblemCode::Internal, &None));
    }
}
