//! What a batch of events changes, computed in memory: the records that are current after it, the outcome of each
//! event, the new history entries, the erased guests, and the profiles to derive again.
//!
//! The store loads [`Known`] for the batch, runs [`plan`], and writes the [`Plan`]; the property test does the same with
//! maps in place of tables. So the meaning of a batch is decided here alone.

use super::{
    Event, EventStatus,
    fold::{Folded, fold},
};
use crate::profile::{
    GuestKey, Record, RecordKey,
    history::HistoryEntry,
    property_day::{self, PropertyDay, PropertyDays},
};
use contract::EventId;
use std::collections::{BTreeMap, BTreeSet};
use strum::{IntoStaticStr, VariantArray};

/// The state before a batch, as far as the batch needs it.
#[derive(Default)]
pub struct Known {
    /// The records of the events' entities.
    pub records: BTreeMap<RecordKey, Record>,
    /// Those of the events' guests that are erased.
    pub erased: BTreeSet<GuestKey>,
}

/// What projection made of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum ProjectionOutcome {
    /// Its state became current, at least for a while.
    Applied,
    /// It changed nothing: kept as history.
    Stale,
    /// A dead letter: another state of the same version is current.
    VersionConflict,
    /// Its guest is erased: nothing of it is kept but its key.
    Suppressed,
}

impl ProjectionOutcome {
    /// The status of the event from then on.
    pub const fn status(self) -> EventStatus {
        match self {
            Self::Applied => EventStatus::Applied,
            Self::Stale => EventStatus::Stale,
            Self::VersionConflict => EventStatus::DeadLetter,
            Self::Suppressed => EventStatus::Suppressed,
        }
    }
}

/// The changes that a batch makes.
#[derive(Default)]
pub struct Plan {
    /// Of each event of the batch.
    pub outcomes: BTreeMap<EventId, ProjectionOutcome>,
    /// Events applied before this batch that lost a conflict in it: dead letters now.
    pub overruled: BTreeSet<EventId>,
    /// The records whose state is new.
    pub records: BTreeMap<RecordKey, Record>,
    /// The guests that are erased from now on, each with the event that erased it.
    pub erased: BTreeMap<GuestKey, EventId>,
    /// The erased guests for whom events still arrived.
    pub suppressed: BTreeSet<GuestKey>,
    /// New entries of the history, each with its event.
    pub history: Vec<(EventId, HistoryEntry)>,
    /// The records that the events are about, also the stale ones: the profiles that they are linked to are derived again.
    pub touched: BTreeSet<RecordKey>,
    /// What the events say of the days of their properties, whatever their outcome.
    pub days: PropertyDays,
}

/// Computes the changes of a batch, event by event.
pub fn plan(known: &Known, events: &[&Event]) -> Plan {
    let mut plan = Plan::default();
    for event in events {
        plan.take(known, event);
    }
    plan
}

impl Plan {
    fn take(&mut self, known: &Known, event: &Event) {
        let key = &event.record.key;
        let id = &event.record.event_id;
        if let Some((property, day)) = PropertyDay::of(&event.record) {
            property_day::add(&mut self.days, property, day);
        }
        let erased = |guest: &GuestKey| known.erased.contains(guest) || self.erased.contains_key(guest);
        let erases = event.erases();
        if !erases.is_empty() {
            let new: Vec<GuestKey> = erases.into_iter().filter(|guest| !erased(guest)).collect();
            let outcome = if new.is_empty() {
                ProjectionOutcome::Suppressed
            } else {
                ProjectionOutcome::Applied
            };
            self.outcomes.insert(id.clone(), outcome);
            new.into_iter().for_each(|guest| self.erase(guest, id));
            self.suppressed.extend(key.guest());
            return;
        }
        if let Some(guest) = key.guest().filter(erased) {
            self.outcomes.insert(id.clone(), ProjectionOutcome::Suppressed);
            self.suppressed.insert(guest);
            return;
        }
        let outcome = match fold(self.state_after(known, key), event) {
            Folded::Applied(record) => {
                self.records.insert(key.clone(), record);
                ProjectionOutcome::Applied
            }
            Folded::Stale => ProjectionOutcome::Stale,
            Folded::ConflictLost => ProjectionOutcome::VersionConflict,
            Folded::ConflictWon { record, loser } => {
                self.records.insert(key.clone(), record);
                self.overrule(loser);
                ProjectionOutcome::Applied
            }
        };
        self.outcomes.insert(id.clone(), outcome);
        self.history.push((id.clone(), event.history()));
        self.touched.insert(key.clone());
    }

    /// The guests whose profiles may differ after the batch: of every record that an event is about, those that it is
    /// linked to now and those that it was linked to before.
    pub fn guests(&self, known: &Known) -> BTreeSet<GuestKey> {
        let links = |record: &Record| record.guests().into_keys().collect::<Vec<_>>();
        let mut guests = BTreeSet::new();
        for key in &self.touched {
            guests.extend(key.guest());
            let states = [known.records.get(key), self.records.get(key)];
            guests.extend(states.into_iter().flatten().flat_map(links));
        }
        guests
    }

    /// The reservations that name other guests than before, each with those that it names now and that are not erased.
    pub fn changed_links(
        &self,
        known: &Known,
        erased: &BTreeSet<GuestKey>,
    ) -> BTreeMap<&RecordKey, BTreeSet<GuestKey>> {
        let named = |record: &Record| record.guests().into_keys().collect::<BTreeSet<_>>();
        let mut links = BTreeMap::new();
        for (key, record) in &self.records {
            let now = named(record);
            let before = known.records.get(key).map(named).unwrap_or_default();
            if before != now {
                links.insert(key, now.difference(erased).cloned().collect());
            }
        }
        links
    }

    /// The current state of a record after the batch, if the batch holds it.
    pub fn state_after<'r>(&'r self, known: &'r Known, key: &RecordKey) -> Option<&'r Record> {
        self.records.get(key).or_else(|| known.records.get(key))
    }

    /// How often each outcome occurs, those of earlier events that it changes included.
    pub fn tally(&self) -> BTreeMap<ProjectionOutcome, u64> {
        let overruled = self.overruled.iter().map(|_| ProjectionOutcome::VersionConflict);
        let mut tally = BTreeMap::new();
        for outcome in self.outcomes.values().copied().chain(overruled) {
            *tally.entry(outcome).or_default() += 1;
        }
        tally
    }

    /// Makes the loser of a conflict a dead letter: an event of this batch, or one that was applied before it.
    fn overrule(&mut self, loser: EventId) {
        match self.outcomes.get_mut(&loser) {
            Some(outcome) => *outcome = ProjectionOutcome::VersionConflict,
            None => {
                self.overruled.insert(loser);
            }
        }
    }

    /// Removes the guest's record and history, also those that this batch has added.
    fn erase(&mut self, guest: GuestKey, event: &EventId) {
        let key = guest.record();
        self.records.remove(&key);
        self.history.retain(|(_, entry)| entry.key != key);
        self.touched.insert(key);
        self.erased.insert(guest, event.clone());
    }
}
