//! Why a command is not carried out. The service's one mapping to HTTP stands in `http/problem.rs`.

use contract::FieldError;

/// A command that the rules do not allow. It never carries a value that a client sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The content breaks rules; every one that was found, at least one.
    #[error("the content breaks a rule")]
    Invalid(Vec<FieldError>),
    /// What the request names does not exist, or not any more.
    #[error("not found")]
    NotFound,
    /// Another record has this value, which must be unique.
    #[error("not unique")]
    NotUnique {
        /// The field, as a JSON pointer.
        pointer: String,
    },
    /// The guest has a stay that is going on or lies ahead.
    #[error("the guest is in use")]
    GuestInUse,
    /// The status does not allow the transition.
    #[error("invalid transition")]
    InvalidTransition {
        /// The names of the transitions that the status allows.
        allowed: Vec<&'static str>,
    },
    /// A condition of the transition is not met.
    #[error("a guard is not met: {code}")]
    Guard {
        /// The condition, for machines: `business_date_too_early`, `room_missing`, ...
        code: &'static str,
        /// The condition, for people.
        message: &'static str,
    },
    /// The record would take more than [`RECORD_BYTES_MAX`](super::record_size::RECORD_BYTES_MAX), and more than it does.
    #[error("the record would be too large")]
    RecordTooLarge,
    /// There are too many webhooks, as the text says.
    #[error("there are too many webhooks")]
    TooManyEndpoints(String),
    /// So many secrets of an endpoint are valid already.
    #[error("there are too many secrets")]
    TooManySecrets(usize),
    /// Nothing could be signed without this secret.
    #[error("it is the last secret")]
    LastSecret,
    /// Deliveries wait, in the order that would be changed.
    #[error("deliveries wait")]
    DeliveriesWaiting,
    /// The endpoint was deleted, and gets nothing again.
    #[error("the webhook was deleted")]
    WebhookDeleted,
    /// What would be sent is kept no more.
    #[error("the body is gone")]
    BodyGone,
    /// As many runs are in progress as may be, as the text says.
    #[error("there are too many runs")]
    TooManyRuns(String),
    /// The environment decides what this endpoint is.
    #[error("the environment decides this")]
    ManagedByEnvironment,
    /// A thing in this status cannot be deleted.
    #[error("not deletable")]
    NotDeletable,
    /// The type of events comes with the program.
    #[error("the type comes with the program")]
    ShippedType,
    /// As many types of events are registered as may be.
    #[error("too many event types")]
    TooManyTypes,
    /// Another event has this id.
    #[error("the id of the event is taken")]
    EventIdReused,
}

impl Refusal {
    /// Refuses when any rule is broken.
    pub fn unless_empty(broken: Vec<FieldError>) -> Result<(), Self> {
        if broken.is_empty() {
            Ok(())
        } else {
            Err(Self::Invalid(broken))
        }
    }

    /// One broken rule at one pointer.
    pub fn field(pointer: impl Into<String>, code: &str, message: &str) -> Self {
        Self::Invalid(vec![FieldError::new(pointer, code, message)])
    }
}
