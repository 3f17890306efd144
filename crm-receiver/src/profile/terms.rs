//! The terms under which a profile is found, folded so that a search needs only equality and prefixes.

use super::contents::{ContactKind, Profile};
use contract::{Country, Phone};
use kit::fold::{fold_for_search, words::kept_words};
use serde_json::Value;
use std::collections::BTreeSet;
use strum::IntoStaticStr;

/// How many characters of a term are kept; the table's column is as wide.
pub const TERM_CHARS_MAX: usize = 120;
/// How many words of all its names a profile is found under; a person has a dozen.
pub const NAME_WORDS_MAX: usize = 256;

/// The kinds of term, as the table spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum TermKind {
    /// A word of a first or last name, with those behind it: found by its beginning.
    Name,
    /// An e-mail address: found whole.
    Email,
    /// The digits of a telephone number: found whole.
    Phone,
    /// A country of residence or nationality, ISO 3166-1 alpha-2: found whole.
    Country,
    /// The property of a guest record: found whole, by who may see that property.
    RecordProperty,
}

impl TermKind {
    /// Folds a text that is searched, or found, as a whole; None when nothing is left of it. A whole name is only used to
    /// sort by: it is found by its words.
    pub fn fold(self, text: &str) -> Option<String> {
        let term = match self {
            Self::Name | Self::Email => fold_for_search(text),
            Self::Phone => digits(text),
            Self::Country => country(text),
            Self::RecordProperty => text.to_owned(),
        };
        let term: String = term.chars().take(TERM_CHARS_MAX).collect();
        // A blank at an edge would be padded away by a binary collation, and equal a term without it.
        let term = term.trim().to_owned();
        (!term.is_empty()).then_some(term)
    }
}

/// The code of the country that a text names; of any other text, the folded text.
fn country(text: &str) -> String {
    match Country::parse(text) {
        Some(country) => country.as_str().to_owned(),
        None => fold_for_search(text).to_uppercase(),
    }
}

/// The digits of a telephone number, however it is written; of any other text, the digits in it.
fn digits(text: &str) -> String {
    if let Ok(reading) = Phone::read(text) {
        return reading.phone.digits().to_owned();
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.strip_prefix("00").map_or(digits.clone(), str::to_owned)
}

/// The texts of a profile under which it is found: of all its names and contact points, also those that did not win, and of
/// the properties of its guest records.
pub fn texts(profile: &Profile) -> Vec<(TermKind, &str)> {
    let names = profile.names.iter().map(|named| &named.name);
    let names = names.flat_map(|name| [&name.first_name, &name.last_name, &name.second_last_name]);
    let names = names.flatten().map(|name| (TermKind::Name, name.as_str()));
    let points = profile
        .contact_points
        .iter()
        .filter_map(|point| match &point.value {
            Value::String(text) if point.kind == ContactKind::Email => Some((TermKind::Email, text.as_str())),
            Value::String(text) => Some((TermKind::Phone, text.as_str())),
            address => Some((TermKind::Country, address.get("country")?.as_str()?)),
        });
    let nationality = profile
        .nationality
        .as_deref()
        .map(|country| (TermKind::Country, country));
    let properties = profile
        .records
        .iter()
        .filter_map(|record| record.property_id.as_ref());
    let properties = properties.map(|property| (TermKind::RecordProperty, property.as_str()));
    names.chain(points).chain(nationality).chain(properties).collect()
}

/// Every term of these texts.
pub fn of(texts: &[(TermKind, &str)]) -> BTreeSet<(TermKind, String)> {
    let (names, whole): (Vec<_>, Vec<_>) = texts.iter().partition(|(kind, _)| *kind == TermKind::Name);
    let words: BTreeSet<String> = names.into_iter().flat_map(|(_, name)| kept_words(name)).collect();
    let words = words.into_iter().take(NAME_WORDS_MAX);
    let words = words.map(|word| (TermKind::Name, word));
    let whole = whole
        .into_iter()
        .filter_map(|(kind, text)| Some((kind, kind.fold(text)?)));
    words.chain(whole).collect()
}

/// The name that lists are sorted by: family name first.
pub fn sort_name(profile: &Profile) -> String {
    let name = profile.name.clone();
    let parts = [name.last_name, name.second_last_name, name.first_name];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    TermKind::Name.fold(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_finds_what_people_type() {
        for (kind, text, term) in [
            (TermKind::Name, "  José   Ångström ", "jose angstrom"),
            (TermKind::Name, "STRASSE", "strasse"),
            (TermKind::Name, "Straße", "strasse"),
            (TermKind::Email, "João@Example.COM", "joao@example.com"),
            (TermKind::Phone, "+351 (21) 123-4567", "351211234567"),
            (TermKind::Phone, "00351211234567", "351211234567"),
            (TermKind::Phone, "+44 (0)20 7946 0018", "442079460018"),
            (TermKind::Phone, "tel:+44-20-7946-0018", "442079460018"),
            (TermKind::Phone, "+1234567890", "1234567890"),
            (TermKind::Phone, "020 7946 0018", "02079460018"),
            (TermKind::Country, "pt", "PT"),
            (TermKind::Country, "UK", "GB"),
            (TermKind::Country, "Côte d'Ivoire", "CI"),
            (TermKind::Country, "atlantis", "ATLANTIS"),
        ] {
            assert_eq!(kind.fold(text).as_deref(), Some(term), "{text}");
        }
        assert_eq!(TermKind::Email.fold(" \u{301} "), None);
        assert_eq!(TermKind::Phone.fold("none"), None);
        let long = TermKind::Name.fold(&"ß".repeat(500)).unwrap();
        assert_eq!(long.chars().count(), TERM_CHARS_MAX);
    }
}
