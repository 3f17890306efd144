//! What an event is to the receiver, from its arrival to its effect: values and pure functions, without a table, a
//! clock or a request.
//!
//! [`arrival`] is an event that may be kept, [`payload`] what is required of it before, [`fingerprint`] distinguishes
//! two bodies under one key. [`status`] is the status of an event. [`pending`] reads an accepted event back; [`fold`]
//! decides which state of a record is current, and [`plan`] what a batch of events changes.

pub mod arrival;
pub mod audit_action;
pub mod fingerprint;
pub mod fold;
pub mod payload;
pub mod pending;
pub mod plan;
pub mod status;

pub use arrival::{Accepted, Arrival, DedupeKey, FOREIGN_SCHEMA_VERSION, InboxEntry, Intake};
pub use audit_action::{AuditAction, DeadLetterCause};
pub use fingerprint::Fingerprint;
pub use pending::{Event, PendingEvent};
pub use plan::{Plan, ProjectionOutcome};
pub use status::EventStatus;

#[cfg(test)]
pub mod permutations;
