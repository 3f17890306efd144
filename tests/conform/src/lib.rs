//! Whether a receiver of webhooks keeps to Standard Webhooks 1.0, as seen from outside.
//!
//! [`case`] reads the cases, which are data; [`delivery`] makes the requests of one, signed here and not by the product's own
//! code; [`run`] sends them and compares the answers; [`command`] is the command line. A good request has to be taken (2xx), and
//! a wrong one refused (4xx): what a receiver does with a request beyond its answer is not seen.

pub mod case;
pub mod command;
pub mod delivery;
pub mod run;

pub use command::main_of_conform;
