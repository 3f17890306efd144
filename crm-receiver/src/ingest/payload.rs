//! What the receiver asks of a payload: only what it cannot do without.
//!
//! A guest's `last_name`, unless deleted or erased; a reservation's `status`, `check_in`, `check_out` and
//! `primary_guest_id`. The rest may be absent, unknown fields are kept. `id`, `version` and `property_id`, where they
//! are present, equal the envelope's. Pure: no clock, no store.

use contract::{
    EntityId, EntityKind, EntityRef, Envelope, EventType, FieldError, PropertyId, date::parse_date,
};
use jiff::civil::Date;
use serde_json::{Map, Value};

/// The statuses that a reservation may have (domain.md, section 4).
const RESERVATION_STATUSES: [&str; 8] = [
    "inquiry",
    "waitlisted",
    "optional",
    "confirmed",
    "checked_in",
    "checked_out",
    "cancelled",
    "no_show",
];

/// How many accompanying guests a reservation may name. The emitter ends at 100; five times as many leave room for
/// other senders, while each named guest is a profile that is derived again in one transaction.
pub const ACCOMPANYING_GUESTS_MAX: usize = 500;

/// The fields that are looked at; a payload needs no others to be checked.
pub const CHECKED: [&str; 9] = [
    "id",
    "version",
    "property_id",
    "status",
    "last_name",
    "check_in",
    "check_out",
    "primary_guest_id",
    "accompanying_guest_ids",
];

/// Everything that is wrong with the payload of an event of a known type; empty when nothing is. Values are never
/// quoted.
pub fn check(event_type: EventType, envelope: &Envelope) -> Vec<FieldError> {
    let property = envelope.property_id.as_ref();
    check_parts(event_type, envelope.entity.as_ref(), property, &envelope.payload)
}

/// As [`check`], where only these parts of the envelope are at hand.
pub fn check_parts(
    event_type: EventType,
    entity: Option<&EntityRef>,
    property: Option<&PropertyId>,
    payload: &Map<String, Value>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(entity) = entity {
        check_identity(&mut errors, entity, property, payload);
    }
    match event_type.entity_kind() {
        Some(EntityKind::Guest) => check_guest(&mut errors, event_type, payload),
        Some(EntityKind::Reservation) => check_reservation(&mut errors, payload),
        Some(EntityKind::Other(_)) | None => {}
    }
    errors
}

fn check_identity(
    errors: &mut Vec<FieldError>,
    entity: &EntityRef,
    property: Option<&PropertyId>,
    payload: &Map<String, Value>,
) {
    let property = property.map(|id| Value::from(id.as_str()));
    let expected = [
        ("id", Some(Value::from(entity.id.as_str()))),
        ("version", Some(Value::from(entity.version))),
        ("property_id", property),
    ];
    for (field, expected) in expected {
        let given = present(payload, field);
        if given.is_some() && given != expected.as_ref() {
            refuse(errors, field, "differs", "differs from the envelope's");
        }
    }
}

fn check_guest(errors: &mut Vec<FieldError>, event_type: EventType, payload: &Map<String, Value>) {
    let status = present(payload, "status").and_then(Value::as_str);
    let gone = matches!(event_type, EventType::GuestDeleted | EventType::GuestErased)
        || matches!(status, Some("deleted" | "erased"));
    let Some(last_name) = present(payload, "last_name") else {
        if !gone {
            refuse(errors, "last_name", "required", "is required");
        }
        return;
    };
    match last_name.as_str().map(str::trim) {
        None => refuse(errors, "last_name", "invalid", "is not text"),
        Some("") if !gone => refuse(errors, "last_name", "required", "is blank"),
        Some(_) => {}
    }
}

fn check_reservation(errors: &mut Vec<FieldError>, payload: &Map<String, Value>) {
    let status = required(errors, payload, "status");
    if status.is_some_and(|status| {
        status
            .as_str()
            .is_none_or(|name| !RESERVATION_STATUSES.contains(&name))
    }) {
        refuse(errors, "status", "unknown", "is no status of a reservation");
    }
    let check_in = date(errors, payload, "check_in");
    let check_out = date(errors, payload, "check_out");
    if let (Some(check_in), Some(check_out)) = (check_in, check_out)
        && check_out < check_in
    {
        refuse(errors, "check_out", "before_check_in", "is before the check-in");
    }
    let guest = required(errors, payload, "primary_guest_id");
    if guest.is_some_and(|guest| guest.as_str().is_none_or(|id| id.parse::<EntityId>().is_err())) {
        refuse(errors, "primary_guest_id", "invalid", "is no id");
    }
    let accompanying = present(payload, "accompanying_guest_ids").and_then(Value::as_array);
    if accompanying.is_some_and(|ids| ids.len() > ACCOMPANYING_GUESTS_MAX) {
        refuse(
            errors,
            "accompanying_guest_ids",
            "too_many",
            "names too many guests",
        );
    }
}

/// A calendar date, `YYYY-MM-DD` and nothing else.
fn date(errors: &mut Vec<FieldError>, payload: &Map<String, Value>, field: &str) -> Option<Date> {
    let value = required(errors, payload, field)?;
    let date = value.as_str().and_then(parse_date);
    if date.is_none() {
        refuse(
            errors,
            field,
            "not_a_date",
            "is not a date of the form YYYY-MM-DD",
        );
    }
    date
}

fn required<'p>(
    errors: &mut Vec<FieldError>,
    payload: &'p Map<String, Value>,
    field: &str,
) -> Option<&'p Value> {
    let value = present(payload, field);
    if value.is_none() {
        refuse(errors, field, "required", "is required");
    }
    value
}

/// A null is as good as absent.
fn present<'p>(payload: &'p Map<String, Value>, field: &str) -> Option<&'p Value> {
    debug_assert!(
        CHECKED.contains(&field),
        "{field} is dropped before it is checked"
    );
    payload.get(field).filter(|value| !value.is_null())
}

fn refuse(errors: &mut Vec<FieldError>, field: &str, code: &str, message: &str) {
    errors.push(FieldError::new(format!("/payload/{field}"), code, message));
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::UnixMillis;
    use serde_json::json;

    fn envelope(event_type: EventType, payload: Value) -> Envelope {
        let Value::Object(payload) = payload else {
            panic!("a payload is an object")
        };
        Envelope {
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
        for payload in [json!({}), json!({"last_name": null}), json!({"last_name": "  "})] {
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
}
