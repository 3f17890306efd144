//! The invented guests of the real bookings: seeded, reproducible, and plausible for the country of the row.
//!
//! The bookings carry no person, so [`cast`] gives each row one: somebody new, or, where the row says that the hotel
//! knew the guest (and for a seeded share of the others), somebody of the same hotel and country who stayed before.
//! Addresses and numbers reach nobody (`data/NOTICE.md`). The plan and the expected totals both start from here.

use crate::bookings::{Booking, Hotel};
use crate::names::{Country, Names, Region};
use crate::seeded::{Purpose, SeededRng};
use jiff::ToSpan;
use jiff::civil::{Date, date};
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;

/// Of 100 bookings whose guest the file calls new, so many are made by somebody who stayed before: the file knows
/// guests by their documents, and a document is often missing.
const RETURNING_PERCENT: usize = 6;

/// Of 100 bookings through an online agency, so many carry only the agency's relay address.
const RELAY_PERCENT: usize = 55;

/// Reserved for examples (RFC 2606): mail to them reaches nobody.
const MAIL_DOMAINS: [&str; 5] = [
    "example.com",
    "example.org",
    "example.net",
    "mail.example",
    "post.example",
];

/// The youngest guest who books was born then: 18 at the file's first booking.
const YOUNGEST: Date = date(1995, 6, 1);
const AGE_SPREAD_DAYS: usize = 57 * 365;

/// One invented guest of one hotel.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// The hotel that keeps the record.
    pub hotel: Hotel,
    /// When the hotel first heard of them: the day of their first booking.
    pub known_since: Date,
    /// `Ms` or `Mr`.
    pub title: &'static str,
    /// The given name.
    pub first_name: String,
    /// The family name.
    pub last_name: String,
    /// The mother's family name, where that is the custom.
    pub second_last_name: Option<String>,
    /// A real-looking address, an agency's relay address, or none.
    pub email: Option<String>,
    /// A number that rings nobody, as E.164 writes it.
    pub phone: Option<String>,
    /// The birth date, if the hotel noted it.
    pub date_of_birth: Option<Date>,
    /// The country as the row spells it.
    pub country: Option<String>,
    /// The language, as BCP 47 writes it.
    pub language: Option<&'static str>,
    /// What was said about messages: the channel, and whether it was granted.
    pub consent: Vec<(&'static str, bool)>,
    /// The number in the hotels' loyalty programme.
    pub loyalty: Option<String>,
}

/// Who made which booking.
#[derive(Debug)]
pub struct Cast {
    /// Everybody, in the order in which the hotels got to know them.
    pub people: Vec<Person>,
    /// For each booking, in the order given, the index of its person.
    pub of_booking: Vec<usize>,
}

impl Cast {
    /// How many people have more than one booking.
    pub fn returning(&self) -> usize {
        let mut bookings = vec![0_usize; self.people.len()];
        for person in &self.of_booking {
            bookings[*person] += 1;
        }
        bookings.iter().filter(|count| **count > 1).count()
    }
}

/// Invents the guests of `bookings`. The same bookings and the same seed give the same people.
pub fn cast(bookings: &[Booking], seed: u64) -> Cast {
    let mut order: Vec<usize> = (0..bookings.len()).collect();
    order.sort_by_key(|at| (bookings[*at].booked_on, bookings[*at].row));
    let mut agency = Agency::new();
    let mut of_booking = vec![0; bookings.len()];
    for at in order {
        of_booking[at] = agency.person_for(&bookings[at], seed);
    }
    Cast {
        people: agency.people,
        of_booking,
    }
}

/// Invents people one booking after another, and remembers whom it may send again.
struct Agency {
    names: Names,
    people: Vec<Person>,
    known: HashMap<(Hotel, Option<String>), Vec<Known>>,
    phones: HashMap<&'static str, u64>,
    mailboxes: HashMap<String, u32>,
}

/// Somebody of a hotel and country, by index.
struct Known {
    person: usize,
    /// When their latest booking ends.
    free_from: Date,
}

impl Agency {
    fn new() -> Self {
        Self {
            names: Names::read(),
            people: Vec::new(),
            known: HashMap::new(),
            phones: HashMap::new(),
            mailboxes: HashMap::new(),
        }
    }

    fn person_for(&mut self, booking: &Booking, seed: u64) -> usize {
        let mut rng = SeededRng::new(seed, Purpose::Person, booking.row);
        let place = (booking.hotel, booking.country.clone());
        let returns = booking.repeated_guest || rng.chance(RETURNING_PERCENT);
        let known = self.known.entry(place.clone()).or_default();
        let free: Vec<usize> = (0..known.len())
            .filter(|at| known[*at].free_from <= booking.booked_on)
            .collect();
        if returns && !free.is_empty() {
            let chosen = &mut known[*rng.pick(&free)];
            chosen.free_from = booking.ended_on;
            return chosen.person;
        }
        let person = self.invent(booking, &mut rng);
        self.people.push(person);
        let index = self.people.len() - 1;
        self.known.entry(place).or_default().push(Known {
            person: index,
            free_from: booking.ended_on,
        });
        index
    }

    fn invent(&mut self, booking: &Booking, rng: &mut SeededRng) -> Person {
        let woman = rng.chance(50);
        let region = self.region(booking).0;
        let given = if woman { &region.women } else { &region.men };
        let first_name = (*rng.pick(given)).to_owned();
        let last_name = (*rng.pick(&region.families)).to_owned();
        let second = (*rng.pick(&region.families)).to_owned();
        let country = self.region(booking).1;
        let spanish = country.is_some_and(|country| country.region == "es");
        let language = country.map(|country| country.language);
        let email = self.email(booking, &first_name, &last_name, rng);
        let born = i64::try_from(rng.below(AGE_SPREAD_DAYS)).unwrap_or(0);
        Person {
            hotel: booking.hotel,
            known_since: booking.booked_on,
            title: if woman { "Ms" } else { "Mr" },
            email,
            phone: rng.chance(80).then(|| self.phone(booking)).flatten(),
            date_of_birth: rng.chance(70).then(|| YOUNGEST.saturating_sub(born.days())),
            country: booking.country.clone(),
            language,
            consent: consent(rng),
            loyalty: (booking.repeated_guest || rng.chance(8))
                .then(|| format!("GW{:07}", self.people.len() + 1)),
            first_name,
            last_name,
            second_last_name: spanish.then_some(second),
        }
    }

    /// The names to draw from, and the country if the row has one; without one, the hotels' own country's names.
    fn region(&self, booking: &Booking) -> (&Region, Option<&Country>) {
        let country = booking
            .country
            .as_deref()
            .and_then(|code| self.names.country(code));
        let key = country.map_or("pt", |country| country.region);
        (self.names.region(key), country)
    }

    /// The next number of the row's country; none without a country.
    fn phone(&mut self, booking: &Booking) -> Option<String> {
        let country = self.names.country(booking.country.as_deref()?)?;
        let number = self.phones.entry(country.calling_code).or_default();
        *number += 1;
        Some(country.phone(*number - 1))
    }

    fn email(&mut self, booking: &Booking, first: &str, last: &str, rng: &mut SeededRng) -> Option<String> {
        let online = booking.market_segment == "Online TA";
        let direct = booking.distribution_channel == "Direct" || booking.distribution_channel == "Corporate";
        if online && rng.chance(RELAY_PERCENT) {
            return Some(relay_address(booking, first));
        }
        if !rng.chance(if direct || online { 95 } else { 60 }) {
            return None;
        }
        let mailbox = format!("{}.{}", ascii(first), ascii(last));
        let domain = rng.pick(&MAIL_DOMAINS);
        let taken = self.mailboxes.entry(format!("{mailbox}@{domain}")).or_default();
        *taken += 1;
        Some(match *taken {
            1 => format!("{mailbox}@{domain}"),
            number => format!("{mailbox}{number}@{domain}"),
        })
    }
}

/// What an online agency gives the hotel in place of the guest's own address.
fn relay_address(booking: &Booking, first: &str) -> String {
    match booking.agent.unwrap_or(0) % 3 {
        0 => format!("{}.{:06}@guest.booking.com", ascii(first), 314_159 + booking.row),
        1 => format!(
            "{:010x}@m.expediapartnercentral.com",
            u64::from(booking.row) * 104_729
        ),
        _ => format!("guest-{:07}@guest.agoda.com", 2_000_000 + booking.row),
    }
}

fn consent(rng: &mut SeededRng) -> Vec<(&'static str, bool)> {
    let mut said = Vec::new();
    for (channel, asked, granted) in [("email", 80, 55), ("sms", 40, 30), ("profiling", 50, 40)] {
        if rng.chance(asked) {
            said.push((channel, rng.chance(granted)));
        }
    }
    said
}

/// The letters of a name as a mailbox would write them.
fn ascii(name: &str) -> String {
    let plain = name
        .nfkd()
        .flat_map(char::to_lowercase)
        .map(|letter| match letter {
            'ø' => 'o',
            'ł' => 'l',
            'đ' => 'd',
            'ı' => 'i',
            other => other,
        });
    plain.filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests;
