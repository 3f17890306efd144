//! Which event is the n-th of a load: a fixed pattern of guests and reservations, each with several versions.
//!
//! Guests and reservations come in the ratio of the demo's real bookings. They live in rounds: within one, every
//! entity gets its first version, then every one its second, so that a record is folded again while many others were
//! folded in between, and no guest is hotter than the rest.

/// Events of the demo's bookings about guests, and about reservations.
const REAL: (u64, u64) = (4_718, 14_978);
/// Versions that a guest gets: made, changed.
pub const GUEST_VERSIONS: u64 = 2;
/// Versions that a reservation gets: made, checked in, checked out.
pub const RESERVATION_VERSIONS: u64 = 3;
/// Reservations of one round.
const ROUND_RESERVATIONS: u64 = 4_000;
/// Guests of one round, so that the events have the real ratio.
const ROUND_GUESTS: u64 = ROUND_RESERVATIONS * RESERVATION_VERSIONS * REAL.0 / (REAL.1 * GUEST_VERSIONS);
const ROUND_GUEST_EVENTS: u64 = ROUND_GUESTS * GUEST_VERSIONS;
/// Events of one round.
pub const ROUND: u64 = ROUND_GUEST_EVENTS + ROUND_RESERVATIONS * RESERVATION_VERSIONS;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A guest, by number.
    Guest(u64),
    /// A reservation by number, and its guest.
    Reservation(u64, u64),
}

/// One event of the pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Planned {
    /// What it is about.
    pub subject: Subject,
    /// The version that it carries, from 1.
    pub version: u64,
}

/// The `n`-th event, from 0. Numbers of entities never repeat.
pub fn nth(n: u64) -> Planned {
    let (round, at) = (n / ROUND, n % ROUND);
    // Spread evenly: so many guest events lie before this place, and one more before the next.
    let guests_before = |place: u64| place * ROUND_GUEST_EVENTS / ROUND;
    let guest_event = guests_before(at);
    if guests_before(at + 1) > guest_event {
        return Planned {
            subject: Subject::Guest(round * ROUND_GUESTS + guest_event % ROUND_GUESTS),
            version: guest_event / ROUND_GUESTS + 1,
        };
    }
    let event = at - guest_event;
    let reservation = event % ROUND_RESERVATIONS;
    let guest = reservation * ROUND_GUESTS / ROUND_RESERVATIONS;
    Planned {
        subject: Subject::Reservation(
            round * ROUND_RESERVATIONS + reservation,
            round * ROUND_GUESTS + guest,
        ),
        version: event / ROUND_RESERVATIONS + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    #[test]
    fn the_ratio_is_that_of_the_real_bookings() {
        let guests = (0..ROUND)
            .filter(|n| matches!(nth(*n).subject, Subject::Guest(_)))
            .count();
        let share = guests as f64 / ROUND as f64;
        let real = REAL.0 as f64 / (REAL.0 + REAL.1) as f64;
        assert!((share - real).abs() < 0.001, "{share} instead of {real}");
    }

    #[test]
    fn every_entity_gets_each_of_its_versions_once_and_in_order() {
        let mut last: HashMap<(bool, u64), u64> = HashMap::new();
        for n in 0..2 * ROUND {
            let planned = nth(n);
            let key = match planned.subject {
                Subject::Guest(number) => (true, number),
                Subject::Reservation(number, _) => (false, number),
            };
            let before = last.insert(key, planned.version).unwrap_or(0);
            assert_eq!(planned.version, before + 1, "{planned:?}");
        }
        for ((is_guest, number), version) in last {
            let all = if is_guest {
                GUEST_VERSIONS
            } else {
                RESERVATION_VERSIONS
            };
            assert_eq!(version, all, "{number}");
        }
    }

    #[test]
    fn reservations_name_guests_of_their_round_and_none_is_hot() {
        let mut guests = HashSet::new();
        let mut named: HashMap<u64, HashSet<u64>> = HashMap::new();
        for n in 0..ROUND {
            match nth(n).subject {
                Subject::Guest(guest) => drop(guests.insert(guest)),
                Subject::Reservation(reservation, guest) => {
                    named.entry(guest).or_default().insert(reservation);
                }
            }
        }
        assert!(named.keys().all(|guest| guests.contains(guest)));
        assert!(named.values().all(|stays| stays.len() <= 3));
    }
}
