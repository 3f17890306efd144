//! Guest records of which it is known whose they are, and how well the links among them are found.
//!
//! Two sets: [`households`](crate::households), made up here, and 1,000 records of 181 made-up people with slips and gaps
//! from the test data of Splink ([`splink_records`]). Pairs are counted as the literature does: of all pairs of records
//! in one profile how many are one person's (precision), of all pairs of one person's records how many are in one profile
//! (recall).

use crm_receiver::profile::{GuestKey, Record, record::digested};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The file itself. Its licence and source stand in `data/NOTICE.md`.
const SPLINK: &str = include_str!("../data/splink_fake_1000.csv");

/// A record, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledGuest {
    /// The record's source and id.
    pub key: GuestKey,
    /// The number of the person.
    pub person: usize,
    /// What the source says of the guest, as an event's payload.
    pub payload: Map<String, Value>,
}

impl LabelledGuest {
    /// The record as a receiver holds it that has taken in its event.
    ///
    /// # Panics
    /// Never: what is parsed here is written here.
    pub fn record(&self) -> Record {
        let (digest, state) = digested(self.payload.clone());
        Record {
            key: self.key.record(),
            property_id: None,
            version: 1,
            digest,
            deleted: false,
            occurred_at: contract::UnixMillis(1_763_769_600_000),
            event_type: "guest.created".parse().expect("a type of the catalogue"),
            event_id: "evt_1".parse().expect("within the alphabet of ids"),
            state,
        }
    }
}

/// The records of Splink's file. A row with one name only has it as its last name, which no guest is without.
///
/// # Errors
/// A row that is not in the shape of the file.
pub fn splink_records() -> csv::Result<Vec<LabelledGuest>> {
    type Row = (String, String, String, String, String, String, usize);
    let mut rows = csv::Reader::from_reader(SPLINK.as_bytes());
    let read = rows.deserialize::<Row>().map(|row| {
        let (id, first, last, birth, city, email, person) = row?;
        let (first, last) = if last.trim().is_empty() {
            (String::new(), first)
        } else {
            (first, last)
        };
        let payload = json!({"first_name": first, "last_name": last, "email": email, "date_of_birth": birth,
            "address": {"city": city}});
        Ok(LabelledGuest {
            key: GuestKey {
                source: "splink".parse().expect("a source's id"),
                id: id.parse().expect("a number is an id"),
            },
            person,
            payload: payload.as_object().cloned().unwrap_or_default(),
        })
    });
    read.collect()
}

/// Pairs of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// Of one person.
    pub of_one_person: u64,
    /// In one profile.
    pub linked: u64,
    /// Of one person and in one profile.
    pub right: u64,
}

impl Pairs {
    /// Counts them, of records whose profile is given.
    pub fn count<P: Ord>(records: impl IntoIterator<Item = (usize, P)>) -> Self {
        let (mut people, mut profiles, mut both) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut numbers: BTreeMap<P, usize> = BTreeMap::new();
        for (person, profile) in records {
            let next = numbers.len();
            let profile = *numbers.entry(profile).or_insert(next);
            *people.entry(person).or_insert(0) += 1;
            *profiles.entry(profile).or_insert(0) += 1;
            *both.entry((person, profile)).or_insert(0) += 1;
        }
        fn pairs<K>(sizes: &BTreeMap<K, u64>) -> u64 {
            sizes.values().map(|size| size * (size - 1) / 2).sum()
        }
        Self {
            of_one_person: pairs(&people),
            linked: pairs(&profiles),
            right: pairs(&both),
        }
    }

    /// Of the pairs in one profile, those of one person: 1 when there are none.
    pub fn precision(self) -> f64 {
        share(self.right, self.linked)
    }

    /// Of the pairs of one person, those in one profile: 1 when there are none.
    pub fn recall(self) -> f64 {
        share(self.right, self.of_one_person)
    }
}

/// A part of a whole; all of it when there is nothing.
pub fn share(part: u64, whole: u64) -> f64 {
    let count = |pairs: u64| u32::try_from(pairs).map_or(f64::INFINITY, f64::from);
    if whole == 0 {
        1.0
    } else {
        count(part) / count(whole)
    }
}

#[cfg(test)]
mod tests;
