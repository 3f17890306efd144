//! Why a record is a person's: the rule that linked it, and the evidence.

use super::record::{GuestKey, Record};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use strum::{EnumString, IntoStaticStr, VariantArray};

/// Why a record belongs to a person. The order is that of rank: an earlier rule is the surer one.
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
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum LinkRule {
    /// The record owns the profile's id.
    OwnRecord,
    /// Somebody decided that they are one person.
    Decision,
    /// Its source merged one record into the other.
    MergedAtSource,
    /// The same loyalty programme and number.
    LoyaltyNumber,
    /// The same identity document, by its digest.
    Document,
    /// The same mailbox of a person, and the surnames agree.
    EmailAndSurname,
    /// The same mailbox of a person, the same birth date, and the given names agree.
    EmailBirthDateAndGivenName,
    /// The same telephone number, and both names agree.
    PhoneAndNames,
    /// The same telephone number, the surnames agree, and the birth dates are equal.
    PhoneSurnameAndBirthDate,
    /// All names equal in any order, the same birth date and postal code.
    NamesBirthDateAndPostalCode,
}

impl LinkRule {
    /// From 0, a person's decision, to 4. A profile's own record needs none.
    pub const fn rank(self) -> u8 {
        match self {
            Self::OwnRecord | Self::Decision => 0,
            Self::MergedAtSource | Self::LoyaltyNumber | Self::Document => 1,
            Self::EmailAndSurname | Self::EmailBirthDateAndGivenName => 2,
            Self::PhoneAndNames | Self::PhoneSurnameAndBirthDate => 3,
            Self::NamesBirthDateAndPostalCode => 4,
        }
    }
}

/// What speaks against two records being one person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// Both have given names, and they do not agree.
    GivenName,
    /// Both have a birth date, further apart than a slip.
    BirthDate,
    /// Both have a document of one type and country, and not the same.
    Document,
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The record of the same profile with which the rule linked it.
    pub with: GuestKey,
    /// The decision, where the rule is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub decision: Option<String>,
    /// What speaks against it all the same.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub conflicts: BTreeSet<Conflict>,
}

/// Why a record belongs to the profile that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The rule.
    pub rule: LinkRule,
    /// What it found; nothing for the profile's own record.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub evidence: Option<Evidence>,
}

impl Link {
    /// Of the record that owns the profile's id.
    pub const OWN: Self = Self {
        rule: LinkRule::OwnRecord,
        evidence: None,
    };
}

/// A record of a person, with the reason why it is theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct Linked<'r> {
    /// The record.
    pub record: &'r Record,
    /// Why.
    pub link: Link,
}

impl<'r> Linked<'r> {
    /// The record that owns the profile's id.
    pub fn own(record: &'r Record) -> Self {
        Self {
            record,
            link: Link::OWN,
        }
    }
}
