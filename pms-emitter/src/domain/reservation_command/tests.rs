use super::{super::event::EventPayload, fixtures::*, *};

fn expect(outcome: Result<ChangeOutcome<Reservation>, Refusal>, pointer: &str, code: &str) {
    assert_eq!(codes(outcome), [(pointer.to_owned(), code.to_owned())]);
}

#[test]
fn every_pair_of_statuses_follows_the_table_by_put() {
    for from in Status::ALL {
        for to in Status::ALL.into_iter().filter(|to| *to != from) {
            let before = in_status(from);
            let mut patch = json!({"status": to, "room_id": "101"});
            if to == Status::Cancelled {
                patch["cancellation"] = json!({"reason": "ill"});
            }
            let outcome = merge(&before, patch);
            match Transition::between(from, to) {
                Some(transition) => {
                    let change = changed(outcome);
                    assert_eq!(change.state.status(), to);
                    assert_eq!(change.state.version, before.version + 1);
                    let special = transition.event() != EventType::ReservationUpdated;
                    let expected = if special {
                        transition.event()
                    } else {
                        EventType::ReservationRoomAssigned
                    };
                    assert_eq!(change.event_type, expected, "{from:?} -> {to:?}");
                }
                None => {
                    let allowed = Transition::allowed_from(from);
                    assert_eq!(
                        outcome,
                        Err(Refusal::InvalidTransition { allowed }),
                        "{from:?} -> {to:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_name_from_every_status_follows_the_table() {
    let bodies = |name: &str| match name {
        "cancel" => json!({"reason": "ill"}),
        "check-in" => json!({"room_id": "101"}),
        _ => json!({}),
    };
    for transition in Transition::all().skip(2) {
        for from in Status::ALL {
            let outcome = on(
                "2016-07-01",
                &in_status(from),
                &named(transition.name(), bodies(transition.name())),
            );
            if transition.leaves(from) {
                let change = changed(outcome);
                assert_eq!(
                    (change.state.status(), change.event_type),
                    (transition.target(), transition.event())
                );
            } else {
                assert!(
                    matches!(outcome, Err(Refusal::InvalidTransition { .. })),
                    "{transition:?} {from:?}"
                );
            }
        }
    }
    for unknown in ["optional", "waitlisted", "delete", ""] {
        assert_eq!(Command::named(unknown, Map::new()), None);
    }
}

#[test]
fn a_new_one_is_complete() {
    let change = try_make(json!({})).unwrap();
    assert_eq!(change.event_type, EventType::ReservationCreated);
    let view = change.state.view("2016-06-30".parse().unwrap());
    for (name, value) in [
        ("version", json!(1)),
        ("status", json!("confirmed")),
        ("computed_status", json!("confirmed")),
        ("confirmation_number", json!("ABCDEFGHJKMN"[2..].to_owned())),
        ("currency", json!("EUR")),
        ("nights", json!(3)),
        ("booked_on", json!("2016-07-01")),
        ("lead_time_days", json!(0)),
        ("total", json!("0.00")),
        ("balance", json!("0.00")),
        ("deleted_at", json!(null)),
        ("accompanying_guest_ids", json!([])),
    ] {
        assert_eq!(view[name], value, "{name}");
    }
    assert!(change.changed.contains(&"check_in") && !change.changed.contains(&"room_id"));
}

#[test]
fn what_was_read_can_be_put_back() {
    for status in Status::ALL {
        let state = in_status(status);
        let view = state.view("2016-07-01".parse().unwrap());
        assert_eq!(
            merge(&state, Value::Object(view)),
            Ok(ChangeOutcome::Unchanged),
            "{status:?}"
        );
    }
}

#[test]
fn each_rule_of_the_content_is_named() {
    for (fields, pointer, code) in [
        (json!({"primary_guest_id": null}), "/primary_guest_id", "required"),
        (json!({"primary_guest_id": "a.b"}), "/primary_guest_id", "invalid"),
        (json!({"check_in": "2016-7-1"}), "/check_in", "not_a_date"),
        (
            json!({"check_out": "2016-07-01"}),
            "/check_out",
            "not_after_check_in",
        ),
        (json!({"check_out": "2017-07-02"}), "/check_out", "too_long"),
        (json!({"stay_type": "day_use"}), "/check_out", "not_the_same_date"),
        (json!({"adults": 0}), "/adults", "no_person"),
        (json!({"adults": -1}), "/adults", "invalid"),
        (json!({"adults": 1000}), "/adults", "range"),
        (json!({"adults": "2"}), "/adults", "wrong_type"),
        (
            json!({"status": "checked_out", "room_id": "1"}),
            "/status",
            "not_a_start",
        ),
        (json!({"status": "gone"}), "/status", "unknown_value"),
        (json!({"room_id": "1 "}), "/room_id", "space_at_edge"),
        (json!({"rate_plan": "x".repeat(65)}), "/rate_plan", "not_a_code"),
        (json!({"meal_plan": "SC"}), "/meal_plan", "unknown_value"),
        (json!({"currency": "XXX"}), "/currency", "invalid"),
        (
            json!({"booked_at": "2016-07-01T12:00:00.001Z"}),
            "/booked_at",
            "in_future",
        ),
        (
            json!({"guarantee": "4111111111111111"}),
            "/guarantee",
            "card_number",
        ),
        (
            json!({"special_requests": ["4111 1111 1111 1111"]}),
            "/special_requests",
            "card_number",
        ),
        (
            json!({"cancellation": {"reason": "ill"}}),
            "/cancellation",
            "not_cancelled",
        ),
        (
            json!({"balance_override": {"reason": "vip"}}),
            "/balance_override",
            "not_checked_out",
        ),
        (
            json!({"accompanying_guest_ids": ["gst_1"]}),
            "/accompanying_guest_ids/0",
            "duplicate",
        ),
        (
            json!({"accompanying_guest_ids": ["gst_2", "gst_2"]}),
            "/accompanying_guest_ids/1",
            "duplicate",
        ),
        (
            json!({"channel_reference": {"channel": "X"}}),
            "/channel_reference/number",
            "required",
        ),
        (
            json!({"channel_reference": {"channel": "X", "number": " 1"}}),
            "/channel_reference/number",
            "space_at_edge",
        ),
        (json!({"colour": "red"}), "/colour", "unknown_field"),
    ] {
        expect(try_make(fields).map(ChangeOutcome::Changed), pointer, code);
    }
    assert!(
        try_make(json!({"adults": 0, "children": 2})).is_ok(),
        "children alone are persons"
    );
    assert!(try_make(json!({"adults": 0, "status": "inquiry"})).is_ok());
}

#[test]
fn what_is_fixed_stays() {
    let state = in_status(Status::Confirmed);
    expect(
        merge(&state, json!({"currency": "USD"})),
        "/currency",
        "immutable",
    );
    expect(
        merge(&state, json!({"property_id": "OPO01"})),
        "/property_id",
        "immutable",
    );
    expect(merge(&state, json!({"status": null})), "/status", "required");
    let state = in_status(Status::CheckedIn);
    expect(
        merge(&state, json!({"check_in": "2016-06-30"})),
        "/check_in",
        "immutable",
    );
    expect(merge(&state, json!({"room_id": null})), "/room_id", "required");
    assert_eq!(
        change(&state, json!({"check_out": "2016-07-09"}))
            .state
            .booking
            .check_out
            .day(),
        9
    );
    assert_eq!(change(&state, json!({"rate_plan": "BAR"})).changed, ["rate_plan"]);
}

#[test]
fn the_event_is_the_most_specific_one() {
    let state = in_status(Status::Confirmed);
    assert_eq!(
        change(&state, json!({"room_id": "7"})).event_type,
        EventType::ReservationRoomAssigned
    );
    assert_eq!(
        change(&state, json!({"room_id": "7", "adults": 3})).event_type,
        EventType::ReservationRoomAssigned
    );
    assert_eq!(
        change(&state, json!({"adults": 3})).event_type,
        EventType::ReservationUpdated
    );
    let roomed = moved(&state, "assign-room", json!({"room_id": "7"}));
    assert_eq!(
        change(&roomed, json!({"room_id": null})).event_type,
        EventType::ReservationUpdated
    );
    let again = on(
        "2016-07-01",
        &roomed,
        &named("assign-room", json!({"room_id": "7"})),
    );
    assert_eq!(again, Ok(ChangeOutcome::Unchanged));
    expect(
        on("2016-07-01", &roomed, &named("assign-room", json!({}))),
        "/room_id",
        "required",
    );
    let gone = on(
        "2016-07-01",
        &in_status(Status::NoShow),
        &named("assign-room", json!({"room_id": "8"})),
    );
    assert!(matches!(gone, Err(Refusal::InvalidTransition { .. })));
}

#[test]
fn only_what_never_was_firm_or_was_called_off_is_deleted() {
    for status in Status::ALL {
        let outcome = on("2016-07-01", &in_status(status), &Command::Delete);
        if status.is_deletable() {
            let change = changed(outcome);
            assert_eq!(change.event_type, EventType::ReservationDeleted);
            assert_eq!(change.state.deleted_at, Some(NOW));
            assert_eq!(change.state.payload()["status"], json!(status));
        } else {
            assert_eq!(outcome, Err(Refusal::NotDeletable), "{status:?}");
        }
    }
}

#[test]
fn a_booking_names_its_fields() {
    let state = document(&in_status(Status::Cancelled).booking);
    let mut listed = super::super::reservation_booking::FIELDS.to_vec();
    listed.sort_unstable();
    let mut names: Vec<&str> = state.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, listed);
}

#[test]
fn free_text_stays_out_of_events() {
    let payload = made(json!({"special_requests": ["quiet room"]})).payload();
    assert!(!serde_json::to_string(&payload).unwrap().contains("quiet"));
}

#[test]
fn case02_what_was_stored_under_earlier_rules_refuses_no_transition() {
    let mut stored = made(json!({}));
    stored.booking.confirmation_number = "A\u{200b}1".to_owned();
    let after = moved(&stored, "check-in", json!({"room_id": "101"}));
    assert_eq!(after.booking.confirmation_number, "A\u{200b}1");
    let same = json!({"confirmation_number": "A\u{200b}1"});
    expect(
        merge(&stored, same),
        "/confirmation_number",
        "invisible_character",
    );
}
