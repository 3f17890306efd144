//! Error answers: `application/problem+json` of RFC 9457, with codes that are part of the contract.
//!
//! A [`ProblemCode`] determines status and title, so that the same failure always has the same answer. A problem must
//! not repeat a secret, a body or personal data: pointers and codes name the field, never its value.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// The most broken rules that an answer names: a body may break as many as it has values.
pub const ERRORS_MAX: usize = 100;

macro_rules! problem_codes {
    ($($variant:ident = $status:literal $code:literal $title:literal,)*) => {
        /// Why a request failed, for machines.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ProblemCode {
            $(
                #[doc = concat!("`", $code, "`: ", $title)]
                $variant,
            )*
        }

        impl ProblemCode {
            /// Every code, as the documentation lists them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as it stands in an answer.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                }
            }

            /// A short sentence for people, always the same for one code.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$variant => $title,)*
                }
            }
        }
    };
}

problem_codes! {
    InvalidRequest = 400 "invalid_request" "The request is malformed",
    InvalidJson = 400 "invalid_json" "The body is not valid JSON",
    InvalidQuery = 400 "invalid_query" "A query parameter is unknown, repeated or malformed",
    InvalidCursor = 400 "invalid_cursor" "The cursor does not belong to this list",
    InvalidIdempotencyKey = 400 "invalid_idempotency_key" "The idempotency key is malformed",
    InvalidIfMatch = 400 "invalid_if_match" "The If-Match header is malformed",
    InvalidJobStatus = 400 "invalid_job_status" "The update of a job breaks a rule",
    TooManyUpdates = 400 "too_many_updates" "The job has too many updates",
    Unauthorized = 401 "unauthorized" "The request is not authentic",
    KeyRequired = 401 "key_required" "One valid API key is needed here",
    Forbidden = 403 "forbidden" "The API key does not permit this",
    DemoMode = 403 "demo_mode" "This service shows a demonstration and changes nothing",
    CrossOrigin = 403 "cross_origin" "A page of another origin may change nothing here",
    NotFound = 404 "not_found" "There is nothing here",
    MethodNotAllowed = 405 "method_not_allowed" "The method is not allowed here",
    RequestTimeout = 408 "request_timeout" "The request took too long to arrive",
    InvalidTransition = 409 "invalid_transition" "The reservation's status does not allow this transition",
    TransitionGuard = 409 "transition_guard" "A condition of this transition is not met",
    NotUnique = 409 "not_unique" "Another record has this value, which must be unique",
    GuestInUse = 409 "guest_in_use" "The guest has a stay in house or ahead",
    NotDeletable = 409 "not_deletable" "A reservation in this status cannot be deleted",
    TooManyKeys = 409 "too_many_keys" "There are too many API keys",
    TooManySources = 409 "too_many_sources" "There are too many sources",
    TooManySecrets = 409 "too_many_secrets" "Too many secrets are valid at once",
    TooManyWebhooks = 409 "too_many_webhooks" "There are too many webhooks",
    Unsendable = 409 "unsendable" "The webhook has no address, or the event does not fit its scheme",
    TooManyRuns = 409 "too_many_runs" "There are too many runs over deliveries",
    DeliveriesWaiting = 409 "deliveries_waiting" "Deliveries wait for this webhook in the order that would be changed",
    WebhookDeleted = 409 "webhook_deleted" "The webhook was deleted: nothing is sent to it again",
    LastSecret = 409 "last_secret" "Nothing could be signed without this secret",
    TooManyRequeues = 409 "too_many_requeues" "There are too many runs that requeue dead letters",
    ShippedEventType = 409 "shipped_event_type" "The type comes with the program and cannot be changed",
    TooManyEventTypes = 409 "too_many_event_types" "There are too many types of events",
    NotADeadLetter = 409 "not_a_dead_letter" "The event is no dead letter",
    BodyGone = 409 "body_gone" "The body of the event is kept no more",
    ManagedByEnvironment = 409 "managed_by_environment" "The environment decides this, not the API",
    InFlight = 409 "in_flight" "A request with this idempotency key is still in flight",
    PositionGone = 410 "position_gone" "What follows this position is not kept any more",
    PreconditionFailed = 412 "precondition_failed" "The current version is not one that If-Match or If-None-Match asks for",
    PayloadTooLarge = 413 "payload_too_large" "The body is too large",
    UnsupportedMediaType = 415 "unsupported_media_type" "The content type or encoding is not supported",
    MisdirectedRequest = 421 "misdirected_request" "This service does not answer for that host",
    ValidationFailed = 422 "validation_failed" "The content breaks a rule",
    TooManyValues = 422 "too_many_values" "The body holds too many JSON values",
    RecordTooLarge = 422 "record_too_large" "The record would be too large",
    WebhookLoop = 422 "webhook_loop" "A webhook is not published as an event again",
    IdempotencyKeyReused = 422 "idempotency_key_reused" "The idempotency key came before with another body",
    TooManyRequests = 429 "too_many_requests" "Too many requests",
    HeadersTooLarge = 431 "headers_too_large" "The header section is too large",
    Internal = 500 "internal" "Something failed here",
    Unavailable = 503 "unavailable" "The service cannot do this at present",
    Overloaded = 503 "overloaded" "The service is taking on no more work at present",
}

/// One rule that the content breaks: where, which, and in words. Never the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// A JSON pointer (RFC 6901) into the body; empty for the whole.
    pub pointer: String,
    /// The rule, for machines: `required`, `too_long`, `not_a_date`, ...
    pub code: String,
    /// The rule, for people.
    pub message: String,
}

impl FieldError {
    /// A broken rule at a pointer.
    pub fn new(pointer: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code: code.into(),
            message: message.into(),
        }
    }
}

/// An error answer. `instance` and `request_id` are filled in where it becomes an HTTP answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What failed.
    pub code: ProblemCode,
    /// This occurrence in words, without personal data.
    pub detail: Option<String>,
    /// The broken rules of a validation.
    pub errors: Vec<FieldError>,
    /// Further members by name, such as the transitions that are `allowed`.
    pub extensions: Vec<(&'static str, Value)>,
    /// Seconds after which a retry makes sense: the `Retry-After` header.
    pub retry_after_seconds: Option<u32>,
}

impl Problem {
    /// A problem with no more than its code.
    pub fn new(code: ProblemCode) -> Self {
        Self {
            code,
            detail: None,
            errors: Vec::new(),
            extensions: Vec::new(),
            retry_after_seconds: None,
        }
    }

    /// A 422 with the rules that the content breaks, the first [`ERRORS_MAX`] of them.
    pub fn validation(errors: Vec<FieldError>) -> Self {
        Self::new(ProblemCode::ValidationFailed).with_errors(errors)
    }

    /// The rules that the content breaks, the first [`ERRORS_MAX`] of them, under another code than that of a validation.
    #[must_use]
    pub fn with_errors(mut self, mut errors: Vec<FieldError>) -> Self {
        errors.truncate(ERRORS_MAX);
        self.errors = errors;
        self
    }

    /// Adds a sentence about this occurrence.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a member of its own.
    #[must_use]
    pub fn with_extension(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.extensions.push((name, value.into()));
        self
    }

    /// Asks the client to retry after so many seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The JSON object of RFC 9457, for the path and the request that it answers.
    pub fn to_json(&self, instance: &str, request_id: &str) -> Value {
        let mut object = Map::new();
        object.insert(
            "type".to_owned(),
            format!("urn:guestwire:problem:{}", self.code.as_str()).into(),
        );
        object.insert("title".to_owned(), self.code.title().into());
        object.insert("status".to_owned(), self.code.status().into());
        if let Some(detail) = &self.detail {
            object.insert("detail".to_owned(), detail.as_str().into());
        }
        object.insert("instance".to_owned(), instance.into());
        object.insert("code".to_owned(), self.code.as_str().into());
        object.insert("request_id".to_owned(), request_id.into());
        if !self.errors.is_empty() {
            object.insert("errors".to_owned(), serde_json::json!(self.errors));
        }
        // The standard's own members are not replaced.
        for (name, value) in &self.extensions {
            object.entry(*name).or_insert_with(|| value.clone());
        }
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_answer_has_every_member_of_the_contract() {
        let problem = Problem::validation(vec![FieldError::new(
            "/email",
            "invalid",
            "not an e-mail address",
        )])
        .with_detail("one field")
        .with_extension("allowed", vec!["confirm"]);
        assert_eq!(
            problem.to_json("/api/v1/guests", "req_1"),
            serde_json::json!({
                "type": "urn:guestwire:problem:validation_failed",
                "title": "The content breaks a rule",
                "status": 422,
                "code": "validation_failed",
                "detail": "one field",
                "instance": "/api/v1/guests",
                "request_id": "req_1",
                "allowed": ["confirm"],
                "errors": [{"pointer": "/email", "code": "invalid", "message": "not an e-mail address"}],
            })
        );
    }

    #[test]
    fn r43_an_answer_names_so_many_errors_and_no_more() {
        let broken = |count| {
            Problem::validation(vec![FieldError::new("/a", "b", "c"); count])
                .errors
                .len()
        };
        assert_eq!((broken(ERRORS_MAX), broken(20_000)), (ERRORS_MAX, ERRORS_MAX));
    }

    #[test]
    fn the_documentation_lists_every_code_with_its_status() {
        let page = include_str!("../../../docs/errors.md");
        for code in ProblemCode::ALL {
            let row = format!("| `{}` | {} | {} |", code.as_str(), code.status(), code.title());
            assert!(page.contains(&row), "docs/errors.md lacks: {row}");
        }
    }

    #[test]
    fn codes_are_unique() {
        let codes: HashSet<_> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), ProblemCode::ALL.len());
    }
}
