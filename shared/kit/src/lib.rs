//! Plumbing of both Guestwire services, without a domain word.
//!
//! The services' `store/` and `http/` stand on it: one SQL text on two engines (`db`), the audit rows and leases that
//! every store shares, serving HTTP with limits, the two stages of a stop, and the one place of randomness. It knows
//! scopes, never properties or guests, and brings its own migrations.
#![warn(missing_docs)]

pub mod audit;
pub mod breaker;
pub mod config;
mod database_problem;
pub mod egress;
pub mod fold;
pub mod healthcheck;
pub mod idempotency;
pub mod lifecycle;
pub mod listing;
pub mod metrics;
pub mod planted;
pub mod random;
pub mod rebuild;
pub mod shape;
pub mod tables;
pub mod telemetry;

pub use database_problem::database_problem;
