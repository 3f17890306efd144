//! Names as they are compared: how far two spellings may differ and still be one person's.
//!
//! A name is folded as searches fold it, other scripts are written in Latin letters, and `ae`, `oe`, `ue` count as `a`,
//! `o`, `u`, so that Mueller is Müller and Soerensen is Sørensen. What is left are parts of ASCII letters and digits.

use deunicode::deunicode;
use kit::fold::fold_for_search;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::LazyLock};

/// The least Jaro-Winkler similarity of two spellings of one name.
const SIMILARITY_MIN: f64 = 0.90;
/// How many edits may lie between two spellings of one name, two neighbours that changed places being one.
const EDITS_MAX: usize = 2;
/// How many parts of a name are compared, and how many characters of a part.
pub(super) const PARTS_MAX: usize = 8;
const PART_CHARS_MAX: usize = 32;
/// Names with more letters are compared part by part alone.
const WHOLE_CHARS_MAX: usize = 64;
/// Signs within a name that people leave out: O'Brien is OBrien.
const APOSTROPHES: [char; 7] = ['\'', '’', '‘', '`', '´', 'ʼ', 'ʻ'];

/// How alike two names, or parts of names, are. The order is that of certainty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// They are not one name.
    Different,
    /// One of them is not known.
    Missing,
    /// One of them is nothing but initials of the other.
    Initial,
    /// A part or the beginning of the other, or at most a slip away.
    Alike,
    /// The same parts.
    Equal,
}

impl Likeness {
    /// Whether both are there and can be one name.
    pub fn agrees(self) -> bool {
        self >= Self::Initial
    }
}

/// The parts of a text, in Latin letters. What is equal but for `ae`, `oe`, `ue` is found when it is compared.
pub fn parts(text: &str) -> Vec<String> {
    let shown: String = text.chars().filter(|c| !APOSTROPHES.contains(c)).collect();
    let folded = fold_for_search(&shown);
    let latin = if folded.is_ascii() {
        folded
    } else {
        let letters: String = folded
            .chars()
            .map(|c| if is_symbol(c) { ' ' } else { c })
            .collect();
        // A transliteration has capitals, and apostrophes for soft signs.
        deunicode(&letters).replace(['\'', '`'], "").to_lowercase()
    };
    let words = latin
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let words = words.map(|word| word.chars().take(PART_CHARS_MAX).collect::<String>());
    words.take(PARTS_MAX).collect()
}

/// Whether a transliteration would make a word of what is no letter: a heart, a note. The signs of Indic scripts within a
/// word are none.
fn is_symbol(c: char) -> bool {
    !c.is_ascii() && !c.is_alphanumeric() && !matches!(c, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{dff}')
}

/// `ae`, `oe` and `ue` as `a`, `o` and `u`.
fn one_spelling(word: &str) -> String {
    word.replace("ae", "a").replace("oe", "o").replace("ue", "u")
}

/// How alike two names are, given as their parts, which may stand in any order.
pub fn likeness(left: &[String], right: &[String]) -> Likeness {
    if left.is_empty() || right.is_empty() {
        return Likeness::Missing;
    }
    // By their content where they are as long: the order of the arguments decides nothing.
    let (short, long) = if (left.len(), left) <= (right.len(), right) {
        (left, right)
    } else {
        (right, left)
    };
    let initials = |parts: &[String]| parts.iter().all(|part| part.len() == 1);
    // Single letters are initials, and make no word together: A. Na is alike to Ana by its initial, not equal.
    let is_joined = short.iter().chain(long).all(|part| part.len() > 1);
    let spelling = |parts: &[String]| one_spelling(&parts.concat());
    let (one, other) = (spelling(short), spelling(long));
    if same_parts(short, long) || (is_joined && one == other) {
        return if initials(short) {
            Likeness::Initial
        } else {
            Likeness::Equal
        };
    }
    // Mae is no beginning of Mark, though it is folded to one.
    let begins = || {
        let (one, other) = (short.concat(), long.concat());
        one.starts_with(&other) || other.starts_with(&one)
    };
    let is_short = one.len().max(other.len()) <= WHOLE_CHARS_MAX;
    let as_one_word = is_joined && (begins() || (is_short && spelled_alike(&one, &other)));
    if !(as_one_word || within(short, long)) {
        return Likeness::Different;
    }
    if initials(short) || initials(long) {
        Likeness::Initial
    } else {
        Likeness::Alike
    }
}

/// How alike two given names are. Their order is part of them: José María is not María José.
fn given_likeness(left: &[String], right: &[String]) -> Likeness {
    let spelled = |parts: &[String]| parts.iter().map(|part| one_spelling(part)).collect::<Vec<_>>();
    if same_parts(left, right) && spelled(left) != spelled(right) {
        return Likeness::Different;
    }
    likeness(left, right)
}

/// Whether the parts are the same in some order.
fn same_parts(left: &[String], right: &[String]) -> bool {
    let sorted = |parts: &[String]| {
        let mut parts: Vec<String> = parts.iter().map(|part| one_spelling(part)).collect();
        parts.sort_unstable();
        parts
    };
    left.len() == right.len() && sorted(left) == sorted(right)
}

/// Whether each part of the shorter name stands in the longer one, in whatever order: as it is, as its beginning, or with
/// a slip, the slips of all parts together being no more than one name may have.
fn within(short: &[String], long: &[String]) -> bool {
    let mut free: Vec<&String> = long.iter().collect();
    let mut edits = 0;
    for part in short {
        let slips = |other: &&String| {
            let (one_spelled, other_spelled) = (one_spelling(part), one_spelling(other));
            let begins = other.starts_with(part.as_str()) || part.starts_with(other.as_str());
            if one_spelled == other_spelled || begins {
                Some(0)
            } else if spelled_alike(&one_spelled, &other_spelled) {
                Some(strsim::osa_distance(&one_spelled, &other_spelled))
            } else {
                None
            }
        };
        let nearest = free.iter().enumerate();
        let nearest = nearest.filter_map(|(at, other)| Some((slips(other)?, *other != part, at)));
        let Some((slipped, _, at)) = nearest.min() else {
            return false;
        };
        free.swap_remove(at);
        edits += slipped;
    }
    edits <= EDITS_MAX
}

/// Whether two words are one, but for a slip.
fn spelled_alike(one: &str, other: &str) -> bool {
    one.len().abs_diff(other.len()) <= EDITS_MAX
        && strsim::jaro_winkler(one, other) >= SIMILARITY_MIN
        && strsim::osa_distance(one, other) <= EDITS_MAX
}

/// A person's names, as they are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Names {
    /// Given names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<String>,
    /// Surnames, the second one included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surname: Vec<String>,
    /// Which of several of one name: `jr`, `sr`, `ii`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// In which scripts the names are written.
    #[serde(default, skip_serializing_if = "Scripts::are_latin")]
    pub scripts: Scripts,
}

/// In which scripts the given names and the surnames are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scripts {
    given: Script,
    surname: Script,
}

impl Scripts {
    fn are_latin(&self) -> bool {
        *self == Self::default()
    }
}

/// A script, as far as it matters where a name is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Script {
    #[default]
    Latin,
    Greek,
    Cyrillic,
    Hebrew,
    Arabic,
    Hangul,
    /// Chinese characters, and the Japanese ones beside them.
    Han,
    Other,
}

impl Script {
    /// The script of the first letter that is not Latin, if there is one.
    fn of(text: &str) -> Self {
        let letters = text.chars().filter(|c| c.is_alphabetic());
        let scripts = letters.map(|c| match c {
            '\0'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{2b0}'..='\u{2ff}' => Self::Latin,
            '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Self::Greek,
            '\u{400}'..='\u{52f}' => Self::Cyrillic,
            '\u{590}'..='\u{5ff}' => Self::Hebrew,
            '\u{600}'..='\u{77f}' => Self::Arabic,
            '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7af}' => Self::Hangul,
            '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}' => Self::Han,
            _ => Self::Other,
        });
        scripts
            .into_iter()
            .find(|script| *script != Self::Latin)
            .unwrap_or_default()
    }

    /// What a comparison of two names in these scripts is worth. What two transliterations do not have in common says
    /// nothing (李 is Li, Lee and Ri), and one character of another script is a whole name.
    fn judged(self, other: Self, likeness: Likeness) -> Likeness {
        let by_letter = |script| matches!(script, Self::Latin | Self::Greek | Self::Cyrillic);
        match likeness {
            Likeness::Different | Likeness::Initial if self != other => Likeness::Missing,
            Likeness::Initial if !by_letter(self) => Likeness::Missing,
            likeness => likeness,
        }
    }
}

static TITLES: LazyLock<BTreeSet<&str>> = LazyLock::new(|| {
    let lines = include_str!("../../data/name_titles.txt").lines();
    lines.filter(|line| !line.starts_with('#')).collect()
});

/// Takes titles before the name out, and the generation after it, where something else is left.
fn take_generation(parts: &mut Vec<String>) -> Option<String> {
    while parts.len() > 1 && TITLES.contains(parts[0].as_str()) {
        parts.remove(0);
    }
    let generation = match parts.last()?.as_str() {
        "jr" | "junior" => "jr",
        "sr" | "senior" => "sr",
        "ii" => "ii",
        "iii" => "iii",
        _ => return None,
    };
    if parts.len() == 1 {
        return None;
    }
    parts.pop();
    Some(generation.to_owned())
}

/// How alike the names of two records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamesLikeness {
    /// Of the given names.
    pub given: Likeness,
    /// Of the surnames.
    pub surname: Likeness,
    /// Whether one record has the given names where the other has the surnames.
    pub swapped: bool,
}

impl Names {
    /// Reads given names and surnames as they are written.
    pub fn read(given: &str, surname: &str) -> Self {
        let scripts = Scripts {
            given: Script::of(given),
            surname: Script::of(surname),
        };
        let (mut given, mut surname) = (parts(given), parts(surname));
        let (after_given, after_surname) = (take_generation(&mut given), take_generation(&mut surname));
        Self {
            given,
            surname,
            generation: after_surname.or(after_given),
            scripts,
        }
    }

    /// Every part, in one order and spelling: equal for `Ana Silva` and `Silva, Ana`.
    pub fn sorted(&self) -> Vec<String> {
        let all = self.given.iter().chain(&self.surname);
        let mut parts: Vec<String> = all.map(|part| one_spelling(part)).collect();
        parts.sort_unstable();
        parts
    }

    /// Compares straight, where that fails with all parts swapped, and at last whether all parts are the same in any
    /// order. The result is the same from either side. Two generations of one name are two given names.
    pub fn compare(&self, other: &Self) -> NamesLikeness {
        let mut compared = self.compare_parts(other);
        let generations = (self.generation.as_ref(), other.generation.as_ref());
        if let (Some(one), Some(other)) = generations
            && one != other
        {
            compared.given = Likeness::Different;
        }
        compared
    }

    fn compare_parts(&self, other: &Self) -> NamesLikeness {
        let (own_scripts, other_scripts) = (self.scripts, other.scripts);
        let given = given_likeness(&self.given, &other.given);
        let surname = likeness(&self.surname, &other.surname);
        let straight = NamesLikeness {
            given: own_scripts.given.judged(other_scripts.given, given),
            surname: own_scripts.surname.judged(other_scripts.surname, surname),
            swapped: false,
        };
        let reordered = same_parts(&self.given, &other.given);
        if straight.surname.agrees() && (straight.given != Likeness::Different || reordered) {
            return straight;
        }
        let one = likeness(&self.given, &other.surname);
        let one = own_scripts.given.judged(other_scripts.surname, one);
        let two = likeness(&self.surname, &other.given);
        let two = own_scripts.surname.judged(other_scripts.given, two);
        let crosswise = one.min(two);
        let in_any_order = self.sorted().len() >= 2 && self.sorted() == other.sorted();
        let whole = if in_any_order { Likeness::Equal } else { crosswise };
        if whole.agrees() {
            NamesLikeness {
                given: whole,
                surname: whole,
                swapped: true,
            }
        } else {
            straight
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Likeness::{Alike, Different, Equal, Initial, Missing};

    #[test]
    fn names_agree_as_people_write_one_name() {
        for (left, right, expected) in [
            ("Mueller", "Müller", Equal),
            ("MULLER", "Müller", Equal),
            ("Sørensen", "Soerensen", Equal),
            ("Sørensen", "Sorensen", Equal),
            ("Bjørn", "Björn", Equal),
            ("O'Brien", "OBrien", Equal),
            ("O’Brien", "O Brien", Alike),
            ("Mae", "Mark", Different),
            ("Ana ♥", "Ana", Equal),
            ("d'Angelo", "DANGELO", Equal),
            ("Mc Donald", "McDonald", Equal),
            ("van der Berg", "Vanderberg", Equal),
            ("Straße", "Strasse", Equal),
            ("Łukasz", "Lukasz", Equal),
            ("Иван", "Ivan", Equal),
            ("Γιώργος", "Giorgos", Equal),
            ("李小龍", "Li Xiaolong", Equal),
            ("José María", "Maria Jose", Equal),
            ("Smith-Jones", "Smith", Alike),
            ("García López", "Lopez", Alike),
            ("Christopher", "Chris", Alike),
            ("Maria Jose", "Maria J.", Alike),
            ("John", "J.", Initial),
            ("J", "J.", Initial),
            ("John Ronald", "J. R.", Initial),
            ("Noah", "oNah", Alike),
            ("Stephen", "Steven", Different),
            ("Bartholomeus", "Bartolomeo", Different),
            ("Bartholomeus", "Bartolomeu", Alike),
            ("Johnson", "Jonson", Alike),
            ("Thompson", "Thomson", Alike),
            ("Rodrigues", "Rodriguez", Alike),
            ("Paul", "Paula", Alike),
            ("John", "Joan", Different),
            ("Tim", "Tom", Different),
            ("Anna", "Hannah", Different),
            ("Ana", "Rui", Different),
            ("J.", "Peter", Different),
            ("Ana", "", Missing),
            ("...", "Ana", Missing),
        ] {
            let (one, other) = (parts(left), parts(right));
            assert_eq!(likeness(&one, &other), expected, "{left} and {right}");
            assert_eq!(likeness(&other, &one), expected, "{right} and {left}");
        }
    }

    #[test]
    fn an_apostrophe_parts_nothing_and_a_hyphen_or_dot_does() {
        for (text, expected) in [
            ("O'Brien", "obrien"),
            ("O’Brien", "obrien"),
            ("d'Angelo", "dangelo"),
            ("Smith-Jones", "smith jones"),
            ("J.R.", "j r"),
            ("Соловьёв", "solovev"),
        ] {
            assert_eq!(parts(text).join(" "), expected, "{text}");
        }
    }

    fn names(given: &str, surname: &str) -> Names {
        Names::read(given, surname)
    }

    #[test]
    fn all_parts_may_be_swapped_but_not_some() {
        let swapped = names("Watson", "Noah").compare(&names("oNah", "Watson"));
        assert!(swapped.swapped && swapped.given == Alike && swapped.surname == Alike);
        let half = names("", "Noah").compare(&names("Noah", "Watson"));
        assert_eq!((half.given, half.surname), (Missing, Different));
        let order = names("Maria", "Silva Ana").compare(&names("Ana", "Maria Silva"));
        assert!(order.swapped && order.given == Equal);
        let other = names("Watson", "Noah").compare(&names("Emma", "Watson"));
        assert_eq!((other.given, other.swapped), (Different, false));
    }

    #[test]
    fn titles_are_no_names_and_two_generations_are_two_people() {
        let father = names("Dr. John", "Smith Sr.");
        assert_eq!(
            (father.given.join(" "), father.surname.join(" ")),
            ("john".to_owned(), "smith".to_owned())
        );
        for (given, surname, expected) in [
            ("John", "Smith", Equal),
            ("John", "Smith senior", Equal),
            ("John Sr", "Smith", Equal),
            ("John", "Smith Jr", Different),
            ("John", "Smith III", Different),
            ("Mr John", "Smith", Equal),
        ] {
            let other = names(given, surname);
            assert_eq!(father.compare(&other).given, expected, "{given} {surname}");
            assert_eq!(other.compare(&father).given, expected, "{given} {surname}");
        }
        assert_eq!(
            names("Junior", "Dr").surname,
            ["dr"],
            "where nothing else is left"
        );
    }

    #[test]
    fn the_order_of_given_names_is_part_of_them() {
        let one = names("José María", "Silva");
        assert_eq!(one.compare(&names("María José", "Silva")).given, Different);
        assert_eq!(one.compare(&names("Jose Maria", "Silva")).given, Equal);
        assert_eq!(one.compare(&names("José", "Silva")).given, Alike);
    }

    #[test]
    fn what_two_scripts_do_not_have_in_common_says_nothing() {
        for (given, other, expected) in [
            ("Иван", "Ivan", Equal),
            ("Юлия", "Julia", Missing),
            ("李", "Lee", Missing),
            ("이", "Ines", Missing),
            ("이", "이", Missing),
            ("Иван", "Пётр", Different),
            ("И.", "Иван", Initial),
        ] {
            let (one, other) = (names(given, "Silva"), names(other, "Silva"));
            assert_eq!(one.compare(&other).given, expected, "{given}");
            assert_eq!(other.compare(&one).given, expected, "{given}");
        }
    }

    #[test]
    fn a_name_of_any_length_is_compared_in_bounded_time() {
        let long = parts(&"ß ".repeat(5_000));
        assert_eq!(long.len(), PARTS_MAX);
        assert_eq!(parts(&"x".repeat(5_000))[0].len(), PART_CHARS_MAX);
        assert_eq!(likeness(&long, &long), Equal);
    }
}
