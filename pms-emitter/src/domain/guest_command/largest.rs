//! The largest guest that the rules let through: what is stored of it is bounded, and its event fits what a receiver takes.

use super::tests::{LATER, created, merged, object};
use super::{ChangeOutcome, Guest};
use crate::domain::event::envelope;
use crate::domain::record_size::{RECORD_BYTES_MAX, json_len};
use crate::domain::refusal::Refusal;
use contract::EventId;
use serde_json::{Value, json};

/// What the receiver's contract allows of one event (design: 256 KiB).
const EVENT_BYTES_MAX: usize = 256 * 1024;
/// What one item of a list takes at most.
const ITEM_BYTES_MAX: usize = 1024;

/// A character of four bytes.
fn text(characters: usize) -> String {
    "\u{20000}".repeat(characters)
}

fn external_id(number: usize) -> Value {
    json!({"system": text(64), "value": format!("{number:02}{}", text(126))})
}

/// As many of the largest items as there may be, in every list but one.
fn large(external_ids: usize) -> Value {
    json!({
        "title": text(64), "first_name": text(100), "last_name": text(100), "second_last_name": text(100),
        "address": {"line1": text(200), "line2": text(200), "city": text(200), "region": text(200),
            "postal_code": text(64), "country": "PT"},
        "external_ids": (0..external_ids).map(external_id).collect::<Vec<_>>(),
        "notes": text(4000),
    })
}

/// The guest with the most external ids that is taken.
fn largest() -> (usize, Guest) {
    let taken = (0..50).map_while(|ids| Some((ids, created(&large(ids)).ok()?.outcome.state)));
    taken.last().unwrap()
}

#[test]
fn a16_the_largest_guest_takes_32_kib_and_its_event_fits() {
    let (ids, guest) = largest();
    let stored = json_len(&guest.details);
    assert!(
        stored <= RECORD_BYTES_MAX && stored > RECORD_BYTES_MAX - ITEM_BYTES_MAX,
        "{stored}"
    );
    assert_eq!(created(&large(ids + 1)).unwrap_err(), Refusal::RecordTooLarge);
    let id: EventId = "evt_1".parse().unwrap();
    let change = created(&large(ids)).unwrap().outcome;
    let bytes = envelope(&id, &change, guest.created_at, None).to_bytes().len();
    assert!(bytes < EVENT_BYTES_MAX, "{bytes} bytes");
    for list in ["external_ids", "documents", "loyalty", "preferences", "consent"] {
        let many = json!({"last_name": "Silva", list: vec!["x"; 51]});
        assert!(matches!(created(&many), Err(Refusal::Invalid(_))), "{list}");
    }
}

#[test]
fn a16_a_patch_that_would_make_a_guest_too_large_is_refused() {
    let (ids, guest) = largest();
    let more = json!({"external_ids": large(ids + 1)["external_ids"]});
    assert_eq!(merged(&guest, &more).unwrap_err(), Refusal::RecordTooLarge);
    assert!(merged(&guest, &json!({"title": "Dr"})).is_ok());
}

#[test]
fn a16_a_guest_that_was_larger_before_may_change_and_shrink_but_not_grow() {
    let (_, mut guest) = largest();
    guest.details.preferences = (0..50).map(|_| text(200)).collect();
    assert!(json_len(&guest.details) > 2 * RECORD_BYTES_MAX);
    for (patch, refused) in [
        (json!({"title": text(63)}), false),
        (json!({"title": format!("{}a", text(63))}), false),
        (json!({"email": "ana@example.com"}), true),
        (json!({"email": "ana@example.com", "title": null}), false),
        (json!({"preferences": []}), false),
        (object(&json!({})).into(), false),
    ] {
        let applied = merged(&guest, &patch);
        assert_eq!(
            applied.as_ref().err(),
            refused.then_some(&Refusal::RecordTooLarge),
            "{patch}"
        );
        if let Ok(applied) = applied
            && let ChangeOutcome::Changed(change) = applied.outcome
        {
            assert_eq!((change.state.version, change.state.updated_at), (2, LATER));
        }
    }
}
