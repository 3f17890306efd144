//! Projection over the database: what an event does, in any order, once, whatever fails beside it.

mod effects;
mod failures;
mod order;
mod steps;

use crate::case::Case;

pub fn cases() -> Vec<Case> {
    [
        effects::cases(),
        failures::cases(),
        steps::cases(),
        order::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
