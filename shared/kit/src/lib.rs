//! Plumbing of both Guestwire services, without a domain word.
//!
//! The services' `store/` and `http/` stand on it: serving HTTP with limits, the two stages of a stop, and the one
//! place of randomness. It knows scopes, never properties or guests, and brings its own migrations.
#![warn(missing_docs)]

pub mod http;
pub mod lifecycle;
pub mod random;
