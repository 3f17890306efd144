//! The rules of the hotel, as pure functions: the state of a thing and a command make its new state and one event.
//!
//! Nothing here knows HTTP, a table or a clock: the instant is a parameter, and what a caller may not do is a
//! [`refusal::Refusal`]. `http` reads commands and calls in here; `store` commits the [`change::Change`] that comes out.

pub mod body;
pub mod change;
pub mod event;
pub mod property;
pub mod refusal;
