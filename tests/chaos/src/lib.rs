//! `cargo chaos`: both services and their database as real processes, killed repeatedly under load; then the books are
//! balanced.
//!
//! ```text
//! plan (by the seed) -> lives: each process is started, struck, and started again
//! front_desk: clients that ask until they are answered   -> history
//! wire_tap: between emitters and receivers            -> wire log
//! books of the harness, contents: SQL over both databases -> ledger: lost, doubled, stuck, out of order, wrong
//! ```

mod command;
pub mod contents;
pub mod counters;
pub mod environment;
pub mod front_desk;
pub mod history;
mod http_message;
pub mod ledger;
pub mod lives;
pub mod plan;
pub mod progress;
pub mod report;
pub mod run;
pub mod steps;
pub mod wire_tap;

pub use command::main_of_chaos;
