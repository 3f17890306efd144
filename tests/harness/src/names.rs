//! What the demo's guests are made up from: names by region, and a line for each country.
//!
//! Reads `data/names.txt` and `data/countries.txt`, which are part of the program; `people` draws from them.

use std::collections::HashMap;

const NAMES: &str = include_str!("../data/names.txt");
const COUNTRIES: &str = include_str!("../data/countries.txt");

/// Spreads consecutive numbers over a range; coprime with every power of ten, so that none is given twice.
const STRIDE: u64 = 7_919;

/// The names of a region; none of the lists is empty.
#[derive(Debug)]
pub struct Region {
    /// Given names of women.
    pub women: Vec<&'static str>,
    /// Given names of men.
    pub men: Vec<&'static str>,
    /// Family names.
    pub families: Vec<&'static str>,
}

/// A country: which names, which language, and which telephone numbers are free.
#[derive(Debug)]
pub struct Country {
    /// The key of its region.
    pub region: &'static str,
    /// Its most spoken language, as BCP 47 writes it.
    pub language: &'static str,
    /// The calling code; two countries share +7.
    pub calling_code: &'static str,
    unassigned: Vec<&'static str>,
}

/// Both lists.
#[derive(Debug)]
pub struct Names {
    regions: HashMap<&'static str, Region>,
    countries: HashMap<&'static str, Country>,
}

impl Names {
    /// Reads the lists; they are checked by this module's tests.
    pub fn read() -> Self {
        let regions = lines(NAMES).map(|line| {
            let parts: Vec<&str> = line.split('|').map(str::trim).collect();
            let list = |at: usize| parts[at].split(',').map(str::trim).collect();
            let region = Region {
                women: list(1),
                men: list(2),
                families: list(3),
            };
            (parts[0], region)
        });
        let countries = lines(COUNTRIES).map(|line| {
            let parts: Vec<&str> = line.split_whitespace().collect();
            let country = Country {
                region: parts[1],
                language: parts[2],
                calling_code: parts[3],
                unassigned: parts[4].split(',').collect(),
            };
            (parts[0], country)
        });
        Self {
            regions: regions.collect(),
            countries: countries.collect(),
        }
    }

    /// The country that the bookings spell so.
    pub fn country(&self, code: &str) -> Option<&Country> {
        self.countries.get(code)
    }

    /// The names of a region.
    pub fn region(&self, key: &str) -> &Region {
        self.regions
            .get(key)
            .expect("every region named in countries.txt stands in names.txt")
    }
}

impl Country {
    /// The `number`-th telephone number of this country, as E.164 writes it: a different one for each number below a
    /// million, first from the ranges kept free for fiction.
    pub fn phone(&self, number: u64) -> String {
        let mut left = number;
        for range in &self.unassigned {
            let capacity = 10_u64.pow(u32::try_from(range.matches('x').count()).unwrap_or(0));
            if left < capacity {
                let national = filled(range, left * STRIDE % capacity);
                return format!("+{}{national}", self.calling_code);
            }
            left -= capacity;
        }
        panic!("the last range of a country holds a million numbers")
    }
}

/// The range with its `x`s replaced by the digits of `value`.
fn filled(range: &str, value: u64) -> String {
    let free = range.matches('x').count();
    format!("{}{value:0free$}", range.trim_end_matches('x'))
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bookings;
    use contract::Phone;
    use std::collections::HashSet;

    #[test]
    fn every_country_of_the_bookings_has_names() {
        let names = Names::read();
        for booking in bookings::read(bookings::CSV).unwrap() {
            if let Some(code) = &booking.country {
                let country = names.country(code).unwrap_or_else(|| panic!("{code}"));
                let region = names.region(country.region);
                assert!(!region.women.is_empty() && !region.men.is_empty() && !region.families.is_empty());
            }
        }
    }

    #[test]
    fn case01_no_invented_number_is_given_twice_and_each_is_of_possible_length() {
        let names = Names::read();
        for (code, country) in &names.countries {
            let numbers: HashSet<String> = (0..2_000).map(|number| country.phone(number)).collect();
            assert_eq!(numbers.len(), 2_000, "{code}");
            for number in numbers.iter().chain([&country.phone(999_999)]) {
                let reading = Phone::read(number).unwrap();
                assert!(reading.possible, "{code} {number}");
                assert_eq!(reading.phone.as_str(), number);
            }
        }
        assert!(names.country("GBR").unwrap().phone(0).starts_with("+447700900"));
        assert!(names.country("PRT").unwrap().phone(0).starts_with("+351999"));
    }
}
