//! The money of a reservation: rates per night, totals, and how they add up.
//!
//! Amounts are decimal strings in the booking's currency, rewritten with its own decimals. `extras_total` and
//! `balance` may lie below zero (a discount, a credit), every other amount and `total` may not. Rates, where given,
//! are one per night from `check_in` (one for a day use) and sum to `room_total`; `total` is `room_total` and
//! `extras_total` together. What a client leaves out of these is computed; what it sends has to match.

use super::{
    reservation_booking::Booking,
    stay::{self, StayType},
};
use contract::{Currency, FieldError, Money, money::MoneyError};
use serde_json::{Map, Value};

/// Takes out of a merged document what follows from something that the patch changes and does not name itself.
pub fn drop_derived(document: &mut Map<String, Value>, patch: &Map<String, Value>) {
    let names = |field: &str| patch.contains_key(field);
    let day_use = document.get("stay_type").and_then(Value::as_str) == Some("day_use");
    if patch.get("nightly_rates").is_some_and(|rates| !rates.is_null()) && !names("room_total") {
        document.remove("room_total");
    }
    if day_use && names("room_total") && !names("nightly_rates") {
        document.remove("nightly_rates");
    }
    if ["nightly_rates", "room_total", "extras_total"]
        .into_iter()
        .any(names)
        && !names("total")
    {
        document.remove("total");
    }
}

/// Rewrites every amount with its currency's decimals and fills in the totals that were left out; returns every rule that the
/// amounts break. The dates must have passed their own rules.
pub fn settle(booking: &mut Booking) -> Vec<FieldError> {
    let mut reader = Reader {
        currency: booking.currency,
        errors: Vec::new(),
    };
    let room_total = room_total(booking, &mut reader);
    let extras_total = reader.signed("/extras_total", &mut booking.extras_total);
    reader.signed("/balance", &mut booking.balance);
    if let Some(deposit) = &mut booking.deposit {
        reader.amount("/deposit", deposit);
    }
    if let Some(cancellation) = &mut booking.cancellation {
        reader.amount("/cancellation/fee", &mut cancellation.fee);
    }
    if let (Some(room_total), Some(extras_total)) = (room_total, extras_total) {
        let sum = room_total.saturating_add(extras_total);
        if sum < 0 {
            reader.refuse(
                "/extras_total",
                "total_below_zero",
                "takes more away than room_total is",
            );
            return reader.errors;
        }
        reader.matches(
            "/total",
            &mut booking.total,
            sum,
            "is not room_total and extras_total together",
        );
    }
    reader.errors
}

/// What is still to be paid of a booking that was settled, in minor units of its currency.
///
/// # Panics
/// When it was not: every stored booking is.
pub fn balance(booking: &Booking) -> i64 {
    let money = Money::parse_signed(&booking.balance, booking.currency);
    money
        .expect("a settled booking has amounts of its currency")
        .minor
}

fn room_total(booking: &mut Booking, reader: &mut Reader) -> Option<i64> {
    let units = match booking.stay_type {
        StayType::DayUse => 1,
        StayType::Overnight => stay::nights(booking.check_in, booking.check_out) as usize,
    };
    if booking.stay_type == StayType::DayUse && booking.nightly_rates.is_none() {
        booking.nightly_rates = Some(vec![booking.room_total.clone().unwrap_or_else(|| "0".to_owned())]);
    }
    let Some(rates) = &mut booking.nightly_rates else {
        let total = booking.room_total.get_or_insert_with(|| "0".to_owned());
        return reader.amount("/room_total", total);
    };
    if rates.len() != units {
        reader.refuse(
            "/nightly_rates",
            "not_one_per_night",
            "is not one rate for each night",
        );
        return None;
    }
    let read: Vec<Option<i64>> = rates
        .iter_mut()
        .enumerate()
        .map(|(night, rate)| reader.amount(&format!("/nightly_rates/{night}"), rate))
        .collect();
    let sum: i64 = read.into_iter().sum::<Option<i64>>()?;
    reader.matches(
        "/room_total",
        &mut booking.room_total,
        sum,
        "is not the sum of the nightly rates",
    )
}

/// Reads amounts of one currency and gathers what is wrong with them.
struct Reader {
    currency: Currency,
    errors: Vec<FieldError>,
}

impl Reader {
    fn refuse(&mut self, pointer: &str, code: &str, message: &str) {
        self.errors.push(FieldError::new(pointer, code, message));
    }

    /// The minor units of an amount of at least 0, which is rewritten with its currency's decimals.
    fn amount(&mut self, pointer: &str, text: &mut String) -> Option<i64> {
        let message = "is not a decimal amount of at least 0 with at most the currency's own decimals";
        self.rewritten(pointer, text, Money::parse, message)
    }

    /// As [`amount`](Self::amount), and it may lie below zero.
    fn signed(&mut self, pointer: &str, text: &mut String) -> Option<i64> {
        let message = "is not a decimal amount with at most the currency's own decimals";
        self.rewritten(pointer, text, Money::parse_signed, message)
    }

    fn rewritten(
        &mut self,
        pointer: &str,
        text: &mut String,
        parse: fn(&str, Currency) -> Result<Money, MoneyError>,
        message: &str,
    ) -> Option<i64> {
        match parse(text, self.currency) {
            Ok(money) => {
                *text = money.to_string();
                Some(money.minor)
            }
            Err(error) => {
                let code = match error {
                    MoneyError::TooPrecise => "too_precise",
                    MoneyError::TooLarge => "too_large",
                    MoneyError::NotDecimal | MoneyError::UnknownCurrency => "not_an_amount",
                };
                self.refuse(pointer, code, message);
                None
            }
        }
    }

    /// Fills a total in, or checks the one that was sent; returns the total.
    fn matches(&mut self, pointer: &str, text: &mut Option<String>, sum: i64, message: &str) -> Option<i64> {
        let money = Money {
            minor: sum,
            currency: self.currency,
        };
        let sent = self.amount(pointer, text.get_or_insert_with(|| money.to_string()))?;
        if sent != sum {
            self.refuse(pointer, "does_not_add_up", message);
            return None;
        }
        Some(sum)
    }
}

#[cfg(test)]
mod tests;
