//! Infrastructure of both Guestwire services, without domain terms.
//!
//! What needs both the database (crate `db`) and HTTP (crate `api`), or neither: lists, idempotency keys, audit rows,
//! rebuilds, sequences and API keys, with their tables ([`tables`]); the breaker and the one HTTP client; settings, logs, metrics, the two stages of
//! a stop; and the one place that reads the clock and randomness. It knows scopes, never properties or guests.
#![warn(missing_docs)]

pub mod access;
pub mod audit;
pub mod breaker;
pub mod change;
pub mod clock_skew;
pub mod config;
mod database_problem;
pub mod egress;
pub mod fold;
pub mod healthcheck;
pub mod idempotency;
pub mod key_file;
pub mod lifecycle;
pub mod listing;
pub mod metrics;
pub mod planted;
pub mod purge;
pub mod random;
pub mod rebuild;
pub mod secrets;
pub mod sequencer;
pub mod shape;
pub mod tables;
pub mod telemetry;

pub use database_problem::database_problem;
