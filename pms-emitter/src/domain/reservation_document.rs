//! A booking as the JSON document that clients read, edit and send back.
//!
//! A PUT is a merge into this document (RFC 7396). Here it is read with its defaults filled in, and compared: the names
//! that differ are an event's `changed`.

use super::{
    body,
    event::object_of,
    refusal::Refusal,
    reservation_booking::{Booking, FIELDS},
};
use contract::{FieldError, UnixMillis};
use serde_json::{Map, Value, json};

/// Fields without which there is no booking. What else a client leaves out has a default.
const REQUIRED: [&str; 7] = [
    "primary_guest_id",
    "check_in",
    "check_out",
    "status",
    "currency",
    "confirmation_number",
    "booked_at",
];

/// Who called a reservation off when the client does not say.
const CANCELLED_BY: &str = "guest";

/// A booking as the JSON object that a patch is merged into.
pub fn document(booking: &Booking) -> Map<String, Value> {
    object_of(booking)
}

/// The names of the fields that a client set when the reservation was made, or that have a default.
pub fn fields_with_content(booking: &Booking) -> Vec<&'static str> {
    let document = document(booking);
    let empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let has_content = |name: &&str| document.get(*name).is_some_and(|value| !empty(value));
    FIELDS.into_iter().filter(has_content).collect()
}

/// The names of the fields in which a booking differs from an earlier document.
pub fn changed_fields(before: &Map<String, Value>, after: &Booking) -> Vec<&'static str> {
    let after = document(after);
    let differs = |name: &&str| before.get(*name) != after.get(*name);
    FIELDS.into_iter().filter(differs).collect()
}

/// A cancellation belongs to its status, and so does a balance override. When the status ends and a client sends them back as it
/// read them, they are dropped.
pub fn drop_what_ends(merged: &mut Map<String, Value>, before: &Map<String, Value>) {
    for name in ["cancellation", "balance_override"] {
        if merged.get(name) == before.get(name) {
            merged.remove(name);
        }
    }
}

/// Reads a document whose nulls were taken out, after filling in what may be left out. What is not sent was checked when it
/// was (see [`body::read_patched`]).
pub fn read(
    mut document: Map<String, Value>,
    is_sent: impl Fn(&str) -> bool,
    now: UnixMillis,
) -> Result<Booking, Refusal> {
    for (name, default) in [
        ("stay_type", json!("overnight")),
        ("adults", json!(0)),
        ("children", json!(0)),
        ("infants", json!(0)),
        ("extras_total", json!("0")),
        ("balance", json!("0")),
    ] {
        document.entry(name).or_insert(default);
    }
    let mut missing: Vec<FieldError> = REQUIRED
        .iter()
        .filter(|name| !document.contains_key(**name))
        .map(|name| required(format!("/{name}")))
        .collect();
    if let Some(Value::Object(cancellation)) = document.get_mut("cancellation") {
        for (name, default) in [
            ("at", json!(now)),
            ("by", json!(CANCELLED_BY)),
            ("fee", json!("0")),
        ] {
            cancellation.entry(name).or_insert(default);
        }
        if !cancellation.contains_key("reason") {
            missing.push(required("/cancellation/reason".to_owned()));
        }
    }
    Refusal::unless_empty(missing)?;
    body::read_patched(&Value::Object(document), is_sent).map_err(Refusal::Invalid)
}

fn required(pointer: String) -> FieldError {
    FieldError::new(pointer, "required", "is required")
}
