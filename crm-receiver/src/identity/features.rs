//! What of a guest record says who the person is, read once and compared often.
//!
//! [`features`] keeps only what the rules of linking and the weights of candidates look at, in the form in which it is
//! compared. A change of a record that changes none of it changes no link: [`Features::digest`] stays the same.

use super::{
    key::{IdentityKey, KeyKind},
    name::{Names, parts},
};
use crate::profile::{
    GuestKey, Record,
    guest::{GuestFacts, Name},
};
use contract::{Country, EntityId, MailboxKind, Phone, UnixMillis, text};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, sync::LazyLock};

/// Raise it with every change of what features are made to, or of the rules over them: the links are then made again.
pub const IDENTITY_VERSION: i64 = 1;
/// How many memberships of a record are read.
pub const IDENTIFIERS_MAX: usize = 32;
/// How many documents of a record are read: those of two records are compared each with each.
pub const DOCUMENTS_MAX: usize = 8;
/// How long an address can be (RFC 5321, 4.5.3.1.3). A longer one is none.
pub const EMAIL_CHARS_MAX: usize = 254;
/// How many letters of a city are compared.
const CITY_CHARS_MAX: usize = 64;
/// How long a postal code, a document's type and its last characters may be. A longer one is none.
const CODE_CHARS_MAX: usize = 32;

/// An identity document, as an event describes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DocumentFacts {
    /// `passport`, `id_card`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Who issued it, if that is known.
    pub country: Option<String>,
    /// The keyed digest of its number.
    pub digest: String,
    /// The last characters of the number.
    pub last4: Option<String>,
}

/// What of a guest record says who the person is. All absent for a guest that only reservations name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Features {
    /// When the record was made at its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<UnixMillis>,
    /// The guest of the same source that the record was merged into there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<EntityId>,
    /// Given names and surnames.
    pub names: Names,
    /// A person's own mailbox, in lower case: never a relay's or an office's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The digits of a telephone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The birth date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth: Option<Date>,
    /// The postal code, without spaces and hyphens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
    /// The city, folded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// The country of residence, ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Memberships: programme and number.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub loyalty: BTreeSet<String>,
    /// Identity documents.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub documents: BTreeSet<DocumentFacts>,
}

/// Reads a guest's record. What is absent or of another shape is not there; nothing fails.
pub fn features(record: &Record) -> Features {
    let facts = GuestFacts::of(record);
    let payload = facts.payload();
    let address = payload.object("address");
    let of_address = |name| address.and_then(|address| address.text(name));
    Features {
        created_at: facts.created_at,
        merged_into: payload.text("merged_into").and_then(|id| id.parse().ok()),
        names: names(facts.name.as_ref()),
        email: email(&facts),
        phone: facts.phone.and_then(phone),
        birth: facts.date_of_birth,
        postal_code: of_address("postal_code").and_then(code),
        city: of_address("city")
            .map(|city| {
                parts(city)
                    .concat()
                    .chars()
                    .take(CITY_CHARS_MAX)
                    .collect::<String>()
            })
            .filter(|city| !city.is_empty()),
        country: of_address("country")
            .and_then(Country::parse)
            .map(|country| country.as_str().to_owned()),
        loyalty: payload
            .objects("loyalty")
            .take(IDENTIFIERS_MAX)
            .filter_map(|item| membership(item.text("programme")?, item.text("number")?))
            .collect(),
        documents: payload
            .objects("documents")
            .take(DOCUMENTS_MAX)
            .filter_map(|document| {
                Some(DocumentFacts {
                    kind: short(document.text("type")?.to_lowercase())?,
                    country: document
                        .text("issuing_country")
                        .and_then(Country::parse)
                        .map(|country| country.as_str().to_owned()),
                    digest: super::key::bounded(&document.owned("digest")?),
                    last4: document.text("last4").and_then(code),
                })
            })
            .collect(),
    }
}

fn names(name: Option<&Name>) -> Names {
    let Some(name) = name else {
        return Names::default();
    };
    let known = |text: &&str| !is_placeholder(text);
    let read = |text: &Option<String>| text.as_deref().filter(known).unwrap_or_default().to_owned();
    let surname = format!("{} {}", read(&name.last_name), read(&name.second_last_name));
    Names::read(&read(&name.first_name), &surname)
}

/// A person's own address. The sender's word counts only where it says that the mailbox is nobody's.
fn email(facts: &GuestFacts<'_>) -> Option<String> {
    let address = text::trim(facts.email?).to_lowercase();
    let address = address.strip_suffix('.').unwrap_or(&address);
    let (local, domain) = address.rsplit_once('@')?;
    let several = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | ';' | ',' | '@');
    let is_one =
        !local.is_empty() && !domain.is_empty() && !local.contains(several) && !domain.contains(several);
    let real = facts.email_kind() == MailboxKind::Real && MailboxKind::of(address) == MailboxKind::Real;
    let is_short = address.chars().count() <= EMAIL_CHARS_MAX;
    (real && is_one && is_short && !is_placeholder(local)).then(|| address.to_owned())
}

/// The digits of a telephone number, unless no number of its country can have these, or they are of one kind, as made-up
/// ones are.
fn phone(text: &str) -> Option<String> {
    let read = Phone::read(text).ok()?;
    let digits = read.phone.digits();
    (read.possible && !is_repeated(digits)).then(|| digits.to_owned())
}

static PLACEHOLDERS: LazyLock<BTreeSet<&str>> = LazyLock::new(|| {
    let lines = include_str!("../../data/identity_placeholders.txt").lines();
    lines.filter(|line| !line.starts_with('#')).collect()
});

/// Whether a text only says that nothing is known.
fn is_placeholder(text: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphanumeric() || *c == '/');
    let letters: String = letters.flat_map(char::to_lowercase).collect();
    PLACEHOLDERS.contains(letters.as_str())
}

/// Whether it is one character, three times or more.
fn is_repeated(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next();
    text.chars().count() >= 3 && chars.all(|c| Some(c) == first)
}

fn short(text: String) -> Option<String> {
    (text.chars().count() <= CODE_CHARS_MAX).then_some(text)
}

/// A short value of letters and digits.
fn code(text: &str) -> Option<String> {
    compact(text).and_then(short)
}

/// Letters and digits alone, in capitals.
fn compact(text: &str) -> Option<String> {
    let compact: String = text
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_uppercase)
        .collect();
    (!compact.is_empty()).then_some(compact)
}

/// A membership as it is compared. A number of zeros or of one character repeated is no number.
fn membership(programme: &str, number: &str) -> Option<String> {
    if is_placeholder(programme) || is_placeholder(number) {
        return None;
    }
    let number = compact(number)?;
    let is_number = number.chars().any(|c| c != '0') && !is_repeated(&number);
    is_number.then(|| Some(super::key::bounded(&format!("{}|{number}", compact(programme)?))))?
}

impl Features {
    /// The keys under which records are found that a rule may link with this one, which is `own`.
    pub fn keys(&self, own: &GuestKey) -> BTreeSet<IdentityKey> {
        let mut keys = BTreeSet::new();
        let mut add = |kind, term: &str| keys.insert(IdentityKey::new(kind, term));
        if let Some(target) = &self.merged_into {
            add(KeyKind::MergedInto, &merge_term(own, target));
        }
        for term in &self.loyalty {
            add(KeyKind::Loyalty, term);
        }
        for document in &self.documents {
            add(KeyKind::Document, &document.digest);
        }
        if let Some(email) = &self.email {
            add(KeyKind::Email, email);
        }
        if let Some(phone) = &self.phone {
            add(KeyKind::Phone, phone);
        }
        if let Some(term) = self.names_birth_and_postal_code() {
            add(KeyKind::Person, &term);
        }
        keys
    }

    /// The same without the values that too many people share: these say nothing of two records.
    #[must_use]
    pub fn without(&self, shared: &BTreeSet<IdentityKey>) -> Self {
        let is_own = |kind, term: &str| !shared.contains(&IdentityKey::new(kind, term));
        let mut own = self.clone();
        own.email.take_if(|email| !is_own(KeyKind::Email, email));
        own.phone.take_if(|phone| !is_own(KeyKind::Phone, phone));
        own.loyalty.retain(|term| is_own(KeyKind::Loyalty, term));
        own.documents
            .retain(|document| is_own(KeyKind::Document, &document.digest));
        own
    }

    /// The key that the records hold which were merged into `own` at its source.
    pub fn key_of_merged(own: &GuestKey) -> IdentityKey {
        IdentityKey::new(KeyKind::MergedInto, &merge_term(own, &own.id))
    }

    /// The name under which a key counts its holders: every part in one order. Empty without a name.
    pub fn name_key(&self) -> String {
        super::key::bounded(&self.names.sorted().join(" "))
    }

    /// Equal for equal features of equal rules.
    pub fn digest(&self) -> [u8; 32] {
        let text = serde_json::to_vec(self).expect("features always serialise");
        Sha256::new()
            .chain_update(IDENTITY_VERSION.to_be_bytes())
            .chain_update(text)
            .finalize()
            .into()
    }

    /// Two names at least, the birth date and the postal code, if all are there.
    pub(super) fn names_birth_and_postal_code(&self) -> Option<String> {
        let names = self.names.sorted();
        let (birth, postal_code) = (self.birth?, self.postal_code.as_ref()?);
        let several = names.len() >= 2;
        several.then(|| format!("{}|{birth}|{postal_code}", names.join(" ")))
    }
}

fn merge_term(own: &GuestKey, target: &EntityId) -> String {
    format!("{}|{}", own.source.as_str(), target.as_str())
}

#[cfg(test)]
mod tests;
