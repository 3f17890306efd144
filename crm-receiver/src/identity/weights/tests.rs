use super::*;
use crate::identity::testing::read;
use serde_json::{Value, json};

/// What the only field says that two payloads have beside their names, or their names.
fn compared(field: Field, left: Value, right: Value) -> Option<Comparison> {
    let weighed = weigh(&read("a", left), &read("b", right));
    weighed
        .iter()
        .find(|weight| weight.field == field)
        .map(|weight| weight.comparison)
}

#[test]
fn each_field_is_compared_in_its_own_way() {
    use Comparison::{Alike, Different, Equal, Initial, Near, Slip};
    let address = |name: &str, value: &str| json!({"address": {name: value}});
    for (field, name, cases) in [
        (
            Field::Surname,
            "last_name",
            [
                ("Silva", "SILVA", Equal),
                ("Silva", "Silvaa", Alike),
                ("Lewis", "wLis", Near),
                ("Silva", "Costa", Different),
            ],
        ),
        (
            Field::GivenName,
            "first_name",
            [
                ("Ana", "Ana", Equal),
                ("Ana", "A.", Initial),
                ("Gordon", "drGnoo", Near),
                ("Ana", "Rui", Different),
            ],
        ),
        (
            Field::BirthDate,
            "date_of_birth",
            [
                ("1980-05-17", "1980-05-17", Equal),
                ("1980-05-17", "1980-05-11", Slip),
                ("1980-05-17", "1980-09-28", Near),
                ("1980-05-17", "1991-09-28", Different),
            ],
        ),
        (
            Field::Email,
            "email",
            [
                ("ana@example.com", "ANA@example.com", Equal),
                ("ana@example.com", "ana@example.net", Alike),
                ("ana.silva@example.com", "ana.slva@exmaple.com", Alike),
                ("ana.silva1@example.com", "ana.silva2@example.com", Different),
            ],
        ),
        (
            Field::Phone,
            "phone",
            [
                ("+351912345678", "00351912345678", Equal),
                ("+351912345678", "+351912345679", Alike),
                ("+351912345678", "+351912345687", Alike),
                ("+351912345678", "+351961234500", Different),
            ],
        ),
    ] {
        for (left, right, expected) in cases {
            assert_eq!(
                compared(field, json!({name: left}), json!({name: right})),
                Some(expected),
                "{left} {right}"
            );
        }
        assert_eq!(
            compared(field, json!({name: cases[0].0}), json!({})),
            None,
            "{name} is missing on a side"
        );
    }
    for (field, name, left, right, expected) in [
        (Field::PostalCode, "postal_code", "1000-205", "1000 205", Equal),
        (
            Field::PostalCode,
            "postal_code",
            "1000-205",
            "1000-206",
            Different,
        ),
        (Field::City, "city", "São João", "Sao Joao", Equal),
        (Field::City, "city", "Lisboa", "Porto", Different),
        (Field::Country, "country", "PRT", "PT", Equal),
        (Field::Country, "country", "PT", "ES", Different),
    ] {
        assert_eq!(
            compared(field, address(name, left), address(name, right)),
            Some(expected),
            "{left} {right}"
        );
    }
    let card =
        |programme: &str, number: &str| json!({"loyalty": [{"programme": programme, "number": number}]});
    assert_eq!(
        compared(Field::Loyalty, card("g", "1"), card("g", "1")),
        Some(Equal)
    );
    assert_eq!(
        compared(Field::Loyalty, card("g", "1"), card("g", "2")),
        Some(Different)
    );
    assert_eq!(compared(Field::Loyalty, card("g", "1"), card("s", "2")), None);
    let passport = |country: &str, digest: &str| json!({"documents": [{"type": "passport", "issuing_country": country, "digest": digest, "last4": digest}]});
    assert_eq!(
        compared(Field::Document, passport("PT", "d1"), passport("PT", "d1")),
        Some(Equal)
    );
    assert_eq!(
        compared(Field::Document, passport("PT", "d1"), passport("PT", "d2")),
        Some(Different)
    );
    assert_eq!(
        compared(Field::Document, passport("PT", "d1"), passport("BR", "d2")),
        None
    );
}

#[test]
fn the_only_name_of_a_record_may_be_the_others_given_name() {
    let whole = json!({"first_name": "Ana", "last_name": "Silva"});
    let (surname, given) = (Field::Surname, Field::GivenName);
    assert_eq!(
        compared(given, json!({"last_name": "Ana"}), whole.clone()),
        Some(Comparison::Equal)
    );
    assert_eq!(
        compared(surname, json!({"last_name": "Ana"}), whole.clone()),
        None
    );
    assert_eq!(
        compared(surname, json!({"last_name": "Costa"}), whole),
        Some(Comparison::Different)
    );
}

#[test]
fn one_address_counts_once() {
    let home =
        |city: &str, code: &str| json!({"address": {"city": city, "postal_code": code, "country": "PT"}});
    let fields = |left: Value, right: Value| {
        let weighed = weigh(&read("a", left), &read("b", right));
        weighed.iter().map(|weight| weight.field).collect::<Vec<_>>()
    };
    assert_eq!(
        fields(home("Porto", "4000"), home("Porto", "4000")),
        [Field::PostalCode]
    );
    assert_eq!(
        fields(home("Porto", "4000"), home("Porto", "4001")),
        [Field::PostalCode, Field::City]
    );
    let all = [Field::PostalCode, Field::City, Field::Country];
    assert_eq!(fields(home("Porto", "4000"), home("Lisboa", "4001")), all);
}

#[test]
fn every_line_of_the_weights_is_read_and_what_is_equal_speaks_for_one_person() {
    let lines = include_str!("../../../data/identity_weights.tsv").lines();
    assert_eq!(WEIGHTS.len(), lines.filter(|line| !line.starts_with('#')).count());
    for ((_, comparison), weight) in &*WEIGHTS {
        match comparison {
            Comparison::Different => assert!(*weight < 0),
            Comparison::Equal => assert!(*weight > 0),
            _ => {}
        }
    }
}
