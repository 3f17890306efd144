//! The REST API: a table of routes, and a handler for each endpoint.
//!
//! A handler parses, asks the domain, calls one store method and answers. Whatever fails becomes an
//! [`problem::ApiError`], which one `match` maps to a problem.

mod guest_query;
mod guests;
mod health;
mod night_audit;
pub mod problem;
mod properties;
mod reservation_query;
mod reservation_writes;
mod reservations;
pub mod routes;
mod webhook_status;
mod write;

pub use problem::ApiError;
pub use routes::{Api, router};
