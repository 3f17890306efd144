//! Random walks: any commands, in any order, on any days.

use super::{
    super::reservation::guests_to_guard,
    super::transition::Status,
    fixtures::{NOW, amounts, hotel, in_status, named, object, try_make},
    *,
};
use proptest::{prelude::*, sample::select};

const DATES: [&str; 6] = [
    "2016-06-30",
    "2016-07-01",
    "2016-07-02",
    "2016-07-03",
    "2016-07-04",
    "2016-07-05",
];

fn commands() -> impl Strategy<Value = Command> {
    let names = vec![
        ("confirm", json!({})),
        ("cancel", json!({"reason": "ill"})),
        ("cancel", json!({})),
        ("check-in", json!({"room_id": "101"})),
        ("check-in", json!({})),
        ("revert-check-in", json!({})),
        ("check-out", json!({})),
        ("check-out", json!({"balance": "0"})),
        ("revert-check-out", json!({})),
        ("no-show", json!({})),
        ("reinstate", json!({})),
        ("assign-room", json!({"room_id": "102"})),
    ];
    let patches = vec![
        json!({}),
        json!({"balance": "12.5"}),
        json!({"adults": 0}),
        json!({"adults": 3, "children": 1}),
        json!({"room_id": null}),
        json!({"check_out": "2016-07-03", "nightly_rates": null}),
        json!({"check_in": "2016-06-30"}),
        json!({"room_total": "100"}),
        json!({"booker_guest_id": "gst_2"}),
        json!({"cancellation": null}),
        json!({"status": "cancelled", "cancellation": {"reason": "ill"}}),
    ];
    let statuses = select(Status::ALL.to_vec()).prop_map(|to| Command::Merge(object(json!({"status": to}))));
    prop_oneof![
        6 => select(names).prop_map(|(name, body)| named(name, body)),
        3 => select(patches).prop_map(|patch| Command::Merge(object(patch))),
        2 => statuses,
        1 => Just(Command::Delete),
    ]
}

fn assert_sound(state: &Reservation) {
    let booking = &state.booking;
    let status = booking.status;
    assert_eq!(booking.cancellation.is_some(), status == Status::Cancelled);
    assert_eq!(state.checked_in_on.is_some(), status.has_arrived());
    assert_eq!(state.actual_check_in_at.is_some(), status.has_arrived());
    assert_eq!(state.checked_out_on.is_some(), status == Status::CheckedOut);
    assert!(!status.is_firm() || booking.persons() > 0);
    assert!(!status.has_arrived() || booking.room_id.is_some());
    let amounts = amounts(booking);
    assert_eq!(amounts.total, amounts.room_total + amounts.extras_total);
}

proptest! {
    #[test]
    fn every_commit_is_one_legal_step(
        start in select(vec![Status::Inquiry, Status::Waitlisted, Status::Optional, Status::Confirmed]),
        steps in prop::collection::vec((0_usize..6, commands()), 1..40),
    ) {
        let mut state = in_status(start);
        let mut day = 0;
        let mut events = 1;
        for (ahead, command) in steps {
            day = day.max(ahead);
            let property = hotel(DATES[day]);
            let Ok(ChangeOutcome::Changed(change)) = apply(&state, &command, &property, NOW) else { continue };
            events += 1;
            prop_assert_eq!(change.state.version, state.version + 1);
            prop_assert_eq!(change.state.version, events);
            prop_assert!(!change.changed.is_empty());
            let (from, to) = (state.status(), change.state.status());
            prop_assert!(from == to || Transition::between(from, to).is_some(), "{:?} -> {:?}", from, to);
            assert_sound(&change.state);
            let guarded = guests_to_guard(Some(&state), &change.state, property.business_date);
            let (before, after) = (state.is_live(property.business_date), change.state.is_live(property.business_date));
            prop_assert!(before || !after || !guarded.is_empty(), "what becomes live asks for its guests");
            if change.state.deleted_at.is_some() {
                break;
            }
            state = change.state;
        }
    }

    #[test]
    fn no_body_of_odd_values_breaks_the_reader(
        name in select(super::super::reservation_booking::FIELDS.to_vec()),
        value in select(vec![
            json!(null), json!(true), json!(-1), json!(1e300), json!(""), json!("\u{0}"), json!([]), json!([[]]),
            json!({}), json!({"at": 0}), json!("9999-12-31"), json!(253_402_300_799_999_u64), json!("x".repeat(1000)),
        ]),
    ) {
        // Whatever comes out, it is an answer.
        if let Ok(change) = try_make(json!({name: value.clone()})) {
            assert_sound(&change.state);
        }
        drop(apply(&in_status(Status::CheckedIn), &Command::Merge(object(json!({name: value}))), &hotel(DATES[1]), NOW));
    }
}
