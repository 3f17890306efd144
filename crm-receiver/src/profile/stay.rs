//! Reservations as a profile shows and counts them.

use super::{
    payload::Payload,
    property_day::zone_name,
    record::{Record, Role},
    reservation_status::ReservationStatus,
};
use contract::{Currency, EntityId, Money, PropertyId, SourceId, UnixMillis};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// One reservation of a person: what the profile keeps of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stay {
    /// The sender.
    pub source: SourceId,
    /// The reservation's id at the sender.
    pub reservation_id: EntityId,
    /// Its commit.
    pub version: u64,
    /// When that was committed.
    pub seen_at: UnixMillis,
    /// Where.
    pub property_id: Option<PropertyId>,
    /// The zone of its property's dates, as its last state names it.
    pub timezone: Option<String>,
    /// What this person is to it.
    pub role: Role,
    /// Its status, as the sender spells it.
    pub status: String,
    /// The number that the guest knows.
    pub confirmation_number: Option<String>,
    /// Booked arrival.
    pub check_in: Option<Date>,
    /// Booked departure.
    pub check_out: Option<Date>,
    /// The business date of the real arrival.
    pub checked_in_on: Option<Date>,
    /// The business date of the real departure.
    pub checked_out_on: Option<Date>,
    /// The date of the booking, in the property's timezone.
    pub booked_on: Option<Date>,
    /// Nights from the booked arrival, or an earlier real one, to the real departure, else the booked one.
    pub nights: Option<u32>,
    /// The room type that was booked, else the one charged.
    pub room_type: Option<String>,
    /// The room.
    pub room_id: Option<String>,
    /// The rate plan.
    pub rate_plan: Option<String>,
    /// The channel that it was booked through.
    pub channel: Option<String>,
    /// The currency of its amounts.
    pub currency: Option<Currency>,
    /// What the room costs, a decimal.
    pub room_total: Option<String>,
    /// What everything costs, a decimal.
    pub total: Option<String>,
}

impl Stay {
    /// Reads a reservation's record.
    pub fn of(record: &Record, role: Role) -> Self {
        let payload = Payload(&record.state);
        let currency: Option<Currency> = payload.text("currency").and_then(|code| code.parse().ok());
        let amount = |name| Some(payload.money(name, currency?)?.to_string());
        let mut stay = Self {
            source: record.key.source.clone(),
            reservation_id: record.key.id.clone(),
            version: record.version,
            seen_at: record.occurred_at,
            property_id: record.property_id.clone(),
            timezone: zone_name(payload),
            role,
            status: payload.text("status").unwrap_or_default().to_owned(),
            confirmation_number: payload.owned("confirmation_number"),
            check_in: payload.date("check_in"),
            check_out: payload.date("check_out"),
            checked_in_on: payload.date("checked_in_on"),
            checked_out_on: payload.date("checked_out_on"),
            booked_on: payload.date("booked_on"),
            nights: None,
            room_type: payload
                .owned("room_type_booked")
                .or(payload.owned("room_type_charged")),
            room_id: payload.owned("room_id"),
            rate_plan: payload.owned("rate_plan"),
            channel: payload.owned("channel"),
            currency,
            room_total: amount("room_total"),
            total: amount("total"),
        };
        stay.nights = stay.count_nights();
        stay
    }

    /// Its status, unless the sender spells one that is not known.
    pub fn known_status(&self) -> Option<ReservationStatus> {
        self.status.parse().ok()
    }

    /// Whether this person stays or stayed, rather than only booked.
    pub fn stays(&self) -> bool {
        self.role != Role::Booker
    }

    /// The day of arrival: the real one where it is known.
    pub fn from(&self) -> Option<Date> {
        self.checked_in_on.or(self.check_in)
    }

    /// The day of departure: the real one where it is known.
    pub fn until(&self) -> Option<Date> {
        self.checked_out_on.or(self.check_out)
    }

    /// The revenue of the whole stay.
    pub fn revenue(&self) -> Option<Money> {
        Money::parse_signed(self.total.as_deref()?, self.currency?).ok()
    }

    /// The revenue of the room alone.
    pub fn room_revenue(&self) -> Option<Money> {
        Money::parse_signed(self.room_total.as_deref()?, self.currency?).ok()
    }

    /// A late arrival was held and charged, so that its nights count from the booked one.
    fn count_nights(&self) -> Option<u32> {
        let booked_or_earlier = self.check_in.into_iter().chain(self.checked_in_on).min()?;
        let nights = days(booked_or_earlier, self.until()?)?;
        Some(u32::try_from(nights).unwrap_or(0))
    }
}

/// Whole days from one date to another; negative when it lies before.
pub fn days(from: Date, until: Date) -> Option<i32> {
    from.until(until).ok().map(|span| span.get_days())
}
