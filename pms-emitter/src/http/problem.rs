//! Maps every failure of this service to an HTTP answer.

use crate::desk::DeskError;
use crate::domain::{record_size::RECORD_BYTES_MAX, refusal::Refusal};
use contract::{FieldError, Problem, ProblemCode};
use db::DbError;
use kit::database_problem;

/// Seconds after which a client may come back when the database is unavailable or busy.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Why a request is not answered with a success.
#[derive(Debug)]
pub enum ApiError {
    /// The request itself: its syntax, headers, query, body.
    Problem(Problem),
    /// What the request asks for.
    Desk(DeskError),
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::Desk(refusal.into())
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        Self::Desk(error.into())
    }
}

impl From<DeskError> for ApiError {
    fn from(error: DeskError) -> Self {
        Self::Desk(error)
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Problem(problem) => problem,
            ApiError::Desk(DeskError::Refused(refusal)) => of_refusal(refusal),
            ApiError::Desk(DeskError::Db(error)) => database_problem(error),
            ApiError::Desk(DeskError::UnexpectedVersion) => Problem::new(ProblemCode::PreconditionFailed),
            ApiError::Desk(DeskError::Overtaken) => Problem::new(ProblemCode::Unavailable)
                .with_detail("others keep changing the same thing")
                .with_retry_after(RETRY_AFTER_SECONDS),
        }
    }
}

fn of_refusal(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Invalid(errors) => Problem::validation(errors),
        Refusal::NotFound => Problem::new(ProblemCode::NotFound),
        Refusal::NotUnique { pointer } => {
            let mut problem = Problem::new(ProblemCode::NotUnique);
            problem.errors = vec![FieldError::new(
                pointer,
                "not_unique",
                "another record has this value",
            )];
            problem
        }
        Refusal::GuestInUse => Problem::new(ProblemCode::GuestInUse),
        Refusal::InvalidTransition { allowed } => {
            Problem::new(ProblemCode::InvalidTransition).with_extension("allowed", allowed)
        }
        Refusal::Guard { code, message } => Problem::new(ProblemCode::TransitionGuard)
            .with_detail(message)
            .with_extension("guard", code),
        Refusal::RecordTooLarge => Problem::new(ProblemCode::RecordTooLarge).with_detail(format!(
            "a record may take {RECORD_BYTES_MAX} bytes, as it is stored"
        )),
        Refusal::NotDeletable => Problem::new(ProblemCode::NotDeletable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_what_a_client_can_act_on() {
        let problem = Problem::from(ApiError::from(Refusal::InvalidTransition {
            allowed: vec!["cancelled"],
        }));
        assert_eq!(problem.code, ProblemCode::InvalidTransition);
        assert_eq!(
            problem.extensions,
            [("allowed", serde_json::json!(["cancelled"]))]
        );
        let problem = Problem::from(ApiError::from(Refusal::NotUnique {
            pointer: "/external_ids/0".to_owned(),
        }));
        assert_eq!(
            (problem.code.status(), problem.errors[0].pointer.as_str()),
            (409, "/external_ids/0")
        );
    }
}
