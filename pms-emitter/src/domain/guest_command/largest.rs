//! The largest guest that the rules let through: its event must fit what a receiver takes.

use super::tests::{created, object};
use crate::domain::event::envelope;
use contract::EventId;
use serde_json::{Value, json};

/// What the receiver's contract allows of one event (design: 256 KiB).
const EVENT_BYTES_MAX: usize = 256 * 1024;

/// A character of four bytes.
fn text(characters: usize) -> String {
    "\u{20000}".repeat(characters)
}

/// A list's items, each told apart by its number.
fn items(item: impl Fn(&str) -> Value) -> Value {
    (0..50).map(|number| item(&format!("{number:02}"))).collect()
}

#[test]
fn the_event_of_the_largest_guest_fits_and_no_list_grows_beyond_it() {
    let mut body = json!({
        "title": text(64), "first_name": text(100), "last_name": text(100), "second_last_name": text(100),
        "address": {"line1": text(200), "line2": text(200), "city": text(200), "region": text(200),
            "postal_code": text(64), "country": "PT"},
        "external_ids": items(|n| json!({"system": text(64), "value": format!("{n}{}", text(126))})),
        "documents": items(|n| json!({"type": "x".repeat(32), "issuing_country": "PT",
            "number": format!("{n}{}", text(62)), "expires_on": "2030-01-01"})),
        "loyalty": items(|n| json!({"programme": text(64), "number": format!("{n}{}", text(62)), "level": text(64)})),
        "notes": text(4000), "preferences": items(|_| json!(text(200))),
    });
    let change = created(&body).unwrap().outcome;
    let id: EventId = "evt_1".parse().unwrap();
    let bytes = envelope(&id, &change, change.state.created_at, None)
        .to_bytes()
        .len();
    assert!(bytes < EVENT_BYTES_MAX, "{bytes} bytes");
    assert!(
        bytes > EVENT_BYTES_MAX / 3,
        "not the largest any more: {bytes} bytes"
    );
    let one_more = object(&body)["external_ids"][0].clone();
    let list = body["external_ids"].as_array_mut().unwrap();
    list.push(one_more);
    assert!(created(&body).is_err());
}
