//! Both services together: real bookings, invented guests, and what runs and checks the whole.

pub mod bodies;
pub mod bookings;
pub mod client;
pub mod dice;
pub mod draft;
pub mod expected;
pub mod ledger;
pub mod loader;
pub mod names;
pub mod people;
pub mod plan;
pub mod report;
pub mod rooms;
