//! A guest record: what a hotel knows of a person, one record per property.
//!
//! [`GuestDetails`] is what clients set; id, version, status and instants around it are ours. `guest_input` reads the shape of
//! a request, `guest_rules` checks its meaning and makes details of it, `guest_command` decides what is committed.

use super::{
    change::changed_fields,
    email::Email,
    event::{EventPayload, object_of},
    guest_document::Document,
};
use contract::{Country, EntityKind, EntityRef, GuestId, MailboxKind, Phone, PropertyId, UnixMillis};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Whether a record is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestStatus {
    /// In use.
    Active,
    /// Another record of the same person took its place.
    Merged,
    /// Deleted; it keeps its last state.
    Deleted,
    /// Its personal data was removed.
    Erased,
}

/// A guest record. `version` counts its commits from 1 without gaps; `deleted_at` is set exactly when it is deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Guest {
    /// `gst_...`
    pub id: GuestId,
    /// Its property, fixed after creation.
    pub property_id: PropertyId,
    /// From 1.
    pub version: u64,
    /// Whether it is in use.
    pub status: GuestStatus,
    /// The record that took its place, when merged.
    pub merged_into: Option<GuestId>,
    /// What clients set.
    pub details: GuestDetails,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it was last changed.
    pub updated_at: UnixMillis,
    /// When it was deleted.
    pub deleted_at: Option<UnixMillis>,
}

/// A guest as answers and events show it. Its members stand in this order, those of the details in theirs: people read them.
#[derive(Serialize)]
struct Shown<'g> {
    id: &'g GuestId,
    version: u64,
    property_id: &'g PropertyId,
    created_at: UnixMillis,
    updated_at: UnixMillis,
    #[serde(flatten)]
    details: &'g GuestDetails,
    email_kind: Option<MailboxKind>,
    status: GuestStatus,
    merged_into: Option<&'g GuestId>,
    deleted_at: Option<UnixMillis>,
}

/// What clients set on a guest, after every rule: texts trimmed and in NFC, codes and addresses normalised.
///
/// It is read back as it was stored, perhaps by a later version: members that are not known, here or below, are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuestDetails {
    /// Ids in other systems, unique per property and system.
    pub external_ids: Vec<ExternalId>,
    /// `Dr`, `Frau`, ...
    pub title: Option<String>,
    /// Given names.
    pub first_name: Option<String>,
    /// 1 to 100 characters.
    pub last_name: String,
    /// The second surname of Iberian names.
    pub second_last_name: Option<String>,
    /// See [`Email`].
    pub email: Option<Email>,
    /// See [`Phone`].
    pub phone: Option<Phone>,
    /// From 1900 to today; placeholders are null.
    pub date_of_birth: Option<Date>,
    /// Alpha-2.
    pub nationality: Option<Country>,
    /// Null when it says nothing.
    pub address: Option<Address>,
    /// BCP 47.
    pub language: Option<String>,
    /// With their numbers, which never leave the PMS.
    pub documents: Vec<Document>,
    /// Memberships.
    pub loyalty: Vec<Loyalty>,
    /// 0 to 9, the highest is the most important; null when there is none.
    pub vip_level: Option<u8>,
    /// Not welcome.
    pub blacklisted: bool,
    /// At most one per channel, in the channels' order; no record means no.
    pub consent: Vec<Consent>,
    /// Free text: stays out of events.
    pub preferences: Vec<String>,
    /// Free text: stays out of events.
    pub notes: Option<String>,
}

/// A guest's id in another system; it is a key, so no white space is trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalId {
    /// Which system.
    pub system: String,
    /// The id there.
    pub value: String,
}

/// A postal address; at least one member says something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Street and number.
    pub line1: Option<String>,
    /// The rest of it.
    pub line2: Option<String>,
    /// City.
    pub city: Option<String>,
    /// State, province, county.
    pub region: Option<String>,
    /// Postal code.
    pub postal_code: Option<String>,
    /// Alpha-2.
    pub country: Option<Country>,
}

/// A membership of a loyalty programme.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loyalty {
    /// Which programme.
    pub programme: String,
    /// The member's number.
    pub number: String,
    /// The member's tier.
    pub level: Option<String>,
}

/// What a guest said of one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// For what.
    pub channel: ConsentChannel,
    /// What was said last.
    pub status: ConsentStatus,
    /// When; never later than the change that recorded it.
    pub at: UnixMillis,
    /// Where: `registration_card`, `web`, ...
    pub source: Option<String>,
}

/// What consent is given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ConsentChannel {
    Email,
    Sms,
    Phone,
    Post,
    Profiling,
    ThirdParty,
}

/// What was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentStatus {
    /// Yes.
    Granted,
    /// No.
    Denied,
    /// No longer.
    Withdrawn,
}

/// Calls a macro with the fields that clients set.
macro_rules! with_fields {
    ($macro:ident!($($argument:expr),*)) => {
        $macro!(
            $($argument,)*
            [
                external_ids,
                title,
                first_name,
                last_name,
                second_last_name,
                email,
                phone,
                date_of_birth,
                nationality,
                address,
                language,
                documents,
                loyalty,
                vip_level,
                blacklisted,
                consent,
                preferences,
                notes,
            ]
        )
    };
}

macro_rules! keep_fields {
    ($details:expr, $before:expr, $is_set:expr, [$($field:ident),* $(,)?]) => {
        $(if !$is_set(stringify!($field)) {
            $details.$field.clone_from(&$before.$field);
        })*
    };
}

impl GuestDetails {
    /// The names of the fields in which `other` differs.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        with_fields!(changed_fields!(self, other))
    }

    /// Takes the fields over that are not set.
    pub fn keep_unless(&mut self, before: &Self, is_set: impl Fn(&str) -> bool) {
        with_fields!(keep_fields!(self, before, is_set));
    }
}

impl GuestStatus {
    /// The status as the API and the tables show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Merged => "merged",
            Self::Deleted => "deleted",
            Self::Erased => "erased",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Active, Self::Merged, Self::Deleted, Self::Erased]
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

impl Guest {
    /// The record as the API shows it to the hotel's staff, document numbers and free text included.
    pub fn to_json(&self) -> Map<String, Value> {
        self.with_documents(object_of(&self.shown()), Document::to_json)
    }

    fn shown(&self) -> Shown<'_> {
        Shown {
            id: &self.id,
            version: self.version,
            property_id: &self.property_id,
            created_at: self.created_at,
            updated_at: self.updated_at,
            details: &self.details,
            email_kind: self.details.email.as_ref().map(Email::kind),
            status: self.status,
            merged_into: self.merged_into.as_ref(),
            deleted_at: self.deleted_at,
        }
    }

    /// The documents as `document` shows them, where they stand.
    fn with_documents(
        &self,
        mut shown: Map<String, Value>,
        document: fn(&Document) -> Value,
    ) -> Map<String, Value> {
        let documents = self.details.documents.iter().map(document).collect();
        shown.insert("documents".to_owned(), documents);
        shown
    }
}

impl EventPayload for Guest {
    fn payload(&self) -> Map<String, Value> {
        let mut payload = self.with_documents(object_of(&self.shown()), Document::to_event_json);
        for free_text in ["preferences", "notes"] {
            payload.shift_remove(free_text);
        }
        payload
    }

    fn entity_ref(&self) -> EntityRef {
        EntityRef {
            kind: EntityKind::Guest,
            id: self.id.clone().into(),
            version: self.version,
        }
    }

    fn property_id(&self) -> &PropertyId {
        &self.property_id
    }
}
