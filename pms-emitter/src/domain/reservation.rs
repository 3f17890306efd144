//! A reservation: what the client sets (its [`Booking`]) and what the service adds.
//!
//! It is stored whole, shown whole, and carried whole by each of its events; free text stays out of the latter. The
//! commands that change it stand in `reservation_command`.

use super::{
    event::{EventPayload, object_of},
    reservation_booking::Booking,
    stay::{self, ComputedStatus},
    transition::{Status, Transition},
};
use contract::{EntityKind, EntityRef, EventType, GuestId, PropertyId, ReservationId, UnixMillis};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Fields of the booking that are free text or internal to the hotel: never in an event.
const NOT_IN_EVENTS: [&str; 2] = ["special_requests", "balance_override"];

/// A reservation as answers and events show it. Its members stand in this order, those of the booking in theirs: people read
/// them.
#[derive(Serialize)]
struct Shown<'r> {
    id: &'r ReservationId,
    version: u64,
    property_id: &'r PropertyId,
    #[serde(flatten)]
    booking: &'r Booking,
    nights: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    computed_status: Option<&'static str>,
    booked_on: Date,
    #[serde(skip_serializing_if = "Option::is_none")]
    lead_time_days: Option<i32>,
    actual_check_in_at: Option<UnixMillis>,
    actual_check_out_at: Option<UnixMillis>,
    checked_in_on: Option<Date>,
    checked_out_on: Option<Date>,
    created_at: UnixMillis,
    updated_at: UnixMillis,
    deleted_at: Option<UnixMillis>,
}

/// A reservation after one of its commits. Its booking is complete, settled and has passed every rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reservation {
    /// `res_...`
    pub id: ReservationId,
    /// Counts its commits from 1.
    pub version: u64,
    /// Fixed after creation.
    pub property_id: PropertyId,
    /// What the client sets.
    pub booking: Booking,
    /// The date of `booked_at` in the property's zone, as it was when that was set.
    pub booked_on: Date,
    /// The server's instant of the check-in.
    pub actual_check_in_at: Option<UnixMillis>,
    /// The server's instant of the check-out.
    pub actual_check_out_at: Option<UnixMillis>,
    /// The business date of the check-in.
    pub checked_in_on: Option<Date>,
    /// The business date of the check-out; room nights count up to it.
    pub checked_out_on: Option<Date>,
    /// When it was made here.
    pub created_at: UnixMillis,
    /// When it was last changed.
    pub updated_at: UnixMillis,
    /// When it was deleted; it keeps its last state.
    pub deleted_at: Option<UnixMillis>,
}

impl Reservation {
    /// The status that is stored.
    pub fn status(&self) -> Status {
        self.booking.status
    }

    /// Whether a guest of it may not be deleted: the stay is going on (checked in), or it lies ahead.
    ///
    /// A business date only moves forward, and while `status` and `check_out` stay as they are, that never makes a
    /// reservation live that was not.
    pub fn is_live(&self, business_date: Date) -> bool {
        let ahead = self.status().is_ahead() && self.booking.check_out >= business_date;
        self.deleted_at.is_none() && (ahead || self.status() == Status::CheckedIn)
    }

    /// What its status means on a business date.
    pub fn computed_status(&self, business_date: Date) -> ComputedStatus {
        let booking = &self.booking;
        ComputedStatus::on(business_date, booking.status, booking.check_in, booking.check_out)
    }

    /// The reservation as the API shows it on a business date.
    pub fn view(&self, business_date: Date) -> Map<String, Value> {
        object_of(&Shown {
            computed_status: Some(self.computed_status(business_date).as_str()),
            lead_time_days: Some(stay::days_between(self.booked_on, self.booking.check_in)),
            ..self.shown()
        })
    }

    /// Does to the service's own fields what a transition does, on the property's business date.
    pub(super) fn record(&mut self, transition: Transition, business_date: Date, now: UnixMillis) {
        match transition {
            Transition::CheckIn => {
                self.actual_check_in_at = Some(now);
                self.checked_in_on = Some(business_date);
            }
            Transition::RevertCheckIn => {
                self.actual_check_in_at = None;
                self.checked_in_on = None;
            }
            Transition::CheckOut => {
                self.actual_check_out_at = Some(now);
                self.checked_out_on = Some(business_date);
            }
            Transition::RevertCheckOut => {
                self.actual_check_out_at = None;
                self.checked_out_on = None;
            }
            Transition::Hold
            | Transition::Waitlist
            | Transition::Confirm
            | Transition::Cancel
            | Transition::NoShow
            | Transition::Reinstate => {}
        }
    }

    fn shown(&self) -> Shown<'_> {
        Shown {
            id: &self.id,
            version: self.version,
            property_id: &self.property_id,
            booking: &self.booking,
            nights: stay::nights(self.booking.check_in, self.booking.check_out),
            computed_status: None,
            booked_on: self.booked_on,
            lead_time_days: None,
            actual_check_in_at: self.actual_check_in_at,
            actual_check_out_at: self.actual_check_out_at,
            checked_in_on: self.checked_in_on,
            checked_out_on: self.checked_out_on,
            created_at: self.created_at,
            updated_at: self.updated_at,
            deleted_at: self.deleted_at,
        }
    }
}

impl EventPayload for Reservation {
    fn payload(&self) -> Map<String, Value> {
        let mut payload = object_of(&self.shown());
        for name in NOT_IN_EVENTS {
            payload.shift_remove(name);
        }
        payload
    }

    fn entity_ref(&self) -> EntityRef {
        EntityRef {
            kind: EntityKind::Reservation,
            id: self.id.clone().into(),
            version: self.version,
        }
    }

    fn property_id(&self) -> &PropertyId {
        &self.property_id
    }
}

/// The guests that have to exist and be active for this change to be committed, each with its JSON pointer, in the
/// order of their ids: so two transactions never lock them in opposite orders.
///
/// Those that the change adds, always; all of them, when it makes the reservation live that was not. A guest of a past
/// stay may have been deleted since, which is no reason to refuse a change to its bill; one of a live stay cannot have
/// been, as long as this is the property's business date.
pub fn guests_to_guard(
    before: Option<&Reservation>,
    after: &Reservation,
    business_date: Date,
) -> Vec<(String, GuestId)> {
    let known: Vec<&GuestId> = match before {
        Some(before) if before.is_live(business_date) || !after.is_live(business_date) => {
            before.booking.guests().map(|(_, id)| id).collect()
        }
        _ => Vec::new(),
    };
    let mut guards: Vec<(String, GuestId)> = after
        .booking
        .guests()
        .filter(|(_, id)| !known.contains(id))
        .map(|(pointer, id)| (pointer, id.clone()))
        .collect();
    guards.sort_by(|one, other| one.1.cmp(&other.1));
    guards.dedup_by(|one, other| one.1 == other.1);
    guards
}

/// The most specific event of a change that is neither a creation nor a deletion.
pub(super) fn event_of(transition: Option<Transition>, changed: &[&str], after: &Booking) -> EventType {
    match transition {
        Some(transition) if transition.event() != EventType::ReservationUpdated => transition.event(),
        _ if changed.contains(&"room_id") && after.room_id.is_some() => EventType::ReservationRoomAssigned,
        _ => EventType::ReservationUpdated,
    }
}
