//! The rules across the fields of a reservation, and the conditions of its transitions.
//!
//! A broken rule is a fault of the request (422). An unmet condition depends on the present date or state (409): the same
//! request may pass tomorrow, or once the bill is paid.

use super::{
    rates,
    refusal::Refusal,
    reservation::Reservation,
    reservation_booking::Booking,
    stay,
    transition::{Status, Transition},
};
use contract::{FieldError, UnixMillis};
use jiff::civil::Date;

/// Everything that is wrong with a booking, compared with the reservation that it is to replace; settles its amounts.
pub fn broken_rules(
    before: Option<&Reservation>,
    booking: &mut Booking,
    moving: bool,
    now: UnixMillis,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let dates = stay::broken_rule(booking.check_in, booking.check_out, booking.stay_type);
    if dates.is_none() {
        errors.extend(rates::settle(booking));
    }
    errors.extend(dates);
    people(booking, before.is_some() && moving, &mut errors);
    instants(before, booking, now, &mut errors);
    belongs_to_status(booking, moving, &mut errors);
    if let Some(before) = before {
        fixed(before, booking, &mut errors);
    }
    errors
}

fn people(booking: &Booking, guarded: bool, errors: &mut Vec<FieldError>) {
    if booking.status.is_firm() && booking.persons() == 0 && !guarded {
        let message = "a firm reservation has at least one person";
        errors.push(FieldError::new("/adults", "no_person", message));
    }
    for (place, guest) in booking.accompanying_guest_ids.iter().enumerate() {
        let earlier = &booking.accompanying_guest_ids[..place];
        if *guest == booking.primary_guest_id || earlier.contains(guest) {
            let pointer = format!("/accompanying_guest_ids/{place}");
            errors.push(FieldError::new(pointer, "duplicate", "is named already"));
        }
    }
}

/// Instants that a client may set in the past but not in the future. One that was accepted before is not checked again: the clock
/// may have been set back since.
fn instants(before: Option<&Reservation>, booking: &Booking, now: UnixMillis, errors: &mut Vec<FieldError>) {
    let known = before.map(|before| &before.booking);
    let mut never_later = |pointer: &str, at: UnixMillis, known: Option<UnixMillis>| {
        if at > now && known != Some(at) {
            errors.push(FieldError::new(pointer, "in_future", "lies in the future"));
        }
    };
    never_later(
        "/booked_at",
        booking.booked_at,
        known.map(|known| known.booked_at),
    );
    if let Some(cancellation) = &booking.cancellation {
        let known = known.and_then(|known| known.cancellation.as_ref());
        never_later("/cancellation/at", cancellation.at, known.map(|known| known.at));
    }
}

fn belongs_to_status(booking: &Booking, moving: bool, errors: &mut Vec<FieldError>) {
    let mut refuse = |pointer, code, message| errors.push(FieldError::new(pointer, code, message));
    let cancelled = booking.status == Status::Cancelled;
    match &booking.cancellation {
        None if cancelled => refuse("/cancellation", "required", "a cancelled reservation says how"),
        Some(_) if !cancelled => refuse(
            "/cancellation",
            "not_cancelled",
            "only a cancelled reservation has it",
        ),
        _ => {}
    }
    if booking.balance_override.is_some() && booking.status != Status::CheckedOut {
        refuse("/balance_override", "not_checked_out", "comes with the check-out");
    }
    if booking.status.has_arrived() && booking.room_id.is_none() && !moving {
        refuse("/room_id", "required", "a guest who has arrived has a room");
    }
}

fn fixed(before: &Reservation, booking: &Booking, errors: &mut Vec<FieldError>) {
    let mut refuse = |pointer, message| errors.push(FieldError::new(pointer, "immutable", message));
    if before.booking.currency != booking.currency {
        refuse("/currency", "the currency is fixed after creation");
    }
    if before.status().has_arrived() && before.booking.check_in != booking.check_in {
        refuse("/check_in", "the arrival is fixed after check-in");
    }
}

/// The condition of a transition that is not met on this business date, if any.
pub fn guard(
    transition: Transition,
    before: Option<&Reservation>,
    booking: &Booking,
    business_date: Date,
) -> Result<(), Refusal> {
    let require = |met: bool, code, message| {
        if met {
            Ok(())
        } else {
            Err(Refusal::Guard { code, message })
        }
    };
    let person = || require(booking.persons() > 0, "person_missing", "nobody is booked");
    let arrival_due = || {
        let due = business_date >= booking.check_in;
        require(
            due,
            "business_date_too_early",
            "the business date is before check_in",
        )
    };
    let same_date = |date: Option<Date>| {
        let message = "the business date has moved on since";
        require(date == Some(business_date), "business_date_moved", message)
    };
    match transition {
        Transition::Confirm => person(),
        Transition::CheckIn => {
            arrival_due()?;
            require(booking.room_id.is_some(), "room_missing", "no room is assigned")?;
            person()
        }
        Transition::RevertCheckIn => same_date(before.and_then(|before| before.checked_in_on)),
        Transition::CheckOut => {
            let paid = rates::balance(booking) == 0 || booking.balance_override.is_some();
            require(
                paid,
                "balance_open",
                "the balance is not 0, and no override says why",
            )
        }
        Transition::RevertCheckOut => same_date(before.and_then(|before| before.checked_out_on)),
        Transition::NoShow => arrival_due(),
        Transition::Reinstate => {
            let ahead = stay::is_check_out_ahead(booking.check_out, booking.stay_type, business_date);
            require(
                ahead,
                "check_out_passed",
                "check_out is not ahead of the business date",
            )?;
            person()
        }
        Transition::Hold | Transition::Waitlist | Transition::Cancel => Ok(()),
    }
}
