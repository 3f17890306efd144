//! The figures that the rules of identity reach on records whose people are known.

use super::*;
use crate::households::households;
use contract::UnixMillis;
use crm_receiver::identity::{
    CandidateKind, Decision, Features, IdentityKey, Resolved, Verdict, candidates, features, resolve,
    shared_keys,
};
use std::collections::BTreeSet;

/// The seeds of the households that are measured. The rules were fitted to none of them.
const SEEDS: [u64; 3] = [11, 12, 13];
const PEOPLE: usize = 4_000;

/// A set of records, resolved, and what is proposed to people.
struct Measured {
    records: BTreeMap<GuestKey, Features>,
    shared: BTreeSet<IdentityKey>,
    people: BTreeMap<GuestKey, usize>,
    /// Linked automatically.
    linked: Pairs,
    /// Pairs of profiles that are proposed, of each kind, and those of them that are one person's.
    proposed: BTreeMap<CandidateKind, (u64, u64)>,
    /// Linked once every right proposal is accepted.
    accepted: Pairs,
}

impl Measured {
    fn of(guests: &[LabelledGuest]) -> Self {
        let read = guests
            .iter()
            .map(|guest| (guest.key.clone(), features(&guest.record())));
        let records: BTreeMap<GuestKey, Features> = read.collect();
        let mut measured = Self {
            shared: shared_keys(&records),
            people: guests
                .iter()
                .map(|guest| (guest.key.clone(), guest.person))
                .collect(),
            records,
            linked: Pairs::default(),
            proposed: BTreeMap::new(),
            accepted: Pairs::default(),
        };
        let resolved = resolve(&measured.records, &measured.shared, &[]).resolved;
        measured.linked = measured.pairs(&resolved);
        let decisions = measured.review(&resolved);
        let accepted = resolve(&measured.records, &measured.shared, &decisions);
        measured.accepted = measured.pairs(&accepted.resolved);
        measured
    }

    fn pairs(&self, resolved: &BTreeMap<GuestKey, Resolved>) -> Pairs {
        Pairs::count(resolved.iter().map(|(key, to)| (self.people[key], &to.owner)))
    }

    /// Counts what is proposed, and accepts what is right of it: each a decision between whole profiles.
    fn review(&mut self, resolved: &BTreeMap<GuestKey, Resolved>) -> Vec<Decision> {
        let mut members: BTreeMap<&GuestKey, BTreeSet<GuestKey>> = BTreeMap::new();
        for (key, to) in resolved {
            members.entry(&to.owner).or_default().insert(key.clone());
        }
        let profile = |key: &GuestKey| &resolved[key].owner;
        let found = candidates(&self.records, &self.shared, |one, other| {
            profile(one) != profile(other)
        });
        let mut proposed: BTreeMap<_, bool> = BTreeMap::new();
        for candidate in &found {
            let (one, other) = (&candidate.records.0, &candidate.records.1);
            let (left, right) = (profile(one), profile(other));
            let pair = (candidate.kind, left.min(right), left.max(right));
            *proposed.entry(pair).or_default() |= self.people[one] == self.people[other];
        }
        let mut decisions = Vec::new();
        for ((kind, left, right), is_right) in proposed {
            let counts = self.proposed.entry(kind).or_default();
            *counts = (counts.0 + 1, counts.1 + u64::from(is_right));
            if is_right {
                decisions.push(Decision {
                    id: format!("dec_{}", decisions.len()),
                    at: UnixMillis(1),
                    verdict: Verdict::Same,
                    left: members[left].clone(),
                    right: members[right].clone(),
                });
            }
        }
        decisions
    }

    /// Of what is proposed as one person, the part that is right.
    fn right_of_same_person(&self) -> f64 {
        let (proposed, right) = self
            .proposed
            .get(&CandidateKind::SamePerson)
            .copied()
            .unwrap_or_default();
        share(right, proposed)
    }

    fn print(&self, name: &str) {
        println!(
            "{name}: {} records; linked with precision {:.4} and recall {:.4}; of {:?} proposed {:.3} of same_person right; \
             accepted: recall {:.4}",
            self.records.len(),
            self.linked.precision(),
            self.linked.recall(),
            self.proposed,
            self.right_of_same_person(),
            self.accepted.recall()
        );
    }
}

#[test]
fn on_splinks_file_links_are_right_and_candidates_find_what_is_missed() {
    let measured = Measured::of(&splink_records().unwrap());
    measured.print("splink");
    assert!(measured.linked.precision() >= 0.995);
    assert!(measured.accepted.recall() >= 0.95);
}

#[test]
fn on_households_links_are_right_and_few_are_missed() {
    for seed in SEEDS {
        let measured = Measured::of(&households(PEOPLE, seed));
        measured.print(&format!("households {seed}"));
        assert!(measured.linked.precision() >= 0.99);
        assert!(measured.linked.recall() >= 0.9);
        assert!(measured.right_of_same_person() >= 0.4);
        assert!(measured.accepted.recall() >= 0.95);
    }
}

#[test]
fn the_file_has_a_thousand_records_of_a_hundred_and_eighty_one_people() {
    let records = splink_records().unwrap();
    let people: BTreeSet<usize> = records.iter().map(|record| record.person).collect();
    assert_eq!((records.len(), people.len()), (1_000, 181));
    let only = records
        .iter()
        .find(|record| record.payload["first_name"] == "")
        .unwrap();
    assert_ne!(only.payload["last_name"], "");
}

#[test]
fn pairs_are_counted_within_people_and_within_profiles() {
    // People 1 and 2; profiles a, b and c: two of person 1 and one of person 2 are in a.
    let pairs = Pairs::count([(1, "a"), (1, "a"), (2, "a"), (2, "b"), (1, "c")]);
    let expected = Pairs {
        of_one_person: 3 + 1,
        linked: 3,
        right: 1,
    };
    assert_eq!(pairs, expected);
    assert!((pairs.precision() - 1.0 / 3.0).abs() < 1e-9 && (pairs.recall() - 0.25).abs() < 1e-9);
    assert_eq!(Pairs::default().precision(), 1.0);
}
