//! API keys of both services: who calls, what that caller may do and see, how often, and what was called.
//!
//! [`ApiKeys`] is the gate that `api` asks about each request, and has the routes under `/api-keys`; [`command`] makes keys on
//! the command line. A key is found by its digest and kept in memory for a second, so a change holds on every replica after that.
//! Its window of the rate limit lies beside it (`rate_limit`); what it asked for is counted in memory and written every
//! 5 s (`usage`). Without a key a service answers only a program on its own machine, and only while no key was ever made.

mod client_address;
pub mod command;
mod failed_attempts;
mod gate;
mod key;
mod networks;
mod rate_limit;
mod routes;
mod store;
pub mod usage;

pub use client_address::client_address;
pub use failed_attempts::{FAILURES_MAX, FailedAttempts};
pub use gate::{ANYONE, AccessError, AccessSettings, ApiKeys, ENVIRONMENT};
pub use key::{ApiKey, KeyMaker, KeyPrefix, KeySettings, KeyTerms, NETWORKS_MAX, PREFIX_DEFAULT, plain_name};
pub use networks::{Networks, is_allowed};
pub use rate_limit::{Limit, Limiter, Standing, WindowTable};
pub use routes::{API_KEYS, KeyRoutes, routes};
pub use store::KEYS_MAX;
