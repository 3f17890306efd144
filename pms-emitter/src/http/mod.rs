//! The REST API: a table of routes, and a handler for each endpoint.
//!
//! A handler parses, asks the domain, calls one store method and answers. Whatever fails becomes an
//! [`problem::ApiError`], which one `match` maps to a problem.

pub mod problem;
pub mod routes;
mod webhook_status;

pub use problem::ApiError;
pub use routes::{Api, router};
