//! Consent: what a guest allows, per channel. No statement means no, and what is not understood never grants.

use super::{
    payload::Payload,
    record::{Record, RecordKind},
};
use contract::{EntityId, SourceId, UnixMillis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many entries of the history of consent a profile shows, the newest first.
pub const CONSENT_HISTORY_MAX: usize = 200;

/// What a guest stated. The order is that of restriction: of two stated at one instant the greater counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentStatus {
    /// Allowed.
    Granted,
    /// Allowed once, and taken back.
    Withdrawn,
    /// Refused.
    Denied,
}

/// One statement of consent, with where it was read. The order is that of a history: by time, then restriction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Consent {
    /// When it was stated; the commit's time when the sender does not say.
    pub at: UnixMillis,
    /// What was stated.
    pub status: ConsentStatus,
    /// `email`, `sms`, `phone`, `post`, `profiling`, `third_party`, or a sender's own.
    pub channel: String,
    /// How it was given, as the sender puts it.
    pub given_by: Option<String>,
    /// The sender of the record.
    pub source: SourceId,
    /// The guest record.
    pub guest_id: EntityId,
}

impl Consent {
    /// The consents that a guest record states; none of a reservation.
    pub fn all_of(record: &Record) -> Vec<Self> {
        if record.key.kind != RecordKind::Guest {
            return Vec::new();
        }
        let stated = Payload(&record.state).objects("consent");
        stated
            .filter_map(|consent| {
                Some(Self {
                    at: consent.instant("at").unwrap_or(record.occurred_at),
                    status: match consent.text("status")? {
                        "granted" => ConsentStatus::Granted,
                        "withdrawn" => ConsentStatus::Withdrawn,
                        _ => ConsentStatus::Denied,
                    },
                    channel: consent.owned("channel")?,
                    given_by: consent.owned("source"),
                    source: record.key.source.clone(),
                    guest_id: record.key.id.clone(),
                })
            })
            .collect()
    }
}

/// What counts for each channel: the newest statement, and of two at one instant the more restrictive. A record that its
/// source merged into another never widens what the others allow: it grants only where none of them says anything.
pub fn current<'r>(records: impl Iterator<Item = &'r Record>) -> Vec<Consent> {
    let (merged, in_use): (Vec<&Record>, Vec<&Record>) =
        records.partition(|record| Payload(&record.state).text("merged_into").is_some());
    let stated: Vec<Consent> = in_use.into_iter().flat_map(Consent::all_of).collect();
    let mut newest: BTreeMap<String, Consent> = BTreeMap::new();
    let of_merged = merged.into_iter().flat_map(Consent::all_of).filter(|consent| {
        let silent = || stated.iter().all(|other| other.channel != consent.channel);
        consent.status != ConsentStatus::Granted || silent()
    });
    for consent in stated.iter().cloned().chain(of_merged) {
        match newest.get(&consent.channel) {
            Some(standing) if *standing >= consent => {}
            _ => {
                newest.insert(consent.channel.clone(), consent);
            }
        }
    }
    newest.into_values().collect()
}

/// Whether a record alone grants a channel.
pub fn grants(record: &Record, channel: &str) -> bool {
    current(std::iter::once(record))
        .iter()
        .any(|consent| consent.channel == channel && consent.status == ConsentStatus::Granted)
}
