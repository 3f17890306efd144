use super::*;
use contract::UnixMillis;
use serde_json::json;

fn envelope(event_type: EventType, payload: Value) -> Envelope {
    let Value::Object(payload) = payload else {
        panic!("a payload is an object")
    };
    Envelope {
        test: false,
        event_type: event_type.as_str().to_owned(),
        idempotency_key: "evt_1".parse().unwrap(),
        timestamp: UnixMillis(0),
        schema_version: 1,
        property_id: Some("LIS01".parse().unwrap()),
        entity: event_type.entity_kind().map(|kind| EntityRef {
            kind,
            id: "x_1".parse().unwrap(),
            version: 3,
        }),
        correlation_id: None,
        changed: Vec::new(),
        payload,
    }
}

fn broken(event_type: EventType, payload: Value) -> Vec<(String, String)> {
    check(event_type, &envelope(event_type, payload))
        .into_iter()
        .map(|error| (error.pointer, error.code))
        .collect()
}

fn stay() -> Value {
    json!({"status": "confirmed", "check_in": "2026-01-01", "check_out": "2026-01-02",
           "primary_guest_id": "gst_1"})
}

fn with(mut payload: Value, field: &str, value: Value) -> Value {
    payload[field] = value;
    payload
}

#[test]
fn asks_only_for_what_it_cannot_do_without() {
    assert_eq!(broken(EventType::GuestCreated, json!({"last_name": "Silva"})), []);
    assert_eq!(broken(EventType::ReservationCreated, stay()), []);
    assert_eq!(broken(EventType::Ping, json!({})), []);
    let rich = with(with(stay(), "unknown", json!({"a": 1})), "id", "x_1".into());
    assert_eq!(broken(EventType::ReservationCreated, rich), []);
}

#[test]
fn a_guest_has_a_last_name_unless_it_is_gone() {
    let required = [("/payload/last_name".to_owned(), "required".to_owned())];
    for payload in [
        json!({}),
        json!({"last_name": null}),
        json!({"last_name": "  "}),
        json!({"last_name": "\u{200b} \u{feff}"}),
    ] {
        assert_eq!(broken(EventType::GuestUpdated, payload), required);
    }
    for gone in [EventType::GuestDeleted, EventType::GuestErased] {
        assert_eq!(broken(gone, json!({})), []);
    }
    assert_eq!(broken(EventType::GuestUpdated, json!({"status": "erased"})), []);
    assert_eq!(
        broken(EventType::GuestUpdated, json!({"last_name": 7}))[0].1,
        "invalid"
    );
}

#[test]
fn case04_an_instant_in_seconds_is_refused_wherever_it_stands() {
    let guest = |field: &str, value: Value| with(json!({"last_name": "Silva"}), field, value);
    let (seconds, millis) = (json!(1_764_187_200), json!(1_764_187_200_000_i64));
    let consent =
        |at: &Value| json!([{"channel": "sms"}, {"channel": "email", "status": "granted", "at": at}]);
    for field in INSTANTS {
        let expected = [(format!("/payload/{field}"), "not_milliseconds".to_owned())];
        assert_eq!(
            broken(EventType::GuestUpdated, guest(field, seconds.clone())),
            expected
        );
        let booked = with(stay(), field, seconds.clone());
        assert_eq!(broken(EventType::ReservationUpdated, booked), expected);
        assert_eq!(broken(EventType::GuestUpdated, guest(field, millis.clone())), []);
        assert_eq!(
            broken(
                EventType::GuestUpdated,
                guest(field, "2026-01-01T00:00:00Z".into())
            ),
            []
        );
    }
    let found = broken(EventType::GuestUpdated, guest("consent", consent(&seconds)));
    assert_eq!(
        found,
        [("/payload/consent/1/at".to_owned(), "not_milliseconds".to_owned())]
    );
    assert_eq!(
        broken(EventType::GuestUpdated, guest("consent", consent(&millis))),
        []
    );
    let cancelled = with(stay(), "cancellation", json!({"at": seconds}));
    let found = broken(EventType::ReservationCancelled, cancelled);
    assert_eq!(
        found,
        [(
            "/payload/cancellation/at".to_owned(),
            "not_milliseconds".to_owned()
        )]
    );
}

#[test]
fn a_reservation_says_who_and_when_and_its_status() {
    let missing: Vec<_> = broken(EventType::ReservationDeleted, json!({}))
        .into_iter()
        .map(|(pointer, _)| pointer)
        .collect();
    let fields = ["status", "check_in", "check_out", "primary_guest_id"];
    assert_eq!(missing, fields.map(|field| format!("/payload/{field}")));
    for (field, value, code) in [
        ("status", json!("booked"), "unknown"),
        ("status", json!(1), "unknown"),
        ("check_in", json!("2026-02-30"), "not_a_date"),
        ("check_in", json!("2026-01-01T00:00:00Z"), "not_a_date"),
        ("check_out", json!(20260102), "not_a_date"),
        ("check_out", json!("2025-12-31"), "before_check_in"),
        ("primary_guest_id", json!("a.b"), "invalid"),
        ("primary_guest_id", json!({}), "invalid"),
    ] {
        let broken = broken(EventType::ReservationUpdated, with(stay(), field, value));
        assert_eq!(broken, [(format!("/payload/{field}"), code.to_owned())]);
    }
}

#[test]
fn a_reservation_names_only_so_many_guests() {
    let party = |guests: usize| {
        let ids: Vec<String> = (0..guests).map(|n| format!("g{n}")).collect();
        broken(
            EventType::ReservationCreated,
            with(stay(), "accompanying_guest_ids", json!(ids)),
        )
    };
    assert_eq!(party(ACCOMPANYING_GUESTS_MAX), []);
    let refused = (
        "/payload/accompanying_guest_ids".to_owned(),
        "too_many".to_owned(),
    );
    assert_eq!(party(ACCOMPANYING_GUESTS_MAX + 1), [refused]);
}

#[test]
fn day_use_leaves_on_the_day_it_comes() {
    assert_eq!(
        broken(
            EventType::ReservationCreated,
            with(stay(), "check_out", "2026-01-01".into())
        ),
        []
    );
}

#[test]
fn identity_in_the_payload_is_the_envelopes() {
    for (field, wrong) in [
        ("id", json!("x_2")),
        ("version", json!(4)),
        ("version", json!("3")),
        ("property_id", json!("OPO01")),
    ] {
        let broken = broken(EventType::ReservationCreated, with(stay(), field, wrong));
        assert_eq!(broken, [(format!("/payload/{field}"), "differs".to_owned())]);
    }
    for (field, right) in [
        ("id", json!("x_1")),
        ("version", json!(3)),
        ("property_id", json!("LIS01")),
    ] {
        assert_eq!(
            broken(EventType::ReservationCreated, with(stay(), field, right)),
            []
        );
    }
}
