use super::*;
use crate::identity::name::PARTS_MAX;
use crate::identity::testing::{key, read};
use serde_json::{Value, json};

fn kinds(features: &Features) -> Vec<(KeyKind, String)> {
    let keys = features.keys(&key("pms/a")).into_iter();
    keys.map(|key| (key.kind, key.term)).collect()
}

#[test]
fn a_record_is_found_under_what_it_is_linked_by() {
    let ana = json!({"first_name": "Ana Maria", "last_name": "Silva", "email": "Ana@Example.com", "phone": "+351 912 345 678",
        "date_of_birth": "1980-05-17", "address": {"postal_code": "1000-205", "city": "São João", "country": "PRT"},
        "loyalty": [{"programme": "Gold Club", "number": "gw-17"}, {"number": "1"}, 5],
        "documents": [{"type": "passport", "issuing_country": "PT", "digest": "d1", "last4": "3456"}, {"type": "id_card"}],
        "merged_into": "b", "created_at": "2024-01-01T00:00:00Z"});
    let features = read("pms/a", ana);
    let expected = [
        (KeyKind::MergedInto, "pms|b"),
        (KeyKind::Loyalty, "GOLDCLUB|GW17"),
        (KeyKind::Document, "d1"),
        (KeyKind::Email, "ana@example.com"),
        (KeyKind::Phone, "351912345678"),
        (KeyKind::Person, "ana maria silva|1980-05-17|1000205"),
    ];
    assert_eq!(
        kinds(&features),
        expected.map(|(kind, term)| (kind, term.to_owned()))
    );
    assert_eq!(features.name_key(), "ana maria silva");
    assert_eq!(
        (features.city.as_deref(), features.country.as_deref()),
        (Some("saojoao"), Some("PT"))
    );
    assert_eq!(
        Features::key_of_merged(&key("pms/b")),
        IdentityKey::new(KeyKind::MergedInto, "pms|b")
    );
}

#[test]
fn what_is_nobodys_identity_is_no_key() {
    for nobodys in [
        json!({"email": "x1@guest.booking.com"}),
        json!({"email": "x1@eu.guest.booking.com"}),
        json!({"email": "info@example.com"}),
        json!({"email": "reservations@example.com"}),
        json!({"email": "ana@example.com", "email_kind": "role"}),
        json!({"email": "ana@example.com", "email_kind": "ota_relay"}),
        json!({"email": "no address"}),
        json!({"email": "@example.com"}),
        json!({"phone": "+1111111111"}),
        json!({"phone": "112"}),
        json!({"phone": "none"}),
        json!({"phone": "+35191234567890"}),
        json!({"email": "ana@example.com, rui@example.com"}),
        json!({"email": "Ana <ana@example.com>"}),
        json!({"email": "ana@example.com;rui@example.com"}),
        json!({"email": "ana silva@example.com"}),
        json!({"email": format!("ana@{}.example", "b".repeat(250))}),
        json!({"email": "no-email@example.com"}),
        json!({"loyalty": [{"programme": "gold", "number": "N/A"}, {"programme": "gold", "number": "Unknown"}]}),
        json!({"loyalty": [{"programme": "gold", "number": "99999"}, {"programme": "none", "number": "1234"}]}),
        json!({"first_name": "N/A", "last_name": "Silva", "date_of_birth": "1980-05-17", "address": {"postal_code": "1000"}}),
        json!({"loyalty": [{"programme": "gold", "number": "000"}, {"programme": "gold", "number": "-"}]}),
        json!({"documents": [{"type": "passport", "digest": " "}]}),
        json!({"last_name": "Silva", "date_of_birth": "1980-05-17", "address": {"postal_code": "1000"}}),
        json!({"first_name": "A", "last_name": "S", "date_of_birth": "1900-01-01", "address": {"postal_code": "1000"}}),
    ] {
        assert_eq!(kinds(&read("a", nobodys.clone())), [], "{nobodys}");
    }
    for somebodys in [
        "x1@notairbnb.com",
        "x1@booking.com",
        "information.desk@example.com",
    ] {
        let features = read("a", json!({"email": somebodys, "email_kind": "real"}));
        assert_eq!(kinds(&features), [(KeyKind::Email, somebodys.to_owned())]);
    }
}

#[test]
fn features_read_back_as_they_were_stored_and_change_with_what_they_say() {
    let ana = json!({"first_name": "Ana", "last_name": "Silva", "email": "ana@example.com", "title": "Ms"});
    let features = read("a", ana.clone());
    let stored = serde_json::to_string(&features).unwrap();
    assert_eq!(serde_json::from_str::<Features>(&stored).unwrap(), features);
    assert_eq!(
        serde_json::from_str::<Features>("{}").unwrap(),
        Features::default()
    );
    let with = |name: &str, value: Value| {
        let mut changed = ana.clone();
        changed[name] = value;
        read("a", changed).digest()
    };
    assert_eq!(
        with("title", json!("Dr")),
        features.digest(),
        "no rule looks at it"
    );
    assert_ne!(with("last_name", json!("Costa")), features.digest());
}

#[test]
fn a_term_fits_its_column_however_long_the_value_is() {
    let local = "a".repeat(60);
    let domain = format!("{}.{}.example", "b".repeat(60), "c".repeat(60));
    let one = kinds(&read("a", json!({"email": format!("{local}@{domain}")})));
    let other = kinds(&read("a", json!({"email": format!("{local}x@{domain}")})));
    assert!(one[0].1.len() <= super::super::key::TERM_CHARS_MAX && one[0].1.starts_with("sha256:"));
    assert_ne!(one, other);
    let many: Vec<Value> = (1..200)
        .map(|number| json!({"programme": "p", "number": number.to_string()}))
        .collect();
    assert_eq!(kinds(&read("a", json!({"loyalty": many}))).len(), IDENTIFIERS_MAX);
}

#[test]
fn a_final_dot_is_no_part_of_an_address() {
    let features = read("a", json!({"email": "Ana@Example.com."}));
    assert_eq!(features.email.as_deref(), Some("ana@example.com"));
}

#[test]
fn each_value_is_bounded() {
    let long = "x1".repeat(1_000);
    let documents: Vec<Value> = (0..50)
        .map(|at| json!({"type": "passport", "issuing_country": "PT", "digest": format!("{long}{at}"), "last4": long}))
        .collect();
    let features = read(
        "a",
        json!({"first_name": "a ".repeat(99), "last_name": "b ".repeat(99), "second_last_name": "c",
            "address": {"city": long, "postal_code": long}, "documents": documents,
            "loyalty": [{"programme": long, "number": long}]}),
    );
    assert_eq!(features.documents.len(), DOCUMENTS_MAX);
    let term_max = super::super::key::TERM_CHARS_MAX;
    for document in &features.documents {
        assert!(document.digest.len() <= term_max && document.last4.is_none());
    }
    assert!(features.loyalty.iter().all(|term| term.len() <= term_max));
    assert_eq!((features.city.unwrap().len(), features.postal_code), (32, None));
    assert_eq!(
        (features.names.given.len(), features.names.surname.len()),
        (PARTS_MAX, PARTS_MAX)
    );
    let kind = read("a", json!({"documents": [{"type": long, "digest": "d"}]}));
    assert!(kind.documents.is_empty());
}
