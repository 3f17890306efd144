//! The terms under which a profile is found, folded so that equality and prefix are all a search needs.

use super::contents::Profile;
use contract::{Country, Phone};
use kit::fold::{fold_for_search, words::kept_words};
use serde_json::Value;
use std::collections::BTreeSet;

/// How many characters of a term are kept; the table's column is as wide.
pub const TERM_CHARS_MAX: usize = 120;
/// How many words of all its names a profile is found under; a person has a dozen.
pub const NAME_WORDS_MAX: usize = 256;

/// The kinds of term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TermKind {
    /// A word of a first or last name, with those behind it: found by its beginning.
    Name,
    /// An e-mail address: found whole.
    Email,
    /// The digits of a telephone number: found whole.
    Phone,
    /// A country of residence or nationality, ISO 3166-1 alpha-2: found whole.
    Country,
}

impl TermKind {
    /// The kind as the table spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Country => "country",
        }
    }

    /// Folds a text that is searched for, or that shall be found, as a whole; None when nothing is left of it. A whole name
    /// is only sorted by: it is found by its words.
    pub fn fold(self, text: &str) -> Option<String> {
        let term = match self {
            Self::Name | Self::Email => fold_for_search(text),
            Self::Phone => digits(text),
            Self::Country => country(text),
        };
        let term: String = term.chars().take(TERM_CHARS_MAX).collect();
        // A blank at an edge would be padded away by a binary collation, and equal a term without it.
        let term = term.trim().to_owned();
        (!term.is_empty()).then_some(term)
    }
}

/// The code of the country that a sender or a client means, else its own word.
fn country(text: &str) -> String {
    match Country::parse(text) {
        Some(country) => country.as_str().to_owned(),
        None => fold_for_search(text).to_uppercase(),
    }
}

/// The digits of the number that a text is, however it is written; of what is no number, its digits.
fn digits(text: &str) -> String {
    if let Ok(reading) = Phone::read(text) {
        return reading.phone.digits().to_owned();
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.strip_prefix("00").map_or(digits.clone(), str::to_owned)
}

/// Every term of a profile: of all its names and contact points, also those that did not win.
pub fn of(profile: &Profile) -> BTreeSet<(TermKind, String)> {
    let names = profile.names.iter().map(|named| &named.name);
    let names = names.flat_map(|name| [&name.first_name, &name.last_name, &name.second_last_name]);
    let words: BTreeSet<String> = names.flatten().flat_map(|name| kept_words(name)).collect();
    let words = words.into_iter().take(NAME_WORDS_MAX);
    let mut terms: BTreeSet<_> = words.map(|word| (TermKind::Name, word)).collect();
    let mut add = |kind: TermKind, text: Option<&str>| {
        if let Some(term) = text.and_then(|text| kind.fold(text)) {
            terms.insert((kind, term));
        }
    };
    for point in &profile.contact_points {
        match &point.value {
            Value::String(text) if point.kind == "email" => add(TermKind::Email, Some(text)),
            Value::String(text) => add(TermKind::Phone, Some(text)),
            address => add(TermKind::Country, address.get("country").and_then(Value::as_str)),
        }
    }
    add(TermKind::Country, profile.nationality.as_deref());
    terms
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
