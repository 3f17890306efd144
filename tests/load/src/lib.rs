//! `cargo load`, the load generator: how fast the services are, beside what the machine and a bare endpoint can do in the same run.
//!
//! ```text
//! mix -> lives -> template -> pool (signed before the clock starts) -> generator -> tally -> report
//!                                          bare | receiver, each a process of its own  <- watch
//! hostile (attacks, and who asks beside them) -> emitter, receiver
//! plant (rows of long ago) -> requeuing, purging; sources -> greedy; streaming: beside the load
//! flood (connections that say nothing, or half of something) -> receiver
//! desk (REST writes), producer (published events) -> generator -> emitter -> sink | receiver
//! webhooks (of an emitter) -> fanned (all that is written to many, or to some that never answer), idle; outage (of a sink)
//! ```
//! `docs/performance.md` says how to use it and what was measured.

pub mod attack;
pub mod bare;
mod command;
pub mod compared;
pub mod desk;
mod elsewhere;
pub mod events;
pub mod fanned;
pub mod figures;
pub mod flood;
pub mod generator;
pub mod greedy;
pub mod hostile;
pub mod idle;
pub mod limits;
pub mod lives;
pub mod mix;
pub mod options;
pub mod outage;
pub mod overload;
pub mod plant;
pub mod pool;
pub mod producer;
pub mod purging;
pub mod receiver;
pub mod replay;
pub mod report;
pub mod requeuing;
pub mod service;
pub mod session;
pub mod sink;
pub mod sources;
pub mod streaming;
pub mod tally;
pub mod template;
pub mod watch;
pub mod webhooks;
pub mod wire;
pub mod writes;

pub use command::main_of_load;
