//! The households are what they are said to be, and the same again under the same seed.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

fn people(count: usize, seed: u64) -> Vec<Person> {
    let mut town = Town {
        names: Names::read(),
        people: Vec::new(),
        numbers: HashMap::new(),
        seed,
    };
    while town.people.len() < count {
        town.add_household();
    }
    town.people
}

#[test]
fn the_same_seed_makes_the_same_records() {
    assert_eq!(households(300, 7), households(300, 7));
    assert_ne!(households(300, 7), households(300, 8));
    let all = households(300, 7);
    let keys: BTreeSet<_> = all.iter().map(|guest| &guest.key).collect();
    assert_eq!(keys.len(), all.len());
    assert_eq!(all.iter().map(|guest| guest.person).max(), Some(299));
}

#[test]
fn there_are_twins_fathers_and_sons_of_one_name_offices_and_best_guests() {
    let people = people(4_000, 7);
    let mut homes: BTreeMap<String, Vec<&Person>> = BTreeMap::new();
    for person in &people {
        homes
            .entry(format!("{:?}", person.homes[0]))
            .or_default()
            .push(person);
    }
    let pairs = |is_it: fn(&Person, &Person) -> bool| {
        let homes = homes.values().flat_map(|home| home.windows(2));
        homes.filter(|two| is_it(two[0], two[1])).count()
    };
    let twins = pairs(|one, other| one.born == other.born);
    let one_name = pairs(|one, other| {
        one.first_name == other.first_name && one.last_name == other.last_name && one.born != other.born
    });
    let couples = pairs(|one, other| one.shared_email.is_some() && one.last_name == other.last_name);
    assert!(
        twins > 30 && one_name > 30 && couples > 300,
        "{twins} {one_name} {couples}"
    );
    assert!(people.iter().any(|person| person.hotels == BEST_GUEST_HOTELS));
    let mut offices: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for person in &people {
        if let Some(email) = person
            .shared_email
            .as_deref()
            .filter(|email| email.starts_with("team"))
        {
            offices.entry(email).or_default().insert(&person.last_name);
        }
    }
    assert!(offices.values().any(|names| names.len() > 8));
}
