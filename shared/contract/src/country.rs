//! Countries by ISO 3166-1: alpha-2 inside; the other codes and the names that people and systems write on input.
//!
//! The data is in `data/countries/`, whose NOTICE.md names its sources: the codes and short names of ISO 3166-1, names
//! in daily use, and the codes that are not ISO's own (reserved and withdrawn ones, those of passports). A name is
//! compared by its words in any order ("Korea (the Republic of)", "Republic of Korea"), or by its letters, for what
//! people write together.

use serde::{Deserialize, Serialize};
use std::{collections::HashMap, sync::LazyLock};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

const ISO_3166_1: &str = include_str!("../data/countries/iso_3166_1.tsv");
const NAMES: &str = include_str!("../data/countries/names.tsv");
const OTHER_CODES: &str = include_str!("../data/countries/other_codes.tsv");

/// The country of a line of `other_codes.tsv` that has none.
const NONE: &str = "-";
/// Words that do not distinguish countries.
const FILLERS: [&str; 3] = ["the", "of", "and"];
/// What people write for "saint" before a name.
const SAINTS: [&str; 3] = ["st", "ste", "sainte"];
/// Other ways to write `N/A`: without their dots they would be Namibia.
const NOT_AVAILABLE: [&str; 2] = ["n.a.", "n.a"];
/// The least letters of a name that is found written together.
const TOGETHER_LEN_MIN: usize = 5;
/// The longest text that is looked up, in bytes; the longest name has 70.
const TEXT_LEN_MAX: usize = 200;

/// A country of ISO 3166-1, as its alpha-2 code; `XK` beside them, which ISO leaves to its users and CLDR gives to Kosovo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Country(String);

/// What a text means where a country is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A country, by its alpha-2 code.
    Country(&'static str),
    /// A code that is in use and means no country: an organisation, a stateless person, a former state.
    NoCountry {
        /// The code, or the name.
        code: &'static str,
        /// What it stands for.
        meaning: &'static str,
    },
}

/// What the data files say, by the key of a text.
struct Known {
    by_words: HashMap<String, Meaning>,
    by_letters: HashMap<String, &'static str>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let mut known = Known {
        by_words: HashMap::new(),
        by_letters: HashMap::new(),
    };
    for [alpha2, alpha3, numeric, name] in lines::<4>(ISO_3166_1) {
        for text in [alpha2, alpha3, numeric, name] {
            known.by_words.insert(words(text), Meaning::Country(alpha2));
        }
        known.by_letters.insert(letters(name), alpha2);
    }
    for [alpha2, name, _source] in lines::<3>(NAMES) {
        known.by_words.insert(words(name), Meaning::Country(alpha2));
        known.by_letters.insert(letters(name), alpha2);
    }
    for [code, country, _source, meaning] in lines::<4>(OTHER_CODES) {
        let meaning = match country {
            NONE => Meaning::NoCountry { code, meaning },
            country => Meaning::Country(country),
        };
        known.by_words.insert(words(code), meaning);
    }
    known
});

impl Country {
    /// The country that a text names, see [`Meaning::of`].
    pub fn parse(text: &str) -> Option<Self> {
        Meaning::of(text).and_then(Meaning::country)
    }

    /// The alpha-2 code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Meaning {
    /// Reads a code or a name; letter case, marks, dots and the order of words do not matter. None when it is unknown.
    pub fn of(text: &str) -> Option<Self> {
        if text.len() > TEXT_LEN_MAX {
            return None;
        }
        let is_absent = NOT_AVAILABLE
            .iter()
            .any(|way| text.trim().eq_ignore_ascii_case(way));
        let text = if is_absent { "N/A" } else { text };
        let found = KNOWN.by_words.get(&words(text)).copied();
        found.or_else(|| {
            let letters = letters(text);
            let long_enough = letters.chars().count() >= TOGETHER_LEN_MIN;
            let alpha2 = KNOWN.by_letters.get(&letters).filter(|_| long_enough)?;
            Some(Self::Country(alpha2))
        })
    }

    /// The country, if it is one.
    pub fn country(self) -> Option<Country> {
        match self {
            Self::Country(alpha2) => Some(Country(alpha2.to_owned())),
            Self::NoCountry { .. } => None,
        }
    }
}

/// The tab-separated lines of a data file; the tests hold their shape.
fn lines<const COLUMNS: usize>(file: &'static str) -> impl Iterator<Item = [&'static str; COLUMNS]> {
    file.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('\t').collect::<Vec<_>>().try_into().ok())
}

/// The words of a text, folded and in order, without fillers unless there is nothing else (`AND` is Andorra); dots and
/// apostrophes join.
fn words(text: &str) -> String {
    let folded = folded(text);
    let mut words: Vec<&str> = folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    // `U. K.` and `U S A`: a code whose letters stand apart.
    let stand_apart = words.iter().all(|word| word.chars().count() == 1);
    if words.len() > 1 && stand_apart && !text.contains(['/', '-']) {
        return words.concat();
    }
    // ST alone is a code.
    if words.len() > 1 {
        for word in words.iter_mut().filter(|word| SAINTS.contains(word)) {
            *word = "saint";
        }
    }
    if words.iter().any(|word| !FILLERS.contains(word)) {
        words.retain(|word| !FILLERS.contains(word));
    }
    words.sort_unstable();
    words.join(" ")
}

/// The letters and digits of a text, folded and in their own order.
fn letters(text: &str) -> String {
    folded(text).chars().filter(|c| c.is_alphanumeric()).collect()
}

/// In small letters without marks, dots and apostrophes, and with the letters that have no decomposition spelt out.
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.nfkd().flat_map(char::to_lowercase) {
        match c {
            '.' | '\'' | '‘' | '’' | '`' | 'ʻ' | 'ʼ' => {}
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            'đ' | 'ð' => folded.push('d'),
            'ħ' => folded.push('h'),
            'ı' => folded.push('i'),
            'þ' => folded.push_str("th"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ß' => folded.push_str("ss"),
            c if is_combining_mark(c) => {}
            c => folded.push(c),
        }
    }
    folded
}

#[cfg(test)]
mod tests;
