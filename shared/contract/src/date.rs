//! Calendar dates as the wire carries them: `2026-03-14` and nothing else.
//!
//! jiff reads several shapes of a date, with times and without dashes. Two readers of one field must never differ, so
//! only one shape is accepted.

use crate::clock::has_shape;
use jiff::civil::Date;

/// Reads `YYYY-MM-DD`, a date that exists in the Gregorian calendar.
pub fn parse_date(text: &str) -> Option<Date> {
    has_shape(text, "0000-00-00").then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_shape_and_real_days_only() {
        assert_eq!(parse_date("2024-02-29").unwrap().to_string(), "2024-02-29");
        for bad in [
            "",
            "2023-02-29",
            "2024-2-9",
            "20240229",
            "2024-02-29T00:00",
            "2024/02/29",
            "+024-02-29",
            "2024-13-01",
            "２０２４-02-29",
            " 2024-02-29",
        ] {
            assert_eq!(parse_date(bad), None, "{bad:?}");
        }
    }
}
