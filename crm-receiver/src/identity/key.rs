//! Keys: the values that records must share before a rule may link them, and those that too many people share.

use super::features::Features;
use crate::profile::GuestKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use strum::{EnumString, IntoStaticStr};

/// Under how many different names an identifier may stand and still link: of one person's record at 25 hotels the names
/// are few, of an agency's they are not.
pub const NAMES_MAX: usize = 10;
/// How many characters a term or a name has at most; a longer one is replaced by its digest.
pub const TERM_CHARS_MAX: usize = 120;

/// The kinds of key, as a table spells them.
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
pub enum KeyKind {
    /// The guest that the record was merged into at its source.
    MergedInto,
    /// A membership: programme and number.
    Loyalty,
    /// An identity document.
    Document,
    /// A person's own mailbox.
    Email,
    /// A telephone number.
    Phone,
    /// All names, birth date and postal code together.
    Person,
}

impl KeyKind {
    /// Whether it can be an office's or an agency's, so that its different names are counted.
    pub fn can_be_shared(self) -> bool {
        !matches!(self, Self::MergedInto | Self::Person)
    }
}

/// A value that records of one person share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdentityKey {
    /// Of what kind it is.
    pub kind: KeyKind,
    /// The value, at most [`TERM_CHARS_MAX`] characters.
    pub term: String,
}

impl IdentityKey {
    /// The key of a value, however long it is.
    pub fn new(kind: KeyKind, term: &str) -> Self {
        let term = bounded(term);
        Self { kind, term }
    }
}

/// The text, or a digest of one that is too long for a column.
pub(super) fn bounded(text: &str) -> String {
    if text.chars().count() <= TERM_CHARS_MAX {
        return text.to_owned();
    }
    let digest = Sha256::digest(text);
    format!(
        "sha256:{}",
        data_encoding::BASE32_NOPAD.encode(&digest).to_ascii_lowercase()
    )
}

/// Whether a key links nobody, by the different names of all records that hold it. A record without a name has none.
pub fn is_shared(kind: KeyKind, names: &BTreeSet<&str>) -> bool {
    kind.can_be_shared() && names.iter().filter(|name| !name.is_empty()).count() > NAMES_MAX
}

/// The keys of these records that link nobody.
pub fn shared_keys<'f>(
    records: impl IntoIterator<Item = (&'f GuestKey, &'f Features)>,
) -> BTreeSet<IdentityKey> {
    let mut names: BTreeMap<IdentityKey, BTreeSet<String>> = BTreeMap::new();
    for (key, features) in records {
        let name = features.name_key();
        for key in features.keys(key) {
            names.entry(key).or_default().insert(name.clone());
        }
    }
    names.retain(|key, names| is_shared(key.kind, &names.iter().map(String::as_str).collect()));
    names.into_keys().collect()
}

/// The kinds of block, as a table spells them.
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
pub enum BlockKind {
    /// A person's own mailbox.
    Email,
    /// What stands before its `@`.
    MailboxName,
    /// A telephone number.
    Phone,
    /// All names.
    Names,
    /// One name and the birth date.
    NameAndBirthDate,
    /// One name and the year of birth.
    NameAndBirthYear,
    /// One name and the postal code.
    NameAndPostalCode,
    /// The birth date.
    BirthDate,
}

/// A value that records must share to be compared as candidates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Block {
    /// Of what kind it is.
    pub kind: BlockKind,
    /// The value, at most [`TERM_CHARS_MAX`] characters.
    pub term: String,
}

impl Block {
    /// The block of a value, however long it is.
    pub fn new(kind: BlockKind, term: &str) -> Self {
        let term = bounded(term);
        Self { kind, term }
    }
}
