//! The largest reservations: what hotels book fits into a record, and what would not is refused.

use super::{super::record_size::RECORD_BYTES_MAX, super::record_size::json_len, fixtures::*, *};
use crate::domain::event::envelope;

/// A year, a bus of guests, and all requests there may be, in an alphabet of two bytes.
fn year(requests: &str) -> Value {
    let guest = |nth: usize| format!("gst_01jd0123456789abcdefghj{nth:03}");
    json!({
        "check_out": "2017-07-01", "adults": 101, "nightly_rates": vec!["1234.56"; 365],
        "accompanying_guest_ids": (0..100).map(guest).collect::<Vec<_>>(),
        "special_requests": vec![requests; 20],
    })
}

#[test]
fn a16_a_year_of_rates_and_a_hundred_guests_fit_into_a_record() {
    let change = try_make(year(&"\u{e9}".repeat(500))).unwrap();
    let stored = json_len(&change.state);
    assert!(
        stored > RECORD_BYTES_MAX * 3 / 4 && stored <= RECORD_BYTES_MAX,
        "{stored}"
    );
    let id = "evt_1".parse().unwrap();
    let event = envelope(&id, &change, NOW, None).to_bytes();
    let values = contract::json::Extent::of(&event).values;
    assert!(
        event.len() < RECORD_BYTES_MAX && values < 1_000,
        "{} bytes, {values}",
        event.len()
    );
}

#[test]
fn a16_a_reservation_that_would_be_too_large_is_refused_and_an_older_one_goes_on() {
    let too_large = year(&"\u{20000}".repeat(500));
    assert_eq!(try_make(too_large).unwrap_err(), Refusal::RecordTooLarge);
    let mut before = made(year(&"\u{e9}".repeat(500)));
    let more = json!({"special_requests": vec!["\u{20000}".repeat(500); 20]});
    assert_eq!(merge(&before, more).unwrap_err(), Refusal::RecordTooLarge);
    // As it was stored before there was a bound.
    before.booking.special_requests = vec!["\u{20000}".repeat(500); 20];
    assert!(json_len(&before) > RECORD_BYTES_MAX);
    assert_eq!(
        merge(&before, json!({"room_id": "101"})).unwrap_err(),
        Refusal::RecordTooLarge
    );
    let smaller = vec!["\u{20000}".repeat(499); 20];
    let shrunk = change(&before, json!({"special_requests": smaller, "room_id": "101"})).state;
    assert!(json_len(&shrunk) > RECORD_BYTES_MAX);
    let in_house = moved(&shrunk, "check-in", json!({}));
    assert_eq!(in_house.status(), Status::CheckedIn);
    assert_eq!(
        moved(&in_house, "check-out", json!({})).status(),
        Status::CheckedOut
    );
}
