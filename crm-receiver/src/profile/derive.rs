//! The one function that makes a profile: of the records linked to a person, of their reservations, and of the set of
//! events received for them, and of nothing else.
//!
//! No clock, no arrival, no order: the same sets make the same bytes. Every list in a profile is sorted here.

use super::{
    consent::{self, CONSENT_HISTORY_MAX, Consent},
    contents::{ContactKind, ContactPoint, NamedBy, Profile, ProfileStatus, RecordLink},
    guest::{GuestFacts, Provenance, shown_address},
    history::{HistoryEntry, TimelineEntry},
    link::Linked,
    metrics::metrics,
    payload::Payload,
    record::{GuestKey, Record, RecordKey, Role},
    stay::Stay,
    survivorship as wins,
};
use contract::{EntityId, ProfileId};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Raise it with every change of what a profile is derived to, or found under: those that are stored are then derived
/// again.
pub const DERIVE_VERSION: i64 = 4;
/// How many reservations a profile keeps, the newest first; all are counted.
pub const RESERVATIONS_MAX: usize = 500;
/// How many entries of its timeline a profile keeps, the newest first; all are counted.
pub const TIMELINE_MAX: usize = 100;

/// Derives the profile that answers under `owner`'s id. None when nothing is left to show: no guest record, or only
/// a deleted one, and no reservation.
///
/// `linked` are the guest records linked to the person, `reservations` those that name one of them, once for each that
/// they name, `history` every event received for any of both. An erased guest's record and history are not there to be
/// passed.
pub fn derive(
    owner: &GuestKey,
    linked: &[Linked<'_>],
    reservations: &[(&Record, Role)],
    history: &BTreeSet<HistoryEntry>,
) -> Option<Profile> {
    let records: Vec<&Record> = linked.iter().map(|linked| linked.record).collect();
    let in_force = in_force(&records);
    let merged_into = merged_into(owner, &records, &in_force);
    let status = status(&in_force, merged_into.is_some(), !reservations.is_empty())?;
    let facts: Vec<GuestFacts<'_>> = in_force.iter().map(|record| GuestFacts::of(record)).collect();
    let mut stays = stays(reservations);
    let metrics = metrics(&stays);
    stays.truncate(RESERVATIONS_MAX);
    let reserved = reservations.iter().map(|(record, _)| *record);
    let everything = records.iter().copied().chain(reserved);
    let name = wins::name(&facts).unwrap_or_default();
    let (email, email_kind) = wins::email(&facts).unzip();
    Some(Profile {
        profile_id: owner.profile_id(),
        status,
        merged_into: merged_into.filter(|_| status == ProfileStatus::Merged),
        display_name: name.display(),
        title: wins::latest_text(&facts, "title"),
        name,
        email,
        email_kind,
        phone: wins::phone(&facts),
        address: wins::address(&facts),
        date_of_birth: wins::date_of_birth(&facts),
        nationality: wins::nationality(&facts),
        language: wins::latest_text(&facts, "language"),
        vip_level: wins::vip_level(&facts),
        blacklisted: wins::blacklisted(&facts),
        loyalty: wins::union(&facts, "loyalty"),
        external_ids: wins::union(&facts, "external_ids"),
        property_ids: everything
            .clone()
            .filter_map(|record| record.property_id.clone())
            .collect(),
        consent: consent::current(in_force.iter().copied()),
        created_at: facts.iter().filter_map(|fact| fact.created_at).min(),
        updated_at: everything
            .map(|record| record.occurred_at)
            .max()
            .unwrap_or_default(),
        metrics,
        records: record_links(linked),
        names: names(&facts),
        contact_points: contact_points(&facts),
        consent_history: consent_history(history),
        reservations: stays,
        timeline: timeline(history),
        timeline_count: history.len() as u64,
    })
}

/// What the reservations are to this person, the newest first. One that names several of the person's records counts once,
/// in the nearest role.
fn stays(reservations: &[(&Record, Role)]) -> Vec<Stay> {
    let mut nearest: BTreeMap<&RecordKey, (&Record, Role)> = BTreeMap::new();
    for (record, role) in reservations {
        let named = nearest.entry(&record.key).or_insert((*record, *role));
        named.1 = named.1.min(*role);
    }
    let mut stays: Vec<Stay> = nearest
        .into_values()
        .map(|(record, role)| Stay::of(record, role))
        .collect();
    stays.sort_by(|left, right| {
        (right.from(), &right.source, &right.reservation_id).cmp(&(
            left.from(),
            &left.source,
            &left.reservation_id,
        ))
    });
    stays
}

/// The newest of what happened, the newest first.
fn timeline(history: &BTreeSet<HistoryEntry>) -> Vec<TimelineEntry> {
    let newest = history.iter().rev().take(TIMELINE_MAX);
    newest.map(TimelineEntry::from).collect()
}

/// The records whose values count, in the order of their keys: a deleted one only when there is no other.
fn in_force<'r>(records: &[&'r Record]) -> Vec<&'r Record> {
    let present = records.iter().filter(|record| !record.deleted);
    let mut in_force: Vec<&Record> = present.copied().collect();
    if in_force.is_empty() {
        in_force = records.to_vec();
    }
    in_force.sort_by(|left, right| left.key.cmp(&right.key));
    in_force
}

fn status(records: &[&Record], merged: bool, has_stays: bool) -> Option<ProfileStatus> {
    match records.first() {
        None => has_stays.then_some(ProfileStatus::Stub),
        Some(record) if record.deleted => has_stays.then_some(ProfileStatus::Deleted),
        Some(_) if merged => Some(ProfileStatus::Merged),
        Some(_) => Some(ProfileStatus::Active),
    }
}

/// The guest that a record was merged into at its source.
fn target(record: &Record) -> Option<GuestKey> {
    let id: EntityId = Payload(&record.state).text("merged_into")?.parse().ok()?;
    let source = record.key.source.clone();
    Some(GuestKey { source, id })
}

/// Where a profile went of which every record in force was merged into a guest of another profile: to that of the guest
/// that the owner's record was merged into, or the first where the owner's is not in force. Two that were merged into each
/// other, or into a record that is here and deleted, went nowhere.
fn merged_into(owner: &GuestKey, linked: &[&Record], in_force: &[&Record]) -> Option<ProfileId> {
    let mut went: Vec<(bool, GuestKey)> = in_force
        .iter()
        .map(|record| Some((record.key != owner.record(), outside(record, linked)?)))
        .collect::<Option<_>>()?;
    went.sort();
    went.first().map(|(_, target)| target.profile_id())
}

/// The guest outside of a profile that a record was merged into, through others of the profile or at once.
fn outside(record: &Record, linked: &[&Record]) -> Option<GuestKey> {
    let mut target_of = target(record)?;
    for _ in linked {
        match linked.iter().find(|other| other.key == target_of.record()) {
            Some(next) => target_of = target(next)?,
            None => return Some(target_of),
        }
    }
    None
}

fn record_links(linked: &[Linked<'_>]) -> Vec<RecordLink> {
    let mut links: Vec<RecordLink> = linked
        .iter()
        .map(|Linked { record, link }| RecordLink {
            provenance: Provenance::of(record),
            property_id: record.property_id.clone(),
            deleted: record.deleted,
            link: link.clone(),
        })
        .collect();
    links.sort_by(|left, right| left.provenance.cmp(&right.provenance));
    links
}

fn names(facts: &[GuestFacts<'_>]) -> Vec<NamedBy> {
    let mut names: Vec<NamedBy> = facts
        .iter()
        .filter_map(|fact| {
            Some(NamedBy {
                name: fact.name.clone()?,
                provenance: fact.provenance.clone(),
            })
        })
        .collect();
    names.sort_by(|left, right| right.provenance.cmp(&left.provenance));
    names
}

fn contact_points(facts: &[GuestFacts<'_>]) -> Vec<ContactPoint> {
    let mut points: Vec<ContactPoint> = facts
        .iter()
        .flat_map(|fact| {
            let point = |kind, value: Option<Value>, email_kind| {
                value.map(|value| ContactPoint {
                    kind,
                    value,
                    email_kind,
                    provenance: fact.provenance.clone(),
                })
            };
            [
                point(
                    ContactKind::Email,
                    fact.email.map(Value::from),
                    Some(fact.email_kind()),
                ),
                point(ContactKind::Phone, fact.phone.map(Value::from), None),
                point(
                    ContactKind::Address,
                    fact.address.map(|address| shown_address(address).into()),
                    None,
                ),
            ]
        })
        .flatten()
        .collect();
    points.sort_by(|left, right| (&right.provenance, &left.kind).cmp(&(&left.provenance, &right.kind)));
    points
}

fn consent_history(history: &BTreeSet<HistoryEntry>) -> Vec<Consent> {
    let stated: BTreeSet<&Consent> = history.iter().flat_map(|entry| &entry.consents).collect();
    stated
        .into_iter()
        .rev()
        .take(CONSENT_HISTORY_MAX)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
