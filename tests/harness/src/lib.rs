//! The base of the tests, the demo, the load generator and the chaos run: real bookings, invented guests, and ways to
//! start both services, call them and read their databases.
//!
//! ```text
//! data:      bookings + people (names, seeded) -> plan (rooms) -> loader (bodies, draft) -> client -> both services
//! labels:    households (names, seeded), labelled (Splink's file): records that are known to be whose
//! books:     bookings -> expected -> ledger <- books <- database (both, by plain SQL)
//! services:  world (both, in this process) | program -> process (serve: one of them, in a process of its own)
//! databases: engine, server, fault_proxy (the way to one, broken on demand)
//! doubles:   clock (moved by hand), receiver_double, signer and wire (a sender)
//! waiting:   for a signal, or by a poll where two processes share none
//! ```

pub mod bodies;
pub mod bookings;
pub mod books;
pub mod client;
pub mod clock;
pub mod config;
pub mod database;
pub mod draft;
pub mod engine;
pub mod expected;
pub mod fault_proxy;
pub mod households;
pub mod labelled;
pub mod ledger;
pub mod loader;
pub mod names;
pub mod people;
pub mod plan;
pub mod process;
pub mod program;
pub mod receiver_double;
pub mod rooms;
pub mod seeded;
pub mod serve;
pub mod server;
pub mod signer;
pub mod waiting;
pub mod wire;
pub mod world;
