//! Instants on the wire and in the tables, and the trait `Clock`.
//!
//! Both engines store Unix milliseconds in a BIGINT; JSON shows RFC 3339 in UTC with milliseconds. The clock is a
//! parameter everywhere, so that tests move it by hand.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;

/// The latest instant that the wire carries: 9999-12-30T21:59:59.999Z, the last whose date has four digits in every
/// time zone, and the end of what the calendar library counts.
const LAST_MILLIS: i64 = 253_402_207_199_999;

/// 2000-01-01T00:00:00Z. A number below it is taken for seconds: today's seconds, read as milliseconds, would be in
/// January 1970.
const FIRST_NUMBER: i64 = 946_684_800_000;

/// The deserialiser's message when a number is refused as an instant. See [`UnixMillis::from_number`].
pub const NOT_MILLISECONDS: &str = "not Unix milliseconds between 2000 and 9999";

/// The date and the time of an instant, up to its seconds.
const SECONDS_SHAPE: &str = "0000-00-00T00:00:00";
/// Nanoseconds.
const FRACTION_DIGITS_MAX: usize = 9;
/// What may follow them, and a fraction.
const ZONE_SHAPES: [&str; 3] = ["Z", "+00:00", "-00:00"];

/// An instant in Unix milliseconds, from 1970 to the end of the year 9999.
///
/// JSON shows it as RFC 3339 in UTC; integer Unix milliseconds are read too, see [`UnixMillis::from_number`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

/// An instant in whole Unix seconds, as `webhook-timestamp` carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub i64);

/// A source of the current time. The system's clock implements it in one place; tests move theirs by hand.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> UnixMillis;
}

/// A clock that stands still.
impl Clock for UnixMillis {
    fn now(&self) -> UnixMillis {
        *self
    }
}

impl UnixMillis {
    /// Reads RFC 3339 with any offset; the answer is in UTC, cut to milliseconds. None outside 1970 to 9999, and for the
    /// other shapes of ISO 8601.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        if !is_rfc3339(text) {
            return None;
        }
        let timestamp: Timestamp = with_known_fraction(text).parse().ok()?;
        Self::in_range(timestamp.as_millisecond())
    }

    /// The same instant if it lies between 1970 and the end of the year 9999.
    pub fn in_range(millis: i64) -> Option<Self> {
        (0..=LAST_MILLIS).contains(&millis).then_some(Self(millis))
    }

    /// The instant that a number on the wire means, if it can be milliseconds: from 2000 to the end of the year 9999.
    /// A smaller one is seconds, a larger one microseconds or nanoseconds. An earlier time can be said as RFC 3339.
    pub fn from_number(millis: i64) -> Option<Self> {
        Self::in_range(millis).filter(|at| at.0 >= FIRST_NUMBER)
    }

    /// The instant that a number of a foreign sender means: milliseconds, or the seconds that cannot be.
    pub fn from_foreign_number(number: i64) -> Option<Self> {
        Self::from_number(number).or_else(|| Self::from_number(number.checked_mul(1_000)?))
    }

    /// The instant that a text of a foreign sender means: RFC 3339, or the digits of a number.
    pub fn from_foreign_text(text: &str) -> Option<Self> {
        Self::parse_rfc3339(text).or_else(|| Self::from_foreign_number(text.parse().ok()?))
    }

    /// Whole seconds, cut.
    pub fn seconds(self) -> UnixSeconds {
        UnixSeconds(self.0.div_euclid(1000))
    }

    /// This instant later by `millis`; it stays within the range of `i64`.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// The calendar date of this instant in a time zone.
    pub fn date_in(self, zone: &TimeZone) -> Date {
        self.timestamp().to_zoned(zone.clone()).date()
    }

    /// RFC 3339 in UTC with milliseconds: `2026-03-14T09:26:53.589Z`.
    pub fn to_rfc3339(self) -> String {
        format!("{:.3}", self.timestamp())
    }

    fn timestamp(self) -> Timestamp {
        let millis = self.0.clamp(0, LAST_MILLIS);
        Timestamp::from_millisecond(millis).expect("the range of UnixMillis lies within jiff's")
    }
}

/// The text with at most as many digits of a second's fraction as the calendar library reads; the standard allows any
/// number.
fn with_known_fraction(text: &str) -> Cow<'_, str> {
    let begins = SECONDS_SHAPE.len() + 1;
    let digits = text[begins.min(text.len())..]
        .bytes()
        .take_while(u8::is_ascii_digit)
        .count();
    if digits <= FRACTION_DIGITS_MAX {
        return text.into();
    }
    format!(
        "{}{}",
        &text[..begins + FRACTION_DIGITS_MAX],
        &text[begins + digits..]
    )
    .into()
}

/// Whether a text has the shape of `date-time` (RFC 3339, section 5.6), which the calendar library reads more widely.
fn is_rfc3339(text: &str) -> bool {
    let Some((to_seconds, rest)) = text.split_at_checked(SECONDS_SHAPE.len()) else {
        return false;
    };
    let digits = rest.strip_prefix('.').map_or(0, |fraction| {
        fraction.bytes().take_while(u8::is_ascii_digit).count()
    });
    let has_fraction = rest.starts_with('.');
    let zone = if has_fraction { &rest[1 + digits..] } else { rest };
    has_shape(to_seconds, SECONDS_SHAPE)
        && has_fraction == (digits > 0)
        && ZONE_SHAPES.iter().any(|shape| has_shape(zone, shape))
}

/// Whether a text is the shape with a digit for each `0`; letters may be small (RFC 3339, section 5.6).
pub(crate) fn has_shape(text: &str, shape: &str) -> bool {
    let fits = |(byte, shape): (u8, u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        other => byte.eq_ignore_ascii_case(&other),
    };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits)
}

impl From<UnixMillis> for i64 {
    fn from(at: UnixMillis) -> Self {
        at.0
    }
}

impl Serialize for UnixMillis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_rfc3339())
    }
}

impl<'de> Deserialize<'de> for UnixMillis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Instant;
        impl de::Visitor<'_> for Instant {
            type Value = UnixMillis;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an RFC 3339 time or integer Unix milliseconds")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<UnixMillis, E> {
                UnixMillis::parse_rfc3339(text).ok_or_else(|| E::custom("not an RFC 3339 time"))
            }
            fn visit_i64<E: de::Error>(self, millis: i64) -> Result<UnixMillis, E> {
                UnixMillis::from_number(millis).ok_or_else(|| E::custom(NOT_MILLISECONDS))
            }
            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<UnixMillis, E> {
                self.visit_i64(i64::try_from(millis).unwrap_or(i64::MAX))
            }
        }
        deserializer.deserialize_any(Instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_rfc3339_with_milliseconds_and_reads_both_shapes() {
        let at = UnixMillis(1_773_480_413_589);
        assert_eq!(
            serde_json::to_string(&at).unwrap(),
            "\"2026-03-14T09:26:53.589Z\""
        );
        for text in [
            "\"2026-03-14T09:26:53.589Z\"",
            "\"2026-03-14T10:26:53.5899+01:00\"",
            "1773480413589",
        ] {
            assert_eq!(serde_json::from_str::<UnixMillis>(text).unwrap(), at, "{text}");
        }
    }

    #[test]
    fn whole_seconds_keep_their_three_decimals() {
        assert_eq!(UnixMillis(0).to_rfc3339(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn refuses_what_is_not_an_instant() {
        for text in ["\"2026-03-14\"", "\"\"", "-1", "253402207200000", "1.5", "true"] {
            assert!(serde_json::from_str::<UnixMillis>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn case04_a_number_of_another_unit_is_refused() {
        for seconds_or_smaller_units in [
            "0",
            "1764187200",
            "2147483647",
            "946684799999",
            "1764187200000000",
            "1764187200000000000",
        ] {
            let refused = serde_json::from_str::<UnixMillis>(seconds_or_smaller_units).unwrap_err();
            assert!(refused.to_string().starts_with(NOT_MILLISECONDS), "{refused}");
        }
        for millis in ["946684800000", "1764187200000", "253402207199999"] {
            assert!(serde_json::from_str::<UnixMillis>(millis).is_ok(), "{millis}");
        }
        assert!(serde_json::from_str::<UnixMillis>("\"1995-05-05T00:00:00Z\"").is_ok());
    }

    #[test]
    fn reads_rfc3339_and_no_other_shape_of_iso_8601() {
        for text in [
            "2026-03-14T09:26:53Z",
            "2026-03-14t09:26:53z",
            "2026-03-14T09:26:53.5Z",
            "2026-03-14T09:26:53.123456789-00:00",
            "2026-03-14T09:26:53.12345678901234567890123+01:00",
            "2026-03-14T23:59:60+14:00",
        ] {
            assert!(UnixMillis::parse_rfc3339(text).is_some(), "{text}");
        }
        for text in [
            "2026-03-14 09:26:53Z",
            "20260314T092653Z",
            "2026-03-14T09:26Z",
            "2026-03-14T09Z",
            "2026-03-14T09:26:53,5Z",
            "2026-03-14T09:26:53.Z",
            "2026-03-14T09:26:53+01",
            "2026-03-14T09:26:53+0100",
            "2026-03-14T09:26:53+01:00:00",
            "2026-03-14T09:26:53+01:00[Europe/Lisbon]",
            "2026-03-14T09:26:53Z[UTC]",
            "+002026-03-14T09:26:53Z",
            "2026-03-14T09:26:53",
            "2026-W11-6T09:26:53Z",
            " 2026-03-14T09:26:53Z",
            "2026-03-14T09:26:53Zä",
            "2026-03-14T09:26:5äZ",
            "2026-13-14T09:26:53Z",
            "2026-03-14T25:26:53Z",
        ] {
            assert_eq!(UnixMillis::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_and_the_last_instant_have_a_date_in_every_zone() {
        for millis in [0, LAST_MILLIS] {
            let at = UnixMillis::in_range(millis).unwrap();
            assert_eq!(UnixMillis::parse_rfc3339(&at.to_rfc3339()), Some(at));
            for zone in ["Pacific/Kiritimati", "Etc/GMT+12", "UTC"] {
                assert!((1969..=9999).contains(&at.date_in(&TimeZone::get(zone).unwrap()).year()));
            }
        }
    }

    #[test]
    fn the_date_is_the_zones_own() {
        let zone = TimeZone::get("Europe/Lisbon").unwrap();
        let at = UnixMillis::parse_rfc3339("2016-07-01T23:30:00Z").unwrap();
        assert_eq!(at.date_in(&zone).to_string(), "2016-07-02");
    }
}
