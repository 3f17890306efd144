use super::*;
use crate::domain::event::{EventPayload, envelope, object_of};
use crate::domain::guest::GuestDetails;
use crate::domain::property::Property;
use contract::EventId;
use serde_json::json;

const NOW: UnixMillis = UnixMillis(1_773_480_413_589); // 2026-03-14T09:26:53.589Z
pub(super) const LATER: UnixMillis = UnixMillis(1_773_480_500_000);

pub(super) fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn property() -> Property {
    let body = json!({"id": "MAIN", "name": "Main", "timezone": "UTC", "currency": "EUR"});
    Property::create(object(&body), NOW).unwrap()
}

fn at<T>(now: UnixMillis, run: impl FnOnce(Situation<'_>) -> T) -> T {
    let (property, digest_key) = (property(), "0123456789abcdef".parse().unwrap());
    run(Situation {
        property: &property,
        now,
        digest_key: &digest_key,
    })
}

pub(super) fn created(body: &Value) -> Result<Applied<Change<Guest>>, Refusal> {
    at(NOW, |situation| {
        create("gst_1".parse().unwrap(), object(body), situation)
    })
}

fn guest(body: &Value) -> Guest {
    created(body).unwrap().outcome.state
}

pub(super) fn merged(guest: &Guest, patch: &Value) -> Result<Applied<ChangeOutcome<Guest>>, Refusal> {
    at(LATER, |situation| merge(guest, object(patch), situation))
}

fn change(guest: &Guest, patch: &Value) -> Change<Guest> {
    match merged(guest, patch).unwrap().outcome {
        ChangeOutcome::Changed(change) => change,
        ChangeOutcome::Unchanged => panic!("unchanged by {patch}"),
    }
}

fn broken<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Vec<(String, String)> {
    let Err(Refusal::Invalid(errors)) = result else {
        panic!("{result:?}")
    };
    errors
        .into_iter()
        .map(|error| (error.pointer, error.code))
        .collect()
}

fn full() -> Value {
    json!({
        "external_ids": [{"system": "old-pms", "value": "A1"}],
        "title": "Dr", "first_name": "Ana", "last_name": "Silva", "second_last_name": "Costa",
        "email": "Ana@Example.com", "phone": "00351 21 123 45 67", "date_of_birth": "1980-02-29",
        "nationality": "PRT", "address": {"line1": "Rua 1", "city": "Lisboa", "country": "Portugal"},
        "language": "pt-pt",
        "documents": [{"type": "passport", "issuing_country": "PT", "number": "AB 123456", "expires_on": "2030-01-31"}],
        "loyalty": [{"programme": "stars", "number": "77", "level": "gold"}],
        "vip_level": 3, "blacklisted": true,
        "consent": [{"channel": "sms", "status": "denied"}, {"channel": "email", "status": "granted", "source": "web"}],
        "preferences": ["high floor"], "notes": "two\nlines",
    })
}

#[test]
fn the_first_request_of_a_newcomer_works_as_it_stands() {
    let body = json!({"email": "john@example.com", "name": "John Doe", "phone": "+1234567890",
        "date_of_birth": "1990-01-01", "country": "USA"});
    let applied = created(&body).unwrap();
    let warned: Vec<_> = applied
        .warnings
        .iter()
        .map(|warning| warning.code.as_str())
        .collect();
    assert_eq!(warned, ["impossible_phone_number"]);
    let made = applied.outcome;
    assert_eq!(made.event_type, EventType::GuestCreated);
    let changed = [
        "first_name",
        "last_name",
        "email",
        "phone",
        "date_of_birth",
        "address",
    ];
    assert_eq!(made.changed, changed);
    let shown = Value::Object(made.state.to_json());
    for (pointer, value) in [
        ("/first_name", "John"),
        ("/last_name", "Doe"),
        ("/address/country", "US"),
        ("/email_kind", "real"),
        ("/property_id", "MAIN"),
        ("/status", "active"),
        ("/date_of_birth", "1990-01-01"),
    ] {
        assert_eq!(shown.pointer(pointer).unwrap(), value, "{pointer}");
    }
    let renamed = change(&made.state, &json!({"name": "John Smith"}));
    assert_eq!(renamed.changed, ["last_name"]);
    assert_eq!(
        (renamed.event_type, renamed.state.version),
        (EventType::GuestUpdated, 2)
    );
    assert_eq!((renamed.state.created_at, renamed.state.updated_at), (NOW, LATER));
}

#[test]
fn every_field_is_normalised_and_shown_and_counts_as_a_change() {
    let change = created(&full()).unwrap().outcome;
    let shown = Value::Object(change.state.to_json());
    for (pointer, value) in [
        ("/email", json!("Ana@example.com")),
        ("/phone", json!("+351211234567")),
        ("/nationality", json!("PT")),
        ("/language", json!("pt-PT")),
        ("/documents/0/number", json!("AB 123456")),
        ("/consent/0/channel", json!("email")),
        ("/consent/0/at", json!(NOW)),
        ("/vip_level", json!(3)),
        ("/address/region", json!(null)),
    ] {
        assert_eq!(shown.pointer(pointer), Some(&value), "{pointer}");
    }
    let fields: Vec<String> = object_of(&change.state.details).keys().cloned().collect();
    assert_eq!(
        change.changed, fields,
        "differences() names every field of the details"
    );
}

#[test]
fn reading_editing_and_writing_back_changes_what_was_edited() {
    let guest = guest(&full());
    let mut answer = Value::Object(guest.to_json());
    assert_eq!(merged(&guest, &answer).unwrap().outcome, ChangeOutcome::Unchanged);
    answer["warnings"] = json!([]);
    answer["vip_level"] = json!(4);
    assert_eq!(change(&guest, &answer).changed, ["vip_level"]);
}

#[test]
fn merging_keeps_clears_and_replaces() {
    let guest = guest(&full());
    let moved = change(
        &guest,
        &json!({"title": null, "address": {"city": "Porto", "line1": null}, "preferences": []}),
    );
    assert_eq!(moved.changed, ["title", "address", "preferences"]);
    let details = &moved.state.details;
    let address = details.address.as_ref().unwrap();
    assert_eq!(
        (address.city.as_deref(), address.line1.as_deref()),
        (Some("Porto"), None)
    );
    assert_eq!(address.country.as_ref().unwrap().as_str(), "PT");
    assert_eq!(details.first_name.as_deref(), Some("Ana"));
    let cleared = change(
        &guest,
        &json!({"address": {"line1": "", "city": " ", "country": null}}),
    );
    assert_eq!(cleared.state.details.address, None);
}

#[test]
fn consent_alone_is_an_event_of_its_own_and_keeps_its_instant() {
    let guest = guest(&full());
    let list = |email: &str| json!([{"channel": "email", "status": email, "source": "web"}, {"channel": "sms", "status": "denied"}]);
    let same = merged(&guest, &json!({"consent": list("granted")})).unwrap();
    assert_eq!(same.outcome, ChangeOutcome::Unchanged);
    let alone = change(&guest, &json!({"consent": list("withdrawn")}));
    assert_eq!(alone.event_type, EventType::GuestConsentChanged);
    let instants: Vec<_> = alone.state.details.consent.iter().map(|item| item.at).collect();
    assert_eq!(instants, [LATER, NOW]);
    let both = change(&guest, &json!({"consent": [], "title": "Ms"}));
    assert_eq!(both.event_type, EventType::GuestUpdated);
}

#[test]
fn placeholders_become_null_with_a_warning() {
    for day in [
        "1900-01-01",
        "1970-01-01",
        "1111-11-11",
        "0000-00-00",
        "9999-12-31",
    ] {
        let applied = created(&json!({"last_name": "Doe", "date_of_birth": day})).unwrap();
        assert_eq!(applied.outcome.state.details.date_of_birth, None);
        let warned: Vec<_> = applied
            .warnings
            .iter()
            .map(|warning| warning.code.as_str())
            .collect();
        assert_eq!(warned, ["placeholder"]);
    }
}

#[test]
fn each_rule_is_named_at_its_pointer() {
    let long = "x".repeat(101);
    for (field, value, pointer, code) in [
        ("last_name", json!(null), "/last_name", "required"),
        ("last_name", json!(" \t "), "/last_name", "required"),
        ("last_name", json!(long), "/last_name", "length"),
        ("last_name", json!("a\u{0}b"), "/last_name", "control_character"),
        ("email", json!("a@b@c.example"), "/email", "not_an_email"),
        ("phone", json!("0211234567"), "/phone", "not_a_phone_number"),
        (
            "date_of_birth",
            json!("2026-03-15"),
            "/date_of_birth",
            "in_future",
        ),
        (
            "date_of_birth",
            json!("1899-12-29"),
            "/date_of_birth",
            "too_early",
        ),
        (
            "date_of_birth",
            json!("14.03.1980"),
            "/date_of_birth",
            "not_a_date",
        ),
        ("nationality", json!("Atlantis"), "/nationality", "not_a_country"),
        ("country", json!("Atlantis"), "/country", "not_a_country"),
        (
            "address",
            json!({"country": "Atlantis"}),
            "/address/country",
            "not_a_country",
        ),
        (
            "address",
            json!({"street": "x"}),
            "/address/street",
            "unknown_field",
        ),
        ("address", json!(["x"]), "/address", "wrong_type"),
        ("language", json!("pt_BR"), "/language", "not_a_language_tag"),
        ("vip_level", json!(10), "/vip_level", "range"),
        ("vip_level", json!(-1), "/vip_level", "invalid"),
        ("blacklisted", json!("yes"), "/blacklisted", "wrong_type"),
        (
            "documents",
            json!([{"type": "Passport", "number": "1"}]),
            "/documents/0/type",
            "invalid",
        ),
        (
            "documents",
            json!([{"type": "passport", "number": " "}]),
            "/documents/0/number",
            "required",
        ),
        (
            "external_ids",
            json!([{"system": "x", "value": "A1 "}]),
            "/external_ids/0/value",
            "space_at_edge",
        ),
        (
            "external_ids",
            json!([{"system": "x", "value": "1"}, {"system": "x", "value": "1"}]),
            "/external_ids/1",
            "duplicate",
        ),
        (
            "external_ids",
            json!([{"system": "x", "value": "1", "since": "2026-03-14"}]),
            "/external_ids/0/since",
            "unknown_field",
        ),
        (
            "consent",
            json!([{"channel": "fax", "status": "granted"}]),
            "/consent/0/channel",
            "unknown_value",
        ),
        (
            "consent",
            json!([{"channel": "sms", "status": "granted", "at": "2026-03-14T09:26:54Z"}]),
            "/consent/0/at",
            "in_future",
        ),
        (
            "consent",
            json!([{"channel": "sms", "status": "granted"}, {"channel": "sms", "status": "denied"}]),
            "/consent/1",
            "duplicate",
        ),
        ("preferences", json!([" "]), "/preferences/0", "required"),
        ("surname", json!("x"), "/surname", "unknown_field"),
        ("name", json!("A B"), "/name", "conflict"),
    ] {
        let mut body = json!({"last_name": "Doe"});
        body[field] = value.clone();
        let expected = [(pointer.to_owned(), code.to_owned())];
        assert_eq!(broken(created(&body)), expected, "{field}: {value}");
    }
}

#[test]
fn errors_of_an_alias_point_at_the_alias() {
    let long = format!("{} {}", "x".repeat(101), "y".repeat(101));
    for name in [json!(long), json!(""), json!(null), json!(7)] {
        let errors = broken(created(&json!({"name": name})));
        assert_eq!(errors.len(), 1, "{name}");
        assert_eq!(errors[0].0, "/name");
    }
    let single = guest(&json!({"name": " Madonna "}));
    assert_eq!(
        (single.details.first_name, single.details.last_name.as_str()),
        (None, "Madonna")
    );
}

#[test]
fn a_guest_never_changes_its_property() {
    let guest = guest(&full());
    let refused = merged(&guest, &json!({"property_id": "LIS01"}));
    assert_eq!(
        broken(refused),
        [("/property_id".to_owned(), "immutable".to_owned())]
    );
    let same = merged(&guest, &json!({"property_id": "MAIN"})).unwrap();
    assert_eq!(same.outcome, ChangeOutcome::Unchanged);
}

#[test]
fn the_property_is_the_default_one_unless_named() {
    let take = |body: &Value| take_property(&mut object(body));
    assert_eq!(take(&json!({})).unwrap().as_str(), "MAIN");
    assert_eq!(take(&json!({"property_id": "LIS01"})).unwrap().as_str(), "LIS01");
    for bad in [json!("lis"), json!(1), json!("X' OR 1=1")] {
        assert!(take(&json!({"property_id": bad})).is_err());
    }
}

#[test]
fn a_deleted_guest_keeps_its_last_state_and_takes_no_more_commands() {
    let guest = guest(&full());
    let change = delete(&guest, LATER).unwrap();
    assert_eq!(change.event_type, EventType::GuestDeleted);
    assert_eq!(change.state.details, guest.details);
    assert_eq!((change.state.version, change.state.deleted_at), (2, Some(LATER)));
    assert_eq!(
        merged(&change.state, &json!({"title": "x"})),
        Err(Refusal::NotFound)
    );
    assert_eq!(delete(&change.state, LATER), Err(Refusal::NotFound));
}

#[test]
fn an_event_carries_the_state_without_free_text_and_document_numbers() {
    let change = created(&full()).unwrap().outcome;
    let id: EventId = "evt_1".parse().unwrap();
    let event = envelope(&id, &change, NOW, Some("req_1".to_owned()));
    assert_eq!(event.entity, Some(change.state.entity_ref()));
    assert_eq!(
        (event.event_type.as_str(), event.timestamp),
        ("guest.created", NOW)
    );
    let text = serde_json::to_string(&event.payload).unwrap();
    for absent in [
        "AB 123456",
        "AB123456",
        "high floor",
        "two\\nlines",
        "\"notes\"",
        "\"preferences\"",
    ] {
        assert!(!text.contains(absent), "{absent}");
    }
    assert_eq!(event.payload["documents"][0]["last4"], "3456");
    assert_eq!(event.payload["last_name"], "Silva");
    assert_eq!(event.payload["version"], 1);
}

#[test]
fn what_a_later_version_stored_is_read_without_its_new_members() {
    let stored = json!({
        "last_name": "Silva", "new": 1, "external_ids": [{"system": "old-pms", "value": "A1", "new": 1}],
        "address": {"city": "Lisboa", "new": 1}, "documents": [], "loyalty": [{"programme": "p", "number": "1", "new": 1}],
        "consent": [{"channel": "sms", "status": "granted", "at": 1770000000000_i64, "source": null, "new": 1}],
    });
    let read: GuestDetails = serde_json::from_value(stored).unwrap();
    assert_eq!(read.external_ids[0].value, "A1");
}

#[test]
fn case02_what_was_stored_under_earlier_rules_refuses_no_patch_of_something_else() {
    let unseen = json!({
        "external_ids": [{"system": "old-pms", "value": "A\u{200b}1"}],
        "last_name": "\u{200b}", "email": "ana\u{200b}@example.com",
    });
    let stored = Guest {
        details: serde_json::from_value(unseen).unwrap(),
        ..guest(&json!({"last_name": "Silva"}))
    };
    let after = change(&stored, &json!({"notes": "asks for a quiet room"}));
    assert_eq!(after.changed, ["notes"]);
    for member in ["external_ids", "last_name", "email"] {
        let sent_back = json!({member: object_of(&stored.details)[member]});
        assert!(merged(&stored, &sent_back).is_err(), "{member}");
    }
}
