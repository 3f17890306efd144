//! The ledger: finds what was lost, doubled, stuck, out of order or wrong.
//!
//! It compares four records: what the clients were answered, what went over the wire, and what each database holds. An
//! event is one write that a client made; its effect is one `applied` or `stale` entry of the receiver's audit log.

use super::contents::Contents;
use super::history::{Endpoint, History};
use super::wire_tap::WireLog;
use harness::books::{Books, Delivery, Entity, Event};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// The endpoint whose deliveries take effect at the receiver: that of the environment.
pub const ENV: &str = "env";
/// Findings that are listed one by one; the rest is counted.
const FINDINGS_MAX: usize = 20;

/// The result of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Writes that were confirmed to a client.
    pub confirmed: u64,
    /// Of these, the ones that took more than one attempt.
    pub repeated: u64,
    /// Writes that were refused for good.
    pub refused: u64,
    /// Writes that got no answer for as long as a client waits.
    pub unknown: u64,
    /// Events of the emitter's log.
    pub events: u64,
    /// Deliveries, of each event to each endpoint that gets it.
    pub deliveries: u64,
    /// Deliveries that a person had sent again once they were delivered.
    pub sent_again: u64,
    /// Requests that went over the wire, repeats included.
    pub requests: u64,
    /// Dead deliveries, and events that ended as dead letters.
    pub dead: u64,
    /// Effects that changed a record.
    pub applied: u64,
    /// Effects that came too late to change one.
    pub stale: u64,
    /// Confirmed writes without an event, and events without an effect that are neither dead nor waiting, or without a delivery to
    /// an endpoint that gets them; deliveries said to be done that nobody answered with a 2xx, or that have no entry; places of the
    /// feed without an event.
    pub lost: u64,
    /// Events with more than one effect or 202; deliveries with more `delivered` entries than runs, or to who does not get them;
    /// effects of no event; events of no write; places with two events.
    pub doubled: u64,
    /// Events that are still to be queued, or whose delivery or effect still waits.
    pub stuck: u64,
    /// Records that went back to a lower version, or do not stand at their entity's last one; versions with a place before that
    /// of an earlier one.
    pub out_of_order: u64,
    /// Records and profiles that do not say what the emitter's last events say.
    pub wrong: u64,
    /// The first findings, in words.
    #[serde(skip)]
    pub findings: Vec<String>,
}

/// Which of the five a finding is.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Lost,
    Doubled,
    Stuck,
    OutOfOrder,
    Wrong,
}

impl Ledger {
    /// Nothing lost, doubled, stuck, out of order or wrong.
    pub fn is_zero(&self) -> bool {
        self.faults() == [0; 5]
    }

    /// What is lost, doubled, stuck, out of order and wrong.
    pub fn faults(&self) -> [u64; 5] {
        [self.lost, self.doubled, self.stuck, self.out_of_order, self.wrong]
    }

    /// Every write was confirmed, and every event took effect.
    pub fn is_whole(&self) -> bool {
        (self.refused, self.unknown, self.dead) == (0, 0, 0)
    }

    /// Balances the books.
    pub fn balance(history: &History, wire: &WireLog, books: &Books, contents: &Contents) -> Self {
        let effects = books.count_effects();
        let mut ledger = Self {
            confirmed: history.writes(),
            repeated: history.repeated,
            refused: history.refused.values().sum(),
            unknown: history.unknown,
            events: books.events.len() as u64,
            deliveries: books.deliveries.len() as u64,
            sent_again: books.sent_again.values().sum(),
            requests: wire.requests,
            applied: effects.applied,
            stale: effects.stale,
            ..Self::default()
        };
        for event in &effects.of_no_event {
            ledger.find(Fault::Doubled, || format!("{event}: an effect of no event"));
        }
        let status_of: HashMap<&str, &str> = books
            .inbox
            .values()
            .map(|received| (received.key.as_str(), received.status.as_str()))
            .collect();
        for id in books.events.keys() {
            let times = effects.of_event.get(id.as_str()).copied().unwrap_or(0);
            for endpoint in &history.endpoints {
                ledger.delivery(id, endpoint, books, wire);
            }
            ledger.effect(id, books, status_of.get(id.as_str()).copied(), times);
        }
        ledger.writes(history, books);
        ledger.order(books);
        for endpoint in history.endpoints.iter().filter(|endpoint| endpoint.in_order) {
            ledger.arrivals(endpoint, books, wire);
        }
        ledger.feed(books);
        for difference in contents.differences() {
            ledger.find(Fault::Wrong, || difference);
        }
        ledger
    }

    /// An event has a delivery to exactly the endpoints that get it. One that is done was answered with a 2xx, and says so once for
    /// each run that began with it done; the receiver said 202 once at most.
    fn delivery(&mut self, id: &str, endpoint: &Endpoint, books: &Books, wire: &WireLog) {
        let key = Delivery {
            event: id.to_owned(),
            endpoint: endpoint.id.clone(),
        };
        let (none, to) = (Vec::new(), &endpoint.id);
        let answers = wire.answers.get(&(endpoint.path.clone(), key.event.clone()));
        let answers = answers.unwrap_or(&none);
        if answers.iter().filter(|status| **status == 202).count() > 1 {
            self.find(Fault::Doubled, || format!("{id}: accepted as new more than once"));
        }
        let entries = books.delivered_entries.get(&key).copied().unwrap_or(0);
        let runs = 1 + books.sent_again.get(&key).copied().unwrap_or(0);
        if entries > runs {
            self.find(Fault::Doubled, || {
                format!("{id} to {to}: {entries} delivered entries of {runs} runs")
            });
        }
        let gets = endpoint.kinds.contains(&books.events[id].entity.kind);
        let status = books.deliveries.get(&key).map(String::as_str);
        match status {
            Some(_) if !gets => self.find(Fault::Doubled, || format!("{id} to {to}: it does not get it")),
            None if gets && !books.unqueued.contains(id) => {
                self.find(Fault::Lost, || {
                    format!("{id} to {to}: not queued, with its place")
                });
            }
            Some("pending") => self.find(Fault::Stuck, || format!("{id} to {to}: not delivered")),
            // That of the environment is counted with its effect.
            Some("dead") if endpoint.id != ENV => self.dead += 1,
            _ => {}
        }
        let done = status == Some("delivered");
        if done && !answers.iter().any(|status| (200..300).contains(status)) {
            self.find(Fault::Lost, || {
                format!("{id} to {to}: delivered, and never answered with a 2xx")
            });
        }
        if done != (entries > 0) {
            self.find(Fault::Lost, || {
                format!("{id} to {to}: delivered is {done}, with {entries} entries")
            });
        }
    }

    /// An event waits, or is dead, or took effect once.
    fn effect(&mut self, id: &str, books: &Books, received: Option<&str>, effects: u64) {
        let key = Delivery {
            event: id.to_owned(),
            endpoint: ENV.to_owned(),
        };
        let delivery = books.deliveries.get(&key).map(String::as_str);
        match (delivery, received) {
            (Some("dead"), _) | (_, Some("dead_letter")) => self.dead += 1,
            _ if books.unqueued.contains(id) => {
                self.find(Fault::Stuck, || format!("{id}: not queued"));
            }
            // It is counted as a delivery.
            (None | Some("pending"), _) => {}
            (_, Some("accepted")) => self.find(Fault::Stuck, || format!("{id}: not applied")),
            _ if effects == 0 => self.find(Fault::Lost, || {
                format!("{id}: no effect; delivery {delivery:?}, inbox {received:?}")
            }),
            _ => {}
        }
        if effects > 1 {
            self.find(Fault::Doubled, || format!("{id}: {effects} effects"));
        }
    }

    /// Every confirmed write has its one event, and every other event is of a write of unknown result.
    fn writes(&mut self, history: &History, books: &Books) {
        // The emitter's log has a unique key on both.
        let mut events: HashSet<(&Entity, u64)> = books
            .events
            .values()
            .map(|event| (&event.entity, event.version))
            .collect();
        for (entity, versions) in &history.confirmed {
            for version in versions {
                if !events.remove(&(entity, *version)) {
                    self.find(Fault::Lost, || {
                        format!("{entity:?} {version}: confirmed, and no event")
                    });
                }
            }
        }
        // A write of unknown result may have made its event.
        let unasked: Vec<(&Entity, u64)> = events.into_iter().collect();
        let excused = usize::try_from(history.unknown).unwrap_or(usize::MAX);
        for (entity, version) in unasked.into_iter().skip(excused) {
            self.find(Fault::Doubled, || {
                format!("{entity:?} {version}: an event of no write")
            });
        }
    }

    /// Each record only went up, and stands at the last version.
    fn order(&mut self, books: &Books) {
        let mut standing: HashMap<&Entity, u64> = HashMap::new();
        for effect in books.effects.iter().filter(|effect| effect.action == "applied") {
            let (Some(entity), version) = (&effect.entity, effect.version) else {
                continue;
            };
            let before = standing.insert(entity, version).unwrap_or(0);
            if version <= before {
                self.find(Fault::OutOfOrder, || {
                    format!("{entity:?}: {version} applied after {before}")
                });
            }
        }
        let mut last: HashMap<&Entity, u64> = HashMap::new();
        for Event { entity, version } in books.events.values() {
            let highest = last.entry(entity).or_default();
            *highest = (*highest).max(*version);
        }
        for (entity, version) in last {
            let stands = books.records.get(entity).copied();
            if stands != Some(version) {
                self.find(Fault::OutOfOrder, || {
                    format!("{entity:?}: stands at {stands:?}, not {version}")
                });
            }
        }
    }

    /// At an endpoint that asks for it each entity's events first arrived in their order.
    fn arrivals(&mut self, endpoint: &Endpoint, books: &Books, wire: &WireLog) {
        let mut last: HashMap<&Entity, u64> = HashMap::new();
        for (_, id) in wire.arrived.iter().filter(|(path, _)| *path == endpoint.path) {
            let Some(Event { entity, version }) = books.events.get(id) else {
                continue;
            };
            let before = last.insert(entity, *version).unwrap_or(0);
            if *version <= before {
                self.find(Fault::OutOfOrder, || {
                    format!(
                        "{entity:?}: {version} arrived at {} after {before}",
                        endpoint.path
                    )
                });
            }
        }
    }

    /// Every event that was queued has a place of its own, from 1 on without gaps, and each version one behind that of the version
    /// before.
    fn feed(&mut self, books: &Books) {
        let mut places: Vec<u64> = books.places.values().copied().collect();
        places.sort_unstable();
        let mut last = 0;
        for place in places {
            if place == last {
                self.find(Fault::Doubled, || format!("place {place}: two events"));
            } else if place != last + 1 {
                self.find(Fault::Lost, || {
                    format!("places {} to {}: no event", last + 1, place - 1)
                });
            }
            last = place;
        }
        let mut versions: HashMap<&Entity, Vec<(u64, u64)>> = HashMap::new();
        for (id, Event { entity, version }) in &books.events {
            match books.places.get(id) {
                Some(place) => versions.entry(entity).or_default().push((*version, *place)),
                None if books.unqueued.contains(id) => {}
                None => self.find(Fault::Lost, || format!("{id}: no place")),
            }
        }
        for (entity, mut versions) in versions {
            versions.sort_unstable();
            for pair in versions.windows(2) {
                if pair[0].1 >= pair[1].1 {
                    self.find(Fault::OutOfOrder, || {
                        format!(
                            "{entity:?}: version {} has a place before the one before",
                            pair[1].0
                        )
                    });
                }
            }
        }
    }

    fn find(&mut self, fault: Fault, words: impl FnOnce() -> String) {
        *match fault {
            Fault::Lost => &mut self.lost,
            Fault::Doubled => &mut self.doubled,
            Fault::Stuck => &mut self.stuck,
            Fault::OutOfOrder => &mut self.out_of_order,
            Fault::Wrong => &mut self.wrong,
        } += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(format!("{fault:?}: {}", words()));
        }
    }
}

#[cfg(test)]
mod tests;
