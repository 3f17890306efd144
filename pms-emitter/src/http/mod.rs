//! The REST API: a table of routes, and a handler for each endpoint.
//!
//! A handler parses the request, calls one function of the desk (a list reads the store) and makes the reply of its result.
//! Whatever fails becomes a `Problem`: what the desk refuses by `problem`, what the database does by kit.

mod caller_places;
mod deliveries;
mod event_types;
mod feed;
mod guest_query;
mod guests;
mod health;
mod night_audit;
mod problem;
mod properties;
mod publications;
mod reservation_query;
mod reservations;
pub mod routes;
mod runs;
mod webhook_stats;
mod webhook_status;
mod webhooks;
mod write;

pub use feed::{FeedWaiters, WAITERS_MAX, WAITERS_OF_ONE_MAX};
pub use routes::{Api, KEY_TERMS, router};
pub use webhooks::{TESTS_MAX, TESTS_OF_ONE_MAX, TestPlaces};
