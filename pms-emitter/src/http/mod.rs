//! The REST API: a table of routes, and a handler for each endpoint.
//!
//! A handler parses the request, calls one function of the desk (a list reads the store) and makes the reply of its result.
//! Whatever fails becomes an [`problem::ApiError`], which one `match` maps to a problem.

mod guest_query;
mod guests;
mod health;
mod night_audit;
pub mod problem;
mod properties;
mod reservation_query;
mod reservations;
pub mod routes;
mod webhook_status;
mod write;

pub use problem::ApiError;
pub use routes::{Api, router};
