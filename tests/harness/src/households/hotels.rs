//! What hotels write down of a person: each a record of its own, with life's differences.

use super::Person;
use crate::{
    labelled::LabelledGuest,
    seeded::{Purpose, SeededRng},
};
use crm_receiver::profile::GuestKey;
use jiff::{ToSpan, civil::Date};
use serde_json::{Value, json};

/// How many hotels there are.
const HOTELS: usize = 40;

/// The records of one person. Few hotels have two of them.
pub fn records(person: &Person, seed: u64) -> Vec<LabelledGuest> {
    let row = u32::try_from(person.number).unwrap_or(u32::MAX);
    let mut rng = SeededRng::new(seed, Purpose::HotelRecords, row);
    let mut hotel = rng.below(HOTELS);
    let records = (0..person.hotels).map(|number| {
        if !rng.chance(5) {
            hotel = (hotel + 1) % HOTELS;
        }
        LabelledGuest {
            key: GuestKey {
                source: format!("hotel-{hotel:02}").parse().expect("a source's id"),
                id: format!("g{}-{number}", person.number).parse().expect("an id"),
            },
            person: person.number,
            payload: payload(person, number, &mut rng)
                .as_object()
                .cloned()
                .unwrap_or_default(),
        }
    });
    records.collect()
}

fn payload(person: &Person, number: usize, rng: &mut SeededRng) -> Value {
    let (first, last) = names(person, rng);
    let home = rng.pick(&person.homes);
    let written = |percent: usize, rng: &mut SeededRng| rng.chance(percent);
    let created = 1_640_995_200_000 + i64::try_from(rng.below(100_000_000)).unwrap_or(0) * 1_000;
    let second = person.second_last_name.clone().filter(|_| written(60, rng));
    let loyalty = person.loyalty.as_ref().filter(|_| written(70, rng));
    let passport = person.passport.as_ref().filter(|_| written(50, rng));
    let code = written(65, rng).then(|| home.postal_code.clone());
    let city = written(80, rng).then(|| slip(&home.city, 4, rng));
    json!({
        "first_name": first,
        "last_name": last,
        "second_last_name": second,
        "email": email(person, number, rng),
        "phone": phone(person, rng),
        "date_of_birth": birth(person.born, rng),
        "address": {"line1": home.line1, "city": city, "postal_code": code, "country": home.country},
        "loyalty": loyalty.map(|number| json!({"programme": "Grand", "number": number})).into_iter().collect::<Vec<_>>(),
        "documents": passport.map(|(digest, last4)| json!({"type": "passport", "issuing_country": home.country,
            "digest": digest, "last4": last4})).into_iter().collect::<Vec<_>>(),
        "created_at": created,
    })
}

/// Given name and surname, as the desk or a booking site wrote them.
fn names(person: &Person, rng: &mut SeededRng) -> (Option<String>, String) {
    let full = person.first_name.clone();
    let first = match rng.below(100) {
        0..77 => Some(slip(&full, 4, rng)),
        77..88 => Some(match &person.middle_name {
            Some(middle) => format!("{full} {middle}"),
            None => full,
        }),
        88..93 => full.chars().next().map(|initial| format!("{initial}.")),
        93..97 => Some(full.chars().take(4).collect()),
        _ => None,
    };
    let mut last = person.last_name.clone();
    if let Some(earlier) = person.earlier_last_name.as_ref().filter(|_| rng.chance(35)) {
        last.clone_from(earlier);
    }
    let last = match rng.below(100) {
        0..6 => last.replace('ü', "ue").replace('ö', "oe").replace('ä', "ae"),
        6..9 => last.to_uppercase(),
        _ => slip(&last, 4, rng),
    };
    match first {
        Some(first) if rng.chance(2) => (Some(last), first),
        first => (first, last),
    }
}

/// The own mailbox, the household's, a booking site's relay, an office's, or none.
fn email(person: &Person, number: usize, rng: &mut SeededRng) -> Option<String> {
    let relay = || format!("{:08x}.{number}@guest.booking.com", person.number * 7_919);
    match (rng.below(100), &person.email, &person.shared_email) {
        (0..7, _, _) => Some(relay()),
        (7..8, _, _) => Some("info@hotel.example".to_owned()),
        (8..12, _, _) => None,
        (12..24, _, Some(shared)) => Some(shared.clone()),
        (_, Some(own), _) => Some(slip(own, 1, rng)),
        (_, None, shared) => shared.clone(),
    }
}

fn phone(person: &Person, rng: &mut SeededRng) -> Option<String> {
    let number = match (rng.below(100), &person.phone, &person.shared_phone) {
        (0..6, _, _) => return None,
        (6..16, _, Some(shared)) => shared,
        (_, Some(own), _) => own,
        (_, None, shared) => shared.as_ref()?,
    };
    Some(match rng.below(60) {
        0..8 => number.replacen('+', "00", 1),
        8..16 => format!("{} {}", &number[..6], &number[6..]),
        16 => format!("{}8", &number[..number.len() - 1]),
        _ => number.clone(),
    })
}

fn birth(born: Date, rng: &mut SeededRng) -> Option<String> {
    match rng.below(100) {
        0..62 => Some(born.to_string()),
        62..64 => Some(swap(&born.to_string(), 8)),
        64 if rng.chance(60) => Some(born.saturating_add(days(1 + rng.below(4_000)).days()).to_string()),
        65..67 => Some("1970-01-01".to_owned()),
        _ => None,
    }
}

fn days(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(0)
}

/// The text, in so many of 100 cases with a letter left out, doubled or put before its neighbour.
fn slip(text: &str, percent: usize, rng: &mut SeededRng) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() < 4 || !rng.chance(percent) {
        return text.to_owned();
    }
    let at = 1 + rng.below(letters.len() - 2);
    match rng.below(3) {
        0 => letters
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != at)
            .map(|(_, letter)| letter)
            .collect(),
        1 => letters[..=at].iter().chain(&letters[at..]).collect(),
        _ => swap(text, at),
    }
}

/// The text with a letter and the next one exchanged.
fn swap(text: &str, at: usize) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    if at + 1 < letters.len() {
        letters.swap(at, at + 1);
    }
    letters.into_iter().collect()
}
