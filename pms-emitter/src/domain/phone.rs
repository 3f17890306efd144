//! Phone numbers in the shape of E.164.

use serde::{Deserialize, Serialize};

/// How many digits follow the `+`.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// `+` and 7 to 15 digits, assigned or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phone(String);

impl Phone {
    /// Reads a number with its country code. Separators that people write (space, dash, dot, slash, parentheses) are
    /// taken out, and a leading `00` becomes `+`; everything else, a number without country code too, is refused.
    pub fn parse(text: &str) -> Option<Self> {
        let compact: String = text.chars().filter(|c| !is_separator(*c)).collect();
        let digits = compact.strip_prefix('+').or_else(|| compact.strip_prefix("00"))?;
        let shaped = DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        shaped.then(|| Self(format!("+{digits}")))
    }

    /// The number, from `+` on.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_separator(c: char) -> bool {
    matches!(
        c,
        ' ' | '-' | '.' | '/' | '(' | ')' | '\u{a0}' | '\u{2010}'..='\u{2013}' | '\u{202f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_and_the_international_prefix_are_normalised() {
        for (text, number) in [
            ("+1234567890", "+1234567890"),
            ("00351 21 123 45 67", "+351211234567"),
            ("+351 (21) 123-45.67", "+351211234567"),
            ("+1234567", "+1234567"),
            ("+123456789012345", "+123456789012345"),
        ] {
            assert_eq!(Phone::parse(text).unwrap().as_str(), number);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "+",
            "1234567890",
            "+123456",
            "+1234567890123456",
            "+12345x7890",
            "++12345678",
            "0211234567",
            "+1234567 ext 9",
            "+٣٥١٢١١٢٣٤٥",
            "00",
            "+12345678\n",
        ] {
            assert_eq!(Phone::parse(text), None, "{text:?}");
        }
    }
}
