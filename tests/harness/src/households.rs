//! Made-up households, whose records are known to be whose: what makes it hard to say who is the same.
//!
//! Couples with one mailbox, families, twins, fathers and sons of one name, offices whose colleagues book through one
//! mailbox and telephone, and guests of 25 hotels. Each person stays at some of forty hotels, each of which
//! keeps a record of its own, with life's differences (`households/hotels.rs`): another address, an initial, a slip, a
//! number or a date that is missing. Seeded: the same seed makes the same people. Names, numbers and addresses reach
//! nobody, as `data/NOTICE.md` says.

mod hotels;

use crate::{
    labelled::LabelledGuest,
    names::{Country, Names, Region},
    seeded::{Purpose, SeededRng},
};
use jiff::{
    ToSpan,
    civil::{Date, date},
};
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;

/// The countries that the households are from.
const COUNTRIES: [&str; 12] = [
    "PRT", "GBR", "FRA", "DEU", "ESP", "ITA", "NLD", "SWE", "POL", "IRL", "USA", "CHN",
];

/// One guest in so many is known to this many hotels, and a member of their programme.
const BEST_GUEST_ONE_IN: usize = 400;
const BEST_GUEST_HOTELS: usize = 25;

/// Somebody, as they are, whatever a hotel writes down.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// The number by which records are labelled.
    pub number: usize,
    /// The given name.
    pub first_name: String,
    /// A second given name, which few hotels write down.
    pub middle_name: Option<String>,
    /// The surname.
    pub last_name: String,
    /// The surname of before a marriage.
    pub earlier_last_name: Option<String>,
    /// The second surname, where that is the custom.
    pub second_last_name: Option<String>,
    /// The birth date.
    pub born: Date,
    /// An own mailbox.
    pub email: Option<String>,
    /// A mailbox of the household, or of the office, that the person books with too.
    pub shared_email: Option<String>,
    /// An own telephone number.
    pub phone: Option<String>,
    /// The telephone of the household or office.
    pub shared_phone: Option<String>,
    /// Where the person lives; the second one since a move.
    pub homes: Vec<Home>,
    /// The number in the hotels' loyalty programme.
    pub loyalty: Option<String>,
    /// The digest and last characters of a passport.
    pub passport: Option<(String, String)>,
    /// How many hotels know the person.
    pub hotels: usize,
}

/// A postal address.
#[derive(Clone, Debug, PartialEq)]
pub struct Home {
    line1: String,
    city: String,
    postal_code: String,
    country: &'static str,
}

/// The records that forty hotels have of so many people, in no order.
pub fn households(people: usize, seed: u64) -> Vec<LabelledGuest> {
    let mut town = Town {
        names: Names::read(),
        people: Vec::new(),
        numbers: HashMap::new(),
        seed,
    };
    while town.people.len() < people {
        town.add_household();
    }
    town.people.truncate(people);
    let records = town
        .people
        .iter()
        .flat_map(|person| hotels::records(person, seed));
    records.collect()
}

/// What one household has in common.
struct Household {
    country: &'static str,
    last_name: String,
    home: Home,
    email: Option<String>,
    phone: Option<String>,
}

struct Town {
    names: Names,
    people: Vec<Person>,
    /// How many telephone numbers of each country are taken.
    numbers: HashMap<&'static str, u64>,
    seed: u64,
}

impl Town {
    fn add_household(&mut self) {
        let first = self.people.len();
        let row = u32::try_from(first).unwrap_or(u32::MAX);
        let mut rng = SeededRng::new(self.seed, Purpose::Household, row);
        let household = self.household(&mut rng);
        match rng.below(100) {
            0..38 => {
                self.adult(&household, &mut rng);
            }
            38..68 => self.couple(&household, &mut rng),
            68..90 => self.family(&household, &mut rng),
            90..94 => self.twins(&household, &mut rng),
            94..97 => self.father_and_son(&household, &mut rng),
            _ => self.office(&mut rng),
        }
    }

    fn household(&mut self, rng: &mut SeededRng) -> Household {
        let country = *rng.pick(&COUNTRIES);
        let region = self.region(country);
        let last_name = (*rng.pick(&region.families)).to_owned();
        let mailbox = format!("{}.family{}", ascii(&last_name), self.people.len());
        Household {
            country,
            home: home(country, rng),
            email: rng.chance(50).then(|| format!("{mailbox}@post.example")),
            phone: rng.chance(60).then(|| self.phone(country)),
            last_name,
        }
    }

    /// Two who share a home, mostly a surname, and often a mailbox.
    fn couple(&mut self, household: &Household, rng: &mut SeededRng) {
        self.adult(household, rng);
        let second = self.adult(household, rng);
        if rng.chance(25) {
            let families = &self.region(household.country).families;
            self.people[second].last_name = (*rng.pick(families)).to_owned();
        }
    }

    /// A couple with children, who book with the household's mailbox or not at all.
    fn family(&mut self, household: &Household, rng: &mut SeededRng) {
        self.couple(household, rng);
        for _ in 0..=rng.below(3) {
            let born = date(1995, 1, 1).saturating_add(days(rng.below(20 * 365)).days());
            self.child(household, born, rng);
        }
    }

    /// Two children of one day, at home.
    fn twins(&mut self, household: &Household, rng: &mut SeededRng) {
        let born = date(1985, 1, 1).saturating_add(days(rng.below(25 * 365)).days());
        self.child(household, born, rng);
        self.child(household, born, rng);
    }

    fn father_and_son(&mut self, household: &Household, rng: &mut SeededRng) {
        let father = self.adult(household, rng);
        let age = days(24 * 365 + rng.below(12 * 365));
        let son = self.child(
            household,
            self.people[father].born.saturating_add(age.days()),
            rng,
        );
        self.people[son].first_name = self.people[father].first_name.clone();
    }

    /// Colleagues of a dozen names or more, who all book with the office's mailbox and telephone.
    fn office(&mut self, rng: &mut SeededRng) {
        let country = *rng.pick(&COUNTRIES);
        let email = Some(format!("team{}@company.example", self.people.len()));
        let phone = Some(self.phone(country));
        for _ in 0..12 + rng.below(10) {
            let last_name = (*rng.pick(&self.region(country).families)).to_owned();
            let colleague = Household {
                country,
                last_name,
                home: home(country, rng),
                email: email.clone(),
                phone: phone.clone(),
            };
            self.adult(&colleague, rng);
        }
    }

    /// A person; most have a mailbox and a telephone of their own.
    fn adult(&mut self, household: &Household, rng: &mut SeededRng) -> usize {
        let born = date(1940, 1, 1).saturating_add(days(rng.below(55 * 365)).days());
        let number = self.person(household, born, rng);
        self.reach(number, household.country, 94, rng);
        if rng.below(BEST_GUEST_ONE_IN) == 0 {
            let best = &mut self.people[number];
            best.hotels = BEST_GUEST_HOTELS;
            best.loyalty = Some(format!("GW{number:07}"));
        }
        number
    }

    /// A person; fewer have a mailbox and a telephone of their own.
    fn child(&mut self, household: &Household, born: Date, rng: &mut SeededRng) -> usize {
        let number = self.person(household, born, rng);
        self.reach(number, household.country, 70, rng);
        number
    }

    /// Gives so many of 100 a mailbox, and a telephone.
    fn reach(&mut self, number: usize, country: &'static str, percent: usize, rng: &mut SeededRng) {
        let phone = rng.chance(percent).then(|| self.phone(country));
        let person = &mut self.people[number];
        person.phone = phone;
        if rng.chance(percent) {
            let (first, last) = (ascii(&person.first_name), ascii(&person.last_name));
            person.email = Some(format!("{first}.{last}{number}@mail.example"));
        }
    }

    /// Somebody without a mailbox and a telephone so far.
    fn person(&mut self, household: &Household, born: Date, rng: &mut SeededRng) -> usize {
        let woman = rng.chance(50);
        let region = self.region(household.country);
        let given = if woman { &region.women } else { &region.men };
        let number = self.people.len();
        let pick = |list: &[&str], rng: &mut SeededRng| (*rng.pick(list)).to_owned();
        let mut homes = vec![household.home.clone()];
        if rng.chance(12) {
            homes.push(home(household.country, rng));
        }
        let person = Person {
            number,
            first_name: pick(given, rng),
            middle_name: rng.chance(20).then(|| pick(given, rng)),
            last_name: household.last_name.clone(),
            earlier_last_name: (woman && rng.chance(6)).then(|| pick(&region.families, rng)),
            second_last_name: (household.country == "ESP").then(|| pick(&region.families, rng)),
            born,
            email: None,
            shared_email: household.email.clone(),
            phone: None,
            shared_phone: household.phone.clone(),
            homes,
            loyalty: rng.chance(20).then(|| format!("GW{number:07}")),
            passport: rng
                .chance(15)
                .then(|| (format!("digest-{number}"), format!("{:04}", number % 10_000))),
            hotels: match rng.below(100) {
                0..35 => 1,
                35..65 => 2,
                65..85 => 3,
                _ => 4 + rng.below(4),
            },
        };
        self.people.push(person);
        number
    }

    fn region(&self, country: &str) -> &Region {
        self.names.region(self.country(country).region)
    }

    fn country(&self, code: &str) -> &Country {
        self.names.country(code).expect("a country of countries.txt")
    }

    fn phone(&mut self, country: &'static str) -> String {
        let number = self.numbers.entry(country).or_default();
        *number += 1;
        let number = *number;
        self.country(country).phone(number)
    }
}

fn home(country: &'static str, rng: &mut SeededRng) -> Home {
    let street = [
        "Station Road",
        "Rua Nova",
        "Hauptstrasse",
        "Via Roma",
        "High Street",
        "Park Lane",
    ];
    let city = [
        "Lisboa", "Porto", "London", "Leeds", "Paris", "Lyon", "Berlin", "Milano", "Utrecht", "Malmö",
    ];
    Home {
        line1: format!("{} {}", rng.pick(&street), 1 + rng.below(200)),
        city: (*rng.pick(&city)).to_owned(),
        postal_code: format!("{:04}-{:03}", 1000 + rng.below(900), rng.below(400)),
        country,
    }
}

fn days(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(0)
}

/// The letters of a name as a mailbox would write them.
fn ascii(name: &str) -> String {
    let plain = name.nfkd().flat_map(char::to_lowercase);
    plain.filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests;
