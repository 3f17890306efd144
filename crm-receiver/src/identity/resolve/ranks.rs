//! What each rank links, by records of two hotels, and what speaks against it.

use super::*;
use crate::{
    identity::testing::{key, profiles, records, resolved},
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
        (guest(Some("Maria Ana"), "Silva", "1980-05-17", "1000205"), true),
        (
            guest(Some("Ana Maria"), "Silva Jr", "1980-05-17", "1000205"),
            true,
        ),
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
    let passport = |digest: &str, country: &str| json!([{"type": "passport", "issuing_country": country, "digest": digest, "last4": format!("90{digest}")}]);
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
    assert!(
        two(keyed("d1", "3456"), keyed("x9", "")).is_some(),
        "of which one last4 is not known"
    );
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
