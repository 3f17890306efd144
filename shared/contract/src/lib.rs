//! The contract between `pms-emitter` and `crm-receiver`: the types and rules that both use on the wire.
//!
//! Everything here is a value or a pure function: no I/O, no async, no database, no HTTP server. The emitter builds
//! an [`Envelope`] and signs its bytes with [`signature::sign`]; the receiver checks them with
//! [`scheme::TimelyHeaders::verify`], and only a [`scheme::Verified`] delivery, or a [`feed::FetchedBody`], can be parsed
//! back into an envelope.

#![warn(missing_docs)]

pub mod clock;
pub mod country;
pub mod date;
pub mod entity;
pub mod entropy;
pub mod envelope;
pub mod event_type;
pub mod feed;
pub mod id;
pub mod id_generator;
pub mod json;
pub mod mailbox;
pub mod money;
pub mod phone;
pub mod placeholder_date;
pub mod pointer;
pub mod problem;
pub mod scheme;
pub mod scope;
pub mod secret;
pub mod signature;
pub mod text;

pub use clock::{Clock, UnixMillis, UnixSeconds};
pub use country::Country;
pub use date::parse_date;
pub use entity::{EntityKind, EntityRef};
pub use entropy::{Entropy, SeededEntropy};
pub use envelope::Envelope;
pub use event_type::EventType;
pub use id::{
    EntityId, EventId, GuestId, JobId, KeyId, ProfileId, PropertyId, RequestId, RequeueId, ReservationId,
    SecretId, SourceId, TypedId,
};
pub use id_generator::Ids;
pub use mailbox::MailboxKind;
pub use money::{Currency, Money};
pub use phone::Phone;
pub use pointer::Pointer;
pub use problem::{FieldError, Problem, ProblemCode};
pub use scope::Scope;
pub use secret::{Secret, SecretList};
