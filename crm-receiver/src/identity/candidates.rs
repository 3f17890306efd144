//! Candidates: pairs of records that may be one person's, for a person to decide. A score never merges by itself.
//!
//! Records are compared that share a block ([`blocks`]), if the block is small. What is found is scored by fixed weights
//! ([`super::weights`]), and each record keeps its best few of each kind.

use super::{
    features::Features,
    key::{Block, BlockKind, IdentityKey},
    rules::conflicts,
    weights::{FieldWeight, weigh},
};
use crate::profile::{GuestKey, link::Conflict};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};
use strum::{EnumString, IntoStaticStr};

/// A block of more records gives no candidates: it is a common name, or an office.
pub const BLOCK_MAX: usize = 50;
/// How many candidates of each kind a record keeps.
pub const KEPT_MAX: usize = 5;
/// From how many bits on a pair is a candidate: two names alone are not enough.
pub const SCORE_MIN: i32 = 15;

/// What a candidate may turn out to be.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum CandidateKind {
    /// Nothing speaks against one person.
    SamePerson,
    /// A conflict stands: mostly two people of one household.
    Household,
}

/// Two records that may be one person's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The two records, the smaller key first.
    pub records: (GuestKey, GuestKey),
    /// What they may be.
    pub kind: CandidateKind,
    /// The sum of the weights, in bits.
    pub score: i32,
    /// What each field says.
    pub fields: Vec<FieldWeight>,
    /// What speaks against one person.
    pub conflicts: BTreeSet<Conflict>,
}

impl Candidate {
    /// The pair, if it scores enough.
    pub fn of(left: (&GuestKey, &Features), right: (&GuestKey, &Features)) -> Option<Self> {
        let (left, right) = if left.0 <= right.0 {
            (left, right)
        } else {
            (right, left)
        };
        let fields = weigh(left.1, right.1);
        let score = fields.iter().map(|field| field.weight).sum();
        if score < SCORE_MIN {
            return None;
        }
        let names = left.1.names.compare(&right.1.names);
        let conflicts = conflicts(left.1, right.1, names, left.0.source == right.0.source);
        Some(Self {
            records: (left.0.clone(), right.0.clone()),
            kind: if conflicts.is_empty() {
                CandidateKind::SamePerson
            } else {
                CandidateKind::Household
            },
            score,
            fields,
            conflicts,
        })
    }
}

/// The blocks that a record is in: records that share none are not compared.
pub fn blocks(features: &Features) -> BTreeSet<Block> {
    let mut blocks = BTreeSet::new();
    let mut add = |kind, term: String| blocks.insert(Block::new(kind, &term));
    let names = features.names.sorted();
    if let Some(email) = &features.email {
        add(BlockKind::Email, email.clone());
        if let Some((local, _)) = email.rsplit_once('@') {
            add(BlockKind::MailboxName, local.to_owned());
        }
    }
    if let Some(phone) = &features.phone {
        add(BlockKind::Phone, phone.clone());
    }
    if names.len() >= 2 {
        add(BlockKind::Names, names.join(" "));
    }
    for name in &names {
        if let Some(birth) = features.birth {
            add(BlockKind::NameAndBirthDate, format!("{name}|{birth}"));
            add(BlockKind::NameAndBirthYear, format!("{name}|{}", birth.year()));
        }
        if let Some(code) = &features.postal_code {
            add(BlockKind::NameAndPostalCode, format!("{name}|{code}"));
        }
    }
    if let Some(birth) = features.birth {
        add(BlockKind::BirthDate, birth.to_string());
    }
    blocks
}

/// The best candidates of one record among the others of its blocks, of each kind, the best first. All features are without
/// the values that too many people share ([`Features::without`]). `may_be` says of another record
/// whether the pair is still open: not in one profile, and not decided.
pub fn best<'r>(
    own: (&GuestKey, &Features),
    others: impl IntoIterator<Item = (&'r GuestKey, &'r Features)>,
    may_be: impl Fn(&GuestKey) -> bool,
) -> Vec<Candidate> {
    let open = others.into_iter().filter(|(key, _)| *key != own.0 && may_be(key));
    let mut found: Vec<Candidate> = open.filter_map(|other| Candidate::of(own, other)).collect();
    found.sort_by(|one, other| {
        (Reverse(one.score), &one.records).cmp(&(Reverse(other.score), &other.records))
    });
    let mut kept: BTreeMap<CandidateKind, usize> = BTreeMap::new();
    found.retain(|candidate| {
        let kept = kept.entry(candidate.kind).or_default();
        *kept += 1;
        *kept <= KEPT_MAX
    });
    found
}

/// The candidates of a whole set: those that one record or the other keeps, in the order of their records. `shared` are the
/// keys that too many people share.
pub fn candidates(
    records: &BTreeMap<GuestKey, Features>,
    shared: &BTreeSet<IdentityKey>,
    may_be: impl Fn(&GuestKey, &GuestKey) -> bool,
) -> Vec<Candidate> {
    let own = records
        .iter()
        .map(|(key, features)| (key.clone(), features.without(shared)));
    let records: &BTreeMap<GuestKey, Features> = &own.collect();
    let mut holders: BTreeMap<Block, Vec<&GuestKey>> = BTreeMap::new();
    for (key, features) in records {
        for block in blocks(features) {
            holders.entry(block).or_default().push(key);
        }
    }
    holders.retain(|_, holders| holders.len() <= BLOCK_MAX);
    let mut found: BTreeMap<(GuestKey, GuestKey), Candidate> = BTreeMap::new();
    for (key, features) in records {
        let blocks = blocks(features);
        let others: BTreeSet<&GuestKey> = blocks
            .iter()
            .filter_map(|block| holders.get(block))
            .flatten()
            .copied()
            .collect();
        let others = others.into_iter().map(|other| (other, &records[other]));
        for candidate in best((key, features), others, |other| may_be(key, other)) {
            found.entry(candidate.records.clone()).or_insert(candidate);
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests;
