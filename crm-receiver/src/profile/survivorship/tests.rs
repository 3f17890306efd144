use super::*;
use crate::event::permutations::sent;
use crate::profile::record::Record;
use serde_json::json;

fn guest(id: &str, at: i64, payload: Value) -> Record {
    sent("guest.updated", id, 1, at, payload).record
}

/// Asks with the records in both orders: no rule may look at the order.
fn with<T: PartialEq + std::fmt::Debug>(records: &[Record], ask: impl Fn(&[GuestFacts<'_>]) -> T) -> T {
    let facts: Vec<GuestFacts<'_>> = records.iter().map(GuestFacts::of).collect();
    let reversed: Vec<GuestFacts<'_>> = records.iter().rev().map(GuestFacts::of).collect();
    let answer = ask(&facts);
    assert_eq!(answer, ask(&reversed));
    answer
}

#[test]
fn the_most_frequent_name_wins_then_the_latest() {
    let named = |id: &str, at, last: &str| guest(id, at, json!({"first_name": "Ana", "last_name": last}));
    let records = [
        named("a", 1, "Silva"),
        named("b", 2, "Silva"),
        named("c", 9, "Sousa"),
    ];
    assert_eq!(with(&records, name).unwrap().last_name.as_deref(), Some("Silva"));
    assert_eq!(
        with(&records[1..], name).unwrap().last_name.as_deref(),
        Some("Sousa")
    );
}

#[test]
fn an_email_that_may_be_used_wins_then_a_persons_own_then_the_latest() {
    let mail = |id: &str, at, email: &str, kind: &str, consent: &str| {
        let consent = json!([{"channel": "email", "status": consent, "at": 1_763_769_600_000_i64}]);
        guest(
            id,
            at,
            json!({"email": email, "email_kind": kind, "consent": consent}),
        )
    };
    let relay = mail("r", 9, "x@guest.booking.com", "ota_relay", "granted");
    let role = mail("o", 8, "info@x.example", "role", "denied");
    let old = mail("a", 1, "old@x.example", "real", "denied");
    let new = mail("b", 2, "new@x.example", "real", "denied");
    let allowed = mail("c", 1, "yes@x.example", "role", "granted");
    let best = |records: &[Record]| with(records, email).unwrap().0;
    assert_eq!(
        best(std::slice::from_ref(&relay)),
        "x@guest.booking.com",
        "when nothing else is there"
    );
    assert_eq!(best(&[relay.clone(), role.clone()]), "info@x.example");
    assert_eq!(best(&[relay.clone(), role.clone(), old.clone()]), "old@x.example");
    assert_eq!(best(&[relay.clone(), old.clone(), new.clone()]), "new@x.example");
    assert_eq!(best(&[relay, role, old, new, allowed]), "yes@x.example");
}

#[test]
fn the_latest_that_is_not_blank_wins_and_equal_times_are_decided_by_id() {
    let records = [
        guest(
            "a",
            5,
            json!({"phone": "+351210000001", "title": "Dr", "address": {"city": "Porto"}}),
        ),
        guest(
            "b",
            5,
            json!({"phone": "+351210000002", "title": "  ", "address": {"city": ""}}),
        ),
    ];
    assert_eq!(with(&records, phone).as_deref(), Some("+351210000002"));
    assert_eq!(
        with(&records, |facts| latest_text(facts, "title")).as_deref(),
        Some("Dr")
    );
    assert_eq!(with(&records, address).unwrap()["city"], "Porto");
}

#[test]
fn what_a_document_states_wins_over_what_came_later() {
    let records = [
        guest(
            "a",
            1,
            json!({"date_of_birth": "1980-01-02", "nationality": "PT", "documents": [{"type": "passport"}]}),
        ),
        guest(
            "b",
            9,
            json!({"date_of_birth": "1981-01-02", "nationality": "ES"}),
        ),
    ];
    assert_eq!(with(&records, date_of_birth).unwrap().to_string(), "1980-01-02");
    assert_eq!(with(&records, nationality).as_deref(), Some("PT"));
}

#[test]
fn case03_a_placeholder_of_another_sender_is_no_date_of_birth() {
    let born = |date: &str| guest("a", 1, json!({"date_of_birth": date}));
    for placeholder in ["1970-01-01", "1900-01-01", "0001-01-01"] {
        assert_eq!(with(&[born(placeholder)], date_of_birth), None, "{placeholder}");
    }
    let known = with(&[born("1970-01-02")], date_of_birth);
    assert_eq!(known.map(|date| date.to_string()).as_deref(), Some("1970-01-02"));
}

#[test]
fn the_highest_vip_level_any_blacklist_and_every_membership() {
    let records = [
        guest(
            "a",
            1,
            json!({"vip_level": "VIP2", "loyalty": [{"programme": "X", "number": "1"}]}),
        ),
        guest(
            "b",
            2,
            json!({"vip_level": 10, "blacklisted": true, "loyalty": [{"number": "1", "programme": "X"}]}),
        ),
        guest(
            "c",
            3,
            json!({"vip_level": 9, "loyalty": [{"programme": "Y", "number": "1"}]}),
        ),
    ];
    assert_eq!(with(&records, vip_level), Some(json!(10)));
    assert!(with(&records, blacklisted));
    assert!(!with(&records[..1], blacklisted));
    assert_eq!(with(&records, |facts| union(facts, "loyalty")).len(), 2);
}

#[test]
fn a_record_merged_at_its_source_lends_a_value_only_where_no_other_has_one() {
    let old = guest(
        "old",
        9,
        json!({"merged_into": "new", "first_name": "Ana", "last_name": "Costa", "title": "Dr", "language": "pt", "phone": "+351912345678",
            "email": "old@x.example", "date_of_birth": "1955-08-02", "documents": [{"type": "passport"}], "vip_level": 5,
            "nationality": "BR", "blacklisted": true, "loyalty": [{"programme": "p", "number": "1"}],
            "consent": [{"channel": "email", "status": "granted", "at": 1_763_769_600_002_i64},
                        {"channel": "sms", "status": "granted", "at": 1_763_769_600_002_i64},
                        {"channel": "phone", "status": "denied", "at": 1_763_769_600_002_i64}]}),
    );
    let new = guest(
        "new",
        1,
        json!({"first_name": "Ana", "last_name": "Silva", "language": "en", "email": "new@x.example", "date_of_birth": "1980-05-17", "vip_level": 2,
            "loyalty": [{"programme": "p", "number": "2"}],
            "consent": [{"channel": "email", "status": "denied", "at": 1_763_769_600_001_i64},
                        {"channel": "phone", "status": "granted", "at": 1_763_769_600_001_i64}]}),
    );
    let both = [old.clone(), new];
    assert_eq!(with(&both, name).unwrap().last_name.as_deref(), Some("Silva"));
    assert_eq!(with(&both, email).unwrap().0, "new@x.example");
    assert_eq!(with(&both, date_of_birth).unwrap().to_string(), "1980-05-17");
    assert_eq!(with(&both, vip_level), Some(json!(2)));
    assert_eq!(
        with(&both, |facts| latest_text(facts, "language")).as_deref(),
        Some("en")
    );
    assert_eq!(
        with(&both, phone).as_deref(),
        Some("+351912345678"),
        "no other has one"
    );
    assert_eq!(with(&both, nationality).as_deref(), Some("BR"));
    assert_eq!(
        with(&both, |facts| latest_text(facts, "title")).as_deref(),
        Some("Dr")
    );
    assert!(with(&both, blacklisted), "no merge lifts it");
    assert_eq!(with(&both, |facts| union(facts, "loyalty").len()), 2);
    let consents = consent::current(both.iter());
    let allowed = |channel: &str| {
        consents
            .iter()
            .find(|consent| consent.channel == channel)
            .unwrap()
            .status
    };
    use consent::ConsentStatus::{Denied, Granted};
    assert_eq!(
        (allowed("email"), allowed("phone"), allowed("sms")),
        (Denied, Denied, Granted)
    );
    let alone = [old];
    assert_eq!(with(&alone, name).unwrap().last_name.as_deref(), Some("Costa"));
    assert_eq!(with(&alone, email).unwrap().0, "old@x.example");
    let relay = guest(
        "r",
        20,
        json!({"email": "x@guest.booking.com", "email_kind": "ota_relay"}),
    );
    assert_eq!(
        with(&[alone[0].clone(), relay], email).unwrap().0,
        "old@x.example",
        "when nothing else is there"
    );
}
