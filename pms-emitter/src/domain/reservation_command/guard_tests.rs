use super::{super::event::EventPayload, fixtures::*, *};

fn expect(outcome: Result<ChangeOutcome<Reservation>, Refusal>, pointer: &str, code: &str) {
    assert_eq!(codes(outcome), [(pointer.to_owned(), code.to_owned())]);
}

#[test]
fn the_guards_of_a_check_in() {
    let state = in_status(Status::Confirmed);
    let check_in = named("check-in", json!({"room_id": "101"}));
    assert_eq!(
        guard_code(on("2016-06-30", &state, &check_in)),
        "business_date_too_early"
    );
    assert_eq!(
        guard_code(on("2016-07-01", &state, &named("check-in", json!({})))),
        "room_missing"
    );
    let change = changed(on("2016-07-02", &state, &check_in));
    assert_eq!(change.event_type, EventType::ReservationCheckedIn);
    assert_eq!(change.changed, ["status", "room_id"]);
    assert_eq!(change.state.checked_in_on.unwrap().to_string(), "2016-07-02");
    assert_eq!(change.state.actual_check_in_at, Some(NOW));
    let walk_in = |fields: Value| guard_code(try_make(fields).map(ChangeOutcome::Changed));
    assert_eq!(walk_in(json!({"status": "checked_in"})), "room_missing");
    let early = json!({"status": "checked_in", "room_id": "1", "check_in": "2016-07-02"});
    assert_eq!(walk_in(early), "business_date_too_early");
    assert_eq!(
        in_status(Status::CheckedIn).checked_in_on.unwrap().to_string(),
        "2016-07-01"
    );
}

#[test]
fn a_confirmation_needs_a_person() {
    let nobody = made(json!({"status": "inquiry", "adults": 0}));
    assert_eq!(
        guard_code(on("2016-07-01", &nobody, &named("confirm", json!({})))),
        "person_missing"
    );
    let firm = in_status(Status::Confirmed);
    expect(merge(&firm, json!({"adults": 0})), "/adults", "no_person");
}

#[test]
fn a_check_out_needs_a_paid_bill_or_a_reason() {
    let state = change(&in_status(Status::CheckedIn), json!({"balance": "10"})).state;
    let check_out = |body| on("2016-07-03", &state, &named("check-out", body));
    assert_eq!(guard_code(check_out(json!({}))), "balance_open");
    expect(
        check_out(json!({"balance_override": {"reason": " "}})),
        "/balance_override/reason",
        "required",
    );
    expect(
        check_out(json!({"balance_override": {}})),
        "/balance_override/reason",
        "required",
    );
    let paid = changed(check_out(json!({"balance": "0"})));
    assert_eq!(paid.changed, ["status", "balance"]);
    assert_eq!(paid.state.checked_out_on.unwrap().to_string(), "2016-07-03");
    assert_eq!(
        paid.state.booking.check_out.to_string(),
        "2016-07-04",
        "an early departure keeps check_out"
    );
    let left = changed(check_out(json!({"balance_override": {"reason": "company pays"}}))).state;
    assert!(
        !left.payload().contains_key("balance_override"),
        "free text stays out of events"
    );
    let back = changed(on("2016-07-03", &left, &named("revert-check-out", json!({})))).state;
    assert_eq!(
        (
            back.booking.balance_override,
            back.checked_out_on,
            back.actual_check_out_at
        ),
        (None, None, None)
    );
}

#[test]
fn a_reversal_is_of_the_same_business_date() {
    let inside = in_status(Status::CheckedIn);
    let out = in_status(Status::CheckedOut);
    for (state, name) in [(&inside, "revert-check-in"), (&out, "revert-check-out")] {
        assert_eq!(
            guard_code(on("2016-07-02", state, &named(name, json!({})))),
            "business_date_moved"
        );
    }
    let back = moved(&inside, "revert-check-in", json!({}));
    assert_eq!((back.checked_in_on, back.actual_check_in_at), (None, None));
    assert_eq!(back.booking.room_id.as_deref(), Some("101"));
}

#[test]
fn a_no_show_is_due_and_can_arrive_late() {
    let state = in_status(Status::Confirmed);
    assert_eq!(
        guard_code(on("2016-06-30", &state, &named("no-show", json!({})))),
        "business_date_too_early"
    );
    let reinstate = named("reinstate", json!({}));
    for gone in [in_status(Status::NoShow), in_status(Status::Cancelled)] {
        assert_eq!(
            guard_code(on("2016-07-04", &gone, &reinstate)),
            "check_out_passed"
        );
        let back = changed(on("2016-07-03", &gone, &reinstate));
        assert_eq!(back.event_type, EventType::ReservationReinstated);
        assert_eq!(back.state.booking.cancellation, None);
    }
}

#[test]
fn a_cancellation_says_why() {
    let state = in_status(Status::Confirmed);
    let cancel = |body| on("2016-07-01", &state, &named("cancel", body));
    expect(cancel(json!({})), "/reason", "required");
    expect(
        cancel(json!({"reason": "ill", "fee": "-1"})),
        "/fee",
        "not_an_amount",
    );
    expect(
        cancel(json!({"reason": "ill", "at": "2016-07-02T00:00:00Z"})),
        "/at",
        "in_future",
    );
    expect(
        cancel(json!({"reason": "ill", "room_id": "1"})),
        "/room_id",
        "unknown_field",
    );
    expect(
        merge(&state, json!({"status": "cancelled"})),
        "/cancellation",
        "required",
    );
    let change = changed(cancel(json!({"reason": "ill"})));
    assert_eq!(change.changed, ["status", "cancellation"]);
    let shown = change.state.payload()["cancellation"].clone();
    assert_eq!(
        shown,
        json!({"at": "2016-07-01T12:00:00.000Z", "reason": "ill", "by": "guest", "fee": "0.00"})
    );
    expect(
        merge(&change.state, json!({"cancellation": null})),
        "/cancellation",
        "required",
    );
    let waived = fixtures::change(&change.state, json!({"cancellation": {"fee": "5"}}));
    assert_eq!(waived.event_type, EventType::ReservationUpdated);
}
