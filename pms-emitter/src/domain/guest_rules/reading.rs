//! Reading single fields: what the text that a client sent means, and what is taken as unknown.
//!
//! A value that a system writes when it knows none, and that nobody there can correct, becomes `null` with a warning; one that a
//! sender can correct is refused. docs/warnings.md lists both.

use super::Rules;
use contract::{
    Country, FieldError, Phone,
    country::Meaning,
    parse_date,
    phone::PhoneError,
    placeholder_date::{is_placeholder, is_placeholder_before},
};
use jiff::civil::{Date, date};

/// Nobody alive was born before this day.
const EARLIEST_BIRTH: Date = date(1900, 1, 1);

/// No document that is valid today was to expire before this day; a placeholder before it stands for "unknown", one far ahead for "never".
const EARLIEST_EXPIRY: Date = date(1980, 1, 1);

/// A date that systems write when they know none.
const PLACEHOLDER: &str = "placeholder";
/// A number that its country cannot have, as far as the library's tables know.
const IMPOSSIBLE_PHONE: &str = "impossible_phone_number";
/// A code that is in use and names no country.
const NO_COUNTRY: &str = "no_country";

/// Every code of a warning.
#[cfg(test)]
const WARNINGS: [&str; 3] = [PLACEHOLDER, IMPOSSIBLE_PHONE, NO_COUNTRY];

impl Rules<'_> {
    /// The text as `parse` reads it; refused under `code` when it cannot.
    pub(super) fn read<T>(
        &mut self,
        pointer: &str,
        code: &str,
        text: Option<String>,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = text?;
        let parsed = parse(&text);
        if parsed.is_none() {
            self.refuse(pointer, code, message_for(code));
        }
        parsed
    }

    /// A telephone number; one that the library holds impossible is kept, with a warning.
    pub(super) fn phone(&mut self, text: Option<String>) -> Option<Phone> {
        const POINTER: &str = "/phone";
        match Phone::read(&text?) {
            Ok(reading) => {
                if !reading.possible {
                    let message = "is no possible number of its country, and was kept as it stands";
                    self.warn(POINTER, IMPOSSIBLE_PHONE, message);
                }
                Some(reading.phone)
            }
            Err(error) => {
                let code = match error {
                    PhoneError::Extension => "phone_extension",
                    PhoneError::NotANumber => "not_a_phone_number",
                };
                self.refuse(POINTER, code, message_for(code));
                None
            }
        }
    }

    /// A country; a code that names none is null, with a warning that keeps the code.
    pub(super) fn country(&mut self, pointer: &str, text: Option<String>) -> Option<Country> {
        let meaning = self.read(pointer, "not_a_country", text, Meaning::of)?;
        if let Meaning::NoCountry { code, meaning } = meaning {
            let message = format!("{code} ({meaning}) names no country, and was taken as unknown");
            self.warn(pointer, NO_COUNTRY, message);
        }
        meaning.country()
    }

    /// A date of birth, from 1900 to today.
    pub(super) fn birth(&mut self, text: Option<String>) -> Option<Date> {
        const POINTER: &str = "/date_of_birth";
        let text = text.filter(|text| !self.took_placeholder(POINTER, is_placeholder(text)))?;
        let born = self.read(POINTER, "not_a_date", Some(text), parse_date)?;
        if born < EARLIEST_BIRTH {
            self.refuse(POINTER, "too_early", "lies before 1900");
        } else if born > self.situation.property.today(self.situation.now) {
            self.refuse(POINTER, "in_future", "lies in the future");
        }
        Some(born)
    }

    /// The last day of a document. One far ahead is what an authority writes on a document that never ends.
    pub(super) fn expiry(&mut self, pointer: &str, text: Option<String>) -> Option<Date> {
        let unknown = |text: &String| is_placeholder_before(text, EARLIEST_EXPIRY);
        let text = text.filter(|text| !self.took_placeholder(pointer, unknown(text)))?;
        self.read(pointer, "not_a_date", Some(text), parse_date)
    }

    fn took_placeholder(&mut self, pointer: &str, is_placeholder: bool) -> bool {
        if is_placeholder {
            self.warn(pointer, PLACEHOLDER, "is a placeholder, and was taken as unknown");
        }
        is_placeholder
    }

    fn warn(&mut self, pointer: &str, code: &str, message: impl Into<String>) {
        self.warnings.push(FieldError::new(pointer, code, message));
    }
}

fn message_for(code: &str) -> &'static str {
    match code {
        "not_an_email" => "is not an e-mail address",
        "not_a_phone_number" => "is not + and 7 to 15 digits",
        "phone_extension" => "has an extension, which has no place in a number of E.164",
        "not_a_language_tag" => "is not a language tag of BCP 47",
        "not_a_country" => "is not a country of ISO 3166-1",
        _ => "is not a date (YYYY-MM-DD)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case03_the_page_and_the_code_know_the_same_warnings() {
        let page = include_str!("../../../../docs/warnings.md");
        let section = page
            .split("\n## ")
            .find(|section| section.starts_with("Warnings"))
            .unwrap();
        let mut listed: Vec<&str> = section
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        listed.sort_unstable();
        let mut known = WARNINGS;
        known.sort_unstable();
        assert_eq!(listed, known);
    }
}
