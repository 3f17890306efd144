//! What the receiver requires of a payload: only the fields that it needs.
//!
//! A guest's `last_name`, unless deleted or erased; a reservation's `status`, `check_in`, `check_out` and
//! `primary_guest_id`. The rest may be absent, unknown fields are kept. `id`, `version` and `property_id`, where they
//! are present, equal the envelope's, and an instant that is a number is one of milliseconds. Pure: no clock, no store.

use crate::profile::ReservationStatus;
use contract::{
    EntityId, EntityKind, EntityRef, Envelope, EventType, FieldError, PropertyId, UnixMillis,
    date::parse_date, text,
};
use jiff::civil::Date;
use serde_json::{Map, Value};

/// How many accompanying guests a reservation may name. Our emitter allows 100; five times as many allow for
/// other senders. Each named guest is a profile that is derived again in one transaction.
pub const ACCOMPANYING_GUESTS_MAX: usize = 500;

/// The fields that are instants. As RFC 3339 they are read where they are used; a number of seconds would be read there
/// as a time in 1970, and a consent of today would lose against any other.
const INSTANTS: [&str; 6] = [
    "created_at",
    "updated_at",
    "deleted_at",
    "booked_at",
    "actual_check_in_at",
    "actual_check_out_at",
];

/// The fields that are looked at; a payload needs no others to be checked.
pub const CHECKED: [&str; 17] = [
    "created_at",
    "updated_at",
    "deleted_at",
    "booked_at",
    "actual_check_in_at",
    "actual_check_out_at",
    "cancellation",
    "consent",
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
    check_instants(&mut errors, payload);
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

fn check_instants(errors: &mut Vec<FieldError>, payload: &Map<String, Value>) {
    for field in INSTANTS {
        check_instant(errors, field, present(payload, field));
    }
    let cancelled = present(payload, "cancellation").and_then(|cancellation| cancellation.get("at"));
    check_instant(errors, "cancellation/at", cancelled);
    let consents = present(payload, "consent").and_then(Value::as_array);
    for (index, consent) in consents.into_iter().flatten().enumerate() {
        check_instant(errors, &format!("consent/{index}/at"), consent.get("at"));
    }
}

fn check_instant(errors: &mut Vec<FieldError>, field: &str, value: Option<&Value>) {
    let number = value.filter(|value| value.is_number());
    if number.is_some_and(|number| number.as_i64().and_then(UnixMillis::from_number).is_none()) {
        let words = "as a number it is Unix milliseconds, from 2000 on";
        refuse(errors, field, "not_milliseconds", words);
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
    match last_name.as_str().map(text::trim) {
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
            .is_none_or(|name| name.parse::<ReservationStatus>().is_err())
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

/// A null means the same as absent.
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
mod tests;
