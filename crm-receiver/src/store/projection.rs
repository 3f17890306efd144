//! Projecting a batch of accepted events: one transaction for records, history, profiles, the events' own status and
//! the audit rows.
//!
//! The claim is `status = 'accepted'` in the update of the events themselves: whoever finds fewer of them than expected
//! has been overtaken and undoes everything. Until then records, then profiles, are locked in the order of their keys,
//! so that what is read of them is what stands; what a batch means is worked out by [`crate::event::plan`].

use super::{
    Store, erasure_rows, event_status, premature_mark, profile_rows,
    property_days::{self, CommittedDays},
    record_rows, timeline_rows,
    tree_room::TreeRoom,
};
use crate::{
    event::{
        Event, Plan, ProjectionOutcome,
        plan::{Known, plan},
    },
    profile::{GuestKey, Linkage, Record, RecordKey, property_day::PropertyDays},
};
use contract::UnixMillis;
use db::{DbError, Tx, failpoint};
use kit::planted::{Bug, is_planted};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Projection {
    /// What became of each event, and how often.
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
            self.mark(Arc::clone(&events)).await?;
        }
        let known = self.days.clone();
        let db = self.db.answering_at_the_end();
        let projected = db.transaction("project", move |tx| {
            let (events, known) = (Arc::clone(&events), known.clone());
            Box::pin(async move { project(tx, &events, &known, now).await })
        });
        let (projection, days) = projected.await?;
        self.days.remember(days);
        Ok(projection)
    }
}

/// Answers, beside what became of the batch, the days that it has written.
async fn project(
    tx: &mut Tx,
    events: &[Event],
    known_days: &CommittedDays,
    now: UnixMillis,
) -> Result<(Projection, PropertyDays), DbError> {
    if is_planted(Bug::MarkBeforeProcessing) {
        premature_mark::set(tx, events, "applied", "accepted").await?;
    }
    let events = event_status::still_accepted(tx, events).await?;
    if events.is_empty() {
        return Ok((Projection::Overtaken, PropertyDays::new()));
    }
    let known = lock_records(tx, &events).await?;
    let plan = plan(&known, &events);
    let guests = plan.guests(&known);
    let profiles = guests.iter().map(GuestKey::profile_id).collect();
    profile_rows::lock(tx, &profiles).await?;
    erasure_rows::register(tx, &plan.erased, now).await?;
    let erased = erasure_rows::among(tx, guests.iter()).await?;
    write_records(tx, &known, &plan, &erased).await?;
    failpoint::reached("project.inside");
    if !event_status::settle(tx, &events, &plan, now).await? {
        tx.abandon();
        return Ok((Projection::Overtaken, PropertyDays::new()));
    }
    let wiped = plan.erased.keys().chain(&plan.suppressed).cloned().collect();
    erasure_rows::wipe(tx, &wiped).await?;
    write_profiles(tx, &guests, &erased, &known, &plan).await?;
    // Last, since all events of a property wait for its row.
    property_days::raise(tx, &plan.days, known_days).await?;
    Ok((Projection::Done(plan.tally()), plan.days))
}

/// Derives the profiles of these guests again, of what stands.
pub(super) async fn derive_again(tx: &mut Tx, guests: &BTreeSet<GuestKey>) -> Result<(), DbError> {
    let profiles = guests.iter().map(GuestKey::profile_id).collect();
    profile_rows::lock(tx, &profiles).await?;
    let erased = erasure_rows::among(tx, guests.iter()).await?;
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
    let profiles = guests
        .iter()
        .map(|guest| (guest.profile_id(), linkage.derive(guest)))
        .collect();
    profile_rows::write(tx, profiles).await
}

/// Locks what the events are about, and reads what stands of it.
async fn lock_records(tx: &mut Tx, events: &[&Event]) -> Result<Known, DbError> {
    let mut keys: BTreeSet<RecordKey> = events.iter().map(|event| event.record.key.clone()).collect();
    keys.extend(
        events
            .iter()
            .flat_map(|event| event.erases())
            .map(|guest| guest.record()),
    );
    record_rows::lock(tx, &keys).await?;
    let guests: BTreeSet<GuestKey> = keys.iter().filter_map(RecordKey::guest).collect();
    Ok(Known {
        erased: erasure_rows::among(tx, guests.iter()).await?,
        records: record_rows::read(tx, &keys, &mut TreeRoom::of(events.len())).await?,
    })
}

async fn write_records(
    tx: &mut Tx,
    known: &Known,
    plan: &Plan,
    erased: &BTreeSet<GuestKey>,
) -> Result<(), DbError> {
    record_rows::write(tx, &plan.records).await?;
    record_rows::write_refs(tx, &plan.changed_links(known, erased)).await?;
    timeline_rows::add(tx, &plan.history).await
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
    let reservations = record_rows::reservations_of(tx, &guests).await?;
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
    records.extend(record_rows::read(tx, &missing, &mut TreeRoom::without_bound()).await?);
    let history = timeline_rows::read(tx, &keys).await?;
    Ok(Linkage::new(reservations, records, history))
}
