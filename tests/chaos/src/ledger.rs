//! The ledger: finds what was lost, doubled, stuck, out of order or wrong.
//!
//! It compares four records: what the clients were answered, what went over the wire, and what each database holds. An
//! event is one write that a client made; its effect is one `applied` or `stale` entry of the receiver's audit log.

use super::contents::Contents;
use super::history::History;
use super::wire_tap::WireLog;
use harness::books::{Books, Entity, Event};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

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
    /// Deliveries that went over the wire, repeats included.
    pub requests: u64,
    /// Events that ended as dead deliveries or dead letters.
    pub dead: u64,
    /// Effects that changed a record.
    pub applied: u64,
    /// Effects that came too late to change one.
    pub stale: u64,
    /// Confirmed writes without an event, and events without an effect that are neither dead nor waiting; deliveries
    /// said to be done that nobody answered with a 2xx, or that have no entry.
    pub lost: u64,
    /// Events with more than one effect, `delivered` entry or 202; effects of no event; events of no write.
    pub doubled: u64,
    /// Events that are still to be queued, or whose delivery or effect still waits.
    pub stuck: u64,
    /// Records that went back to a lower version, or do not stand at their entity's last one.
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
            ledger.delivery(id, books, wire);
            ledger.effect(id, books, status_of.get(id.as_str()).copied(), times);
        }
        ledger.writes(history, books);
        ledger.order(books);
        for difference in contents.differences() {
            ledger.find(Fault::Wrong, || difference);
        }
        ledger
    }

    /// A delivery that is done was answered with a 2xx, and says so once; the receiver said 202 once at most.
    fn delivery(&mut self, id: &str, books: &Books, wire: &WireLog) {
        let none = Vec::new();
        let answers = wire.answers.get(id).unwrap_or(&none);
        if answers.iter().filter(|status| **status == 202).count() > 1 {
            self.find(Fault::Doubled, || format!("{id}: accepted as new more than once"));
        }
        let entries = books.delivered_entries.get(id).copied().unwrap_or(0);
        if entries > 1 {
            self.find(Fault::Doubled, || format!("{id}: {entries} delivered entries"));
        }
        let done = books
            .deliveries
            .get(id)
            .is_some_and(|status| status == "delivered");
        if done && !answers.iter().any(|status| (200..300).contains(status)) {
            self.find(Fault::Lost, || {
                format!("{id}: delivered, and never answered with a 2xx")
            });
        }
        if done != (entries > 0) {
            self.find(Fault::Lost, || {
                format!("{id}: delivered is {done}, with {entries} entries")
            });
        }
    }

    /// An event waits, or is dead, or took effect once.
    fn effect(&mut self, id: &str, books: &Books, received: Option<&str>, effects: u64) {
        let delivery = books.deliveries.get(id).map(String::as_str);
        match (delivery, received) {
            (Some("dead"), _) | (_, Some("dead_letter")) => self.dead += 1,
            (None, _) if books.unqueued.contains(id) => {
                self.find(Fault::Stuck, || format!("{id}: not queued"));
            }
            (Some("pending"), _) => self.find(Fault::Stuck, || format!("{id}: not delivered")),
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
