//! The CRM's side: takes signed webhooks in, folds them into guest profiles, answers queries over both.
//!
//! The way of an event is the way of the modules: `ingest` verifies, parses and keeps it (202 after the commit), then
//! the projector folds it into records and profiles. To add an endpoint: a handler in its file under `http/`, and one
//! line in the route table. To add a table: a migration of both engines and a store method.

pub mod app;
pub mod backlog;
pub mod config;
pub mod event;
pub mod http;
pub mod ingest;
pub mod profile;
pub mod project;
pub mod store;
