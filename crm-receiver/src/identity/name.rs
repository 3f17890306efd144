//! Names as they are compared: how far two spellings may differ and still be one person's.
//!
//! A name is folded as searches fold it, other scripts are written in Latin letters, and `ae`, `oe`, `ue` count as `a`,
//! `o`, `u`, so that Mueller is Müller and Soerensen is Sørensen. What is left are parts of ASCII letters and digits.

use deunicode::deunicode;
use kit::fold::fold_for_search;
use serde::{Deserialize, Serialize};

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

/// The parts of a text as they are compared.
pub fn parts(text: &str) -> Vec<String> {
    let shown: String = text.chars().filter(|c| !APOSTROPHES.contains(c)).collect();
    let folded = fold_for_search(&shown);
    let latin = if folded.is_ascii() {
        folded
    } else {
        // A transliteration has capitals, and apostrophes for soft signs.
        deunicode(&folded).replace(['\'', '`'], "").to_lowercase()
    };
    let words = latin
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let words = words.map(|word| word.chars().take(PART_CHARS_MAX).collect::<String>());
    words.take(PARTS_MAX).map(|word| one_spelling(&word)).collect()
}

/// `ae`, `oe` and `ue` as `a`, `o` and `u`.
fn one_spelling(word: &str) -> String {
    word.replace("ae", "a").replace("oe", "o").replace("ue", "u")
}

/// How alike two names are, given as their parts.
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
    let (one, other) = (short.concat(), long.concat());
    if one == other || same_parts(short, long) {
        return if initials(short) {
            Likeness::Initial
        } else {
            Likeness::Equal
        };
    }
    let begins = one.starts_with(&other) || other.starts_with(&one);
    let is_short = one.len().max(other.len()) <= WHOLE_CHARS_MAX;
    if !(begins || within(short, long) || (is_short && spelled_alike(&one, &other))) {
        return Likeness::Different;
    }
    if initials(short) || initials(long) {
        Likeness::Initial
    } else {
        Likeness::Alike
    }
}

/// Whether the parts are the same in some order.
fn same_parts(left: &[String], right: &[String]) -> bool {
    let sorted = |parts: &[String]| {
        let mut parts = parts.to_vec();
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
            if *other == part || other.starts_with(part.as_str()) || part.starts_with(other.as_str()) {
                Some(0)
            } else if spelled_alike(part, other) {
                Some(strsim::osa_distance(part, other))
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
    /// Every part, in one order: equal for `Ana Silva` and `Silva, Ana`.
    pub fn sorted(&self) -> Vec<&str> {
        let mut parts: Vec<&str> = self
            .given
            .iter()
            .chain(&self.surname)
            .map(String::as_str)
            .collect();
        parts.sort_unstable();
        parts
    }

    /// Compares straight, where that fails with all parts swapped, and at last whether all parts are the same in any
    /// order. The result is the same from either side.
    pub fn compare(&self, other: &Self) -> NamesLikeness {
        let straight = NamesLikeness {
            given: likeness(&self.given, &other.given),
            surname: likeness(&self.surname, &other.surname),
            swapped: false,
        };
        if straight.surname.agrees() && straight.given != Likeness::Different {
            return straight;
        }
        let crosswise = likeness(&self.given, &other.surname).min(likeness(&self.surname, &other.given));
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
            ("O’Brien", "O Brien", Equal),
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
        Names {
            given: parts(given),
            surname: parts(surname),
        }
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
    fn a_name_of_any_length_is_compared_in_bounded_time() {
        let long = parts(&"ß ".repeat(5_000));
        assert_eq!(long.len(), PARTS_MAX);
        assert_eq!(parts(&"x".repeat(5_000))[0].len(), PART_CHARS_MAX);
        assert_eq!(likeness(&long, &long), Equal);
    }
}
