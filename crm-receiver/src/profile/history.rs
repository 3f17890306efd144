//! What has been received for a record: one entry for each commit, also for those that came too late to be applied.
//!
//! An entry holds nothing of its arrival and nothing of the person but the consents of that commit, so it
//! outlives the purge of the payload, and two deliveries of one commit are one entry.

use super::{
    consent::Consent,
    record::{Record, RecordKey},
};
use contract::{EventType, PropertyId, UnixMillis};
use serde::{Deserialize, Serialize};

/// How many names of changed fields an entry keeps.
pub const CHANGED_NAMES_MAX: usize = 64;
/// The longest name of a field that is kept, in bytes.
const FIELD_NAME_LEN_MAX: usize = 64;

/// One commit, as an event reported it. The order is that of a timeline: by time, then by what is shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryEntry {
    /// When it was committed at the sender.
    pub occurred_at: UnixMillis,
    /// The record that it is about.
    pub key: RecordKey,
    /// The record's commit.
    pub version: u64,
    /// What happened.
    pub event_type: EventType,
    /// Where.
    pub property_id: Option<PropertyId>,
    /// The names of the fields that changed, sorted.
    pub changed: Vec<String>,
    /// A guest's consents as they stood at this commit, sorted.
    pub consents: Vec<Consent>,
}

impl HistoryEntry {
    /// The entry of the commit that `record` is the state of.
    pub fn of(record: &Record, changed: &[String]) -> Self {
        let mut changed: Vec<String> = changed
            .iter()
            .filter(|name| names_a_field(name))
            .cloned()
            .collect();
        changed.sort();
        changed.dedup();
        changed.truncate(CHANGED_NAMES_MAX);
        let mut consents = Consent::all_of(record);
        consents.sort();
        consents.dedup();
        Self {
            occurred_at: record.occurred_at,
            key: record.key.clone(),
            version: record.version,
            event_type: record.event_type,
            property_id: record.property_id.clone(),
            changed,
            consents,
        }
    }
}

/// Whether a name that a sender gave is shaped as one of a field: `^[a-z][a-z0-9_.]{0,63}$`. Anything else might be
/// text about the person, and would outlive an erasure in the audit log.
fn names_a_field(name: &str) -> bool {
    let follows = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.');
    name.len() <= FIELD_NAME_LEN_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(follows)
}

/// A history entry as the profile shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When it was committed at the sender.
    pub at: UnixMillis,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// The sender.
    pub source: contract::SourceId,
    /// What it happened to.
    pub kind: super::RecordKind,
    /// Its id at the sender.
    pub id: contract::EntityId,
    /// Its commit.
    pub version: u64,
    /// Where.
    pub property_id: Option<PropertyId>,
    /// The names of the fields that changed.
    pub changed: Vec<String>,
}

impl From<&HistoryEntry> for TimelineEntry {
    fn from(entry: &HistoryEntry) -> Self {
        Self {
            at: entry.occurred_at,
            event_type: entry.event_type,
            source: entry.key.source.clone(),
            kind: entry.key.kind,
            id: entry.key.id.clone(),
            version: entry.version,
            property_id: entry.property_id.clone(),
            changed: entry.changed.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_shaped_as_a_fields_name_is_kept() {
        for name in ["email", "address.line_1", &"a".repeat(64)] {
            assert!(names_a_field(name), "{name}");
        }
        for name in [
            "",
            "Ana Silva",
            "ana@example.com",
            "1st",
            "_x",
            "né",
            &"a".repeat(65),
        ] {
            assert!(!names_a_field(name), "{name}");
        }
    }
}
