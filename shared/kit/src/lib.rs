//! Plumbing of both Guestwire services, without a domain word.
//!
//! The services' `store/` and `http/` stand on it: one SQL text on two engines (`db`), the audit rows and leases that
//! every store shares, serving HTTP with limits, the two stages of a stop, and the one place of randomness. It knows
//! scopes, never properties or guests, and brings its own migrations.
#![warn(missing_docs)]

pub mod audit;
pub mod breaker;
pub mod config;
pub mod db;
pub mod egress;
pub mod failpoint;
pub mod files;
pub mod fold;
pub mod healthcheck;
pub mod http;
pub mod idempotency;
pub mod leases;
pub mod lifecycle;
pub mod listing;
pub mod metrics;
pub mod planted;
pub mod random;
pub mod rebuild;
pub mod shape;
pub mod telemetry;

/// Every program of ours, SQLite in it included. A webhook takes some 200 allocations on its way, many of about a kilobyte,
/// at which the C library's own allocator is slow: docs/performance.md has the figures.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
