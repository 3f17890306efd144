use super::*;
use crate::identity::{
    shared_keys,
    testing::{decision, key, profiles, read, records, resolved},
};
use serde_json::json;

/// Records with one mailbox and one surname.
fn household<const N: usize>(
    records_of: [(&str, Option<&str>, Option<&str>); N],
) -> BTreeMap<GuestKey, Features> {
    records(records_of.map(|(id, first, birth)| {
        let guest = json!({"first_name": first, "last_name": "Silva", "email": "silva@example.com", "date_of_birth": birth});
        (id, guest)
    }))
}

#[test]
fn what_fits_two_in_conflict_is_linked_to_neither() {
    let (old, young) = (Some("1950-03-01"), Some("1982-11-23"));
    let couple = household([
        ("a1", Some("Ana"), None),
        ("a2", Some("Ana"), None),
        ("b1", Some("Rui"), None),
        ("b2", Some("Rui"), None),
        ("x", None, None),
        ("y", None, None),
    ]);
    assert_eq!(profiles(&resolved(&couple, &[])), "a1 a2, b1 b2");
    let father_and_son = household([
        ("f1", Some("Rui"), old),
        ("f2", Some("Rui"), old),
        ("s1", Some("Rui"), young),
        ("s2", Some("Rui"), young),
        ("x", Some("Rui"), None),
    ]);
    assert_eq!(profiles(&resolved(&father_and_son, &[])), "f1 f2, s1 s2");
    let twins = household([
        ("a", Some("Joana"), young),
        ("b", Some("Marta"), young),
        ("x", None, young),
        ("c", Some("J."), young),
    ]);
    assert_eq!(profiles(&resolved(&twins, &[])), "a c");
    let alone = household([
        ("a1", Some("Ana"), None),
        ("a2", Some("Anna"), None),
        ("x", None, None),
    ]);
    assert_eq!(profiles(&resolved(&alone, &[])), "a1 a2 x");
    let initials = household([
        ("a", Some("Jane"), None),
        ("b", Some("John"), None),
        ("x", Some("J."), None),
    ]);
    assert_eq!(profiles(&resolved(&initials, &[])), "");
}

#[test]
fn a_chain_does_not_link_two_in_conflict_either() {
    let guest = |first: &str, email: &str, phone: &str, birth: Option<&str>| json!({"first_name": first, "last_name": "Silva", "email": email, "phone": phone, "date_of_birth": birth});
    let (one, other, home) = ("ana@example.com", "ana@example.org", "+351912345678");
    let mother_and_daughter = records([
        ("m1", guest("Ana", one, "", Some("1950-03-01"))),
        ("m2", guest("Ana", one, home, None)),
        ("d2", guest("Ana", other, home, None)),
        ("d1", guest("Ana", other, "", Some("1982-11-23"))),
    ]);
    assert_eq!(profiles(&resolved(&mother_and_daughter, &[])), "d1 d2, m1 m2");
}

#[test]
fn a_weak_link_dissolves_no_two_people_whom_surer_ones_make() {
    let mut family = BTreeMap::new();
    for (who, email, birth) in [
        ("m", "ana@example.com", "1950-03-01"),
        ("d", "ana@example.org", "1982-11-23"),
    ] {
        for at in 0..12 {
            let guest = json!({"first_name": "Ana", "last_name": "Silva", "email": email,
                "date_of_birth": (at < 6).then_some(birth), "phone": (at == 11).then_some("+351912345678")});
            let name = format!("{who}{at}");
            family.insert(key(&name), read(&name, guest));
        }
    }
    let resolved = resolved(&family, &[]);
    let sizes = |who: &str| {
        let of_one = resolved
            .iter()
            .filter(|(key, _)| key.id.as_str().starts_with(who));
        let owners: BTreeSet<_> = of_one.map(|(_, to)| to.owner.clone()).collect();
        owners.len()
    };
    assert_eq!((sizes("m"), sizes("d")), (1, 1));
    let owners: BTreeSet<_> = resolved.values().map(|to| &to.owner).collect();
    assert_eq!(owners.len(), 2);
}

#[test]
fn what_decisions_overruled_does_not_depend_on_the_names_of_the_keys() {
    let guest = |first: &str, email: &str, phone: &str| json!({"first_name": first, "last_name": "Silva", "email": email, "phone": phone});
    let mail = "s@example.com";
    for [a, b, c, d, x] in [
        ["1", "2", "3", "4", "5"],
        ["5", "4", "3", "2", "1"],
        ["3", "4", "1", "2", "5"],
        ["2", "1", "4", "3", "5"],
        ["3", "5", "2", "4", "1"],
        ["4", "1", "5", "2", "3"],
    ] {
        let all = records([
            (a, guest("William", mail, "")),
            (b, guest("Bill", mail, "")),
            (c, guest("William", mail, "")),
            (d, guest("Bill", mail, "+351912345678")),
            (x, guest("Bill", "", "+351912345678")),
        ]);
        let decided = [decision(1, Verdict::Same, a, b), decision(2, Verdict::Same, c, d)];
        assert_eq!(profiles(&resolved(&all, &decided)), "1 2 3 4 5", "{x}");
    }
}

#[test]
fn one_record_of_a_person_must_agree_in_every_field_that_another_conflicts_in() {
    let guest = |first: &str, birth: &str, card: &str| {
        json!({"first_name": first, "last_name": "Silva", "email": "s@example.com",
        "date_of_birth": birth, "loyalty": [{"programme": "gold", "number": card}]})
    };
    let shared_card = records([
        ("a", guest("Ana", "1955-08-02", "1")),
        ("b", guest("Rui", "1980-05-17", "1")),
        ("c", guest("", "", "1")),
        ("d", guest("Ana", "1980-05-17", "")),
    ]);
    assert_eq!(
        profiles(&resolved(&shared_card, &[])),
        "a b c",
        "the name of one and the date of another"
    );
}

#[test]
fn a_conflict_with_one_record_of_a_person_is_one_with_the_person() {
    let guest = |first: &str, email: &str, card: &str| json!({"first_name": first, "last_name": "Silva", "email": email, "loyalty": [{"programme": "gold", "number": card}]});
    let (one, other) = ("ana@example.com", "silva@example.com");
    let household = records([
        ("a", guest("Ana", one, "1")),
        ("b", guest("", other, "1")),
        ("c", guest("Rui", other, "")),
        ("d", guest("", one, "")),
    ]);
    assert_eq!(
        profiles(&resolved(&household, &[])),
        "a b d",
        "c fits b, but is not Ana"
    );
}

#[test]
fn a_decision_links_and_holds_apart_against_all() {
    let card = json!([{"programme": "gold", "number": "17"}]);
    let guest = |name: &str| json!({"last_name": name, "loyalty": card});
    let (same, different) = (Verdict::Same, Verdict::Different);
    let strangers = records([
        ("a", json!({"last_name": "Silva"})),
        ("b", json!({"last_name": "Costa"})),
    ]);
    let merged = [decision(1, same, "a", "b")];
    let resolved_strangers = resolved(&strangers, &merged);
    assert_eq!(profiles(&resolved_strangers), "a b");
    let link = &resolved_strangers[&key("b")].link;
    assert_eq!(link.rule, LinkRule::Decision);
    assert_eq!(link.evidence.as_ref().unwrap().decision.as_deref(), Some("dec_1"));
    let members = records([
        ("a", guest("Silva")),
        ("b", guest("Silva")),
        ("c", guest("Silva")),
    ]);
    let unmerged = [decision(1, different, "a", "b c")];
    assert_eq!(profiles(&resolved(&members, &unmerged)), "b c");
    let fourth = records([("a", guest("S")), ("b", guest("S")), ("d", guest("S"))]);
    assert_eq!(
        profiles(&resolved(&fourth, &unmerged)),
        "",
        "d fits two that shall stay apart"
    );
    let again = [decision(1, different, "a", "b c"), decision(2, same, "b c", "a")];
    assert_eq!(
        profiles(&resolved(&members, &again)),
        "a b c",
        "the later one stands"
    );
    let reversed = [decision(3, different, "a", "b c"), decision(2, same, "b c", "a")];
    assert_eq!(profiles(&resolved(&members, &reversed)), "b c");
    let merged = records([
        ("a", guest("S")),
        ("b", json!({"last_name": "S", "merged_into": "a"})),
    ]);
    assert_eq!(
        profiles(&resolved(&merged, &unmerged)),
        "",
        "also against the source"
    );
}

#[test]
fn an_identifier_is_shared_under_more_than_ten_names_not_records() {
    let guest = |at: usize, name: &str| {
        let payload = json!({"last_name": name, "email": "together@example.com", "phone": "+351912345678",
            "loyalty": [{"programme": "corporate", "number": "17"}]});
        (key(&format!("h{at}/g")), read("g", payload))
    };
    let best: BTreeMap<_, _> = (0..25).map(|at| guest(at, "Silva")).collect();
    assert!(shared_keys(&best).is_empty());
    let owners: BTreeSet<GuestKey> = resolved(&best, &[]).into_values().map(|to| to.owner).collect();
    assert_eq!(owners.len(), 1);
    for (names, shared) in [(10, false), (11, true)] {
        let mut office: BTreeMap<_, _> = (0..names)
            .map(|at| {
                guest(
                    at,
                    [
                        "Silva", "Costa", "Sousa", "Pinto", "Rocha", "Neves", "Cruz", "Pires", "Ramos",
                        "Reis", "Matos",
                    ][at],
                )
            })
            .collect();
        let (key, again) = guest(99, "Silva");
        office.insert(key, again);
        assert_eq!(shared_keys(&office).len(), if shared { 3 } else { 0 });
        let owners: BTreeSet<GuestKey> = resolved(&office, &[]).into_values().map(|to| to.owner).collect();
        assert_eq!(owners.len(), if shared { 12 } else { 1 }, "{names} names");
    }
}

#[test]
fn what_a_source_merged_is_never_shared() {
    const NAMES: [&str; 12] = [
        "Silva", "Costa", "Sousa", "Pinto", "Rocha", "Neves", "Cruz", "Pires", "Ramos", "Reis", "Matos",
        "Lopes",
    ];
    let merged = NAMES.map(|name| (name, json!({"last_name": name, "merged_into": "Silva"})));
    let owners: BTreeSet<GuestKey> = resolved(&records(merged), &[])
        .into_values()
        .map(|to| to.owner)
        .collect();
    assert_eq!(owners.len(), 1);
}

#[test]
fn a_profile_answers_under_its_oldest_record() {
    let guest = |created: Option<&str>| json!({"last_name": "Silva", "email": "s@example.com", "created_at": created});
    let owner =
        |records: &BTreeMap<GuestKey, Features>| resolved(records, &[]).into_values().next().unwrap().owner;
    let (early, late) = (Some("2024-01-01T00:00:00Z"), Some("2025-01-01T00:00:00Z"));
    let dated = records([("b/1", guest(None)), ("a/1", guest(late)), ("c/1", guest(early))]);
    assert_eq!(owner(&dated), key("c/1"));
    let undated = records([("b/1", guest(None)), ("a/2", guest(None)), ("a/1", guest(None))]);
    assert_eq!(owner(&undated), key("a/1"));
    let equal = records([("b/1", guest(early)), ("a/2", guest(early)), ("a/0", guest(None))]);
    assert_eq!(owner(&equal), key("a/2"));
}

#[test]
fn the_links_of_a_profile_lead_to_its_own_record() {
    let card = |number: &str| json!([{"programme": "gold", "number": number}]);
    let guest =
        |number: &str, email: &str| json!({"last_name": "Silva", "loyalty": card(number), "email": email});
    let chained = records([
        ("a", guest("1", "")),
        ("b", guest("1", "s@example.com")),
        ("c", guest("2", "s@example.com")),
        ("d", guest("2", "")),
    ]);
    let resolved = resolved(&chained, &[]);
    let with = |name: &str| {
        let link = resolved[&key(name)].link.clone();
        (link.rule, link.evidence.unwrap().with)
    };
    assert_eq!(with("b"), (LinkRule::LoyaltyNumber, key("a")));
    assert_eq!(with("c"), (LinkRule::EmailAndSurname, key("b")));
    assert_eq!(with("d"), (LinkRule::LoyaltyNumber, key("c")));
}

#[test]
fn what_ranks_0_and_1_overruled_speaks_against_no_other_record() {
    let guest = |first: &str, birth: &str, card: &str| {
        json!({"first_name": first, "last_name": "Silva", "email": "s@example.com",
        "date_of_birth": birth, "loyalty": [{"programme": "gold", "number": card}]})
    };
    let wrong_date = records([
        ("a", guest("Ana", "1980-05-17", "1")),
        ("b", guest("Ana", "1955-08-02", "1")),
        ("c", guest("Ana", "1980-05-17", "")),
    ]);
    assert_eq!(profiles(&resolved(&wrong_date, &[])), "a b c");
    let shared_card = records([
        ("a", guest("Ana", "", "1")),
        ("b", guest("Rui", "", "1")),
        ("c", guest("Ana", "", "")),
        ("d", guest("Rui", "", "")),
    ]);
    assert_eq!(
        profiles(&resolved(&shared_card, &[])),
        "a b",
        "c and d fit, and conflict"
    );
    let nickname = records([
        ("a", guest("William", "", "")),
        ("b", guest("Bill", "", "")),
        ("c", guest("William", "", "")),
        ("d", guest("Bill", "", "")),
        ("e", guest("Rui", "", "")),
    ]);
    assert_eq!(profiles(&resolved(&nickname, &[])), "a c, b d");
    let one_person = [decision(1, Verdict::Same, "a", "b")];
    assert_eq!(profiles(&resolved(&nickname, &one_person)), "a b c d");
    let but = [one_person[0].clone(), decision(2, Verdict::Different, "c", "d")];
    assert_eq!(profiles(&resolved(&nickname, &but)), "a b");
    let certain = records([
        (
            "a",
            json!({"last_name": "Silva", "email": "s@example.com", "created_at": "2024-01-01T00:00:00Z"}),
        ),
        (
            "b",
            json!({"first_name": "Ana", "last_name": "Silva", "email": "s@example.com"}),
        ),
        (
            "c",
            json!({"first_name": "Ana", "last_name": "Silva", "email": "s@example.com"}),
        ),
    ]);
    let link = resolve(&certain, &BTreeSet::new(), &[]).resolved[&key("c")]
        .link
        .clone();
    assert_eq!(
        link.evidence.unwrap().with,
        key("b"),
        "of one name, which is surer"
    );
}

#[test]
fn a_group_of_more_than_two_thousand_records_is_left_and_named() {
    let mut all: BTreeMap<_, _> = (0..GROUP_MAX)
        .map(|at| {
            let guest = json!({"last_name": "Silva", "email": "s@example.com"});
            (key(&format!("g{at:04}")), read("g", guest))
        })
        .collect();
    let alone = json!({"last_name": "Costa", "email": "c@example.com"});
    all.insert(key("alone"), read("alone", alone));
    let whole = resolve(&all, &BTreeSet::new(), &[]);
    assert!(whole.left.is_empty());
    assert_eq!(whole.resolved.len(), GROUP_MAX + 1);
    assert_eq!(whole.resolved[&key("g1999")].owner, key("g0000"));
    let one_more = json!({"last_name": "Silva", "email": "s@example.com"});
    all.insert(key("g2000"), read("g", one_more));
    let left = resolve(&all, &BTreeSet::new(), &[]);
    assert_eq!(left.resolved.keys().collect::<Vec<_>>(), [&key("alone")]);
    let sizes: Vec<usize> = left.left.iter().map(Vec::len).collect();
    assert_eq!(sizes, [GROUP_MAX + 1]);
    assert_eq!(left.left[0][2_000], key("g2000"));
}

#[test]
fn two_records_and_two_names_are_compared_once_however_many_keys_they_share() {
    let guest = |at: usize| {
        let first = ["Ana", "Anna", "Rui"][at % 3];
        let guest = json!({"first_name": first, "last_name": "Silva", "email": "s@example.com",
            "phone": "+351912345678", "date_of_birth": "1980-05-17", "address": {"postal_code": "1000"},
            "loyalty": [{"programme": "gold", "number": "17"}, {"programme": "silver", "number": "18"}]});
        (key(&format!("g{at}")), read("g", guest))
    };
    let all: BTreeMap<_, _> = (0..60).map(guest).collect();
    let mut group = Group::new(all.iter());
    let evidence = Evidence {
        holders: holders(&all, &BTreeSet::new()),
        decisions: Vec::new(),
    };
    let set: Vec<usize> = (0..all.len()).collect();
    let evidence = evidence.within(&set);
    let pairs = 60 * 59 / 2;
    assert_eq!(evidence.edges(&mut group, &Relation::new(60)).len(), pairs);
    assert_eq!(evidence.resolve(&mut group).len(), 60);
    assert_eq!((group.counted.records, group.counted.names), (pairs, 3 * 4 / 2));
}
