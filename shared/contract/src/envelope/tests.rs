//! What the receiver asks of an envelope, and that both ends agree on it.

use super::*;
use crate::{
    clock::UnixSeconds,
    scheme::Scheme,
    secret::Secret,
    signature::{WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, sign},
};
use serde_json::json;

const NOW: UnixSeconds = UnixSeconds(1_763_769_600);

pub(super) fn verified(body: Vec<u8>) -> Verified {
    let secret: Secret = "a-secret-for-this-test".parse().unwrap();
    let signature = sign(
        std::slice::from_ref(&secret),
        &"evt_1".parse().unwrap(),
        NOW,
        &body,
    );
    let lines = [
        (WEBHOOK_ID, "evt_1"),
        (WEBHOOK_TIMESTAMP, "1763769600"),
        (WEBHOOK_SIGNATURE, signature.as_str()),
    ];
    let headers = Scheme::standard()
        .read(lines.map(|(name, value)| (name, value.as_bytes())))
        .unwrap();
    headers
        .within(NOW, 0)
        .unwrap()
        .verify(body.into(), &[secret.into()])
        .unwrap()
}

fn parse(body: &Value) -> Result<Envelope, Vec<FieldError>> {
    Envelope::parse(&verified(body.to_string().into_bytes()))
}

pub(super) fn example() -> Value {
    json!({
        "type": "reservation.checked_in",
        "idempotency_key": "evt_1",
        "timestamp": "2026-03-14T09:26:53.589Z",
        "schema_version": 1,
        "property_id": "LIS01",
        "entity": {"kind": "reservation", "id": "res_1", "version": 7},
        "correlation_id": "req_1",
        "changed": ["status", "room_id"],
        "payload": {"status": "checked_in"},
    })
}

#[test]
fn what_the_emitter_writes_the_receiver_reads() {
    let envelope = parse(&example()).unwrap();
    assert_eq!(envelope.known_type(), Some(EventType::ReservationCheckedIn));
    assert_eq!(Envelope::parse(&verified(envelope.to_bytes())).unwrap(), envelope);
    assert_eq!(
        serde_json::from_slice::<Value>(&envelope.to_bytes()).unwrap(),
        example()
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let errors =
        parse(&json!({"type": "Guest Created", "idempotency_key": "evt_2", "changed": "all"})).unwrap_err();
    let found: Vec<_> = errors
        .iter()
        .map(|error| (error.pointer.as_str(), error.code.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("/type", "invalid"),
            ("/timestamp", "required"),
            ("/schema_version", "required"),
            ("/changed", "invalid"),
            ("/idempotency_key", "differs"),
        ]
    );
}

#[test]
fn an_event_about_an_entity_names_it_and_its_property() {
    for (field, value, pointer) in [
        ("entity", Value::Null, "/entity"),
        (
            "entity",
            json!({"kind": "guest", "id": "gst_1", "version": 1}),
            "/entity/kind",
        ),
        (
            "entity",
            json!({"kind": "reservation", "id": "res_1", "version": 0}),
            "/entity",
        ),
        (
            "entity",
            json!({"kind": "reservation", "id": "res.1", "version": 1}),
            "/entity",
        ),
        ("property_id", Value::Null, "/property_id"),
        ("property_id", json!("lis01"), "/property_id"),
    ] {
        let mut body = example();
        body[field] = value;
        let errors = parse(&body).unwrap_err();
        assert_eq!(
            errors
                .iter()
                .map(|error| error.pointer.as_str())
                .collect::<Vec<_>>(),
            [pointer]
        );
    }
}

#[test]
fn ping_and_unknown_types_need_no_entity_and_unknown_fields_are_kept() {
    let ping = json!({"type": "ping", "idempotency_key": "evt_1", "timestamp": 1_763_769_600_000_i64, "schema_version": 1});
    assert_eq!(parse(&ping).unwrap().known_type(), Some(EventType::Ping));
    let mut body = example();
    body["type"] = json!("booking.created");
    body["payload"]["colour"] = json!({"of": "the sea"});
    let envelope = parse(&body).unwrap();
    assert_eq!(envelope.known_type(), None);
    assert_eq!(envelope.payload["colour"], json!({"of": "the sea"}));
    body["type"] = json!("reservation.checked_in");
    body["schema_version"] = json!(2);
    assert_eq!(parse(&body).unwrap().known_type(), None);
}

#[test]
fn a_body_that_is_no_json_object_is_refused_whole() {
    for body in [
        &b"\xff"[..],
        b"",
        b"[]",
        b"null",
        b"\"x\"",
        br#"{"type":"ping","type":"ping"}"#,
    ] {
        let errors = Envelope::parse(&verified(body.to_vec())).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].pointer, "");
    }
}
