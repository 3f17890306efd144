//! A booking as its guest wanted it at each point of its life: from the first call to the row's final state.
//!
//! The file says how often a booking was changed, not how. [`drafts`] walks backwards from the final state, undoing
//! one real field a step, so that every change later moves one field towards the row, and the last one reaches it.
//! What the rules refuse in the row (nobody in the room, a rate below zero) stands so from the first draft on.

use crate::bookings::Booking;
use crate::seeded::{Purpose, SeededRng};
use jiff::{ToSpan, civil::Date};
use rust_decimal::{Decimal, RoundingStrategy};

/// What guests ask for, in the order in which a booking collects it.
const REQUESTS: [&str; 5] = [
    "high floor",
    "twin beds",
    "quiet room",
    "late arrival",
    "baby cot",
];

/// How far one undone change lifts the rate: guests bargain downwards.
const RATE_STEP_PERCENT: u32 = 104;

/// The fields of a booking that change before its arrival.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Grown-up guests.
    pub adults: u32,
    /// Children, if known.
    pub children: Option<u32>,
    /// Infants.
    pub infants: u32,
    /// One of `RO`, `BB`, `HB`, `FB`.
    pub meal_plan: &'static str,
    /// The room type booked.
    pub room_type: char,
    /// The departure.
    pub check_out: Date,
    /// The rate of each night, or of the day.
    pub rate: Decimal,
    /// What was asked for.
    pub special_requests: Vec<&'static str>,
}

/// The booking when it was made, then after each of its changes: `changes + 1` drafts, each different from the one
/// before, the last one as the row has it.
pub fn drafts(booking: &Booking, seed: u64) -> Vec<Draft> {
    let mut rng = SeededRng::new(seed, Purpose::Changes, booking.row);
    let mut states = vec![Draft::of(booking)];
    for _ in 0..booking.changes {
        let later = states.last().expect("the row's own state is in it");
        let earlier: Vec<Draft> = UNDO.iter().filter_map(|undo| undo(later, booking)).collect();
        if earlier.is_empty() {
            break;
        }
        let chosen = rng.pick(&earlier).clone();
        states.push(chosen);
    }
    states.reverse();
    states
}

impl Draft {
    fn of(booking: &Booking) -> Self {
        let requests = REQUESTS.iter().take(booking.special_requests as usize);
        let parking = (0..booking.parking).map(|_| &"parking space");
        Self {
            adults: booking.adults,
            children: booking.children,
            infants: booking.babies,
            meal_plan: meal_plan(&booking.meal),
            room_type: booking.room_booked,
            check_out: booking.departure(),
            rate: booking.rate,
            special_requests: parking.chain(requests).copied().collect(),
        }
    }

    fn persons(&self) -> u32 {
        self.adults + self.children.unwrap_or(0) + self.infants
    }
}

/// The meals as the contract codes them: self-catering and "undefined" include none.
fn meal_plan(of_the_file: &str) -> &'static str {
    match of_the_file {
        "BB" => "BB",
        "HB" => "HB",
        "FB" => "FB",
        _ => "RO",
    }
}

/// One earlier state: the later one with one field undone; None when that field can't have been different.
type Undo = fn(&Draft, &Booking) -> Option<Draft>;

/// The changes that happen to bookings. None of them leads away from the row again: counts only grow, the rest
/// changes once, and the rate only falls.
const UNDO: [Undo; 8] = [
    |later, _| {
        let possible = later.adults > 1;
        possible.then(|| Draft {
            adults: later.adults - 1,
            ..later.clone()
        })
    },
    |later, _| {
        let children = later.children.filter(|count| *count > 0 && later.persons() > 1)?;
        Some(Draft {
            children: Some(children - 1),
            ..later.clone()
        })
    },
    |later, _| {
        let possible = later.infants > 0 && later.persons() > 1;
        possible.then(|| Draft {
            infants: later.infants - 1,
            ..later.clone()
        })
    },
    |later, booking| {
        let settled = meal_plan(&booking.meal);
        let before = if settled == "BB" { "RO" } else { "BB" };
        (later.meal_plan == settled).then(|| Draft {
            meal_plan: before,
            ..later.clone()
        })
    },
    |later, booking| {
        let before = if booking.room_booked == 'A' { 'D' } else { 'A' };
        (later.room_type == booking.room_booked).then(|| Draft {
            room_type: before,
            ..later.clone()
        })
    },
    |later, booking| {
        let possible = booking.nights > 1 && later.check_out == booking.departure();
        possible.then(|| Draft {
            check_out: later.check_out.saturating_sub(1.day()),
            ..later.clone()
        })
    },
    |later, _| {
        let (_, before) = later.special_requests.split_last()?;
        Some(Draft {
            special_requests: before.to_vec(),
            ..later.clone()
        })
    },
    |later, _| {
        let lifted = later.rate * Decimal::new(i64::from(RATE_STEP_PERCENT), 2) + Decimal::ONE;
        let rate = lifted.round_dp_with_strategy(2, RoundingStrategy::MidpointNearestEven);
        (!later.rate.is_sign_negative()).then(|| Draft {
            rate,
            ..later.clone()
        })
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bookings::{self, CSV};
    use crate::seeded::DEFAULT_SEED;

    #[test]
    fn every_change_is_one_and_the_last_reaches_the_row() {
        for booking in bookings::read(CSV).unwrap() {
            let drafts = drafts(&booking, DEFAULT_SEED);
            assert_eq!(drafts.len(), booking.changes as usize + 1, "row {}", booking.row);
            assert_eq!(drafts.last(), Some(&Draft::of(&booking)));
            for pair in drafts.windows(2) {
                assert_eq!(differences(&pair[0], &pair[1]), 1, "row {}", booking.row);
            }
        }
    }

    #[test]
    fn no_field_turns_back() {
        for booking in bookings::read(CSV).unwrap() {
            for pair in drafts(&booking, DEFAULT_SEED).windows(2) {
                let (earlier, later) = (&pair[0], &pair[1]);
                assert!(earlier.persons() <= later.persons() && earlier.rate >= later.rate);
                assert!(earlier.special_requests.len() <= later.special_requests.len());
                assert!(earlier.check_out <= later.check_out);
                assert_eq!(
                    earlier.persons() == 0,
                    later.persons() == 0,
                    "row {}",
                    booking.row
                );
                assert_eq!(earlier.rate.is_sign_negative(), later.rate.is_sign_negative());
                assert!(earlier.check_out > booking.arrival || booking.is_day_use());
            }
        }
    }

    fn differences(one: &Draft, other: &Draft) -> usize {
        [
            one.adults != other.adults,
            one.children != other.children,
            one.infants != other.infants,
            one.meal_plan != other.meal_plan,
            one.room_type != other.room_type,
            one.check_out != other.check_out,
            one.rate != other.rate,
            one.special_requests != other.special_requests,
        ]
        .into_iter()
        .filter(|differs| *differs)
        .count()
    }
}
