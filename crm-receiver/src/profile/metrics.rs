//! What a person's reservations add up to. Everything here is free of today's date; see [`super::view`] for the rest.
//!
//! Stays count for anyone who stays; nights, revenue, bookings and their outcomes for the primary guest alone, so that a
//! party's money is counted once.

use super::{
    record::Role,
    reservation_status::ReservationStatus,
    stay::{Stay, days},
};
use contract::{Currency, EntityId, Money, PropertyId};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A stay by its dates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StayDates {
    /// Arrival.
    pub from: Date,
    /// Departure.
    pub until: Date,
    /// Which reservation.
    pub reservation_id: EntityId,
    /// Where.
    pub property_id: Option<PropertyId>,
}

/// What was earned in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revenue {
    /// The currency.
    pub currency: Currency,
    /// The totals of the checked-out reservations.
    pub total: String,
    /// Their room totals.
    pub room_total: String,
    /// Their nights.
    pub room_nights: u64,
    /// Average daily rate: room total by nights, rounded half-even; none at no nights.
    pub adr: Option<String>,
}

/// The date-free numbers of a profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Reservations of any status and role.
    pub reservations: u64,
    /// Checked-out stays, as the primary or an accompanying guest.
    pub stays: u64,
    /// Nights of the checked-out stays as the primary guest.
    pub room_nights: u64,
    /// By currency, sorted.
    pub revenue: Vec<Revenue>,
    /// Nights by stay, as the primary guest.
    pub average_length_of_stay: Option<f64>,
    /// Days between booking and arrival, of all bookings that say when they were made.
    pub average_lead_time_days: Option<f64>,
    /// Cancelled bookings.
    pub cancellations: u64,
    /// Cancelled among the bookings whose outcome is known: checked out, cancelled, not shown up.
    pub cancellation_rate: Option<f64>,
    /// Bookings whose guest did not come.
    pub no_shows: u64,
    /// Two stays or more.
    pub repeat_guest: bool,
    /// The stay that began first.
    pub first_stay: Option<StayDates>,
    /// The stay that ended last.
    pub last_stay: Option<StayDates>,
    /// Of most nights; of equals the most recent.
    pub preferred_room_type: Option<String>,
    /// Of most nights; of equals the most recent.
    pub preferred_channel: Option<String>,
    /// Of most nights; of equals the most recent.
    pub preferred_property: Option<String>,
    /// The share of stays booked with the hotel itself, among those that say how they were booked.
    pub direct_share: Option<f64>,
}

/// The channel of a booking made with the hotel itself.
const CHANNEL_DIRECT: &str = "direct";

/// Counts the reservations that are linked to one person, in any order.
pub fn metrics(reservations: &[Stay]) -> Metrics {
    let bookings: Vec<&Stay> = reservations
        .iter()
        .filter(|stay| stay.role == Role::Primary)
        .collect();
    let with_status = |status| {
        bookings
            .iter()
            .filter(|stay| stay.known_status() == Some(status))
            .count() as u64
    };
    let own: Vec<&Stay> = bookings
        .iter()
        .copied()
        .filter(|stay| stay.known_status() == Some(ReservationStatus::CheckedOut))
        .collect();
    let stayed = reservations
        .iter()
        .filter(|stay| stay.stays() && stay.known_status() == Some(ReservationStatus::CheckedOut));
    let stays = stayed.clone().count() as u64;
    let room_nights = own.iter().map(|stay| u64::from(stay.nights.unwrap_or(0))).sum();
    let cancellations = with_status(ReservationStatus::Cancelled);
    let no_shows = with_status(ReservationStatus::NoShow);
    Metrics {
        reservations: reservations.len() as u64,
        stays,
        room_nights,
        revenue: revenue(&own),
        average_length_of_stay: ratio(room_nights, own.len() as u64, 2),
        average_lead_time_days: average_lead_time(&bookings),
        cancellations,
        cancellation_rate: ratio(cancellations, own.len() as u64 + cancellations + no_shows, 4),
        no_shows,
        repeat_guest: stays >= 2,
        first_stay: stayed.clone().filter_map(stay_dates).min(),
        last_stay: stayed
            .filter_map(stay_dates)
            .max_by_key(|stay| (stay.until, stay.clone())),
        preferred_room_type: preferred(&own, |stay| stay.room_type.clone()),
        preferred_channel: preferred(&own, |stay| stay.channel.clone()),
        preferred_property: preferred(&own, |stay| stay.property_id.clone().map(String::from)),
        direct_share: direct_share(&own),
    }
}

/// A stay's dates, if both are known.
pub fn stay_dates(stay: &Stay) -> Option<StayDates> {
    Some(StayDates {
        from: stay.from()?,
        until: stay.until()?,
        reservation_id: stay.reservation_id.clone(),
        property_id: stay.property_id.clone(),
    })
}

fn revenue(own: &[&Stay]) -> Vec<Revenue> {
    let mut sums: BTreeMap<Currency, (i64, i64, u64)> = BTreeMap::new();
    for stay in own {
        let Some(currency) = stay.currency else { continue };
        let minor = |money: Option<Money>| money.map_or(0, |money| money.minor);
        let sum = sums.entry(currency).or_default();
        sum.0 = sum.0.saturating_add(minor(stay.revenue()));
        sum.1 = sum.1.saturating_add(minor(stay.room_revenue()));
        sum.2 += u64::from(stay.nights.unwrap_or(0));
    }
    let money = |minor, currency| Money { minor, currency };
    sums.into_iter()
        .map(|(currency, (total, room_total, room_nights))| Revenue {
            currency,
            total: money(total, currency).to_string(),
            room_total: money(room_total, currency).to_string(),
            room_nights,
            adr: money(room_total, currency)
                .divided_half_even(room_nights)
                .map(|adr| adr.to_string()),
        })
        .collect()
}

fn average_lead_time(bookings: &[&Stay]) -> Option<f64> {
    let lead_times = bookings
        .iter()
        .filter_map(|stay| days(stay.booked_on?, stay.check_in?));
    let lead_times: Vec<u64> = lead_times.map(|days| u64::try_from(days).unwrap_or(0)).collect();
    ratio(lead_times.iter().sum(), lead_times.len() as u64, 2)
}

fn direct_share(own: &[&Stay]) -> Option<f64> {
    let channels: Vec<&str> = own.iter().filter_map(|stay| stay.channel.as_deref()).collect();
    let direct = channels
        .iter()
        .filter(|channel| channel.eq_ignore_ascii_case(CHANNEL_DIRECT))
        .count();
    ratio(direct as u64, channels.len() as u64, 4)
}

/// The value of most nights; of equals the one whose last stay is the most recent, then by its text.
fn preferred(own: &[&Stay], value: impl Fn(&Stay) -> Option<String>) -> Option<String> {
    let mut nights: BTreeMap<String, (u64, Option<Date>)> = BTreeMap::new();
    for stay in own {
        if let Some(value) = value(stay) {
            let sum = nights.entry(value).or_default();
            *sum = (
                sum.0 + u64::from(stay.nights.unwrap_or(0)),
                sum.1.max(stay.until()),
            );
        }
    }
    nights
        .into_iter()
        .max_by_key(|(_, weight)| *weight)
        .map(|(value, _)| value)
}

/// A quotient rounded half-even to so many decimals; none by zero.
fn ratio(part: u64, whole: u64, decimals: u32) -> Option<f64> {
    use rust_decimal::{Decimal, RoundingStrategy, prelude::ToPrimitive};
    let quotient = Decimal::from(part).checked_div(Decimal::from(whole))?;
    quotient
        .round_dp_with_strategy(decimals, RoundingStrategy::MidpointNearestEven)
        .to_f64()
}

#[cfg(test)]
mod tests;
