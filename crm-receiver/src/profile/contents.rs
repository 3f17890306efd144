//! What a profile contains: the shape that is stored and answered.

use super::{
    consent::Consent,
    guest::{Name, Provenance},
    history::TimelineEntry,
    link::Link,
    metrics::Metrics,
    stay::Stay,
};
use contract::{MailboxKind, ProfileId, PropertyId, Scope, UnixMillis};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use strum::{EnumString, IntoStaticStr};

/// A linked record as the profile names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordLink {
    /// Where it was read.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// Its property.
    pub property_id: Option<PropertyId>,
    /// Whether it was deleted at its source.
    pub deleted: bool,
    /// Why it is this person's.
    #[serde(flatten)]
    pub link: Link,
}

/// A name, and where it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedBy {
    /// The name.
    #[serde(flatten)]
    pub name: Name,
    /// Where it was read.
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// The kinds of contact point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactKind {
    /// A postal address.
    Address,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
}

/// A way to reach the person, and where it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContactPoint {
    /// What it is.
    pub kind: ContactKind,
    /// A text, or the object of an address.
    pub value: Value,
    /// For an e-mail, what kind of mailbox it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub email_kind: Option<MailboxKind>,
    /// Where it was read.
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// What a profile is based on, as the tables and answers spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum ProfileStatus {
    /// A guest record is there.
    Active,
    /// Only reservations name this guest so far.
    Stub,
    /// The source merged the record into another.
    Merged,
    /// The source deleted the record; its reservations remain.
    Deleted,
}

impl Profile {
    /// Whether a caller with this scope sees it: with one of its guest records, and one without any only as a whole.
    pub fn is_in(&self, scope: &Scope) -> bool {
        let of_record =
            |record: &RecordLink| scope.has_optional(record.property_id.as_ref().map(PropertyId::as_str));
        *scope == Scope::All || self.records.iter().any(of_record)
    }
}

/// A person. It holds date-free facts only, and nothing of the order or time of arrival.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The id that its first record owns.
    pub profile_id: ProfileId,
    /// Whether a guest record is there, and how it ended.
    pub status: ProfileStatus,
    /// The profile of the record that the source merged this one into.
    pub merged_into: Option<ProfileId>,
    /// The name as people write it.
    pub display_name: Option<String>,
    /// Mr, Dr, ...
    pub title: Option<String>,
    /// The name that the rules of survivorship chose.
    #[serde(flatten)]
    pub name: Name,
    /// The e-mail address that they chose.
    pub email: Option<String>,
    /// What kind of mailbox it is.
    pub email_kind: Option<MailboxKind>,
    /// The telephone number that they chose.
    pub phone: Option<String>,
    /// The postal address that they chose.
    pub address: Option<Map<String, Value>>,
    /// The date of birth that they chose.
    pub date_of_birth: Option<Date>,
    /// The nationality that they chose.
    pub nationality: Option<String>,
    /// The language that they chose.
    pub language: Option<String>,
    /// The highest VIP level of any record.
    pub vip_level: Option<Value>,
    /// Whether any record says so.
    pub blacklisted: bool,
    /// All memberships.
    pub loyalty: Vec<Value>,
    /// All ids in other systems.
    pub external_ids: Vec<Value>,
    /// The properties of its records and reservations.
    pub property_ids: BTreeSet<PropertyId>,
    /// The consent in force, per channel.
    pub consent: Vec<Consent>,
    /// When its oldest record was made at its source.
    pub created_at: Option<UnixMillis>,
    /// The latest commit among its records and reservations.
    pub updated_at: UnixMillis,
    /// What its reservations add up to.
    pub metrics: Metrics,
    /// The records linked to it.
    pub records: Vec<RecordLink>,
    /// Every name.
    pub names: Vec<NamedBy>,
    /// Every contact point.
    pub contact_points: Vec<ContactPoint>,
    /// Every statement of consent that was received, the newest first.
    pub consent_history: Vec<Consent>,
    /// The newest reservations.
    pub reservations: Vec<Stay>,
    /// The newest events.
    pub timeline: Vec<TimelineEntry>,
    /// How many entries the whole timeline has.
    pub timeline_count: u64,
}
