//! The dispatcher: what goes out, what an answer does to a delivery, and who may write about it.
//!
//! An emitter runs against a receiver that does what the case asks for; the clock is moved by hand, so that hours of retries
//! pass in no time. Events enter through the outbox, as any change's do.

mod breaker;
mod claims;
mod fan_out;
mod faults;
mod immediate_claims;
mod metrics;
mod odd_answers;
mod one_delivery;
mod outcomes;
mod purges;
pub(crate) mod rig;
mod service;
mod shared_breaker;

pub(crate) use rig::Rig;

use crate::case::Case;

pub fn cases() -> Vec<Case> {
    [
        outcomes::cases(),
        purges::cases(),
        breaker::cases(),
        claims::cases(),
        fan_out::cases(),
        faults::cases(),
        immediate_claims::cases(),
        metrics::cases(),
        odd_answers::cases(),
        one_delivery::cases(),
        service::cases(),
        shared_breaker::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
