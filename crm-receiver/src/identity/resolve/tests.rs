use super::*;
use crate::{
    identity::{
        shared_keys,
        testing::{decision, key, profiles, records, resolved},
    },
    profile::link::Conflict,
};
use serde_json::{Value, json};

/// The profiles of two records, `a` of one hotel and `b` of another, and the rule of the second.
fn two(a: Value, b: Value) -> Option<LinkRule> {
    let records = records([("lisbon/a", a), ("porto/b", b)]);
    let resolved = resolved(&records, &[]);
    assert_eq!(resolved[&key("lisbon/a")].link, Link::OWN);
    let link = &resolved[&key("porto/b")].link;
    let linked = link.rule != LinkRule::OwnRecord;
    assert_eq!(linked, resolved[&key("porto/b")].owner == key("lisbon/a"));
    linked.then_some(link.rule)
}

#[test]
fn rank1_links_what_a_source_merged_a_membership_and_a_document_whatever_the_names() {
    let merged = records([
        ("pms/a", json!({"last_name": "Silva"})),
        ("pms/b", json!({"last_name": "Costa", "merged_into": "a"})),
        ("pms/c", json!({"last_name": "Sousa", "merged_into": "b"})),
        ("other/d", json!({"last_name": "Sousa", "merged_into": "a"})),
    ]);
    let resolved = resolved(&merged, &[]);
    assert_eq!(profiles(&resolved), "a b c", "of its own source alone");
    assert_eq!(resolved[&key("pms/c")].link.rule, LinkRule::MergedAtSource);
    let member = |name: &str, programme: &str, number: &str| json!({"last_name": name, "loyalty": [{"programme": programme, "number": number}]});
    for (programme, number, rule) in [
        ("gold club", "gw-000 17", Some(LinkRule::LoyaltyNumber)),
        ("Gold Club", "GW00018", None),
        ("Silver Club", "GW00017", None),
    ] {
        assert_eq!(
            two(
                member("Silva", "Gold Club", "GW00017"),
                member("Costa", programme, number)
            ),
            rule,
            "{programme} {number}"
        );
    }
    let none = member("Silva", "Gold Club", "000");
    assert_eq!(two(none.clone(), none), None, "zeros are no number");
    let holder = |name: &str, digest: &str| json!({"last_name": name, "documents": [{"type": "passport", "issuing_country": "PT", "digest": digest}]});
    assert_eq!(
        two(holder("Silva", "d1"), holder("Costa", "d1")),
        Some(LinkRule::Document)
    );
    assert_eq!(two(holder("Silva", "d1"), holder("Silva", "d2")), None);
}

#[test]
fn rank2_links_a_persons_mailbox_under_one_surname_or_one_birth_date_and_given_name() {
    let guest = |first: Option<&str>, last: &str, email: &str, birth: Option<&str>| json!({"first_name": first, "last_name": last, "email": email, "date_of_birth": birth});
    let mail = "ana@example.com";
    let ana = guest(Some("Ana"), "Silva", mail, Some("1980-05-17"));
    let born = Some("1980-05-17");
    for (other, rule) in [
        (
            guest(Some("Ana"), "Silva", "ANA@Example.com", None),
            Some(LinkRule::EmailAndSurname),
        ),
        (guest(None, "Silva", mail, None), Some(LinkRule::EmailAndSurname)),
        (
            guest(Some("A."), "Silvva", mail, None),
            Some(LinkRule::EmailAndSurname),
        ),
        (
            guest(Some("Silva"), "Ana", mail, None),
            Some(LinkRule::EmailAndSurname),
        ),
        (
            guest(Some("Ana"), "Costa", mail, born),
            Some(LinkRule::EmailBirthDateAndGivenName),
        ),
        (guest(Some("Ana"), "Costa", mail, None), None),
        (guest(None, "Costa", mail, born), None),
        (guest(Some("Ana"), "Costa", mail, Some("1980-05-18")), None),
        (guest(Some("Rui"), "Silva", mail, None), None),
        (guest(Some("Ana"), "Silva", "ana@example.org", None), None),
    ] {
        assert_eq!(two(ana.clone(), other.clone()), rule, "{other}");
    }
}

#[test]
fn rank3_links_a_telephone_number_under_both_names_or_surname_and_birth_date() {
    let guest = |first: Option<&str>, last: &str, phone: &str, birth: Option<&str>| json!({"first_name": first, "last_name": last, "phone": phone, "date_of_birth": birth});
    let born = Some("1980-05-17");
    let ana = guest(Some("Ana"), "Silva", "+351 912 345 678", born);
    let phone = "00351912345678";
    for (other, rule) in [
        (
            guest(Some("Ana"), "Silva", phone, None),
            Some(LinkRule::PhoneAndNames),
        ),
        (
            guest(Some("A"), "Silva", phone, None),
            Some(LinkRule::PhoneAndNames),
        ),
        (
            guest(None, "Silva", phone, born),
            Some(LinkRule::PhoneSurnameAndBirthDate),
        ),
        (guest(None, "Silva", phone, None), None),
        (guest(Some("Ana"), "Costa", phone, born), None),
        (guest(Some("Rui"), "Silva", phone, None), None),
    ] {
        assert_eq!(two(ana.clone(), other.clone()), rule, "{other}");
    }
}

#[test]
fn rank4_links_all_names_in_any_order_with_birth_date_and_postal_code() {
    let guest = |first: Option<&str>, last: &str, birth: &str, code: &str| json!({"first_name": first, "last_name": last, "date_of_birth": birth, "address": {"postal_code": code}});
    let ana = guest(Some("Ana Maria"), "Silva", "1980-05-17", "1000-205");
    for (other, linked) in [
        (guest(Some("Ana"), "Maria Silva", "1980-05-17", "1000 205"), true),
        (guest(Some("Silva"), "Ana Maria", "1980-05-17", "1000205"), true),
        (guest(Some("Ana"), "Silva", "1980-05-17", "1000205"), false),
        (guest(Some("Ana Maria"), "Silva", "1980-05-18", "1000205"), false),
        (guest(Some("Ana Maria"), "Silva", "1980-05-17", "1000206"), false),
    ] {
        let rule = linked.then_some(LinkRule::NamesBirthDateAndPostalCode);
        assert_eq!(two(ana.clone(), other.clone()), rule, "{other}");
    }
    let one = guest(None, "Silva", "1980-05-17", "1000205");
    assert_eq!(two(one.clone(), one), None, "one name alone is everybody's");
}

#[test]
fn ranks_2_to_4_never_put_two_in_conflict_into_one_profile() {
    let guest = |first: &str, birth: &str, documents: Value| json!({"first_name": first, "last_name": "Silva", "email": "s@example.com", "phone": "+351912345678", "date_of_birth": birth, "documents": documents});
    let passport = |digest: &str, country: &str| json!([{"type": "passport", "issuing_country": country, "digest": digest}]);
    let ana = guest("Ana", "1980-05-17", passport("d1", "PT"));
    for (what, other, linked) in [
        ("nothing", guest("Ana", "1980-05-17", json!([])), true),
        ("given names", guest("Rui", "1980-05-17", json!([])), false),
        ("birth dates", guest("Ana", "1955-08-02", json!([])), false),
        ("a slip is none", guest("Ana", "1980-05-11", json!([])), true),
        (
            "documents",
            guest("Ana", "1980-05-17", passport("d2", "PT")),
            false,
        ),
        (
            "of two countries",
            guest("Ana", "1980-05-17", passport("d2", "BR")),
            true,
        ),
    ] {
        assert_eq!(two(ana.clone(), other).is_some(), linked, "{what}");
    }
    let keyed = |digest: &str, last4: &str| {
        guest(
            "Ana",
            "1980-05-17",
            json!([{"type": "passport", "issuing_country": "PT", "digest": digest, "last4": last4}]),
        )
    };
    let (ours, theirs) = (keyed("d1", "3456"), keyed("x9", "3456"));
    assert!(
        two(ours.clone(), theirs.clone()).is_some(),
        "under keys of two sources"
    );
    let one_source = records([("pms/a", ours), ("pms/b", theirs)]);
    assert_eq!(profiles(&resolved(&one_source, &[])), "");
}

#[test]
fn in_ranks_0_and_1_a_conflict_is_a_flag() {
    let card = json!([{"programme": "gold", "number": "17"}]);
    let couple = records([
        (
            "a",
            json!({"first_name": "Ana", "last_name": "Silva", "loyalty": card, "date_of_birth": "1980-05-17"}),
        ),
        (
            "b",
            json!({"first_name": "Rui", "last_name": "Silva", "loyalty": card, "date_of_birth": "1955-08-02"}),
        ),
    ]);
    let linked = &resolved(&couple, &[])[&key("b")].link;
    let flagged = linked.evidence.as_ref().unwrap();
    let conflicts = BTreeSet::from([Conflict::GivenName, Conflict::BirthDate]);
    assert_eq!((flagged.with.clone(), &flagged.conflicts), (key("a"), &conflicts));
}

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
    assert_eq!(profiles(&resolved(&mother_and_daughter, &[])), "");
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
        (
            key(&format!("h{at}/g")),
            crate::identity::testing::read("g", payload),
        )
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
}
