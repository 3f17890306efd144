//! Countries by ISO 3166-1: alpha-2 inside, alpha-3 and English short names on input.
//!
//! Short names come in two shapes ("Korea (the Republic of)", "Republic of Korea"), so a name is compared by its set
//! of words, and, for what people write together or apart, by its letters and the aliases of the table.

use celes::Country as Listed;
use kit::fold::fold_for_search;
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, sync::LazyLock};

/// Words that tell no two countries apart.
const FILLERS: [&str; 3] = ["the", "of", "and"];

/// Short names of ISO 3166-1 whose words are not those of the table.
const OTHER_NAMES: [(&str, &str); 3] = [
    ("samoa", "WS"),
    ("china province taiwan", "TW"),
    ("china macao", "MO"),
];

static BY_WORDS: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    Listed::get_countries()
        .into_iter()
        .map(|country| (words(country.long_name), country.alpha2))
        .chain(OTHER_NAMES.map(|(name, code)| (name.to_owned(), code)))
        .collect()
});

/// A country of ISO 3166-1, as its alpha-2 code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Country(String);

impl Country {
    /// Reads alpha-2, alpha-3 or an English short name; letter case, marks and punctuation do not matter.
    pub fn parse(text: &str) -> Option<Self> {
        let folded = fold_for_search(text);
        let code = match folded.len() {
            2 => Listed::from_alpha2(&folded).ok().map(|country| country.alpha2),
            3 => Listed::from_alpha3(&folded).ok().map(|country| country.alpha2),
            _ => None,
        };
        code.or_else(|| by_name(&folded))
            .map(|code| Self(code.to_owned()))
    }

    /// The alpha-2 code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn by_name(folded: &str) -> Option<&'static str> {
    let key = words(folded);
    if key.is_empty() {
        return None;
    }
    let letters: String = folded.chars().filter(|c| c.is_alphanumeric()).collect();
    BY_WORDS.get(&key).copied().or_else(|| {
        Listed::from_name(&letters)
            .or_else(|_| Listed::from_alias(&letters))
            .ok()
            .map(|country| country.alpha2)
    })
}

/// The words of a name, folded and in order, without fillers; dots and apostrophes join.
fn words(name: &str) -> String {
    let joined: String = fold_for_search(name)
        .chars()
        .filter(|c| !matches!(c, '.' | '\'' | '’'))
        .collect();
    let mut words: Vec<&str> = joined
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && !FILLERS.contains(word))
        .collect();
    words.sort_unstable();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_short_names_map_to_alpha_2() {
        for (text, code) in [
            ("US", "US"),
            ("USA", "US"),
            ("pt", "PT"),
            ("Prt", "PT"),
            ("Portugal", "PT"),
            ("CN", "CN"),
            ("United States of America (the)", "US"),
            ("United States", "US"),
            ("Korea (the Republic of)", "KR"),
            ("Korea (the Democratic People's Republic of)", "KP"),
            ("Congo (the)", "CG"),
            ("Congo (the Democratic Republic of the)", "CD"),
            ("Venezuela (Bolivarian Republic of)", "VE"),
            ("Virgin Islands (U.S.)", "VI"),
            ("Virgin Islands (British)", "VG"),
            ("Saint Martin (French part)", "MF"),
            ("Côte d'Ivoire", "CI"),
            ("Türkiye", "TR"),
            ("Turkey", "TR"),
            ("Czech Republic", "CZ"),
            ("Åland Islands", "AX"),
            ("Réunion", "RE"),
            ("Samoa", "WS"),
            ("American Samoa", "AS"),
            ("Taiwan (Province of China)", "TW"),
            ("Niger", "NE"),
            ("Nigeria", "NG"),
            ("Guinea-Bissau", "GW"),
            ("  united   kingdom ", "GB"),
        ] {
            assert_eq!(
                Country::parse(text).as_ref().map(Country::as_str),
                Some(code),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_country_is_refused() {
        for text in [
            "", " ", "XX", "ZZZ", "840", "Atlantis", "of the", "U", "U-S", "republic",
        ] {
            assert_eq!(Country::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_listed_country_is_found_by_all_its_names() {
        for country in Listed::get_countries() {
            for name in [country.alpha2, country.alpha3, country.long_name] {
                let found = Country::parse(name).unwrap_or_else(|| panic!("{name}"));
                assert_eq!(found.as_str(), country.alpha2, "{name}");
            }
        }
    }
}
