//! `cargo chaos`: both services and their database as real processes, killed again and again under load, and then the books.

pub mod steps;
