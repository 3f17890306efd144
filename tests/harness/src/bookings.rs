//! The real bookings of `data/hotel_bookings_subset.csv`, read strictly.
//!
//! This is where the demo's data enters: a row becomes a [`Booking`] or an error that names its line and column. Only
//! the file's own ways of saying "nothing" are read as absent (`NA` children, `NULL` country, agent and company);
//! what a hotel would refuse (nobody in the room, a rate below zero) is kept as it stands, for the service to refuse.

use jiff::{ToSpan, civil::Date};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, de};

/// The file itself, so that the demo needs no path at run time. Its licence and source stand in `data/NOTICE.md`.
pub const CSV: &str = include_str!("../data/hotel_bookings_subset.csv");

/// Which of the two hotels a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Hotel {
    /// The resort hotel, in the Algarve.
    #[serde(rename = "Resort Hotel")]
    Resort,
    /// The city hotel, in Lisbon.
    #[serde(rename = "City Hotel")]
    City,
}

/// How a booking ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum End {
    /// The guest stayed and left.
    #[serde(rename = "Check-Out")]
    CheckedOut,
    /// Cancelled before the arrival, or on its day.
    #[serde(rename = "Canceled")]
    Cancelled,
    /// The guest did not come.
    #[serde(rename = "No-Show")]
    NoShow,
}

/// One row: a booking and how it ended. Rows repeated to the letter are separate bookings.
#[derive(Clone, Debug, PartialEq)]
pub struct Booking {
    /// The number of the row in the file, from 1, without the header.
    pub row: u32,
    /// The hotel that was booked.
    pub hotel: Hotel,
    /// The day of the booking: the arrival less the lead time.
    pub booked_on: Date,
    /// The first day of the stay, as booked.
    pub arrival: Date,
    /// Nights booked; none is a day use.
    pub nights: u32,
    /// Grown-up guests.
    pub adults: u32,
    /// Children; None where the file has `NA`.
    pub children: Option<u32>,
    /// Infants.
    pub babies: u32,
    /// The meals, as the file codes them: `BB`, `HB`, `FB`, `SC` or `Undefined`.
    pub meal: String,
    /// The guest's country as the file spells it: alpha-3, or the alpha-2 `CN`; None where it has `NULL`.
    pub country: Option<String>,
    /// The market segment as the file names it.
    pub market_segment: String,
    /// The distribution channel as the file names it.
    pub distribution_channel: String,
    /// Whether the hotel knew the guest from before.
    pub repeated_guest: bool,
    /// The room type that was booked.
    pub room_booked: char,
    /// The room type that was given.
    pub room_assigned: char,
    /// How often the booking was changed before the arrival or the cancellation.
    pub changes: u32,
    /// `No Deposit`, `Non Refund` or `Refundable`.
    pub deposit: String,
    /// The travel agency's number.
    pub agent: Option<u32>,
    /// The paying company's number.
    pub company: Option<u32>,
    /// `Transient`, `Transient-Party`, `Contract` or `Group`.
    pub customer_type: String,
    /// The rate of a night, in euros; the file has no currency.
    pub rate: Decimal,
    /// Parking spaces asked for.
    pub parking: u32,
    /// How many special requests were made.
    pub special_requests: u32,
    /// How it ended.
    pub end: End,
    /// When it ended: the day of the check-out, the cancellation, or the arrival that did not happen.
    pub ended_on: Date,
}

impl Booking {
    /// How many persons the row names; a row of zero is refused by the service.
    pub fn persons(&self) -> u32 {
        self.adults + self.children.unwrap_or(0) + self.babies
    }

    /// Whether the stay has no night.
    pub fn is_day_use(&self) -> bool {
        self.nights == 0
    }

    /// The departure as booked.
    pub fn departure(&self) -> Date {
        self.arrival.saturating_add(i64::from(self.nights).days())
    }
}

/// A file that cannot be read as bookings: the message names the line and the column.
#[derive(Debug, thiserror::Error)]
pub enum BookingsError {
    /// A row that does not have the shape of a booking.
    #[error("the bookings cannot be read")]
    Csv(#[from] csv::Error),
    /// A row whose parts contradict each other.
    #[error("row {row}: {what}")]
    Contradiction {
        /// The row's number, from 1.
        row: u32,
        /// What does not fit.
        what: &'static str,
    },
}

/// Reads all bookings of `csv`, in the order of the file.
pub fn read(csv: &str) -> Result<Vec<Booking>, BookingsError> {
    csv::Reader::from_reader(csv.as_bytes())
        .deserialize::<Row>()
        .zip(1..)
        .map(|(row, number)| row?.into_booking(number))
        .collect()
}

/// The columns that are used, by the file's own names.
#[derive(Deserialize)]
struct Row {
    hotel: Hotel,
    #[serde(deserialize_with = "zero_or_one")]
    is_canceled: bool,
    lead_time: u32,
    arrival_date_year: i16,
    arrival_date_month: Month,
    arrival_date_day_of_month: i8,
    stays_in_weekend_nights: u32,
    stays_in_week_nights: u32,
    adults: u32,
    #[serde(deserialize_with = "number_unless_na")]
    children: Option<u32>,
    babies: u32,
    meal: String,
    #[serde(deserialize_with = "text_unless_null")]
    country: Option<String>,
    market_segment: String,
    distribution_channel: String,
    #[serde(deserialize_with = "zero_or_one")]
    is_repeated_guest: bool,
    reserved_room_type: char,
    assigned_room_type: char,
    booking_changes: u32,
    deposit_type: String,
    #[serde(deserialize_with = "number_unless_null")]
    agent: Option<u32>,
    #[serde(deserialize_with = "number_unless_null")]
    company: Option<u32>,
    customer_type: String,
    #[serde(deserialize_with = "decimal")]
    adr: Decimal,
    required_car_parking_spaces: u32,
    total_of_special_requests: u32,
    reservation_status: End,
    reservation_status_date: Date,
}

impl Row {
    fn into_booking(self, row: u32) -> Result<Booking, BookingsError> {
        let refuse = |what| BookingsError::Contradiction { row, what };
        let arrival = Date::new(
            self.arrival_date_year,
            self.arrival_date_month as i8,
            self.arrival_date_day_of_month,
        )
        .map_err(|_| refuse("the arrival is no date"))?;
        let booked_on = arrival
            .checked_sub(i64::from(self.lead_time).days())
            .map_err(|_| refuse("the lead time is out of range"))?;
        if self.is_canceled == (self.reservation_status == End::CheckedOut) {
            return Err(refuse("is_canceled contradicts the status"));
        }
        if self.reservation_status_date < booked_on {
            return Err(refuse("it ended before it was booked"));
        }
        Ok(Booking {
            row,
            hotel: self.hotel,
            booked_on,
            arrival,
            nights: self.stays_in_weekend_nights + self.stays_in_week_nights,
            adults: self.adults,
            children: self.children,
            babies: self.babies,
            meal: self.meal,
            country: self.country,
            market_segment: self.market_segment,
            distribution_channel: self.distribution_channel,
            repeated_guest: self.is_repeated_guest,
            room_booked: self.reserved_room_type,
            room_assigned: self.assigned_room_type,
            changes: self.booking_changes,
            deposit: self.deposit_type,
            agent: self.agent,
            company: self.company,
            customer_type: self.customer_type,
            rate: self.adr,
            parking: self.required_car_parking_spaces,
            special_requests: self.total_of_special_requests,
            end: self.reservation_status,
            ended_on: self.reservation_status_date,
        })
    }
}

/// The months as the file writes them, with their numbers.
#[derive(Clone, Copy, Deserialize)]
enum Month {
    January = 1,
    February,
    March,
    April,
    May,
    June,
    July,
    August,
    September,
    October,
    November,
    December,
}

fn zero_or_one<'de, D: Deserializer<'de>>(field: D) -> Result<bool, D::Error> {
    match u8::deserialize(field)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(de::Error::custom("neither 0 nor 1")),
    }
}

fn decimal<'de, D: Deserializer<'de>>(field: D) -> Result<Decimal, D::Error> {
    let text = <&str>::deserialize(field)?;
    text.parse().map_err(|_| de::Error::custom("not a decimal"))
}

fn text_unless_null<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(field)?;
    Ok((text != "NULL").then_some(text))
}

fn number_unless_null<'de, D: Deserializer<'de>>(field: D) -> Result<Option<u32>, D::Error> {
    number_unless(field, "NULL")
}

fn number_unless_na<'de, D: Deserializer<'de>>(field: D) -> Result<Option<u32>, D::Error> {
    number_unless(field, "NA")
}

fn number_unless<'de, D: Deserializer<'de>>(field: D, nothing: &str) -> Result<Option<u32>, D::Error> {
    let text = <&str>::deserialize(field)?;
    if text == nothing {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| de::Error::custom("not a whole number"))
}

#[cfg(test)]
mod tests;
