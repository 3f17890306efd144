//! The PMS side: a REST API for guests and reservations, and the dispatcher that delivers their events.
//!
//! ```text
//! REST -> http -> desk -> domain (pure: command -> new state + event) -> store [row + outbox, one transaction]
//! outbox -> sequencer: place + deliveries for every endpoint that matches [one transaction of one process]
//! queue -> dispatch: claim (lease) -> sign -> breaker -> POST -> settle (fenced)
//! ```
//! `app` composes them from a [`config::Config`]; `domain` imports none of the others.

pub mod app;
pub mod config;
pub mod desk;
mod digest_key;
pub mod dispatch;
pub mod domain;
pub mod http;
mod program;
pub mod retention;
pub mod store;

pub use app::{App, Runtime, StartError};
pub use config::Config;
pub use program::{main_of_emitter, purge};
