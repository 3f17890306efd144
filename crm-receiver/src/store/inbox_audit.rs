//! What a batch leaves in the audit log.

use super::{
    erased::Erased,
    inbox::{Verdict, new_entries},
};
use crate::event::{Accepted, InboxEntry, Intake};
use contract::EventId;
use kit::audit::AuditEntry;
use std::sync::Arc;

/// The effects of a batch beyond its new rows, which are the record of their own acceptance.
pub(super) fn audit_entries(
    batch: &[Arc<InboxEntry>],
    verdicts: &[Verdict],
    erased: &Erased,
) -> Vec<AuditEntry> {
    let reused = batch
        .iter()
        .zip(verdicts)
        .filter_map(|(entry, verdict)| match &verdict.accepted {
            Accepted::IdReuse(first) => Some(audit_entry("id_reuse", entry, first)),
            Accepted::New(_) | Accepted::Duplicate(_) => None,
        });
    let set_aside = new_entries(batch, verdicts).filter_map(|entry| {
        let action = match entry.arrival.intake {
            _ if erased.holds(entry) => "suppressed",
            Intake::Quarantine => "dead_lettered",
            Intake::Fold | Intake::Ignore => return None,
        };
        Some(audit_entry(action, entry, &entry.event_id))
    });
    reused.chain(set_aside).collect()
}

fn audit_entry(action: &'static str, entry: &InboxEntry, event_id: &EventId) -> AuditEntry {
    let envelope = &entry.arrival.envelope;
    let entity = envelope.entity.as_ref();
    AuditEntry {
        source: Some(entry.arrival.source.to_string()),
        event_id: Some(event_id.to_string()),
        property_id: envelope.property_id.as_ref().map(ToString::to_string),
        entity_kind: entity.map(|entity| entity.kind.as_str().to_owned()),
        entity_id: entity.map(|entity| entity.id.to_string()),
        entity_version: entity.and_then(|entity| i64::try_from(entity.version).ok()),
        correlation_id: Some(entry.correlation_id.clone()),
        request_id: Some(entry.request_id.to_string()),
        ..AuditEntry::new(action, entry.received_at)
    }
}
