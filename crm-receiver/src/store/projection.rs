//! Projecting a batch of accepted events: one transaction for records, history, profiles, the events' own status and
//! the audit rows.
//!
//! The claim is `status = 'accepted'` in the update of the events themselves: a transaction that finds fewer of them
//! than expected was overtaken and rolls back. Before that, records, then profiles, are locked in the order of their
//! keys, so that nobody changes them after they are read; what a batch changes is worked out by [`crate::event::plan`].

use super::{
    Store,
    dead_letters::audit_dead_letter,
    erasures::{self, ReadLock, erased_among},
    profiles,
    property_days::{self, CommittedDays},
    record_refs, records,
    state_budget::StateBudget,
    stream_batches::Changes,
    timeline,
};
use crate::{
    event::{
        AuditAction, DeadLetterCause, Event, EventStatus, Plan, ProjectionOutcome,
        plan::{Known, plan},
    },
    profile::{GuestKey, Linkage, Record, RecordKey, property_day::PropertyDays},
};
use contract::{EventId, PropertyId, UnixMillis};
use db::{DbError, Tx, failpoint, in_lists, params, read_ids};
use kit::{
    audit::{self, AuditEntry},
    planted::{Bug, is_planted},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The claim of an event by its id. An index on the bare column would be taken for the better one, and every waiting
/// event be read for each batch of them.
const ACCEPTED: &str = "COALESCE(status, '') = 'accepted'";
/// Why an event is a dead letter although nothing failed.
const VERSION_CONFLICT: &str = "version_conflict: another state of this version stands";

/// What a projection did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Projection {
    /// How many events had which outcome.
    Done(BTreeMap<ProjectionOutcome, u64>),
    /// Another projector was faster with some of them; nothing was written.
    Overtaken,
}

impl Store {
    /// Projects those of the events that are still accepted. `now` is when they take effect.
    ///
    /// After an unknown commit nothing needs to be looked up: the next look at the inbox says which are accepted.
    ///
    /// # Errors
    /// An outage; or an error of a statement, for which at least one of the events is at fault.
    pub async fn project(&self, events: Arc<[Event]>, now: UnixMillis) -> Result<Projection, DbError> {
        if is_planted(Bug::MarkBeforeProcessing) {
            self.mark_before_processing(Arc::clone(&events)).await?;
        }
        let known = self.days.clone();
        let db = self.db.answering_after_abort();
        let projected = db.transaction("project", move |tx| {
            let (events, known) = (Arc::clone(&events), known.clone());
            Box::pin(async move { project(tx, &events, &known, now).await })
        });
        let (projection, days) = projected.await?;
        self.days.remember(days);
        Ok(projection)
    }
}

/// Answers the outcome, and the days of properties that were written.
async fn project(
    tx: &mut Tx,
    events: &[Event],
    known_days: &CommittedDays,
    now: UnixMillis,
) -> Result<(Projection, PropertyDays), DbError> {
    if is_planted(Bug::MarkBeforeProcessing) {
        set_status(tx, events, EventStatus::Applied, EventStatus::Accepted).await?;
    }
    let events = still_accepted(tx, events).await?;
    if events.is_empty() {
        return Ok((Projection::Overtaken, PropertyDays::new()));
    }
    let known = lock_records(tx, &events).await?;
    let plan = plan(&known, &events);
    let guests = plan.guests(&known);
    let ids = guests.iter().map(GuestKey::profile_id).collect();
    profiles::lock(tx, &ids).await?;
    erasures::register(tx, &plan.erased, now).await?;
    let erased = erased_guests(tx, &guests).await?;
    write_records(tx, &known, &plan, &erased).await?;
    failpoint::reached("project.inside");
    if !settle(tx, &events, &plan, now).await? {
        tx.abandon();
        return Ok((Projection::Overtaken, PropertyDays::new()));
    }
    let wiped = plan.erased.keys().chain(&plan.suppressed).cloned().collect();
    erasures::wipe(tx, &wiped).await?;
    write_profiles(tx, &guests, &erased, &known, &plan).await?;
    // Last, since all events of a property wait for its row.
    property_days::raise(tx, &plan.days, known_days).await?;
    Ok((Projection::Done(plan.tally()), plan.days))
}

/// Derives the profiles of these guests again from the current records.
pub(super) async fn derive_again(tx: &mut Tx, guests: &BTreeSet<GuestKey>) -> Result<(), DbError> {
    let ids = guests.iter().map(GuestKey::profile_id).collect();
    profiles::lock(tx, &ids).await?;
    let erased = erased_guests(tx, guests).await?;
    write_profiles(tx, guests, &erased, &Known::default(), &Plan::default()).await
}

async fn write_profiles(
    tx: &mut Tx,
    guests: &BTreeSet<GuestKey>,
    erased: &BTreeSet<GuestKey>,
    known: &Known,
    plan: &Plan,
) -> Result<(), DbError> {
    let linkage = load_linkage(tx, guests, erased, known, plan).await?;
    let derived = guests
        .iter()
        .map(|guest| (guest.profile_id(), linkage.derive(guest)))
        .collect();
    profiles::write(tx, derived).await
}

/// Locks the records that the events are about, and reads their current states.
async fn lock_records(tx: &mut Tx, events: &[&Event]) -> Result<Known, DbError> {
    let mut keys: BTreeSet<RecordKey> = events.iter().map(|event| event.record.key.clone()).collect();
    keys.extend(
        events
            .iter()
            .flat_map(|event| event.erases())
            .map(|guest| guest.record()),
    );
    records::lock(tx, &keys).await?;
    let guests: BTreeSet<GuestKey> = keys.iter().filter_map(RecordKey::guest).collect();
    Ok(Known {
        erased: erased_guests(tx, &guests).await?,
        records: records::read(tx, &keys, &mut StateBudget::of(events.len())).await?,
    })
}

async fn write_records(
    tx: &mut Tx,
    known: &Known,
    plan: &Plan,
    erased: &BTreeSet<GuestKey>,
) -> Result<(), DbError> {
    records::write(tx, &plan.records).await?;
    record_refs::write(tx, &plan.changed_links(known, erased)).await?;
    timeline::add(tx, &plan.history).await
}

/// Reads what the profiles of the guests are derived from, but for the records that the batch holds already.
async fn load_linkage(
    tx: &mut Tx,
    guests: &BTreeSet<GuestKey>,
    erased: &BTreeSet<GuestKey>,
    known: &Known,
    plan: &Plan,
) -> Result<Linkage, DbError> {
    let guests: BTreeSet<GuestKey> = guests.difference(erased).cloned().collect();
    let reservations = record_refs::reservations_of(tx, &guests).await?;
    let keys = Linkage::record_keys(&guests, &reservations);
    let mut records: BTreeMap<RecordKey, Record> = keys
        .iter()
        .filter_map(|key| Some((key.clone(), plan.state_after(known, key)?.clone())))
        .collect();
    let missing = keys
        .iter()
        .filter(|key| !records.contains_key(key))
        .cloned()
        .collect();
    records.extend(records::read(tx, &missing, &mut StateBudget::without_bound()).await?);
    let history = timeline::read(tx, &keys).await?;
    Ok(Linkage::new(reservations, records, history))
}

/// The erased ones among the guests.
async fn erased_guests(tx: &mut Tx, guests: &BTreeSet<GuestKey>) -> Result<BTreeSet<GuestKey>, DbError> {
    let guests = guests.iter().map(|guest| (&guest.source, &guest.id));
    erased_among(tx, guests, ReadLock::None).await
}

/// Those of the events that nobody has taken yet.
async fn still_accepted<'e>(tx: &mut Tx, events: &'e [Event]) -> Result<Vec<&'e Event>, DbError> {
    let ids = events.iter().map(|event| event.record.event_id.as_str());
    let mut accepted: BTreeSet<EventId> = BTreeSet::new();
    for list in in_lists(ids) {
        let sql = format!("SELECT event_id FROM inbox WHERE {ACCEPTED} AND event_id IN {list}");
        let rows = tx.query(&sql, list.into_params()).await?;
        accepted.extend(read_ids::<_, Vec<EventId>>(&rows, "event_id")?);
    }
    let is_accepted = |event: &&Event| accepted.contains(&event.record.event_id);
    Ok(events.iter().filter(is_accepted).collect())
}

/// Claims the events by giving each its new status, and writes what happened to them into the audit log. False when
/// one of them was taken meanwhile: then everything has to be undone.
async fn settle(tx: &mut Tx, events: &[&Event], plan: &Plan, now: UnixMillis) -> Result<bool, DbError> {
    let mut by_outcome: BTreeMap<ProjectionOutcome, Vec<&str>> = BTreeMap::new();
    for (id, outcome) in &plan.outcomes {
        by_outcome.entry(*outcome).or_default().push(id.as_str());
    }
    for (outcome, ids) in by_outcome {
        for list in in_lists(ids) {
            let claimed = list.values();
            let sql = format!(
                "UPDATE inbox SET status = ?, applied_at = ?, last_error = ? \
                 WHERE {ACCEPTED} AND event_id IN {list}"
            );
            let params = list.after(params![outcome.status().into_str(), now, reason(outcome)]);
            if tx.execute(&sql, params).await? != claimed {
                return Ok(false);
            }
        }
    }
    let mut entries: Vec<AuditEntry> = events
        .iter()
        .filter_map(|event| {
            Some(audit_entry(
                event,
                *plan.outcomes.get(&event.record.event_id)?,
                now,
            ))
        })
        .collect();
    entries.extend(erasure_entries(events, plan, now));
    audit::append(tx, &entries).await?;
    overrule(tx, &plan.overruled, now).await?;
    streamed_changes(plan).write(tx, now).await?;
    Ok(true)
}

/// What the live stream shows of a batch: each event that it decided, and those that it decided otherwise.
fn streamed_changes(plan: &Plan) -> Changes {
    let mut changes = Changes::default();
    for (id, outcome) in &plan.outcomes {
        changes.decide(id, outcome.status());
    }
    for loser in &plan.overruled {
        changes.decide(loser, EventStatus::DeadLetter);
    }
    changes
}

/// Events applied earlier that lost a conflict now.
async fn overrule(tx: &mut Tx, losers: &BTreeSet<EventId>, now: UnixMillis) -> Result<(), DbError> {
    for loser in losers {
        let sql = "UPDATE inbox SET status = 'dead_letter', last_error = ? WHERE event_id = ?";
        tx.execute(sql, params![VERSION_CONFLICT, loser.as_str()]).await?;
        audit_dead_letter(tx, loser, DeadLetterCause::VersionConflict, now).await?;
    }
    Ok(())
}

fn reason(outcome: ProjectionOutcome) -> Option<&'static str> {
    (outcome == ProjectionOutcome::VersionConflict).then_some(VERSION_CONFLICT)
}

fn audit_entry(event: &Event, outcome: ProjectionOutcome, now: UnixMillis) -> AuditEntry {
    let record = &event.record;
    let (action, cause) = match outcome {
        ProjectionOutcome::Applied => (AuditAction::Applied, None),
        ProjectionOutcome::Stale => (AuditAction::Stale, None),
        ProjectionOutcome::Suppressed => (AuditAction::Suppressed, None),
        ProjectionOutcome::VersionConflict => (
            AuditAction::DeadLettered,
            Some(DeadLetterCause::VersionConflict.into_str().into()),
        ),
    };
    AuditEntry {
        outcome: cause,
        source: Some(record.key.source.to_string()),
        event_id: Some(record.event_id.to_string()),
        property_id: record.property_id.as_ref().map(PropertyId::to_string),
        entity_kind: Some(record.key.kind.into_str().to_owned()),
        entity_id: Some(record.key.id.to_string()),
        entity_version: i64::try_from(record.version).ok(),
        changed: event.history().changed,
        correlation_id: event.correlation_id.clone(),
        ..AuditEntry::new(action.into_str(), now)
    }
}

/// One row for each guest that was erased, aliases too.
fn erasure_entries<'p>(
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
            ..AuditEntry::new(AuditAction::Erased.into_str(), now)
        }
    })
}

impl Store {
    /// The mistake of marking events as done before they are, planted by tests alone, to be found by the ledger: marks
    /// them as applied, in a transaction of its own.
    async fn mark_before_processing(&self, events: Arc<[Event]>) -> Result<(), DbError> {
        self.db
            .transaction("mark", move |tx| {
                let events = Arc::clone(&events);
                Box::pin(
                    async move { set_status(tx, &events, EventStatus::Accepted, EventStatus::Applied).await },
                )
            })
            .await
    }
}

/// Moves those of the events that have one status to another.
async fn set_status(
    tx: &mut Tx,
    events: &[Event],
    from: EventStatus,
    to: EventStatus,
) -> Result<(), DbError> {
    for list in in_lists(events.iter().map(|event| event.record.event_id.as_str())) {
        let sql = format!("UPDATE inbox SET status = ? WHERE status = ? AND event_id IN {list}");
        let params = list.after(params![to.into_str(), from.into_str()]);
        tx.execute(&sql, params).await?;
    }
    Ok(())
}
