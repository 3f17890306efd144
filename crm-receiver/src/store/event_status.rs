//! The status of events as projection moves it, each move with its audit row.

use super::batch_rows::padded;
use crate::event::{Event, Plan, ProjectionOutcome};
use contract::{EventId, PropertyId, UnixMillis};
use db::{DbError, Params, Tx, params, placeholders};
use kit::audit::{self, AuditEntry};
use std::collections::{BTreeMap, BTreeSet};

/// The claim of an event by its id. An index on the bare column would be taken for the better one, and every waiting
/// event be read for each batch of them.
const ACCEPTED: &str = "COALESCE(status, '') = 'accepted'";
/// Why an event is a dead letter although nothing failed.
const VERSION_CONFLICT: &str = "version_conflict: another state of this version stands";

/// Those of the events that nobody has taken yet.
pub(super) async fn still_accepted<'e>(tx: &mut Tx, events: &'e [Event]) -> Result<Vec<&'e Event>, DbError> {
    let ids: Vec<&str> = events
        .iter()
        .map(|event| event.record.event_id.as_str())
        .collect();
    let mut accepted = BTreeSet::new();
    for ids in padded(&ids) {
        let places = placeholders(1, ids.len());
        let sql = format!("SELECT event_id FROM inbox WHERE {ACCEPTED} AND event_id IN {places}");
        for row in tx
            .query(&sql, ids.iter().map(|id| (*id).into()).collect())
            .await?
        {
            accepted.insert(row.get::<String>("event_id")?);
        }
    }
    let open = |event: &&Event| accepted.contains(event.record.event_id.as_str());
    Ok(events.iter().filter(open).collect())
}

/// Claims the events by giving each its new status, and writes what happened to them into the audit log. False when
/// one of them was taken meanwhile: then everything has to be undone.
pub(super) async fn settle(
    tx: &mut Tx,
    events: &[&Event],
    plan: &Plan,
    now: UnixMillis,
) -> Result<bool, DbError> {
    let mut by_outcome: BTreeMap<ProjectionOutcome, Vec<&str>> = BTreeMap::new();
    for (id, outcome) in &plan.outcomes {
        by_outcome.entry(*outcome).or_default().push(id.as_str());
    }
    for (outcome, ids) in by_outcome {
        for list in padded(&ids) {
            let distinct = list.iter().collect::<BTreeSet<_>>().len();
            let places = placeholders(1, list.len());
            let sql = format!(
                "UPDATE inbox SET status = ?, applied_at = ?, last_error = ? \
                 WHERE {ACCEPTED} AND event_id IN {places}"
            );
            let mut params: Params = params![outcome.status().as_str(), now, reason(outcome)];
            params.extend(list.iter().map(|id| (*id).into()));
            if tx.execute(&sql, params).await? != distinct as u64 {
                return Ok(false);
            }
        }
    }
    let mut entries: Vec<AuditEntry> = events
        .iter()
        .filter_map(|event| Some(audited(event, *plan.outcomes.get(&event.record.event_id)?, now)))
        .collect();
    entries.extend(erasures(events, plan, now));
    audit::append(tx, &entries).await?;
    overrule(tx, &plan.overruled, now).await?;
    Ok(true)
}

/// Events applied earlier that lost a conflict now.
async fn overrule(tx: &mut Tx, losers: &BTreeSet<EventId>, now: UnixMillis) -> Result<(), DbError> {
    for loser in losers {
        let sql = "UPDATE inbox SET status = 'dead_letter', last_error = ? WHERE event_id = ?";
        tx.execute(sql, params![VERSION_CONFLICT, loser.as_str()]).await?;
        bury(tx, loser, "version_conflict", now).await?;
    }
    Ok(())
}

/// Writes the audit row of a dead letter, with what the inbox knows of the event.
pub(super) async fn bury(
    tx: &mut Tx,
    event: &EventId,
    why: &'static str,
    now: UnixMillis,
) -> Result<(), DbError> {
    let sql = "SELECT source_id, property_id, entity_kind, entity_id, entity_version, correlation_id \
               FROM inbox WHERE event_id = ?";
    let Some(row) = tx.query_one(sql, params![event.as_str()]).await? else {
        return Ok(());
    };
    let entry = AuditEntry {
        outcome: Some(why.into()),
        event_id: Some(event.to_string()),
        source: row.get("source_id")?,
        property_id: row.get("property_id")?,
        entity_kind: row.get("entity_kind")?,
        entity_id: row.get("entity_id")?,
        entity_version: row.get("entity_version")?,
        correlation_id: row.get("correlation_id")?,
        ..AuditEntry::new("dead_lettered", now)
    };
    audit::append(tx, &[entry]).await
}

fn reason(outcome: ProjectionOutcome) -> Option<&'static str> {
    (outcome == ProjectionOutcome::VersionConflict).then_some(VERSION_CONFLICT)
}

fn audited(event: &Event, outcome: ProjectionOutcome, now: UnixMillis) -> AuditEntry {
    let record = &event.record;
    let (action, why) = match outcome {
        ProjectionOutcome::VersionConflict => ("dead_lettered", Some("version_conflict".into())),
        _ => (outcome.status().as_str(), None),
    };
    AuditEntry {
        outcome: why,
        source: Some(record.key.source.to_string()),
        event_id: Some(record.event_id.to_string()),
        property_id: record.property_id.as_ref().map(PropertyId::to_string),
        entity_kind: Some(record.key.kind.as_str().to_owned()),
        entity_id: Some(record.key.id.to_string()),
        entity_version: i64::try_from(record.version).ok(),
        changed: event.history().changed,
        correlation_id: event.correlation_id.clone(),
        ..AuditEntry::new(action, now)
    }
}

/// One row for each guest that was erased, aliases too.
fn erasures<'p>(
    events: &'p [&Event],
    plan: &'p Plan,
    now: UnixMillis,
) -> impl Iterator<Item = AuditEntry> + 'p {
    plan.erased.iter().map(move |(guest, erased_by)| {
        let event = events.iter().find(|event| event.record.event_id == *erased_by);
        AuditEntry {
            source: Some(guest.source.to_string()),
            event_id: Some(erased_by.to_string()),
            entity_kind: Some("guest".to_owned()),
            entity_id: Some(guest.id.to_string()),
            correlation_id: event.and_then(|event| event.correlation_id.clone()),
            ..AuditEntry::new("erased", now)
        }
    })
}
