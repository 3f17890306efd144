//! The CRM's side: takes signed webhooks in, folds them into guest profiles, answers queries over both.
//!
//! An event passes the modules in this order: `ingest` verifies, parses and commits it (202 after the commit), then
//! `project` folds it into records and profiles. Imports point one way, `http -> ingest | project -> store -> event ->
//! profile`, where `event`, `profile`, `identity` (which records are one person's) and `job` (how far the jobs of other services
//! are) are pure. Beside them `retention` deletes what is old, and `reconcile` takes in what was not delivered; `backlog`, which both `ingest` and `project` report to, is below them.
//! `config` reads the settings, and `app` puts everything together.
//!
//! To add an endpoint: a handler in its file under `http/`, and one line in the route table. To add a table: a migration
//! for each engine, and a file under `store/`.

pub mod app;
pub mod backlog;
pub mod config;
pub mod event;
pub mod http;
pub mod identity;
pub mod ingest;
pub mod job;
pub mod profile;
mod program;
pub mod project;
pub mod reconcile;
pub mod retention;
pub mod store;
pub mod stream;

pub use program::{main_of_receiver, reconcile};
