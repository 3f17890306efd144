//! The hotel's rules as pure functions: a state and a command give the new state and one event.
//!
//! Nothing here knows HTTP, a table or a clock: the instant is a parameter, and what a caller may not do is a
//! [`refusal::Refusal`]. `desk` calls in here with a command; `store` commits the [`change::Change`] that comes out.

pub mod audit_action;
pub mod body;
pub mod change;
pub mod delivery;
pub mod delivery_run;
pub mod email;
pub mod endpoint;
pub mod endpoint_headers;
pub mod event;
pub mod filter;
pub mod guest;
pub mod guest_command;
pub mod guest_document;
pub mod guest_input;
pub mod guest_rules;
pub mod language;
pub mod notice;
pub mod ordering;
pub mod origin;
pub mod payload_schema;
pub mod payload_shape;
pub mod property;
pub mod publication;
pub mod rates;
pub mod record_size;
pub mod refusal;
pub mod reservation;
pub mod reservation_booking;
pub mod reservation_command;
mod reservation_document;
mod reservation_rules;
mod reservation_text;
pub mod shipped_types;
pub mod stay;
pub mod subscription;
pub mod test_event;
pub mod transition;
pub mod type_definition;
