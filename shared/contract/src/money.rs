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
    /// Not plain decimal digits with an optional point: signs, exponents, blanks and separators are refused.
    #[error("not a decimal amount")]
    NotDecimal,
    /// More decimals than the currency has.
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

impl Money {
    /// Reads a decimal string, never below zero, with at most the currency's own decimals: `120`, `120.5` and
    /// `120.50` are the same euros.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
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
        if fraction.len() > exponent {
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
        assert_eq!(Money::parse("1.0", currency("JPY")), Err(MoneyError::TooPrecise));
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
