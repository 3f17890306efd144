//! Both services together: real bookings, invented guests, and what runs and checks the whole.

pub mod bookings;
pub mod dice;
pub mod names;
pub mod people;
