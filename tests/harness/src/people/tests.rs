//! The cast is fixed by its seed, and nobody in it can be reached.

use super::*;
use crate::bookings::{self, CSV};
use crate::seeded::DEFAULT_SEED;
use std::collections::HashSet;

fn everybody() -> (Vec<Booking>, Cast) {
    let bookings = bookings::read(CSV).unwrap();
    let cast = cast(&bookings, DEFAULT_SEED);
    (bookings, cast)
}

#[test]
fn the_seed_fixes_everything() {
    let (bookings, first) = everybody();
    let again = cast(&bookings, DEFAULT_SEED);
    assert_eq!(first.people, again.people);
    assert_eq!(first.of_booking, again.of_booking);
    assert_ne!(first.people, cast(&bookings, DEFAULT_SEED + 1).people);
}

#[test]
fn the_readme_has_their_numbers() {
    let (_, cast) = everybody();
    assert_eq!((cast.people.len(), cast.returning()), (4_718, 439));
}

#[test]
fn a_person_belongs_to_the_hotel_and_the_country_of_the_row() {
    let (bookings, cast) = everybody();
    for (booking, person) in bookings.iter().zip(&cast.of_booking) {
        let person = &cast.people[*person];
        assert_eq!((person.hotel, &person.country), (booking.hotel, &booking.country));
        assert!(person.known_since <= booking.booked_on);
    }
}

#[test]
fn nobody_books_again_before_the_booking_before_has_ended() {
    let (bookings, cast) = everybody();
    let mut of_person: HashMap<usize, Vec<&Booking>> = HashMap::new();
    for (booking, person) in bookings.iter().zip(&cast.of_booking) {
        of_person.entry(*person).or_default().push(booking);
    }
    for bookings in of_person.values_mut() {
        bookings.sort_by_key(|booking| (booking.booked_on, booking.row));
        assert!(
            bookings
                .windows(2)
                .all(|pair| pair[0].ended_on <= pair[1].booked_on)
        );
    }
}

#[test]
fn most_rows_of_repeated_guests_have_one() {
    let (bookings, cast) = everybody();
    let repeated: Vec<usize> = (0..bookings.len())
        .filter(|at| bookings[*at].repeated_guest)
        .collect();
    let known = |at: &&usize| cast.people[cast.of_booking[**at]].known_since < bookings[**at].booked_on;
    assert!(repeated.iter().filter(known).count() * 10 > repeated.len() * 9);
}

#[test]
fn addresses_and_numbers_are_unique_and_reach_nobody() {
    let (_, cast) = everybody();
    let relays = [
        "guest.booking.com",
        "m.expediapartnercentral.com",
        "guest.agoda.com",
    ];
    let mut mails = HashSet::new();
    let mut phones = HashSet::new();
    let mut relayed = 0;
    for person in &cast.people {
        if let Some(mail) = &person.email {
            assert!(mails.insert(mail), "{mail}");
            let (mailbox, domain) = mail.split_once('@').unwrap();
            assert!(
                !mailbox.is_empty() && mailbox.is_ascii() && !mailbox.starts_with('.'),
                "{mail}"
            );
            assert!(
                relays.contains(&domain) || MAIL_DOMAINS.contains(&domain),
                "{mail}"
            );
            relayed += usize::from(relays.contains(&domain));
        }
        if let Some(phone) = &person.phone {
            assert!(phones.insert(phone), "{phone}");
        }
    }
    assert!(relayed > cast.people.len() / 10 && mails.len() > cast.people.len() / 2);
}
