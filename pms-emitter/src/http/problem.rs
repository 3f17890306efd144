//! Maps the failures of the desk, and the refusals of its rules, to HTTP problems; nothing else does.

use crate::desk::DeskError;
use crate::domain::{record_size::RECORD_BYTES_MAX, refusal::Refusal, type_definition::TYPES_MAX};
use contract::{FieldError, Problem, ProblemCode};
use kit::database_problem;

/// Seconds after which a client may come back when the database is unavailable or busy.
const RETRY_AFTER_SECONDS: u32 = 1;

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Refused(refusal) => refusal.into(),
            DeskError::Db(error) => database_problem(error),
            DeskError::UnexpectedVersion => Self::new(ProblemCode::PreconditionFailed),
            DeskError::Overtaken => Self::new(ProblemCode::Unavailable)
                .with_detail("others keep changing the same thing")
                .with_retry_after(RETRY_AFTER_SECONDS),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(errors) => Self::validation(errors),
            Refusal::NotFound => Self::new(ProblemCode::NotFound),
            Refusal::NotUnique { pointer } => {
                let mut problem = Self::new(ProblemCode::NotUnique);
                problem.errors = vec![FieldError::new(
                    pointer,
                    "not_unique",
                    "another record has this value",
                )];
                problem
            }
            Refusal::GuestInUse => Self::new(ProblemCode::GuestInUse),
            Refusal::InvalidTransition { allowed } => {
                Self::new(ProblemCode::InvalidTransition).with_extension("allowed", allowed)
            }
            Refusal::Guard { code, message } => Self::new(ProblemCode::TransitionGuard)
                .with_detail(message)
                .with_extension("guard", code),
            Refusal::RecordTooLarge => Self::new(ProblemCode::RecordTooLarge).with_detail(format!(
                "a record may take {RECORD_BYTES_MAX} bytes, as it is stored"
            )),
            Refusal::TooManyEndpoints(detail) => Self::new(ProblemCode::TooManyWebhooks).with_detail(detail),
            Refusal::TooManySecrets(most) => Self::new(ProblemCode::TooManySecrets).with_detail(format!(
                "{most} secrets of this webhook are valid: end one, or wait for an end"
            )),
            Refusal::LastSecret => Self::new(ProblemCode::LastSecret),
            Refusal::DeliveriesWaiting => Self::new(ProblemCode::DeliveriesWaiting).with_detail(
                "ordering changes while nothing is pending: pause what writes and wait, or make another webhook",
            ),
            Refusal::WebhookDeleted => Self::new(ProblemCode::WebhookDeleted),
            Refusal::BodyGone => Self::new(ProblemCode::BodyGone),
            Refusal::TooManyRuns(detail) => Self::new(ProblemCode::TooManyRuns).with_detail(detail),
            Refusal::ManagedByEnvironment => Self::new(ProblemCode::ManagedByEnvironment)
                .with_detail("CRM_WEBHOOK_URL and the settings beside it decide about this webhook"),
            Refusal::NotDeletable => Self::new(ProblemCode::NotDeletable),
            Refusal::ShippedType => Self::new(ProblemCode::ShippedEventType),
            Refusal::TooManyTypes => Self::new(ProblemCode::TooManyEventTypes)
                .with_detail(format!("there are {TYPES_MAX} registered types")),
            Refusal::EventIdReused => {
                Self::new(ProblemCode::IdempotencyKeyReused).with_detail("another event has this id")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_what_a_client_can_act_on() {
        let problem = Problem::from(Refusal::InvalidTransition {
            allowed: vec!["cancelled"],
        });
        assert_eq!(problem.code, ProblemCode::InvalidTransition);
        assert_eq!(
            problem.extensions,
            [("allowed", serde_json::json!(["cancelled"]))]
        );
        let problem = Problem::from(Refusal::NotUnique {
            pointer: "/external_ids/0".to_owned(),
        });
        assert_eq!(
            (problem.code.status(), problem.errors[0].pointer.as_str()),
            (409, "/external_ids/0")
        );
    }
}
