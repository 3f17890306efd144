//! Today at a property: what its events say of its business date, and of the timezone of its dates.
//!
//! The newest business date that any event of a property states is used, of whatever guest and in whatever order the
//! events arrive: the greatest of a set. It is kept beside the profiles, not in them, which hold facts that no day
//! changes.

use super::{
    payload::Payload,
    record::{Record, RecordKind},
    stay::{Stay, days},
};
use contract::{PropertyId, SourceId, UnixMillis};
use jiff::{civil::Date, tz::TimeZone};
use std::collections::BTreeMap;

/// The longest name of a zone that is kept; those of the tz database have at most 32 characters.
pub const ZONE_LEN_MAX: usize = 64;
/// How many days a business date may lie from the date in its zone: a night audit is late or early by a night.
const BUSINESS_DATE_OFF_MAX: i32 = 1;

/// A property: its code is unique within its source only.
pub type PropertyKey = (SourceId, PropertyId);

/// What an event of a property says of its day. The greatest of all is used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PropertyDay {
    /// Its business date.
    pub business_date: Date,
    /// The name of its zone; empty when the event names none.
    pub timezone: String,
}

/// The days of some properties.
pub type PropertyDays = BTreeMap<PropertyKey, PropertyDay>;

impl PropertyDay {
    /// What a reservation's event says of its property's day, if it says a business date.
    pub fn of(record: &Record) -> Option<(PropertyKey, Self)> {
        if record.key.kind != RecordKind::Reservation {
            return None;
        }
        let payload = Payload(&record.state);
        let key = (record.key.source.clone(), record.property_id.clone()?);
        let timezone = zone_name(payload).unwrap_or_default();
        let business_date = payload.date("business_date")?;
        Some((
            key,
            Self {
                business_date,
                timezone,
            },
        ))
    }
}

/// The name of a zone that a reservation's payload says, if it is shaped as one.
pub fn zone_name(payload: Payload<'_>) -> Option<String> {
    let name = payload.text("timezone")?;
    let shaped = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'+');
    (name.len() <= ZONE_LEN_MAX && name.bytes().all(shaped)).then(|| name.to_owned())
}

/// Adds what one event says: the greater is kept.
pub fn add(days: &mut PropertyDays, key: PropertyKey, day: PropertyDay) {
    match days.get(&key) {
        Some(standing) if *standing >= day => {}
        _ => {
            days.insert(key, day);
        }
    }
}

/// Today at a stay's own property: the newest business date that the property's events say, if it is within a day of the
/// date in its zone, else that date. In UTC for a sender that names no zone, or one that nobody knows.
pub fn today(stay: &Stay, days_known: &PropertyDays, now: UnixMillis) -> Date {
    let key = stay
        .property_id
        .clone()
        .map(|property| (stay.source.clone(), property));
    let known = key.and_then(|key| days_known.get(&key));
    let zone = stay
        .timezone
        .as_deref()
        .or(known.map(|day| day.timezone.as_str()));
    let zone = zone
        .and_then(|name| TimeZone::get(name).ok())
        .unwrap_or(TimeZone::UTC);
    let date = now.date_in(&zone);
    let is_near = |business_date: &Date| {
        days(date, *business_date).is_some_and(|off| off.abs() <= BUSINESS_DATE_OFF_MAX)
    };
    known.map(|day| day.business_date).filter(is_near).unwrap_or(date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::permutations::sent, profile::Role};
    use jiff::civil::date;
    use serde_json::{Value, json};

    /// 13:30 on the 14th in UTC: already the 15th in Auckland, and still the 14th in Honolulu.
    const NOON: &str = "2026-03-14T13:30:00Z";

    fn record(payload: Value) -> Record {
        sent("reservation.updated", "r", 1, 1, payload).record
    }

    fn seen(of_stay: Value, of_property: &[Value]) -> Date {
        let mut days = PropertyDays::new();
        for payload in of_property {
            let (key, day) = PropertyDay::of(&record(payload.clone())).unwrap();
            add(&mut days, key, day);
        }
        let now = UnixMillis::parse_rfc3339(NOON).unwrap();
        today(&Stay::of(&record(of_stay), Role::Primary), &days, now)
    }

    #[test]
    fn today_is_the_business_date_if_it_is_near_else_the_date_in_the_zone() {
        let day = |business_date: &str, timezone: &str| json!({"business_date": business_date, "timezone": timezone});
        let auckland = json!({"timezone": "Pacific/Auckland"});
        for (stay, property, expected) in [
            (json!({}), vec![], date(2026, 3, 14)),
            (auckland.clone(), vec![], date(2026, 3, 15)),
            (json!({"timezone": "Pacific/Honolulu"}), vec![], date(2026, 3, 14)),
            (json!({"timezone": "Mars/Olympus"}), vec![], date(2026, 3, 14)),
            (json!({"timezone": 7}), vec![], date(2026, 3, 14)),
            (
                json!({"timezone": "Pacific/Auckland".repeat(9)}),
                vec![],
                date(2026, 3, 14),
            ),
            // The night audit is late, or early, or has not run for days.
            (
                auckland.clone(),
                vec![day("2026-03-14", "Pacific/Auckland")],
                date(2026, 3, 14),
            ),
            (
                auckland.clone(),
                vec![day("2026-03-15", "Pacific/Auckland")],
                date(2026, 3, 15),
            ),
            (
                auckland.clone(),
                vec![day("2026-03-16", "Pacific/Auckland")],
                date(2026, 3, 16),
            ),
            (
                auckland.clone(),
                vec![day("2026-03-13", "Pacific/Auckland")],
                date(2026, 3, 15),
            ),
            (
                auckland.clone(),
                vec![day("2026-03-17", "Pacific/Auckland")],
                date(2026, 3, 15),
            ),
            (
                auckland.clone(),
                vec![day("9999-12-31", "UTC")],
                date(2026, 3, 15),
            ),
            // The newest counts, whatever its place among the events.
            (
                auckland.clone(),
                vec![day("2026-03-15", "UTC"), day("2026-03-14", "UTC")],
                date(2026, 3, 15),
            ),
            // A stay whose own events say no zone yet is in that of its property.
            (
                json!({}),
                vec![day("2026-01-01", "Pacific/Auckland")],
                date(2026, 3, 15),
            ),
            (
                json!({}),
                vec![json!({"business_date": "2026-03-13"})],
                date(2026, 3, 13),
            ),
            (
                json!({}),
                vec![json!({"business_date": "2026-03-12"})],
                date(2026, 3, 14),
            ),
        ] {
            assert_eq!(seen(stay.clone(), &property), expected, "{stay} {property:?}");
        }
    }

    #[test]
    fn only_a_reservation_of_a_property_says_its_day() {
        let payload = json!({"business_date": "2026-03-14", "timezone": "UTC"});
        let guest = sent("guest.updated", "g", 1, 1, payload.clone()).record;
        assert_eq!(PropertyDay::of(&guest), None);
        let mut nowhere = record(payload);
        nowhere.property_id = None;
        assert_eq!(PropertyDay::of(&nowhere), None);
        assert_eq!(
            PropertyDay::of(&record(json!({"business_date": "tomorrow"}))),
            None
        );
    }
}
