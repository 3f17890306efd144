//! Random numbers that can be repeated: a stream of its own for each purpose and row.
//!
//! The same seed gives the same people and the same plan on every machine, and drawing once more for one row moves no
//! other row.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The seed of the demo when none is given; the README's numbers are its.
pub const DEFAULT_SEED: u64 = 22;

/// What is being decided.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// Who made a booking.
    Person = 1,
    /// Which changes it went through.
    Changes = 2,
    /// At which hour things happened.
    Hours = 3,
    /// On which days the changes happened.
    ChangeDates = 4,
    /// Who lives in a made-up household.
    Household = 5,
    /// What hotels write down of somebody of it.
    HotelRecords = 6,
}

/// The random numbers of one row for one purpose.
pub struct SeededRng(ChaCha8Rng);

impl SeededRng {
    /// A fresh stream for `purpose` and `row` under `seed`.
    pub fn new(seed: u64, purpose: Purpose, row: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream((purpose as u64) << 32 | u64::from(row));
        Self(rng)
    }

    /// A whole number of `0..bound`; 0 when the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            0
        } else {
            self.0.random_range(0..bound)
        }
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `list`, which is not empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: u64, purpose: Purpose, row: u32) -> Vec<usize> {
        let mut rng = SeededRng::new(seed, purpose, row);
        (0..8).map(|_| rng.below(1_000_000)).collect()
    }

    #[test]
    fn the_same_seed_repeats_and_anything_else_differs() {
        let once = draws(1, Purpose::Person, 7);
        assert_eq!(once, draws(1, Purpose::Person, 7));
        assert_ne!(once, draws(2, Purpose::Person, 7));
        assert_ne!(once, draws(1, Purpose::Changes, 7));
        assert_ne!(once, draws(1, Purpose::Person, 8));
    }
}
