//! Both services together: real bookings, invented guests, and what runs and checks the whole.
//!
//! A case of the suite gets a fresh database of either engine (`engine`, `server`), moves its clock by hand (`clock`),
//! and breaks the way to the database where it needs to (`fault_proxy`).
//!
//! ```text
//! bookings + people -> plan -> loader -> (client) -> world: both services
//! bookings -> expected -> ledger <- both databases; report; demo: how a run ends
//! load: how fast it is, measured on processes that are the services (serve, process)
//! ```
//!
//! `chaos` is a run of its own: both services as processes, killed under load, and the books after it.

pub mod bodies;
pub mod bookings;
pub mod chaos;
pub mod client;
pub mod clock;
pub mod demo;
pub mod dice;
pub mod draft;
pub mod engine;
pub mod expected;
pub mod fault_proxy;
pub mod flood;
pub mod ledger;
pub mod load;
pub mod loader;
pub mod names;
pub mod people;
pub mod plan;
pub mod process;
pub mod receiver_double;
pub mod report;
pub mod rooms;
pub mod serve;
pub mod server;
pub mod signer;
pub mod tour;
pub mod wire;
pub mod world;
