//! Money: minor units beside an ISO 4217 code. Never a float.
//!
//! On the wire an amount is a decimal string (`"120.50"`) beside its currency; in the tables and in sums it is an
//! integer of minor units.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A currency of ISO 4217 that has minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(iso_currency::Currency);

/// An amount in minor units of its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    /// Minor units: cents for EUR, whole yen for JPY.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

/// Why a text is no amount of its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a three-letter code of ISO 4217, or one without minor units, such as gold.
    #[error("not an ISO 4217 currency")]
    UnknownCurrency,
    /// Not plain decimal digits with an optional point: exponents, blanks and separators are refused, and signs but the
    /// minus of [`Money::parse_signed`].
    #[error("not a decimal amount")]
    NotDecimal,
    /// More decimals than the currency has, and not all of them zero.
    #[error("more decimals than the currency has")]
    TooPrecise,
    /// More than 15 digits of minor units.
    #[error("amount too large")]
    TooLarge,
}

impl Currency {
    /// The three-letter code.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimals an amount has.
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }
}

impl FromStr for Currency {
    type Err = MoneyError;
    fn from_str(code: &str) -> Result<Self, MoneyError> {
        let currency = iso_currency::Currency::from_code(code).ok_or(MoneyError::UnknownCurrency)?;
        currency
            .exponent()
            .map(|_| Self(currency))
            .ok_or(MoneyError::UnknownCurrency)
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;
    fn try_from(code: String) -> Result<Self, MoneyError> {
        code.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.code())
    }
}

/// The most digits of minor units that an amount may have, so that sums of many fit an `i64`.
const MINOR_DIGITS_MAX: usize = 15;
/// The longest text that is read as an amount, in bytes: enough for all its digits, and for as many zeros after them.
const AMOUNT_LEN_MAX: usize = 40;

impl Money {
    /// Reads a decimal string, never below zero. Zeros behind the currency's own decimals are taken, as they lose
    /// nothing: `120`, `120.5` and `120.5000` are the same euros.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        if text.len() > AMOUNT_LEN_MAX {
            return Err(MoneyError::TooLarge);
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || !digits(whole)
            || !digits(fraction)
            || (text.contains('.') && fraction.is_empty())
        {
            return Err(MoneyError::NotDecimal);
        }
        let exponent = currency.exponent() as usize;
        let (fraction, beyond) = fraction.split_at(exponent.min(fraction.len()));
        if beyond.bytes().any(|digit| digit != b'0') {
            return Err(MoneyError::TooPrecise);
        }
        if whole.len() + exponent > MINOR_DIGITS_MAX {
            return Err(MoneyError::TooLarge);
        }
        let minor = format!("{whole}{fraction:0<exponent$}")
            .parse()
            .map_err(|_| MoneyError::TooLarge)?;
        Ok(Self { minor, currency })
    }

    /// As [`parse`](Self::parse), and a minus before it makes the amount one below zero.
    pub fn parse_signed(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let Some(positive) = text.strip_prefix('-') else {
            return Self::parse(text, currency);
        };
        Self::parse(positive, currency).map(|money| Self {
            minor: -money.minor,
            ..money
        })
    }

    /// This amount divided by `parts`, rounded half-even to the currency's exponent; None for zero parts.
    pub fn divided_half_even(self, parts: u64) -> Option<Self> {
        let quotient = Decimal::from(self.minor).checked_div(Decimal::from(parts))?;
        let rounded = quotient.round_dp_with_strategy(0, RoundingStrategy::MidpointNearestEven);
        Some(Self {
            minor: i64::try_from(rounded).ok()?,
            currency: self.currency,
        })
    }
}

/// The amount as it stands on the wire, with the currency's own decimals: `120.50`.
impl fmt::Display for Money {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = self.currency.exponent();
        write!(
            out,
            "{}",
            Decimal::from_i128_with_scale(i128::from(self.minor), scale)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn keeps_the_currencys_own_exponent() {
        for (text, code, minor, shown) in [
            ("120.50", "EUR", 12_050, "120.50"),
            ("120.5", "EUR", 12_050, "120.50"),
            ("0", "EUR", 0, "0.00"),
            ("120", "JPY", 120, "120"),
            ("1.234", "BHD", 1_234, "1.234"),
        ] {
            let money = Money::parse(text, currency(code)).unwrap();
            assert_eq!((money.minor, money.to_string().as_str()), (minor, shown));
        }
    }

    #[test]
    fn refuses_what_is_no_amount() {
        let eur = currency("EUR");
        for text in [
            "", ".5", "5.", "-1", "+1", "1e3", "1,5", " 1", "1 ", "٣", "0x1", "NaN", "1.2.3",
        ] {
            assert_eq!(Money::parse(text, eur), Err(MoneyError::NotDecimal), "{text:?}");
        }
        assert_eq!(Money::parse("1.001", eur), Err(MoneyError::TooPrecise));
        assert_eq!(Money::parse("1.5", currency("JPY")), Err(MoneyError::TooPrecise));
        assert_eq!(Money::parse("99999999999999.00", eur), Err(MoneyError::TooLarge));
        for code in ["eur", "XXX", "XAU", "EURO", ""] {
            assert_eq!(
                code.parse::<Currency>(),
                Err(MoneyError::UnknownCurrency),
                "{code}"
            );
        }
    }

    #[test]
    fn case06_zeros_behind_the_currencys_decimals_are_taken() {
        for (text, code, shown) in [
            ("12000.00", "JPY", "12000"),
            ("0.0", "KRW", "0"),
            ("120.5000", "KWD", "120.500"),
            ("120.500", "EUR", "120.50"),
            ("7.00000000000000000000", "ISK", "7"),
        ] {
            let money = Money::parse(text, currency(code)).unwrap();
            assert_eq!(money.to_string(), shown, "{text} {code}");
        }
        for (text, code) in [("12000.01", "JPY"), ("120.5001", "KWD"), ("1.0000000001", "EUR")] {
            assert_eq!(
                Money::parse(text, currency(code)),
                Err(MoneyError::TooPrecise),
                "{text} {code}"
            );
        }
        let endless = format!("1.{}", "0".repeat(AMOUNT_LEN_MAX));
        assert_eq!(Money::parse(&endless, currency("EUR")), Err(MoneyError::TooLarge));
    }

    #[test]
    fn case14_only_a_signed_amount_lies_below_zero() {
        let eur = currency("EUR");
        for (text, minor, shown) in [
            ("-10.00", -1000, "-10.00"),
            ("-0.5", -50, "-0.50"),
            ("-0", 0, "0.00"),
            ("3", 300, "3.00"),
        ] {
            let money = Money::parse_signed(text, eur).unwrap();
            assert_eq!((money.minor, money.to_string().as_str()), (minor, shown));
        }
        for text in ["-", "--1", "-+1", "- 1", "+1", "1-", "\u{2212}1"] {
            assert_eq!(
                Money::parse_signed(text, eur),
                Err(MoneyError::NotDecimal),
                "{text}"
            );
        }
    }

    #[test]
    fn divides_half_to_even() {
        let eur = |minor| Money {
            minor,
            currency: currency("EUR"),
        };
        assert_eq!(eur(5).divided_half_even(2), Some(eur(2)));
        assert_eq!(eur(7).divided_half_even(2), Some(eur(4)));
        assert_eq!(eur(10).divided_half_even(3), Some(eur(3)));
        assert_eq!(eur(10).divided_half_even(0), None);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(minor in 0_i64..10_i64.pow(15), code in prop::sample::select(vec!["EUR", "JPY", "BHD"])) {
            let money = Money { minor, currency: currency(code) };
            prop_assert_eq!(Money::parse(&money.to_string(), money.currency), Ok(money));
        }
    }
}
