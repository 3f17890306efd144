//! A guest record as the rules of survivorship read it.

use super::{payload::Payload, record::Record};
use contract::{
    EntityId, MailboxKind, SourceId, UnixMillis, json::in_order, parse_date, placeholder_date::is_placeholder,
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The members of an address, of a membership and of an id elsewhere, as profiles show them: a record's are sorted.
const ADDRESS: [&str; 6] = ["line1", "line2", "city", "region", "postal_code", "country"];
const ITEM: [&str; 5] = ["system", "value", "programme", "number", "level"];

/// An address with its members in their order.
pub fn shown_address(address: &Map<String, Value>) -> Map<String, Value> {
    in_order(address.clone(), &ADDRESS)
}

/// A membership or an id elsewhere with its members in their order.
pub fn shown_item(item: &Value) -> Value {
    match item {
        Value::Object(members) => Value::Object(in_order(members.clone(), &ITEM)),
        other => other.clone(),
    }
}

/// Where a value was read: a commit of a record of a source, never when it arrived.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Provenance {
    /// When it was committed. First, so that the latest is the greatest.
    pub seen_at: UnixMillis,
    /// The sender.
    pub source: SourceId,
    /// The guest record.
    pub guest_id: EntityId,
    /// The record's commit.
    pub version: u64,
}

impl Provenance {
    /// Of everything that a record says.
    pub fn of(record: &Record) -> Self {
        Self {
            seen_at: record.occurred_at,
            source: record.key.source.clone(),
            guest_id: record.key.id.clone(),
            version: record.version,
        }
    }
}

/// The parts of a name. The order has no meaning but that equal sets sort equally.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Second family name.
    pub second_last_name: Option<String>,
}

impl Name {
    /// The name as people write it, if there is any.
    pub fn display(&self) -> Option<String> {
        let parts = [&self.first_name, &self.last_name, &self.second_last_name];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }
}

/// The date of birth. Ours come without placeholders; another sender's may be what its system writes when it knows none.
fn birth(payload: Payload<'_>) -> Option<Date> {
    let text = payload.text("date_of_birth")?;
    (!is_placeholder(text)).then(|| parse_date(text)).flatten()
}

/// One guest record, read.
#[derive(Clone, Debug)]
pub struct GuestFacts<'r> {
    /// The record.
    pub record: &'r Record,
    /// Where its values are from.
    pub provenance: Provenance,
    /// Its name, if it has any.
    pub name: Option<Name>,
    /// Its e-mail address.
    pub email: Option<&'r str>,
    /// Its telephone number.
    pub phone: Option<&'r str>,
    /// Its postal address, as the sender wrote it.
    pub address: Option<&'r Map<String, Value>>,
    /// Its date of birth.
    pub date_of_birth: Option<Date>,
    /// Its nationality, ISO 3166-1 alpha-2.
    pub nationality: Option<&'r str>,
    /// When the record was made at the sender.
    pub created_at: Option<UnixMillis>,
    /// Whether the sender merged it into another record, and keeps it as it was then.
    pub merged: bool,
}

impl<'r> GuestFacts<'r> {
    /// Reads a guest's record.
    pub fn of(record: &'r Record) -> Self {
        let payload = Payload(&record.state);
        let name = Name {
            first_name: payload.owned("first_name"),
            last_name: payload.owned("last_name"),
            second_last_name: payload.owned("second_last_name"),
        };
        Self {
            record,
            provenance: Provenance::of(record),
            name: (name != Name::default()).then_some(name),
            email: payload.text("email"),
            phone: payload.text("phone"),
            address: payload.object("address").map(|address| address.0),
            date_of_birth: birth(payload),
            nationality: payload.text("nationality"),
            created_at: payload.instant("created_at"),
            merged: payload.text("merged_into").is_some(),
        }
    }

    /// The record's payload, for the fields that one rule alone reads.
    pub fn payload(&self) -> Payload<'r> {
        Payload(&self.record.state)
    }

    /// What kind of mailbox the e-mail is, as the sender computed it; an unknown kind counts as a person's.
    pub fn email_kind(&self) -> MailboxKind {
        let kind = self
            .payload()
            .text("email_kind")
            .and_then(|kind| kind.parse().ok());
        kind.unwrap_or(MailboxKind::Real)
    }

    /// Whether a document of a type that states it was seen for this record.
    pub fn document_verified(&self) -> bool {
        self.payload().objects("documents").next().is_some()
    }
}
