//! Decimals as they are written: exact, and compared digit by digit.

use serde_json::Number;
use std::cmp::Ordering;

/// The longest text that is read as a decimal, in bytes. A number of JSON may be longer when it is written out: its range
/// bounds it.
const DECIMAL_LEN_MAX: usize = 64;

/// A decimal without needless zeros: equal numbers are equal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    is_negative: bool,
    whole: String,
    fraction: String,
}

impl Decimal {
    /// Reads digits with an optional minus and an optional point between digits: `-12.50`. None for anything else, such as an
    /// exponent, a plus, blanks, or more than [`DECIMAL_LEN_MAX`] bytes.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() <= DECIMAL_LEN_MAX {
            Self::read(text)
        } else {
            None
        }
    }

    /// The shortest decimal that means this number, which is how it was written unless it had needless digits.
    pub fn of(number: &Number) -> Option<Self> {
        match number.as_f64().filter(|_| number.is_f64()) {
            // Written out without an exponent.
            Some(double) => Self::read(&double.to_string()),
            None => Self::read(&number.to_string()),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        Some(Self {
            is_negative: is_negative && !(whole.is_empty() && fraction.is_empty()),
            whole: whole.to_owned(),
            fraction: fraction.to_owned(),
        })
    }

    /// The order of two of them without their signs: without needless zeros more digits before the point are more, and behind it
    /// texts stand in the order of their fractions.
    fn compare_size(&self, other: &Self) -> Ordering {
        let of_whole = self.whole.len().cmp(&other.whole.len());
        of_whole
            .then_with(|| self.whole.cmp(&other.whole))
            .then_with(|| self.fraction.cmp(&other.fraction))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (false, false) => self.compare_size(other),
            (true, true) => other.compare_size(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    fn number(text: &str) -> Decimal {
        Decimal::of(&serde_json::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn decimals_are_compared_exactly() {
        let ascending = [
            "-100000000000000000000000000000000000000000000000000000000000",
            "-10.5",
            "-10.25",
            "-9",
            "-0.001",
            "0",
            "0.0000000000000000000000000000000000000000000000000000000001",
            "0.1",
            "0.1000000000000000000000000000000000000000000000000000000001",
            "0.3",
            "1",
            "9.99",
            "10",
            "100.5",
            "9007199254740992",
            "9007199254740993",
        ];
        for (place, one) in ascending.iter().enumerate() {
            for (other_place, other) in ascending.iter().enumerate() {
                let expected = place.cmp(&other_place);
                assert_eq!(decimal(one).cmp(&decimal(other)), expected, "{one} {other}");
            }
        }
    }

    #[test]
    fn needless_zeros_and_the_sign_of_nothing_do_not_count() {
        for (one, other) in [
            ("120.50", "120.5"),
            ("007", "7"),
            ("-0", "0"),
            ("-0.00", "0"),
            ("0.10", "00.1"),
            ("1.000", "1"),
        ] {
            assert_eq!(decimal(one), decimal(other));
            assert_eq!(decimal(one).cmp(&decimal(other)), Ordering::Equal);
        }
    }

    #[test]
    fn what_is_written_otherwise_is_no_decimal() {
        for text in [
            "", "-", ".", "1.", ".5", "+1", " 1", "1 ", "1e3", "0x10", "1,5", "1.2.3", "--1", "NaN", "inf",
            "१", "-.5",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        assert!(Decimal::parse(&"1".repeat(DECIMAL_LEN_MAX)).is_some());
        assert_eq!(Decimal::parse(&"1".repeat(DECIMAL_LEN_MAX + 1)), None);
    }

    #[test]
    fn a_number_of_json_is_the_decimal_that_it_is_written_as() {
        for (json, text) in [
            ("0.1", "0.1"),
            ("120.50", "120.5"),
            ("1e3", "1000"),
            ("1.5e-7", "0.00000015"),
            ("-0.0", "0"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
        ] {
            assert_eq!(number(json), decimal(text), "{json}");
        }
        assert!(number("1e308") > number("9.9e307") && number("5e-324") > number("0"));
    }

    proptest! {
        #[test]
        fn cents_are_compared_as_integers_are(one in -100_000_i64..100_000, other in -100_000_i64..100_000) {
            let written = |cents: i64| {
                let sign = if cents < 0 { "-" } else { "" };
                decimal(&format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100))
            };
            prop_assert_eq!(written(one).cmp(&written(other)), one.cmp(&other));
        }
    }
}
