//! How alike two records are, field by field, and what each comparison weighs.
//!
//! The weights are a data file, `data/identity_weights.tsv`, which says where they come from.

use super::{
    birth::{self, BirthLikeness},
    features::Features,
    name::{Likeness, Names, likeness},
};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, sync::LazyLock};
use strum::EnumString;

/// What of two records is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Field {
    /// Surnames.
    Surname,
    /// Given names.
    GivenName,
    /// Birth dates.
    BirthDate,
    /// Mailboxes of a person.
    Email,
    /// Telephone numbers.
    Phone,
    /// Postal codes.
    PostalCode,
    /// Cities.
    City,
    /// Countries of residence.
    Country,
    /// Memberships.
    Loyalty,
    /// Identity documents.
    Document,
}

/// How the values of a field compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Comparison {
    /// The same.
    Equal,
    /// A part, a beginning, or a slip away.
    Alike,
    /// An initial of the other.
    Initial,
    /// A birth date with a slip.
    Slip,
    /// Names of nearly the same letters; birth dates within a year.
    Near,
    /// Not the same.
    Different,
}

/// What one field says of two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldWeight {
    /// The field.
    pub field: Field,
    /// How its values compare.
    pub comparison: Comparison,
    /// Bits for one person, below zero against.
    pub weight: i32,
}

static WEIGHTS: LazyLock<HashMap<(Field, Comparison), i32>> = LazyLock::new(|| {
    let lines = include_str!("../../data/identity_weights.tsv").lines();
    let rows = lines.filter(|line| !line.starts_with('#'));
    rows.map(|line| read_line(line).expect("a line of field, comparison and bits"))
        .collect()
});

fn read_line(line: &str) -> Option<((Field, Comparison), i32)> {
    let mut cells = line.split('\t');
    let (field, comparison) = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
    Some(((field, comparison), cells.next()?.parse().ok()?))
}

/// What each field that both records have says of them, in the order of the fields.
pub fn weigh(left: &Features, right: &Features) -> Vec<FieldWeight> {
    let (surname, given) = names(&left.names, &right.names);
    let [postal_code, city, country] = addresses(left, right);
    let compared = [
        (Field::Surname, surname),
        (Field::GivenName, given),
        (Field::BirthDate, births(left, right)),
        (Field::Email, both(&left.email, &right.email, emails)),
        (Field::Phone, both(&left.phone, &right.phone, phones)),
        (Field::PostalCode, postal_code),
        (Field::City, city),
        (Field::Country, country),
        (Field::Loyalty, loyalty(left, right)),
        (Field::Document, documents(left, right)),
    ];
    let known = compared
        .into_iter()
        .filter_map(|(field, comparison)| Some((field, comparison?)));
    known
        .map(|(field, comparison)| FieldWeight {
            field,
            comparison,
            weight: WEIGHTS.get(&(field, comparison)).copied().unwrap_or(0),
        })
        .collect()
}

fn both(
    left: &Option<String>,
    right: &Option<String>,
    compare: fn(&str, &str) -> Comparison,
) -> Option<Comparison> {
    Some(compare(left.as_deref()?, right.as_deref()?))
}

/// Surnames and given names. The only name of a record may be the other's given name.
fn names(left: &Names, right: &Names) -> (Option<Comparison>, Option<Comparison>) {
    let whole = left.compare(right);
    let only = |one: &Names, other: &Names| {
        let likeness = likeness(&one.surname, &other.given);
        (one.given.is_empty() && likeness.agrees())
            .then(|| of_names(likeness))
            .flatten()
    };
    if !whole.surname.agrees()
        && let Some(given) = only(left, right).or_else(|| only(right, left))
    {
        return (None, Some(given));
    }
    let near = |likeness, one: &[String], other: &[String]| {
        let compared = of_names(likeness);
        let of_nearly =
            compared == Some(Comparison::Different) && nearly_same_letters(&one.concat(), &other.concat());
        if of_nearly {
            Some(Comparison::Near)
        } else {
            compared
        }
    };
    (
        near(whole.surname, &left.surname, &right.surname),
        near(whole.given, &left.given, &right.given),
    )
}

/// How many letters of a name or an address may be in one of two spellings alone.
const LETTERS_OF_ONE_MAX: usize = 2;
/// Shorter texts have too few letters to compare them without their order.
const LETTERS_MIN: usize = 4;

/// Whether two texts have the same letters, but for a few, in whatever order.
fn nearly_same_letters(one: &str, other: &str) -> bool {
    let missing = |one: &str, other: &str| {
        let mut left: Vec<char> = other.chars().collect();
        let mut missing = 0;
        for letter in one.chars() {
            match left.iter().position(|other| *other == letter) {
                Some(at) => drop(left.swap_remove(at)),
                None => missing += 1,
            }
        }
        missing
    };
    let few = |count: usize| count * 3 <= one.len().min(other.len()) && count <= LETTERS_OF_ONE_MAX;
    one.len().min(other.len()) >= LETTERS_MIN && few(missing(one, other)) && few(missing(other, one))
}

/// Of an address what says most: where the postal codes are the same, city and country say nothing more.
fn addresses(left: &Features, right: &Features) -> [Option<Comparison>; 3] {
    let exactly_one = |one: &str, other: &str| exactly(one == other);
    let code = both(&left.postal_code, &right.postal_code, exactly_one);
    if code == Some(Comparison::Equal) {
        return [code, None, None];
    }
    let city = both(&left.city, &right.city, |one, other| {
        of_names(likeness(&[one.to_owned()], &[other.to_owned()])).unwrap_or(Comparison::Different)
    });
    if city == Some(Comparison::Equal) {
        return [code, city, None];
    }
    [code, city, both(&left.country, &right.country, exactly_one)]
}

fn exactly(same: bool) -> Comparison {
    if same {
        Comparison::Equal
    } else {
        Comparison::Different
    }
}

fn of_names(likeness: Likeness) -> Option<Comparison> {
    match likeness {
        Likeness::Missing => None,
        Likeness::Different => Some(Comparison::Different),
        Likeness::Initial => Some(Comparison::Initial),
        Likeness::Alike => Some(Comparison::Alike),
        Likeness::Equal => Some(Comparison::Equal),
    }
}

fn births(left: &Features, right: &Features) -> Option<Comparison> {
    let (one, other) = (left.birth?, right.birth?);
    match birth::compare(Some(one), Some(other)) {
        BirthLikeness::Missing => None,
        BirthLikeness::Equal => Some(Comparison::Equal),
        BirthLikeness::Slip => Some(Comparison::Slip),
        BirthLikeness::Apart => {
            let days = one.until(other).map_or(i32::MAX, |span| span.get_days().abs());
            Some(if days <= 366 {
                Comparison::Near
            } else {
                Comparison::Different
            })
        }
    }
}

/// Two mailboxes of one name at different domains are alike, and so are those of nearly the same letters. Another number
/// is another mailbox: ana.silva1 is not ana.silva2.
fn emails(one: &str, other: &str) -> Comparison {
    if one == other {
        return Comparison::Equal;
    }
    let name = |address: &str| address.rsplit_once('@').map(|(name, _)| name.to_owned());
    let digits = |address: &str| address.chars().filter(char::is_ascii_digit).collect::<String>();
    if name(one) == name(other) || (digits(one) == digits(other) && nearly_same_letters(one, other)) {
        Comparison::Alike
    } else {
        Comparison::Different
    }
}

/// A digit that is wrong, too many or missing, or two that changed places.
fn phones(one: &str, other: &str) -> Comparison {
    match strsim::osa_distance(one, other) {
        0 => Comparison::Equal,
        1 => Comparison::Alike,
        _ => Comparison::Different,
    }
}

fn loyalty(left: &Features, right: &Features) -> Option<Comparison> {
    let programme = |term: &String| term.split_once('|').map(|(programme, _)| programme.to_owned());
    let one_programme = |one: &String| {
        right
            .loyalty
            .iter()
            .any(|other| programme(one) == programme(other))
    };
    if !left.loyalty.is_disjoint(&right.loyalty) {
        Some(Comparison::Equal)
    } else if left.loyalty.iter().any(one_programme) {
        Some(Comparison::Different)
    } else {
        None
    }
}

fn documents(left: &Features, right: &Features) -> Option<Comparison> {
    let mut digests = left.documents.iter().map(|document| &document.digest);
    if digests.any(|digest| right.documents.iter().any(|other| other.digest == *digest)) {
        return Some(Comparison::Equal);
    }
    super::rules::documents_conflict(&left.documents, &right.documents, false)
        .then_some(Comparison::Different)
}

#[cfg(test)]
mod tests;
