//! What holds of every set of records and decisions: the result rests on nothing but the set, a group alone gives what
//! the whole set gives, and nobody is linked against a decision or a conflict.

use super::*;
use crate::identity::{
    rules::Compared,
    shared_keys,
    testing::{key, read},
};
use crate::profile::link::Conflict;
use contract::UnixMillis;
use proptest::{prelude::*, sample::select};
use serde_json::json;

type Records = BTreeMap<GuestKey, Features>;

/// How many guests each of two hotels has.
const GUESTS: usize = 7;

fn name_of(hotel: usize, guest: usize) -> String {
    format!("{}/g{guest}", ["lisbon", "porto"][hotel])
}

/// Records that share what they share often: of few names, mailboxes, numbers and dates.
fn record() -> impl Strategy<Value = serde_json::Value> {
    let some = |values: &'static [&'static str]| select(values);
    (
        some(&["", "", "Ana", "Anna", "A.", "Rui", "Ana Maria", "Silva"]),
        some(&["Silva", "Silva", "Sillva", "Costa", "Ana"]),
        some(&["", "s@example.com", "s@example.com", "a@example.com", "x@guest.booking.com"]),
        some(&["", "+351912345678", "+351912345678", "+351912345679"]),
        some(&["", "", "1980-05-17", "1980-05-11", "1955-08-02"]),
        some(&["", "1000-205"]),
        some(&["", "", "", "", "1", "2"]),
        some(&["", "", "", "", "d1", "d2"]),
        prop::option::weighted(0.1, 0..GUESTS),
        0..3_i64,
    )
        .prop_map(|(first, last, email, phone, birth, code, card, passport, merged, at)| {
            json!({"first_name": first, "last_name": last, "email": email, "phone": phone, "date_of_birth": birth,
                "address": {"postal_code": code}, "created_at": 1_763_769_600_000 + at,
                "loyalty": [{"programme": "gold", "number": card}],
                "documents": [{"type": "passport", "issuing_country": "PT", "digest": passport}],
                "merged_into": merged.map(|guest| format!("g{guest}"))})
        })
}

fn records() -> impl Strategy<Value = Records> {
    let all = (0..2).flat_map(|hotel| (0..GUESTS).map(move |guest| name_of(hotel, guest)));
    let keys: Vec<String> = all.collect();
    (prop::collection::vec(record(), keys.len()), 2..keys.len()).prop_map(move |(payloads, count)| {
        let records = keys.iter().zip(payloads).take(count);
        records
            .map(|(name, payload)| (key(name), read(name, payload)))
            .collect()
    })
}

fn decisions() -> impl Strategy<Value = Vec<Decision>> {
    let guest = || (0..2_usize, 0..GUESTS).prop_map(|(hotel, guest)| key(&name_of(hotel, guest)));
    let side = move || prop::collection::btree_set(guest(), 1..3);
    let decision = (side(), side(), 0..3_i64, any::<bool>());
    prop::collection::vec(decision, 0..4).prop_map(|drawn| {
        let made = drawn
            .into_iter()
            .enumerate()
            .map(|(at, (left, right, time, same))| Decision {
                id: format!("dec_{at}"),
                at: UnixMillis(time),
                verdict: if same { Verdict::Same } else { Verdict::Different },
                left,
                right,
            });
        made.collect()
    })
}

/// The same guests under ids in the opposite order.
fn renamed(guest: &GuestKey) -> GuestKey {
    let number: usize = guest.id.as_str()[1..].parse().unwrap();
    GuestKey {
        source: guest.source.clone(),
        id: format!("g{}", GUESTS - 1 - number).parse().unwrap(),
    }
}

fn profiles(resolved: &BTreeMap<GuestKey, Resolved>) -> BTreeSet<BTreeSet<GuestKey>> {
    let mut profiles: BTreeMap<&GuestKey, BTreeSet<GuestKey>> = BTreeMap::new();
    for (key, to) in resolved {
        profiles.entry(&to.owner).or_default().insert(key.clone());
    }
    profiles.into_values().collect()
}

/// The groups of records that share a key, a merge or a decision, found in another way than by the code under test.
fn groups(records: &Records, shared: &BTreeSet<IdentityKey>, decisions: &[Decision]) -> Vec<Records> {
    let evidence = |key: &GuestKey, features: &Features| {
        let mut evidence: BTreeSet<String> = BTreeSet::from([format!("{:?}", Features::key_of_merged(key))]);
        let keys = features.keys(key).into_iter();
        evidence.extend(
            keys.filter(|key| !shared.contains(key))
                .map(|key| format!("{key:?}")),
        );
        let named = decisions
            .iter()
            .filter(|decision| decision.records().any(|named| named == key));
        evidence.extend(named.map(|decision| decision.id.clone()));
        evidence
    };
    let mut groups: Vec<(BTreeSet<String>, Records)> = Vec::new();
    for (key, features) in records {
        let mut all = evidence(key, features);
        let mut members = Records::from([(key.clone(), features.clone())]);
        let (joined, others): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|(evidence, _)| !evidence.is_disjoint(&all));
        for (evidence, records) in joined {
            all.extend(evidence);
            members.extend(records);
        }
        groups = others;
        groups.push((all, members));
    }
    groups.into_iter().map(|(_, records)| records).collect()
}

/// A profile, judged pair by pair by what the rules say, in another way than by the code under test.
struct Judged<'a> {
    records: &'a Records,
    shared: &'a BTreeSet<IdentityKey>,
    decisions: &'a [Decision],
    profile: &'a BTreeSet<GuestKey>,
}

impl Judged<'_> {
    /// The last decision about the pair.
    fn decided(&self, one: &GuestKey, other: &GuestKey) -> Option<Verdict> {
        let about = self
            .decisions
            .iter()
            .filter(|decision| decision.is_about(one, other));
        let last = about.max_by_key(|decision| (decision.at, &decision.id));
        last.map(|decision| decision.verdict)
    }

    fn compared(&self, one: &GuestKey, other: &GuestKey) -> Compared {
        let (left, right) = (&self.records[one], &self.records[other]);
        let names = left.names.compare(&right.names);
        Compared::of(left, right, names, one.source == other.source)
    }

    fn against(&self, one: &GuestKey, other: &GuestKey) -> BTreeSet<Conflict> {
        self.compared(one, other).against.shown()
    }

    fn agreed(&self, one: &GuestKey, other: &GuestKey) -> BTreeSet<Conflict> {
        self.compared(one, other).agreed.shown()
    }

    /// Whether ranks 0 (`decided`), or 0 and 1, link the two records directly.
    fn sure(&self, one: &GuestKey, other: &GuestKey, decided: bool) -> bool {
        let by_rank1 = || {
            let keys = |key: &GuestKey| {
                let mut keys = self.records[key].keys(key);
                keys.insert(Features::key_of_merged(key));
                keys.retain(|key| key.kind <= KeyKind::Document && !self.shared.contains(key));
                keys
            };
            !keys(one).is_disjoint(&keys(other))
        };
        self.decided(one, other) == Some(Verdict::Same) || (!decided && by_rank1())
    }

    /// The records of the profile that such links connect with one.
    fn component(&self, of: &GuestKey, decided: bool) -> BTreeSet<&GuestKey> {
        let mut found: BTreeSet<&GuestKey> = self.profile.get(of).into_iter().collect();
        loop {
            let near = |key: &&GuestKey| found.iter().any(|member| self.sure(member, key, decided));
            let more: Vec<&GuestKey> = self
                .profile
                .iter()
                .filter(|key| !found.contains(key))
                .filter(near)
                .collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }

    /// Whether a conflict of the pair is within what ranks 0 and 1 put together, or overruled by one record of such a
    /// person that agrees with the other in every field in question and is in no conflict with it.
    fn is_overruled(&self, one: &GuestKey, other: &GuestKey) -> bool {
        let fields = self.against(one, other);
        let vouches = |member: &GuestKey, record: &GuestKey| {
            self.against(member, record).is_empty() && fields.is_subset(&self.agreed(member, record))
        };
        let of_one = self.component(one, false);
        let of_other = self.component(other, false);
        of_one.contains(other)
            || of_one.iter().any(|member| vouches(member, other))
            || of_other.iter().any(|member| vouches(member, one))
            || self.profile.iter().any(|decided| {
                let person = self.component(decided, true);
                let any = |record| person.iter().any(|member| vouches(member, record));
                person.len() > 1 && any(one) && any(other)
            })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_result_rests_on_the_set_alone(records in records(), decisions in decisions(), turn in 0..4_usize) {
        let shared = shared_keys(&records);
        let whole = resolve(&records, &shared, &decisions).resolved;
        let mut turned = decisions.clone();
        turned.rotate_left(turn % decisions.len().max(1));
        prop_assert_eq!(&resolve(&records, &shared, &turned).resolved, &whole, "the decisions in another order");
        let mut alone = BTreeMap::new();
        for group in groups(&records, &shared, &decisions) {
            alone.extend(resolve(&group, &shared, &decisions).resolved);
        }
        prop_assert_eq!(&alone, &whole, "each group alone");
    }

    #[test]
    fn no_order_of_the_keys_decides_who_is_one_person(records in records(), decisions in decisions()) {
        let other: Records = records
            .iter()
            .map(|(key, features)| {
                let mut features = features.clone();
                let target = features.merged_into.take().map(|id| renamed(&GuestKey { source: key.source.clone(), id }).id);
                features.merged_into = target;
                (renamed(key), features)
            })
            .collect();
        let names = |side: &BTreeSet<GuestKey>| side.iter().map(renamed).collect();
        let of_other: Vec<Decision> = decisions
            .iter()
            .map(|decision| Decision { left: names(&decision.left), right: names(&decision.right), ..decision.clone() })
            .collect();
        let expected = profiles(&resolve(&records, &shared_keys(&records), &decisions).resolved);
        let found = profiles(&resolve(&other, &shared_keys(&other), &of_other).resolved);
        let back = found.iter().map(|profile| profile.iter().map(renamed).collect()).collect::<BTreeSet<BTreeSet<_>>>();
        prop_assert_eq!(back, expected);
    }

    #[test]
    fn nobody_is_linked_against_a_decision_or_by_ranks_2_to_4_against_a_conflict(
        records in records(), decisions in decisions()
    ) {
        let shared = shared_keys(&records);
        let resolved = resolve(&records, &shared, &decisions).resolved;
        for profile in profiles(&resolved) {
            let of_profile = Judged { records: &records, shared: &shared, decisions: &decisions, profile: &profile };
            for (at, one) in profile.iter().enumerate() {
                for other in profile.iter().skip(at + 1) {
                    let last = of_profile.decided(one, other);
                    prop_assert!(last.is_none_or(|verdict| verdict == Verdict::Same), "{one:?} {other:?}");
                    let found = of_profile.against(one, other);
                    prop_assert!(found.is_empty() || of_profile.is_overruled(one, other), "{one:?} {other:?} {found:?}");
                }
            }
        }
    }

    #[test]
    fn each_profile_hangs_together_under_its_oldest_record(records in records(), decisions in decisions()) {
        let resolved = resolve(&records, &shared_keys(&records), &decisions).resolved;
        for (key, to) in &resolved {
            let age = |key: &GuestKey| (records[key].created_at.map_or(i64::MAX, |at| at.0), key.clone());
            prop_assert_eq!(&resolved[&to.owner].owner, &to.owner);
            prop_assert!(age(&to.owner) <= age(key));
            let mut at = key.clone();
            for _ in 0..records.len() {
                if let Some(evidence) = &resolved[&at].link.evidence {
                    prop_assert_eq!(&resolved[&evidence.with].owner, &to.owner);
                    let against = &evidence.conflicts;
                    prop_assert!(resolved[&at].link.rule.rank() < 2 || against.is_empty(), "{against:?}");
                    at = evidence.with.clone();
                }
            }
            prop_assert_eq!(&at, &to.owner, "the links lead there");
        }
    }
}
