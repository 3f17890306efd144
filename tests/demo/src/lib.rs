//! `cargo demo`: both services on fresh embedded databases, and 5,212 real bookings through the REST API.
//!
//! ```text
//! command: options, services, load -> conclusion: the books are balanced -> report, tour (where to look)
//! ```
//! It ends when it is interrupted, or with `--once` when everything is applied; exit code 1 says that the books of the
//! two services do not balance, 130 or 143 that a signal ended the load. The data is removed on every way out.

mod command;
pub mod conclusion;
pub mod report;
mod tour;

pub use command::main_of_demo;
