use super::*;
use crate::identity::{
    testing::{key, read, records},
    weights::Field,
};
use serde_json::{Value, json};

fn pairs(candidates: &[Candidate]) -> Vec<(&str, &str, CandidateKind)> {
    let shown = candidates.iter().map(|candidate| {
        let (one, other) = &candidate.records;
        (one.id.as_str(), other.id.as_str(), candidate.kind)
    });
    shown.collect()
}

fn guest(first: &str, birth: &str, more: Value) -> Value {
    let mut guest = json!({"first_name": first, "last_name": "Silva", "date_of_birth": birth});
    if let Value::Object(more) = more {
        guest.as_object_mut().unwrap().extend(more);
    }
    guest
}

#[test]
fn a_candidate_says_what_each_field_weighs() {
    let (left, right) = (
        read("b", guest("Ana", "1980-05-17", json!({}))),
        read("a", guest("Ana", "1980-05-11", json!({}))),
    );
    let found = Candidate::of((&key("b"), &left), (&key("a"), &right)).unwrap();
    assert_eq!(found.records, (key("a"), key("b")));
    let fields: Vec<_> = found.fields.iter().map(|field| field.field).collect();
    assert_eq!(fields, [Field::Surname, Field::GivenName, Field::BirthDate]);
    assert_eq!(
        found.score,
        found.fields.iter().map(|field| field.weight).sum::<i32>()
    );
    let names = (
        read("a", guest("Ana", "", json!({}))),
        read("b", guest("Ana", "", json!({}))),
    );
    assert!(
        Candidate::of((&key("a"), &names.0), (&key("b"), &names.1)).is_none(),
        "names alone"
    );
}

#[test]
fn what_a_conflict_stands_between_may_be_a_household() {
    let home = json!({"phone": "+351912345678", "email": "s@example.com"});
    let found = candidates(
        &records([
            ("a", guest("Ana", "1980-05-17", home.clone())),
            ("b", guest("Ana", "1980-05-17", home.clone())),
            ("c", guest("Rui", "", home.clone())),
        ]),
        &BTreeSet::new(),
        |_, _| true,
    );
    let (same, household) = (CandidateKind::SamePerson, CandidateKind::Household);
    assert_eq!(
        pairs(&found),
        [("a", "b", same), ("a", "c", household), ("b", "c", household)]
    );
    assert_eq!(found[1].conflicts, BTreeSet::from([Conflict::GivenName]));
    let open = candidates(
        &records([
            ("a", guest("Ana", "1980-05-17", home.clone())),
            ("b", guest("Ana", "1980-05-17", home)),
        ]),
        &BTreeSet::new(),
        |_, _| false,
    );
    assert_eq!(pairs(&open), [], "in one profile, or decided");
}

#[test]
fn a_block_of_more_than_fifty_gives_no_candidates() {
    for (count, some) in [(BLOCK_MAX, true), (BLOCK_MAX + 1, false)] {
        let everybody: BTreeMap<_, _> = (0..count)
            .map(|at| {
                (
                    key(&format!("g{at}")),
                    read("g", guest("Ana", "1980-05-17", json!({}))),
                )
            })
            .collect();
        let found = candidates(&everybody, &BTreeSet::new(), |_, _| true);
        assert_eq!(!found.is_empty(), some, "{count}");
    }
}

#[test]
fn a_record_keeps_its_best_five() {
    let near = |at: usize| {
        let more = if at < 3 {
            json!({"phone": "+351912345678"})
        } else {
            json!({})
        };
        (
            key(&format!("g{at}")),
            read("g", guest("Ana", "1980-05-17", more)),
        )
    };
    let others: BTreeMap<_, _> = (0..9).map(near).collect();
    let own = read(
        "own",
        guest("Ana", "1980-05-17", json!({"phone": "+351912345678"})),
    );
    let own_key = key("own");
    let best = best((&own_key, &own), &others, |_| true);
    let kept: Vec<&str> = best
        .iter()
        .map(|candidate| candidate.records.0.id.as_str())
        .collect();
    assert_eq!(kept, ["g0", "g1", "g2", "g3", "g4"]);
    assert!(best[0].score > best[4].score);
}

#[test]
fn a_household_does_not_push_out_one_person() {
    let home = || json!({"phone": "+351912345678", "email": "s@example.com"});
    let mut others: BTreeMap<_, _> = (0..7)
        .map(|at| {
            (
                key(&format!("a{at}")),
                read("g", guest("Rui", "1980-05-17", home())),
            )
        })
        .collect();
    for at in 0..7 {
        let guest = guest("Ana", "1980-05-17", json!({}));
        others.insert(key(&format!("b{at}")), read("g", guest));
    }
    let (own_key, own) = (key("own"), read("own", guest("Ana", "1980-05-17", home())));
    let best = best((&own_key, &own), &others, |_| true);
    for kind in [CandidateKind::SamePerson, CandidateKind::Household] {
        let kept = best.iter().filter(|candidate| candidate.kind == kind).count();
        assert_eq!(kept, KEPT_MAX, "{kind:?}");
    }
}

#[test]
fn what_too_many_people_share_weighs_nothing_and_makes_no_block() {
    const NAMES: [&str; 12] = [
        "Silva", "Costa", "Sousa", "Pinto", "Rocha", "Neves", "Cruz", "Pires", "Ramos", "Reis", "Matos",
        "Lopes",
    ];
    let office = |at: usize| {
        let guest = json!({"first_name": "Ana", "last_name": NAMES[at], "email": "together@example.com", "phone": "+351912345678",
            "loyalty": [{"programme": "gold", "number": "17"}]});
        (key(&format!("g{at}")), read("g", guest))
    };
    let all: BTreeMap<_, _> = (0..NAMES.len()).map(office).collect();
    let shared = crate::identity::shared_keys(&all);
    assert_eq!(shared.len(), 3);
    assert_eq!(pairs(&candidates(&all, &shared, |_, _| true)), []);
    assert!(!candidates(&all, &BTreeSet::new(), |_, _| true).is_empty());
}
