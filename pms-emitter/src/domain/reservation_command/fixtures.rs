//! A hotel on 1 July 2016 and reservations of three nights from that day, for the tests of the domain.

use super::{super::reservation_booking::Booking, *};
use contract::Money;

/// 2016-07-01T12:00:00Z.
pub const NOW: UnixMillis = UnixMillis(1_467_374_400_000);

pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}

pub fn hotel(business_date: &str) -> Property {
    let body = json!({
        "id": "LIS01", "name": "Lisbon", "timezone": "Europe/Lisbon", "currency": "EUR",
        "business_date": business_date,
    });
    Property::create(object(body), NOW).unwrap()
}

pub fn request(fields: Value) -> Map<String, Value> {
    let mut request = object(json!({
        "primary_guest_id": "gst_1", "check_in": "2016-07-01", "check_out": "2016-07-04", "adults": 2,
    }));
    request.extend(object(fields));
    request
}

pub fn try_make(fields: Value) -> Result<Change<Reservation>, Refusal> {
    let id = "res_01jd0123456789abcdefghjkmn".parse().unwrap();
    create(id, request(fields), &hotel("2016-07-01"), NOW)
}

pub fn made(fields: Value) -> Reservation {
    try_make(fields).unwrap().state
}

pub fn booking_of(fields: Value) -> Result<Booking, Codes> {
    match try_make(fields) {
        Ok(change) => Ok(change.state.booking),
        refused => Err(codes(refused.map(ChangeOutcome::Changed))),
    }
}

pub fn on(date: &str, state: &Reservation, command: &Command) -> Result<ChangeOutcome<Reservation>, Refusal> {
    apply(state, command, &hotel(date), NOW)
}

pub fn merge(state: &Reservation, patch: Value) -> Result<ChangeOutcome<Reservation>, Refusal> {
    on("2016-07-01", state, &Command::Merge(object(patch)))
}

pub fn named(name: &str, body: Value) -> Command {
    Command::named(name, object(body)).expect("a known name")
}

/// The change of a merge that has to change something.
pub fn change(state: &Reservation, patch: Value) -> Change<Reservation> {
    changed(merge(state, patch))
}

pub fn changed(outcome: Result<ChangeOutcome<Reservation>, Refusal>) -> Change<Reservation> {
    match outcome {
        Ok(ChangeOutcome::Changed(change)) => change,
        other => panic!("{other:?}"),
    }
}

/// The state after a named transition without a body.
pub fn moved(state: &Reservation, name: &str, body: Value) -> Reservation {
    changed(on("2016-07-01", state, &named(name, body))).state
}

/// Pointers and codes of broken rules.
pub type Codes = Vec<(String, String)>;

/// The pointers and codes of a refusal.
pub fn codes(outcome: Result<ChangeOutcome<Reservation>, Refusal>) -> Codes {
    match outcome {
        Err(Refusal::Invalid(errors)) => errors
            .into_iter()
            .map(|error| (error.pointer, error.code))
            .collect(),
        other => panic!("{other:?}"),
    }
}

/// The code of the guard that was not met.
pub fn guard_code(outcome: Result<ChangeOutcome<Reservation>, Refusal>) -> &'static str {
    match outcome {
        Err(Refusal::Guard { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

/// A reservation in each status.
pub fn in_status(status: Status) -> Reservation {
    match status {
        Status::CheckedIn => made(json!({"status": "checked_in", "room_id": "101"})),
        Status::CheckedOut => moved(&in_status(Status::CheckedIn), "check-out", json!({})),
        Status::Cancelled => moved(&in_status(Status::Confirmed), "cancel", json!({"reason": "ill"})),
        Status::NoShow => moved(&in_status(Status::Confirmed), "no-show", json!({})),
        start => made(json!({"status": start})),
    }
}

/// The amounts of a settled booking in minor units of its currency.
#[derive(Debug, PartialEq)]
pub struct Amounts {
    pub room_total: i64,
    pub extras_total: i64,
    pub total: i64,
    pub balance: i64,
}

pub fn amounts(booking: &Booking) -> Amounts {
    let minor = |text: &str| Money::parse_signed(text, booking.currency).unwrap().minor;
    Amounts {
        room_total: minor(booking.room_total.as_ref().unwrap()),
        extras_total: minor(&booking.extras_total),
        total: minor(booking.total.as_ref().unwrap()),
        balance: rates::balance(booking),
    }
}
