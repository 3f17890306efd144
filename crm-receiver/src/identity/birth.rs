//! Birth dates as they are compared: equal, a slip apart, or two people's.

use jiff::civil::Date;

/// How two birth dates compare. The order is that of certainty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BirthLikeness {
    /// Two people's.
    Apart,
    /// One of them is not known.
    Missing,
    /// One digit, two neighbouring digits, or day and month differ.
    Slip,
    /// The same day.
    Equal,
}

/// Compares two dates, of which either may be unknown.
pub fn compare(left: Option<Date>, right: Option<Date>) -> BirthLikeness {
    match (left, right) {
        (Some(left), Some(right)) if left == right => BirthLikeness::Equal,
        (Some(left), Some(right)) if is_slip(left, right) => BirthLikeness::Slip,
        (Some(_), Some(_)) => BirthLikeness::Apart,
        _ => BirthLikeness::Missing,
    }
}

/// Whether one slip of the pen makes one date the other.
fn is_slip(left: Date, right: Date) -> bool {
    let (one, other) = (digits(left), digits(right));
    let differing: Vec<usize> = (0..one.len()).filter(|at| one[*at] != other[*at]).collect();
    let swapped = match *differing.as_slice() {
        [_] => true,
        [first, second] => second == first + 1 && one[first] == other[second] && one[second] == other[first],
        _ => false,
    };
    swapped || (left.year() == right.year() && left.month() == right.day() && left.day() == right.month())
}

/// The eight digits, as people write them down: year, month, day.
fn digits(day: Date) -> [u8; 8] {
    let number = i64::from(day.year()) * 10_000 + i64::from(day.month()) * 100 + i64::from(day.day());
    let mut digits = [0; 8];
    let mut left = number;
    for digit in digits.iter_mut().rev() {
        *digit = u8::try_from(left.rem_euclid(10)).expect("a digit");
        left = left.div_euclid(10);
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use BirthLikeness::{Apart, Equal, Slip};
    use jiff::civil::date;

    #[test]
    fn a_slip_is_a_digit_two_neighbours_or_day_and_month() {
        for (left, right, expected) in [
            (date(1980, 5, 17), date(1980, 5, 17), Equal),
            (date(1980, 5, 17), date(1980, 5, 11), Slip),
            (date(1980, 5, 17), date(1990, 5, 17), Slip),
            (date(1980, 5, 12), date(1980, 5, 21), Slip),
            (date(1985, 5, 17), date(1958, 5, 17), Slip),
            (date(1980, 5, 7), date(1980, 7, 5), Slip),
            (date(1980, 12, 1), date(1980, 1, 12), Slip),
            (date(1980, 5, 17), date(1981, 5, 18), Apart),
            (date(1980, 5, 17), date(1955, 8, 2), Apart),
            (date(1980, 5, 17), date(1981, 7, 15), Apart),
            (date(2015, 10, 29), date(2015, 7, 31), Apart),
        ] {
            assert_eq!(compare(Some(left), Some(right)), expected, "{left} {right}");
            assert_eq!(compare(Some(right), Some(left)), expected, "{right} {left}");
        }
        assert_eq!(compare(None, Some(date(1980, 5, 17))), BirthLikeness::Missing);
    }
}
