//! The expected totals of each guest's profile, computed directly from the file.
//!
//! This is the checker's side: it shares no code with the plan or the loader, reads the columns by itself, and takes
//! from outside only who made which booking and which rows the service accepted.

use rust_decimal::{Decimal, prelude::ToPrimitive};
use std::collections::HashMap;

/// The totals of one guest over the stays that were checked out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Stays.
    pub stays: u64,
    /// Nights from arrival to the actual departure.
    pub nights: u64,
    /// Cents: what was booked, also after an early departure. A stay without a night costs one rate.
    pub revenue_minor: i64,
}

impl Totals {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            stays: self.stays + other.stays,
            nights: self.nights + other.nights,
            revenue_minor: self.revenue_minor + other.revenue_minor,
        }
    }
}

/// A file that is not what it was when this was written.
#[derive(Debug, thiserror::Error)]
#[error("row {row}: the column {column} cannot be read")]
pub struct UnreadableColumn {
    /// The row's number, from 1.
    pub row: usize,
    /// The column's name.
    pub column: &'static str,
}

/// The totals of `people` guests. `person_of` says whose a row is, by the row's number; a row of nobody does not
/// count.
pub fn totals(
    csv: &str,
    people: usize,
    person_of: impl Fn(u32) -> Option<usize>,
) -> Result<Vec<Totals>, UnreadableColumn> {
    let mut lines = csv.lines();
    let header = lines.next().unwrap_or_default().split(',');
    let columns: HashMap<&str, usize> = header.zip(0..).collect();
    let mut totals = vec![Totals::default(); people];
    for (line, row) in lines.zip(1_usize..) {
        let fields: Vec<&str> = line.split(',').collect();
        let text = |column: &'static str| {
            let at = columns.get(column).and_then(|at| fields.get(*at));
            at.copied().ok_or(UnreadableColumn { row, column })
        };
        let stayed = text("reservation_status")? == "Check-Out";
        let person = person_of(u32::try_from(row).unwrap_or(u32::MAX));
        let Some(person) = person.filter(|_| stayed) else {
            continue;
        };
        let number = |column| {
            text(column)?
                .parse::<i64>()
                .map_err(|_| UnreadableColumn { row, column })
        };
        let booked = number("stays_in_weekend_nights")? + number("stays_in_week_nights")?;
        let column = "adr";
        let rate: Decimal = text(column)?
            .parse()
            .map_err(|_| UnreadableColumn { row, column })?;
        let cents = rate * Decimal::ONE_HUNDRED * Decimal::from(booked.max(1));
        let of_person = &mut totals[person];
        of_person.stays += 1;
        of_person.nights += nights_slept(&text, row)?;
        of_person.revenue_minor += cents.to_i64().ok_or(UnreadableColumn { row, column })?;
    }
    Ok(totals)
}

/// Days from the arrival to the day of the check-out.
fn nights_slept<'a>(
    text: &impl Fn(&'static str) -> Result<&'a str, UnreadableColumn>,
    row: usize,
) -> Result<u64, UnreadableColumn> {
    let column = "reservation_status_date";
    let arrival = format!(
        "{}-{}-{}",
        text("arrival_date_year")?,
        text("arrival_date_month")?,
        text("arrival_date_day_of_month")?
    );
    let arrival = jiff::civil::Date::strptime("%Y-%B-%d", arrival);
    let left = jiff::civil::Date::strptime("%Y-%m-%d", text(column)?);
    let (Ok(arrival), Ok(left)) = (arrival, left) else {
        return Err(UnreadableColumn { row, column });
    };
    let days = (left - arrival).get_days();
    u64::try_from(days).map_err(|_| UnreadableColumn { row, column })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bookings::CSV;

    #[test]
    fn one_guest_for_all_has_the_sums_of_the_file() {
        let everyone = totals(CSV, 1, |_| Some(0)).unwrap();
        let sum = Totals {
            stays: 3_302,
            nights: 11_265,
            revenue_minor: 112_073_029,
        };
        assert_eq!(everyone, [sum]);
    }

    /// Row 3 booked seven nights, came, and left on the day: no night, and the whole price.
    #[test]
    fn refused_rows_and_other_peoples_rows_do_not_count() {
        let third = totals(CSV, 2, |row| Some(usize::from(row != 3))).unwrap()[0];
        let left_at_once = Totals {
            stays: 1,
            nights: 0,
            revenue_minor: 66_465,
        };
        assert_eq!(third, left_at_once);
        let without = totals(CSV, 2, |row| (row != 3).then_some(0)).unwrap()[1];
        assert_eq!(without, Totals::default());
    }

    #[test]
    fn a_file_without_a_column_is_refused() {
        let error = totals(&CSV.replace("adr", "price"), 1, |_| Some(0)).unwrap_err();
        assert_eq!((error.row, error.column), (1, "adr"));
    }
}
