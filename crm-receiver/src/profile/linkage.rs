//! Which records make up which profile.
//!
//! A guest's profile is derived from the guest's own record and from the reservations that name the guest. A
//! transaction that holds these rows, the store or the property test, loads them as [`Linkage`] asks for them; only
//! this module decides how a profile results from them.

use super::{GuestKey, Profile, Record, RecordKey, Role, derive, history::HistoryEntry, link::Linked};
use std::collections::{BTreeMap, BTreeSet};

/// For each guest, the reservations that name it.
pub type Reservations = BTreeMap<GuestKey, BTreeSet<RecordKey>>;

/// Everything that some profiles are derived from.
pub struct Linkage {
    reservations: Reservations,
    records: BTreeMap<RecordKey, Record>,
    /// The guests that each record names: one record may belong to many profiles, so this is computed once.
    roles: BTreeMap<RecordKey, BTreeMap<GuestKey, Role>>,
    history: BTreeMap<RecordKey, Vec<HistoryEntry>>,
}

impl Linkage {
    /// The records from which the profiles of these guests are derived; `reservations` are those that name them.
    /// Erased guests must not be among them.
    pub fn record_keys(guests: &BTreeSet<GuestKey>, reservations: &Reservations) -> BTreeSet<RecordKey> {
        let own = guests.iter().map(GuestKey::record);
        own.chain(reservations.values().flatten().cloned()).collect()
    }

    /// Links the records under [`record_keys`](Self::record_keys), with their history, to the guests.
    pub fn new(
        reservations: Reservations,
        records: BTreeMap<RecordKey, Record>,
        history: BTreeMap<RecordKey, Vec<HistoryEntry>>,
    ) -> Self {
        let named = |(key, record): (&RecordKey, &Record)| (key.clone(), record.guests());
        Self {
            roles: records.iter().map(named).collect(),
            reservations,
            records,
            history,
        }
    }

    /// The profile of a guest. None when there is nothing to show, as for a guest that is erased.
    pub fn derive(&self, guest: &GuestKey) -> Option<Profile> {
        let own = guest.record();
        let records: Vec<Linked<'_>> = self.records.get(&own).into_iter().map(Linked::own).collect();
        let none = BTreeSet::new();
        let reservations = self.reservations.get(guest).unwrap_or(&none);
        let stays: Vec<(&Record, Role)> = reservations
            .iter()
            .filter_map(|key| Some((self.records.get(key)?, *self.roles.get(key)?.get(guest)?)))
            .collect();
        let history = std::iter::once(&own)
            .chain(reservations)
            .filter_map(|key| self.history.get(key));
        derive(guest, &records, &stays, &history.flatten().cloned().collect())
    }
}
