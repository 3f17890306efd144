//! The rules that link two records, and what speaks against it. Each looks at two records and nothing else.

use super::{
    birth::{self, BirthLikeness},
    features::{DocumentFacts, Features},
    key::KeyKind,
    name::{Likeness, NamesLikeness},
};
use crate::profile::link::{Conflict, LinkRule};
use std::collections::BTreeSet;

/// How sure it is, by names and birth dates alone, that two records which a rule fits are one person's. What is surer is
/// linked first, so that a record with an initial cannot come between two with the whole name. The smallest is the surest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Certainty {
    /// Equal given names, equal birth dates.
    SameNameAndBirth,
    /// Equal given names.
    SameName,
    /// Given names that agree, equal birth dates.
    AlikeNameAndBirth,
    /// Given names that agree.
    AlikeName,
    /// No given name, or an initial, on one side; equal birth dates.
    BirthAlone,
    /// No given name, or an initial, on one side.
    SurnameAlone,
}

impl Certainty {
    /// All, the surest first.
    pub const ALL: [Self; 6] = [
        Self::SameNameAndBirth,
        Self::SameName,
        Self::AlikeNameAndBirth,
        Self::AlikeName,
        Self::BirthAlone,
        Self::SurnameAlone,
    ];

    /// Whether both records have a whole given name. Of those that have none and fit two in conflict, nobody can say that
    /// they are one person's: the one may be the wife's, the other the husband's.
    pub fn knows_given_names(self) -> bool {
        self <= Self::AlikeName
    }

    /// Of two records.
    pub fn of(names: NamesLikeness, birth: BirthLikeness) -> Self {
        let same_birth = birth == BirthLikeness::Equal;
        match (names.given, same_birth) {
            (Likeness::Equal, true) => Self::SameNameAndBirth,
            (Likeness::Equal, false) => Self::SameName,
            (Likeness::Alike, true) => Self::AlikeNameAndBirth,
            (Likeness::Alike, false) => Self::AlikeName,
            (_, true) => Self::BirthAlone,
            (_, false) => Self::SurnameAlone,
        }
    }
}

/// A set of the fields in which two records may conflict, small enough to be kept for each pair of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fields {
    given_name: bool,
    birth_date: bool,
    document: bool,
}

impl Fields {
    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Whether each of them is in the other set.
    pub fn is_subset(self, of: Self) -> bool {
        (!self.given_name || of.given_name)
            && (!self.birth_date || of.birth_date)
            && (!self.document || of.document)
    }

    /// The same as a profile shows them.
    pub fn shown(self) -> BTreeSet<Conflict> {
        let all = [
            (self.given_name, Conflict::GivenName),
            (self.birth_date, Conflict::BirthDate),
            (self.document, Conflict::Document),
        ];
        all.into_iter()
            .filter_map(|(is_in, field)| is_in.then_some(field))
            .collect()
    }
}

/// What two records say of each other without a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compared {
    pub names: NamesLikeness,
    pub birth: BirthLikeness,
    /// The fields in conflict.
    pub against: Fields,
    /// The fields of which both records have a value, where the values agree.
    pub agreed: Fields,
}

impl Compared {
    /// Compares two records whose names are compared already.
    pub fn of(left: &Features, right: &Features, names: NamesLikeness, same_source: bool) -> Self {
        let birth = birth::compare(left.birth, right.birth);
        let one_document = left
            .documents
            .iter()
            .any(|one| right.documents.iter().any(|other| one.digest == other.digest));
        // Rank 4 is of names in any order, given names too.
        let is_rank4 = || {
            let term = left.names_birth_and_postal_code();
            let generations = (&left.names.generation, &right.names.generation);
            generations.0 == generations.1 && term.is_some() && term == right.names_birth_and_postal_code()
        };
        Self {
            names,
            birth,
            against: Fields {
                given_name: names.given == Likeness::Different && !is_rank4(),
                birth_date: birth == BirthLikeness::Apart,
                document: documents_conflict(&left.documents, &right.documents, same_source),
            },
            agreed: Fields {
                given_name: names.given.agrees(),
                birth_date: birth >= BirthLikeness::Slip,
                document: one_document,
            },
        }
    }
}

/// The rule that links two records which share a key of this kind, if any does.
pub fn fits(kind: KeyKind, names: NamesLikeness, birth: BirthLikeness) -> Option<LinkRule> {
    let same_birth = birth == BirthLikeness::Equal;
    match kind {
        KeyKind::MergedInto => Some(LinkRule::MergedAtSource),
        KeyKind::Loyalty => Some(LinkRule::LoyaltyNumber),
        KeyKind::Document => Some(LinkRule::Document),
        KeyKind::Email if names.surname.agrees() => Some(LinkRule::EmailAndSurname),
        KeyKind::Email if same_birth && names.given.agrees() => Some(LinkRule::EmailBirthDateAndGivenName),
        KeyKind::Phone if names.surname.agrees() && names.given.agrees() => Some(LinkRule::PhoneAndNames),
        KeyKind::Phone if names.surname.agrees() && same_birth => Some(LinkRule::PhoneSurnameAndBirthDate),
        KeyKind::Person => Some(LinkRule::NamesBirthDateAndPostalCode),
        KeyKind::Email | KeyKind::Phone => None,
    }
}

/// What speaks against two records being one person's. Ranks 2 to 4 never put two such records into one profile.
pub fn conflicts(
    left: &Features,
    right: &Features,
    names: NamesLikeness,
    same_source: bool,
) -> BTreeSet<Conflict> {
    Compared::of(left, right, names, same_source).against.shown()
}

/// Whether both have documents of one type and country that are certainly not the same. The digests of two sources may be
/// under different keys: there the last characters must be known of both, and differ.
pub(super) fn documents_conflict(
    left: &BTreeSet<DocumentFacts>,
    right: &BTreeSet<DocumentFacts>,
    same_source: bool,
) -> bool {
    let of_one_kind = |one: &DocumentFacts, other: &DocumentFacts| {
        one.kind == other.kind && one.country.is_some() && one.country == other.country
    };
    let differ = |one: &DocumentFacts, other: &DocumentFacts| {
        let known = one.last4.is_some() && other.last4.is_some();
        one.digest != other.digest && (same_source || (known && one.last4 != other.last4))
    };
    // The documents of a record stand in the order of their kinds.
    let left: Vec<&DocumentFacts> = left.iter().collect();
    left.chunk_by(|one, other| of_one_kind(one, other)).any(|own| {
        let rivals: Vec<_> = right.iter().filter(|other| of_one_kind(own[0], other)).collect();
        let all_differ = own
            .iter()
            .all(|own| rivals.iter().all(|rival| differ(own, rival)));
        !rivals.is_empty() && all_differ
    })
}
