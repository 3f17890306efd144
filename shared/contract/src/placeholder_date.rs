//! Placeholder dates: dates that systems write when they know none. The list is a data file with its sources.

use crate::parse_date;
use jiff::civil::Date;
use std::{collections::HashSet, sync::LazyLock};

const FILE: &str = include_str!("../data/placeholder_dates.txt");

static PLACEHOLDERS: LazyLock<HashSet<&str>> = LazyLock::new(|| listed().collect());

/// Whether a text is one of the listed dates, with a time of day behind it or without; some of them are no dates at all
/// (`0000-00-00`).
pub fn is_placeholder(text: &str) -> bool {
    let (date, time) = split_time(text);
    PLACEHOLDERS.contains(date) && time.chars().all(|c| "T :.Z+-".contains(c) || c.is_ascii_digit())
}

/// A date, and what a program that knows no date without a time writes behind it.
fn split_time(text: &str) -> (&str, &str) {
    text.split_at(text.find(['T', ' ']).unwrap_or(text.len()))
}

/// Whether a placeholder lies before a day, or is no date. Placeholders in the far future have a meaning in other
/// fields: a document that never expires.
pub fn is_placeholder_before(text: &str, day: Date) -> bool {
    is_placeholder(text) && parse_date(split_time(text).0).is_none_or(|date| date < day)
}

fn listed() -> impl Iterator<Item = &'static str> {
    FILE.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case03_the_page_lists_every_placeholder() {
        let page = include_str!("../../../docs/warnings.md");
        for date in listed() {
            assert!(page.contains(&format!("`{date}`")), "{date}");
            assert!(is_placeholder(date));
        }
        assert_eq!(listed().count(), PLACEHOLDERS.len());
        for with_time in [
            "0001-01-01T00:00:00",
            "0000-00-00 00:00:00",
            "9999-12-31T23:59:59.9999999Z",
        ] {
            assert!(is_placeholder(with_time), "{with_time}");
        }
        for date in ["1980-01-01", "2000-01-01", "1900-01-01 or so", "1900-01-011", ""] {
            assert!(!is_placeholder(date), "{date}");
        }
    }
}
