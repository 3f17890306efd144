//! The property test of the project: any permutation, with any duplication and in any batches, of any stream of
//! events ends in byte-identical profiles.

use super::{
    Event, PendingEvent,
    plan::{Known, plan},
};
use crate::profile::{
    GuestKey, Linkage, Record, RecordKey,
    history::HistoryEntry,
    linkage::Reservations,
    property_day::{self, PropertyDays},
};
use contract::{ProfileId, UnixMillis};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// An event of the source `pms` as projection reads it.
pub fn sent(event_type: &str, id: &str, version: u64, at: i64, payload: impl Into<Value>) -> Event {
    let kind = event_type.split_once('.').unwrap().0;
    let payload: Value = payload.into();
    let body = json!({"payload": payload, "changed": ["x"]});
    let pending = PendingEvent {
        event_id: format!("evt_{event_type}-{id}-{version}-{at}")
            .replace('.', "_")
            .parse()
            .unwrap(),
        source: "pms".parse().unwrap(),
        event_type: event_type.to_owned(),
        schema_version: 1,
        property_id: Some("MAIN".parse().unwrap()),
        entity_kind: Some(kind.to_owned()),
        entity_id: Some(id.parse().unwrap()),
        entity_version: Some(version),
        correlation_id: None,
        occurred_at: UnixMillis(at),
        waiting_since: UnixMillis(at),
        requeued: false,
        attempts: 0,
        body: Some(body.to_string().into_bytes()),
    };
    pending.proposed().unwrap()
}

/// The tables, as maps: what the store does to rows this does to entries.
#[derive(Default)]
struct World {
    records: BTreeMap<RecordKey, Record>,
    /// Which guests each reservation names, but for those that are erased.
    links: BTreeMap<RecordKey, BTreeSet<GuestKey>>,
    erased: BTreeSet<GuestKey>,
    history: BTreeSet<HistoryEntry>,
    profiles: BTreeMap<ProfileId, Vec<u8>>,
    days: PropertyDays,
}

impl World {
    /// Everything in batches cut where `cuts` says, each event under an id of its arrival.
    fn of(arrivals: &[Event], cuts: &[usize]) -> Self {
        let mut world = Self::default();
        let arrived: Vec<Event> = arrivals
            .iter()
            .enumerate()
            .map(|(place, event)| {
                let mut event = event.clone();
                event.record.event_id = format!("evt_{place}").parse().unwrap();
                event
            })
            .collect();
        let mut rest = arrived.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (batch, later) = rest.split_at((*cut).clamp(1, rest.len()));
            world.project(&batch.iter().collect::<Vec<_>>());
            rest = later;
        }
        world
    }

    fn project(&mut self, batch: &[&Event]) {
        let known = Known {
            records: self.records.clone(),
            erased: self.erased.clone(),
        };
        let plan = plan(&known, batch);
        let guests = plan.guests(&known);
        self.erased.extend(plan.erased.keys().cloned());
        for (reservation, named) in plan.changed_links(&known, &self.erased) {
            self.links.insert(reservation.clone(), named);
        }
        for guest in plan.erased.keys() {
            self.records.remove(&guest.record());
            self.history.retain(|entry| entry.key != guest.record());
            for named in self.links.values_mut() {
                named.remove(guest);
            }
        }
        self.records.extend(plan.records);
        for (key, day) in plan.days {
            property_day::add(&mut self.days, key, day);
        }
        self.history
            .extend(plan.history.into_iter().map(|(_, entry)| entry));
        for (id, body) in self.derive(&guests) {
            match body {
                Some(body) => self.profiles.insert(id, body),
                None => self.profiles.remove(&id),
            };
        }
    }

    /// The profiles of these guests, of what the tables hold.
    fn derive(&self, guests: &BTreeSet<GuestKey>) -> Vec<(ProfileId, Option<Vec<u8>>)> {
        let linkage = self.linkage(guests);
        let derived = guests.iter().map(|guest| {
            let profile = linkage.derive(guest);
            let body = profile.map(|profile| serde_json::to_vec(&profile).unwrap());
            (guest.profile_id(), body)
        });
        derived.collect()
    }

    fn linkage(&self, guests: &BTreeSet<GuestKey>) -> Linkage {
        let living: BTreeSet<GuestKey> = guests.difference(&self.erased).cloned().collect();
        let mut reservations = Reservations::new();
        for (reservation, named) in &self.links {
            for guest in named.intersection(&living) {
                let reservations = reservations.entry(guest.clone()).or_default();
                reservations.insert(reservation.clone());
            }
        }
        let keys = Linkage::record_keys(&living, &reservations);
        let held = self.records.iter().filter(|(key, _)| keys.contains(*key));
        let records = held.map(|(key, record)| (key.clone(), record.clone())).collect();
        let mut history = BTreeMap::<RecordKey, Vec<HistoryEntry>>::new();
        for entry in self.history.iter().filter(|entry| keys.contains(&entry.key)) {
            history.entry(entry.key.clone()).or_default().push(entry.clone());
        }
        Linkage::new(reservations, records, history)
    }

    /// Every profile derived from nothing but the records that stand at the end, in one go: also who is linked to what.
    fn derived_afresh(&self) -> BTreeMap<ProfileId, Vec<u8>> {
        let named = |record: &Record| record.guests().into_keys().collect::<BTreeSet<_>>();
        let afresh = Self {
            records: self.records.clone(),
            links: self
                .records
                .iter()
                .map(|(key, record)| (key.clone(), named(record)))
                .collect(),
            erased: self.erased.clone(),
            history: self.history.clone(),
            ..Self::default()
        };
        let own = afresh.records.keys().filter_map(RecordKey::guest);
        let guests = own.chain(afresh.links.values().flatten().cloned()).collect();
        let derived = afresh.derive(&guests).into_iter();
        derived.filter_map(|(id, body)| Some((id, body?))).collect()
    }
}

const GUESTS: &[&str] = &["g1", "g2", "g3", "g4"];

fn guest_event() -> impl Strategy<Value = Event> {
    let types = vec![
        "guest.created",
        "guest.updated",
        "guest.updated",
        "guest.consent_changed",
        "guest.merged",
        "guest.unmerged",
        "guest.deleted",
        "guest.erased",
    ];
    let status = prop::sample::select(vec!["granted", "denied", "withdrawn"]);
    let email = prop::sample::select(vec!["a@x.example", "b@guest.booking.com"]);
    let guest = prop::sample::select(GUESTS);
    let other = prop::sample::select(GUESTS);
    let name = prop::sample::select(vec!["Ana", "Rui", "Eva"]);
    (
        prop::sample::select(types),
        guest,
        other,
        1..4_u64,
        0..4_i64,
        name,
        email,
        status,
        0..3_i64,
    )
        .prop_map(
            |(event_type, guest, other, version, at, name, email, status, consent_at)| {
                let mut payload = json!({"last_name": name, "email": email, "vip_level": 1,
                "address": {"line1": "1", "city": name}, "loyalty": [{"programme": "p", "number": email, "x": 1}],
                "consent": [{"channel": "email", "status": status, "at": consent_at}]});
                match event_type {
                    "guest.merged" => payload["merged_into"] = other.into(),
                    "guest.erased" => payload = json!({"aliases": [other]}),
                    _ => {}
                }
                sent(event_type, guest, version, at, payload)
            },
        )
}

/// What an event says of its property's day, if it does.
fn property_day() -> impl Strategy<Value = (Option<&'static str>, Option<&'static str>)> {
    let date = prop::option::of(prop::sample::select(vec![
        "2026-05-01",
        "2026-05-02",
        "2026-05-03",
    ]));
    let zone = prop::option::of(prop::sample::select(vec!["UTC", "Pacific/Auckland", "Nowhere"]));
    (date, zone)
}

fn reservation_event() -> impl Strategy<Value = Event> {
    let types = vec![
        "reservation.created",
        "reservation.updated",
        "reservation.updated",
        "reservation.deleted",
    ];
    let status = prop::sample::select(vec!["confirmed", "checked_in", "checked_out", "cancelled"]);
    let guests = prop::collection::vec(prop::sample::select(GUESTS), 3);
    let reservation = prop::sample::select(vec!["r1", "r2", "r3"]);
    (
        prop::sample::select(types),
        reservation,
        1..4_u64,
        0..4_i64,
        guests,
        status,
        1..5_i8,
        property_day(),
    )
        .prop_map(
            |(event_type, reservation, version, at, guests, status, nights, (date, zone))| {
                let mut payload = json!({"status": status, "check_in": "2026-05-01",
                "check_out": jiff::civil::date(2026, 5, 1 + nights), "primary_guest_id": guests[0],
                "accompanying_guest_ids": [guests[1]], "booker_guest_id": guests[2], "currency": "EUR",
                "total": format!("{nights}0.00"), "room_total": format!("{nights}0.00"),
                "checked_in_on": "2026-05-02"});
                // A sender from before says neither.
                for (name, value) in [("business_date", date), ("timezone", zone)] {
                    if let Some(value) = value {
                        payload[name] = value.into();
                    }
                }
                sent(event_type, reservation, version, at, payload)
            },
        )
}

/// The same state of the same commit, with another time, its members in another order.
fn resent(event: &Event) -> Event {
    let Record {
        key,
        version,
        state,
        event_id,
        ..
    } = &event.record;
    let at = event.record.occurred_at.plus_millis(1).into();
    let payload = reversed(Value::Object(Map::clone(state)));
    let mut event = sent(
        event.record.event_type.as_str(),
        key.id.as_str(),
        *version,
        at,
        payload,
    );
    event.record.event_id = event_id.clone();
    event
}

fn reversed(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().rev();
            Value::Object(members.map(|(name, value)| (name, reversed(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(reversed).collect(),
        scalar => scalar,
    }
}

/// A stream, in which a few states are sent twice, and the same events again: permuted, each up to three times.
fn two_arrivals() -> impl Strategy<Value = (Vec<Event>, Vec<Event>)> {
    let event = prop_oneof![2 => guest_event(), 3 => reservation_event()];
    let sent = (event, prop::bool::weighted(0.2), 1..4_usize);
    prop::collection::vec(sent, 1..24).prop_flat_map(|stream| {
        let (mut once, mut repeated) = (Vec::new(), Vec::new());
        for (event, twice, times) in stream {
            let again = twice.then(|| resent(&event));
            for event in [Some(event), again].into_iter().flatten() {
                repeated.extend(std::iter::repeat_n(event.clone(), times));
                once.push(event);
            }
        }
        (Just(once).prop_shuffle(), Just(repeated).prop_shuffle())
    })
}

fn shown(profiles: &BTreeMap<ProfileId, Vec<u8>>) -> BTreeMap<&str, String> {
    let text = |body: &Vec<u8>| String::from_utf8(body.clone()).unwrap();
    profiles
        .iter()
        .map(|(id, body)| (id.as_str(), text(body)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn profiles_do_not_depend_on_order_number_or_batches_of_arrival(
        (once, permuted) in two_arrivals(),
        cuts in prop::collection::vec(1..8_usize, 1..4),
    ) {
        let one_by_one = World::of(&once, &[1]);
        let in_batches = World::of(&permuted, &cuts);
        prop_assert_eq!(shown(&one_by_one.profiles), shown(&in_batches.profiles));
        prop_assert_eq!(&one_by_one.days, &in_batches.days);
        let afresh = in_batches.derived_afresh();
        prop_assert_eq!(shown(&in_batches.profiles), shown(&afresh));
    }
}
