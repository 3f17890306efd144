//! Telephone numbers: read as people write and paste them, kept in E.164 form.
//!
//! The library decides what a number is, by the tables of libphonenumber; this module first removes the notation:
//! separators, `tel:` (RFC 3966), digits of other scripts, `00`, and the `(0)` that is not dialled from abroad (E.123).
//! A number that the library considers impossible is kept unchanged: numbering plans change faster than tables do.

mod written;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use written::Written;

/// How many digits follow the `+`.
const DIGITS: RangeInclusive<usize> = 7..=15;

/// The calling codes of Italy, San Marino and the Vatican: there the zero is part of the number, from abroad too.
const ZERO_IS_DIALLED: [&str; 3] = ["39", "378", "379"];

/// `+` and 7 to 15 digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phone(String);

/// A number that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneReading {
    /// The number, in E.164's form.
    pub phone: Phone,
    /// Whether a number of its country can have these digits, assigned or not.
    pub possible: bool,
}

/// Why a text is no telephone number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// Not `+` and 7 to 15 digits, however they are written.
    #[error("not + and 7 to 15 digits")]
    NotANumber,
    /// A number with an extension, which E.164 cannot express.
    #[error("a number with an extension")]
    Extension,
}

impl Phone {
    /// Reads a number with its country code.
    ///
    /// # Errors
    /// See [`PhoneError`].
    pub fn read(text: &str) -> Result<PhoneReading, PhoneError> {
        let written = Written::read(text)?;
        let zero_is_dialled = ZERO_IS_DIALLED
            .iter()
            .any(|code| written.digits.starts_with(code));
        let dialled = match written.without_zero {
            Some(without_zero) if !zero_is_dialled => of_two(&written.digits, without_zero),
            _ => one(written.digits),
        };
        if !DIGITS.contains(&dialled.digits.len()) {
            return Err(PhoneError::NotANumber);
        }
        if written.has_extension {
            return Err(PhoneError::Extension);
        }
        Ok(PhoneReading {
            phone: Phone(format!("+{}", dialled.digits)),
            possible: dialled.likeness >= Likeness::Possible,
        })
    }

    /// The number, from `+` on.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits after the `+`.
    pub fn digits(&self) -> &str {
        &self.0[1..]
    }
}

/// Loads the library's tables, so that the first number does not wait for it.
pub fn warm_up() {
    one("442079460018".to_owned());
}

/// How plausible the library considers a number; greater is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    Impossible,
    Possible,
    Valid,
}

/// Digits as they are dialled from abroad.
struct Dialled {
    digits: String,
    likeness: Likeness,
}

/// The number of these digits; the library leaves out a trunk prefix, `0` in most countries. Unchanged when the library
/// considers them impossible.
fn one(digits: String) -> Dialled {
    let impossible = |digits| Dialled {
        digits,
        likeness: Likeness::Impossible,
    };
    let Ok(number) = PHONE_NUMBER_UTIL.parse(format!("+{digits}"), None) else {
        return impossible(digits);
    };
    if !PHONE_NUMBER_UTIL.is_possible_number(&number) {
        return impossible(digits);
    }
    let likeness = if number.is_valid() {
        Likeness::Valid
    } else {
        Likeness::Possible
    };
    let formatted = number.format_as(PhoneNumberFormat::E164);
    Dialled {
        digits: formatted.trim_start_matches('+').to_owned(),
        likeness,
    }
}

/// The likelier of a number with the zero that stood in parentheses and without it; of equals the one without.
fn of_two(with_zero: &str, without_zero: String) -> Dialled {
    let (with_zero, without_zero) = (one(with_zero.to_owned()), one(without_zero));
    if with_zero.likeness == Likeness::Valid && without_zero.likeness < Likeness::Valid {
        with_zero
    } else {
        without_zero
    }
}

#[cfg(test)]
mod tests;
