//! What may stand in a reservation's codes and free texts.
//!
//! Rules of shape for [`super::reservation_booking`], on top of those that all request bodies share ([`super::body`]).

use super::body;
use validator::ValidationError;

/// The longest code, in bytes; the tables' columns are as wide.
pub const CODE_LEN_MAX: usize = 64;
/// The longest special request or reason, in characters.
pub const TEXT_LEN_MAX: u64 = 500;

/// Validation rule for codes: 1 to 64 letters, digits and `_ - . / : + & #`, with single spaces inside.
pub fn code(text: &str) -> Result<(), ValidationError> {
    body::key_text(text)?;
    let known = |c: char| c.is_ascii_alphanumeric() || " _-./:+&#".contains(c);
    if text.is_empty() || text.len() > CODE_LEN_MAX || !text.chars().all(known) || text.contains("  ") {
        return Err(ValidationError::new("not_a_code"));
    }
    Ok(())
}

/// Validation rule for special requests, which are tidy: free text, each with something in it and at most 500 characters.
pub fn requests(texts: &[String]) -> Result<(), ValidationError> {
    for text in texts {
        body::filled(text)?;
        body::free_text(text)?;
        no_card_number(text)?;
        if text.chars().count() as u64 > TEXT_LEN_MAX {
            return Err(ValidationError::new("length"));
        }
    }
    Ok(())
}

/// Validation rule: no 13 to 19 digits that check as a payment card's number (ISO/IEC 7812, Luhn), however grouped.
pub fn no_card_number(text: &str) -> Result<(), ValidationError> {
    let mut run: Vec<u32> = Vec::new();
    for c in text.chars().chain(['\0']) {
        match c.to_digit(10) {
            Some(digit) => run.push(digit),
            None if matches!(c, ' ' | '-' | '.') => {}
            None => {
                if (13..=19).contains(&run.len()) && checks_by_luhn(&run) {
                    return Err(ValidationError::new("card_number"));
                }
                run.clear();
            }
        }
    }
    Ok(())
}

fn checks_by_luhn(digits: &[u32]) -> bool {
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| if place % 2 == 1 { doubled(*digit) } else { *digit })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_short_and_plain() {
        let longest = "x".repeat(64);
        for good in [
            "A",
            "Online TA",
            "TA/TO",
            "B&B+dinner",
            "12-3.4:5_6",
            "#7",
            &longest,
        ] {
            assert!(code(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            " A",
            "A ",
            "A  B",
            "A\nB",
            "É",
            "a;b",
            "a'b",
            "a%b",
            &"x".repeat(65),
        ] {
            assert!(code(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn card_numbers_are_refused_however_they_are_grouped() {
        for bad in [
            "4111111111111111",
            "card 4111 1111-1111.1111 thanks",
            "378282246310005",
        ] {
            assert!(no_card_number(bad).is_err(), "{bad}");
        }
        for good in ["4111111111111112", "call +351 912 345 678", "411111111111", ""] {
            assert!(no_card_number(good).is_ok(), "{good}");
        }
    }
}
