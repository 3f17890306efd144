//! The request bodies of the demo's client, made from bookings, drafts and people.
//!
//! Codes are the file's own words where the contract leaves them open. Instants are made of the file's dates and an
//! hour drawn by the seed, in the hotels' time zone.

use crate::bookings::{Booking, Hotel};
use crate::draft::Draft;
use crate::people::Person;
use crate::seeded::{Purpose, SeededRng};
use jiff::civil::{Date, Time, time};
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

/// The zone of both hotels.
pub const TIMEZONE: &str = "Europe/Lisbon";
/// The file has no currency; the hotels' country has this one.
pub const CURRENCY: &str = "EUR";

/// Desks answer from then on.
const FIRST_HOUR: i8 = 8;
const DESK_HOURS: usize = 14;
/// Cancellations are later than every booking of their day.
const CANCELLED_AT: Time = time(22, 30, 0, 0);

impl Hotel {
    /// Both hotels.
    pub const ALL: [Self; 2] = [Self::Resort, Self::City];

    /// The property's code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Resort => "ALG01",
            Self::City => "LIS01",
        }
    }

    /// What people call it; the data hides the real names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resort => "Resort Hotel, Algarve",
            Self::City => "City Hotel, Lisbon",
        }
    }
}

/// The body that makes a hotel's property, with the day on which its plan begins.
pub fn property(hotel: Hotel, business_date: Date) -> Value {
    json!({
        "id": hotel.code(),
        "name": hotel.name(),
        "timezone": TIMEZONE,
        "currency": CURRENCY,
        "business_date": business_date.to_string(),
    })
}

/// The body that makes a guest.
pub fn guest(person: &Person, row: u32) -> Value {
    let mut body = json!({
        "property_id": person.hotel.code(),
        "external_ids": [{"system": "demo", "value": format!("row-{row}")}],
        "title": person.title,
        "first_name": person.first_name,
        "last_name": person.last_name,
    });
    let said_at = instant(person.known_since, time(FIRST_HOUR, 0, 0, 0));
    let consent = person.consent.iter().map(|(channel, granted)| {
        let status = if *granted { "granted" } else { "denied" };
        json!({"channel": channel, "status": status, "at": said_at, "source": "booking"})
    });
    let optional = [
        (
            "second_last_name",
            person.second_last_name.clone().map(Value::from),
        ),
        ("email", person.email.clone().map(Value::from)),
        ("phone", person.phone.clone().map(Value::from)),
        (
            "date_of_birth",
            person.date_of_birth.map(|born| born.to_string().into()),
        ),
        ("nationality", person.country.clone().map(Value::from)),
        (
            "address",
            person.country.clone().map(|country| json!({"country": country})),
        ),
        ("language", person.language.map(Value::from)),
        ("consent", Some(consent.collect())),
        (
            "loyalty",
            person
                .loyalty
                .clone()
                .map(|number| json!([{"programme": "GUESTWIRE", "number": number}])),
        ),
    ];
    for (field, value) in optional {
        if let Some(value) = value {
            body[field] = value;
        }
    }
    body
}

/// The body that makes a reservation, but for its guest.
pub fn reservation(booking: &Booking, draft: &Draft, seed: u64) -> Map<String, Value> {
    let mut rng = SeededRng::new(seed, Purpose::Hours, booking.row);
    let hour = FIRST_HOUR + i8::try_from(rng.below(DESK_HOURS)).unwrap_or(0);
    let minute = i8::try_from(rng.below(60)).unwrap_or(0);
    let agency = booking.agent.map(|number| format!("TA{number:03}"));
    let mut body = Map::new();
    let mut set = |field: &str, value: Value| body.insert(field.to_owned(), value);
    set("property_id", booking.hotel.code().into());
    set("confirmation_number", format!("GW-{:05}", booking.row).into());
    set("status", "confirmed".into());
    set("check_in", booking.arrival.to_string().into());
    set(
        "stay_type",
        if booking.is_day_use() {
            "day_use"
        } else {
            "overnight"
        }
        .into(),
    );
    set(
        "booked_at",
        instant(booking.booked_on, time(hour, minute, 0, 0)).into(),
    );
    set("currency", CURRENCY.into());
    set("rate_plan", rate_plan(booking).into());
    set("guarantee", booking.deposit.clone().into());
    for (field, word) in [
        ("market_segment", &booking.market_segment),
        ("channel", &booking.distribution_channel),
    ] {
        if word != "Undefined" {
            set(field, word.clone().into());
        }
    }
    if let Some(number) = booking.company {
        set("company", format!("CO{number:03}").into());
    }
    if let Some(agency) = agency {
        set(
            "channel_reference",
            json!({"channel": agency, "number": format!("B{:06}", booking.row)}),
        );
        set("travel_agent", agency.into());
    }
    body.extend(changeable(booking, draft));
    body
}

/// The fields of a reservation that one change altered: the body of its PUT.
pub fn change(booking: &Booking, earlier: &Draft, later: &Draft) -> Map<String, Value> {
    let before = changeable(booking, earlier);
    let after = changeable(booking, later);
    after
        .into_iter()
        .filter(|(field, value)| before.get(field) != Some(value))
        .collect()
}

/// The body of a cancellation; the data does not say who cancelled.
pub fn cancellation(booking: &Booking) -> Value {
    json!({"reason": "guest request", "by": "guest", "at": instant(booking.ended_on, CANCELLED_AT)})
}

fn changeable(booking: &Booking, draft: &Draft) -> Map<String, Value> {
    let nights = (draft.check_out - booking.arrival).get_days();
    let units = usize::try_from(nights).unwrap_or(0).max(1);
    let mut body = Map::new();
    let mut set = |field: &str, value: Value| body.insert(field.to_owned(), value);
    set("adults", draft.adults.into());
    if let Some(children) = draft.children {
        set("children", children.into());
    }
    set("infants", draft.infants.into());
    set("meal_plan", draft.meal_plan.into());
    set("room_type_booked", draft.room_type.to_string().into());
    set("room_type_charged", draft.room_type.to_string().into());
    set("check_out", draft.check_out.to_string().into());
    set("nightly_rates", vec![draft.rate.to_string(); units].into());
    set("special_requests", draft.special_requests.clone().into());
    body
}

fn rate_plan(booking: &Booking) -> &'static str {
    match (booking.customer_type.as_str(), booking.deposit.as_str()) {
        ("Contract", _) => "CONTRACT",
        ("Group", _) => "GROUP",
        (_, "Non Refund") => "NONREF",
        _ => "BAR",
    }
}

/// An instant of the hotels' day, in UTC as RFC 3339 writes it.
fn instant(on: Date, at: Time) -> String {
    let zone = TimeZone::get(TIMEZONE).expect("the bundled database knows the zone");
    let zoned = on.to_datetime(at).to_zoned(zone);
    zoned
        .expect("every date of the file lies within jiff's range")
        .timestamp()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bookings::{self, CSV};
    use crate::draft::drafts;
    use crate::seeded::DEFAULT_SEED;

    #[test]
    fn a_change_names_what_it_alters_and_nothing_else() {
        let bookings = bookings::read(CSV).unwrap();
        let mut changes = 0;
        for booking in &bookings {
            let drafts = drafts(booking, DEFAULT_SEED);
            let mut merged = reservation(booking, &drafts[0], DEFAULT_SEED);
            for pair in drafts.windows(2) {
                let change = change(booking, &pair[0], &pair[1]);
                assert!(!change.is_empty(), "row {}", booking.row);
                merged.extend(change);
                changes += 1;
            }
            let last = drafts.last().unwrap();
            assert_eq!(
                merged,
                reservation(booking, last, DEFAULT_SEED),
                "row {}",
                booking.row
            );
        }
        assert_eq!(changes, 1_438);
    }

    #[test]
    fn the_day_of_a_booking_is_the_hotels_own() {
        let zone = TimeZone::get(TIMEZONE).unwrap();
        for booking in bookings::read(CSV).unwrap() {
            let draft = drafts(&booking, DEFAULT_SEED).pop().unwrap();
            let body = reservation(&booking, &draft, DEFAULT_SEED);
            let booked: jiff::Timestamp = body["booked_at"].as_str().unwrap().parse().unwrap();
            assert_eq!(booked.to_zoned(zone.clone()).date(), booking.booked_on);
            let cancelled: jiff::Timestamp = cancellation(&booking)["at"].as_str().unwrap().parse().unwrap();
            assert!(booked < cancelled);
        }
    }
}
