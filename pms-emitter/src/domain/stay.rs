//! The dates of a stay: when it is, how long, and where it stands on a given business date.
//!
//! All dates are the property's own. What is derived here (nights, due in, overstay, lead time) is never stored: the
//! business date that it rests on moves with every night audit.

use super::transition::Status;
use contract::{FieldError, parse_date};
use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize, de};

/// The longest stay, in nights.
pub const NIGHTS_MAX: u32 = 365;

/// Whether a stay spends a night.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StayType {
    /// At least one night.
    #[default]
    Overnight,
    /// Arrival and departure on one date, sold as one unit.
    DayUse,
}

/// Nights between two dates; 0 when the second is not later.
pub fn nights(check_in: Date, check_out: Date) -> u32 {
    u32::try_from(days_between(check_in, check_out)).unwrap_or(0)
}

/// Days from one date to another, below zero when it lies before.
pub fn days_between(from: Date, to: Date) -> i32 {
    (to - from).get_days()
}

/// The rule that these dates break, if any: a day use has equal dates, every other stay 1 to 365 nights.
pub fn broken_rule(check_in: Date, check_out: Date, stay_type: StayType) -> Option<FieldError> {
    let refuse = |code, message| Some(FieldError::new("/check_out", code, message));
    match (stay_type, days_between(check_in, check_out)) {
        (StayType::DayUse, 0) => None,
        (StayType::DayUse, _) => refuse("not_the_same_date", "a day use ends on the date it begins"),
        (StayType::Overnight, ..=0) => refuse("not_after_check_in", "is not after check_in"),
        (StayType::Overnight, days) if days.unsigned_abs() > NIGHTS_MAX => {
            refuse("too_long", "the stay is longer than 365 nights")
        }
        (StayType::Overnight, _) => None,
    }
}

/// The status of a reservation as it looks on a business date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComputedStatus {
    /// Confirmed, and the arrival is due. It stays so until the guest arrives, the reservation is cancelled or is a no-show.
    DueIn,
    /// Checked in, and leaving on this day.
    DueOut,
    /// Checked in beyond the booked departure.
    Overstay,
    /// The stored status, to which none of these applies.
    Stored(Status),
}

impl ComputedStatus {
    /// What a stored status of these dates means on a business date. The store's lists say the same in SQL.
    pub fn on(business_date: Date, status: Status, check_in: Date, check_out: Date) -> Self {
        match status {
            Status::Confirmed if business_date >= check_in => Self::DueIn,
            Status::CheckedIn if business_date == check_out => Self::DueOut,
            Status::CheckedIn if business_date > check_out => Self::Overstay,
            _ => Self::Stored(status),
        }
    }

    /// The status as the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DueIn => "due_in",
            Self::DueOut => "due_out",
            Self::Overstay => "overstay",
            Self::Stored(status) => status.as_str(),
        }
    }

    /// The status of that name.
    pub fn known(name: &str) -> Option<Self> {
        [Self::DueIn, Self::DueOut, Self::Overstay]
            .into_iter()
            .chain(Status::ALL.map(Self::Stored))
            .find(|status| status.as_str() == name)
    }
}

/// Whether the departure still lies ahead: for a day use its own date counts.
pub fn is_check_out_ahead(check_out: Date, stay_type: StayType, business_date: Date) -> bool {
    match stay_type {
        StayType::Overnight => business_date < check_out,
        StayType::DayUse => business_date <= check_out,
    }
}

/// For `deserialize_with`: a date as `YYYY-MM-DD` and in no other way.
pub fn strict_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_date(&text).ok_or_else(|| de::Error::custom("not a date"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn an_overnight_stay_has_1_to_365_nights() {
        let code =
            |out: &str| broken_rule(on("2016-02-28"), on(out), StayType::Overnight).map(|error| error.code);
        assert_eq!(code("2016-02-29"), None);
        assert_eq!(code("2017-02-27"), None);
        assert_eq!(code("2017-02-28").as_deref(), Some("too_long"));
        assert_eq!(code("2016-02-28").as_deref(), Some("not_after_check_in"));
        assert_eq!(code("2016-02-27").as_deref(), Some("not_after_check_in"));
        assert_eq!(nights(on("2016-02-28"), on("2016-03-01")), 2);
        assert_eq!(nights(on("2016-03-01"), on("2016-02-28")), 0);
    }

    #[test]
    fn a_day_use_ends_on_its_own_date() {
        let code =
            |out: &str| broken_rule(on("2016-02-28"), on(out), StayType::DayUse).map(|error| error.code);
        assert_eq!(code("2016-02-28"), None);
        assert_eq!(code("2016-02-29").as_deref(), Some("not_the_same_date"));
    }

    #[test]
    fn the_business_date_decides_what_is_due() {
        let seen = |status, today: &str| {
            ComputedStatus::on(on(today), status, on("2016-07-01"), on("2016-07-03")).as_str()
        };
        assert_eq!(seen(Status::Confirmed, "2016-06-30"), "confirmed");
        assert_eq!(seen(Status::Confirmed, "2016-07-01"), "due_in");
        assert_eq!(seen(Status::Confirmed, "2016-07-02"), "due_in");
        assert_eq!(seen(Status::CheckedIn, "2016-07-02"), "checked_in");
        assert_eq!(seen(Status::CheckedIn, "2016-07-03"), "due_out");
        assert_eq!(seen(Status::CheckedIn, "2016-07-04"), "overstay");
        assert_eq!(seen(Status::Cancelled, "2016-07-04"), "cancelled");
    }

    #[test]
    fn the_last_day_of_a_day_use_is_still_ahead() {
        let date = on("2016-07-01");
        assert!(is_check_out_ahead(date, StayType::DayUse, date));
        assert!(!is_check_out_ahead(date, StayType::Overnight, date));
        assert!(!is_check_out_ahead(date, StayType::DayUse, on("2016-07-02")));
    }
}
