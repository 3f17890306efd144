//! Projection over the database: what an event does, in any order, once, whatever fails beside it.

mod effects;
mod failures;
mod looks;
mod order;

use crate::case::Case;

pub fn cases() -> Vec<Case> {
    [
        effects::cases(),
        failures::cases(),
        looks::cases(),
        order::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
