//! The parts of a profile that depend on the day: the next stay, and whether the guest is in house.
//!
//! Computed on read, so that a stored profile never grows stale at midnight. The facts are those known now, also when
//! a day in the past is asked for. Each stay is looked at on its own property's day.

use super::{
    metrics::{StayDates, stay_dates},
    property_day::{self, PropertyDays},
    reservation_status::ReservationStatus,
    stay::Stay,
};
use contract::UnixMillis;
use jiff::{civil::Date, tz::TimeZone};
use serde::Serialize;

/// What depends on the day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OnDay {
    /// The day that was asked for; else the latest today of all stays' properties.
    pub as_of: Date,
    /// The earliest stay that begins on its property's day or later: expected, or, on a day in the past, one that took
    /// place.
    pub next_stay: Option<StayDates>,
    /// Whether the guest is in the hotel: arrived, and not departed.
    pub in_house: bool,
}

/// The view of one person's reservations on one day, whatever day it is at their properties.
pub fn on_day(reservations: &[Stay], as_of: Date) -> OnDay {
    on_days(reservations, as_of, |_| as_of)
}

/// The view of one person's reservations today, each on its own property's day.
pub fn today(reservations: &[Stay], days: &PropertyDays, now: UnixMillis) -> OnDay {
    let today = |stay: &Stay| property_day::today(stay, days, now);
    let latest = reservations.iter().map(today).max();
    on_days(
        reservations,
        latest.unwrap_or_else(|| now.date_in(&TimeZone::UTC)),
        today,
    )
}

fn on_days(reservations: &[Stay], as_of: Date, day: impl Fn(&Stay) -> Date) -> OnDay {
    let staying = || reservations.iter().filter(|stay| stay.stays());
    OnDay {
        as_of,
        next_stay: staying()
            .filter(|stay| begins_later(stay, day(stay)))
            .filter_map(stay_dates)
            .min(),
        in_house: staying().any(|stay| in_house(stay, day(stay))),
    }
}

fn begins_later(stay: &Stay, as_of: Date) -> bool {
    match stay.known_status() {
        Some(ReservationStatus::Confirmed) => stay.check_in.is_some_and(|day| day >= as_of),
        Some(ReservationStatus::CheckedIn | ReservationStatus::CheckedOut) => {
            stay.from().is_some_and(|day| day > as_of)
        }
        _ => false,
    }
}

/// Somebody who has not checked out is still there, also past the booked departure.
fn in_house(stay: &Stay, as_of: Date) -> bool {
    let arrived = stay.from().is_some_and(|day| day <= as_of);
    match stay.known_status() {
        Some(ReservationStatus::CheckedIn) => arrived,
        Some(ReservationStatus::CheckedOut) => arrived && stay.until().is_some_and(|day| as_of < day),
        _ => false,
    }
}
