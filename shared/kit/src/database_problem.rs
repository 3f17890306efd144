//! What a client is answered when the database failed.

use contract::{Problem, ProblemCode};
use db::DbError;

/// What a client is asked to wait when the database cannot be asked or written.
const RETRY_AFTER_SECONDS: u32 = 1;

/// An outage, a lost race or a lock is 503: the client may try again. Anything else is a mistake of ours, and 500. Logged
/// here, where it is handled; an error that means something to the caller, as `Duplicate` may, is answered before.
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
