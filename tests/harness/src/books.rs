//! The books: the rows of both databases for each event, from the emitter's log to its effect at the receiver.
//!
//! Ledgers read them: the [`ledger`](crate::ledger) of the demo compares them with the file of bookings, that of the
//! chaos run with the answers that its clients got.

use crate::database::{Database, Databases, Row};
use anyhow::{Context, Result};
use futures::future::BoxFuture;
use std::collections::{HashMap, HashSet};

/// What an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A guest.
    Guest,
    /// A reservation.
    Reservation,
}

/// A guest or a reservation by the emitter's id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entity {
    /// Which of the two.
    pub kind: Kind,
    /// Its id.
    pub id: String,
}

/// The name under which the receiver knows the emitter.
pub const SOURCE: &str = "pms";

/// Everything that a ledger asks of both databases.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// The emitter's log, by event id.
    pub events: HashMap<String, Event>,
    /// Events that the emitter is still to queue.
    pub unqueued: HashSet<String>,
    /// The place of each event in the feed, where it has one; also of events about endpoints, which are in no other account.
    pub places: HashMap<String, u64>,
    /// The status of each delivery.
    pub deliveries: HashMap<Delivery, String>,
    /// How many `delivered` audit entries each delivery has.
    pub delivered_entries: HashMap<Delivery, u64>,
    /// How often a person had each delivery sent again that was delivered.
    pub sent_again: HashMap<Delivery, u64>,
    /// The receiver's inbox, by its own event id.
    pub inbox: HashMap<String, Received>,
    /// The receiver's effects, in the order in which they were written.
    pub effects: Vec<Effect>,
    /// The version at which each record stands.
    pub records: HashMap<Entity, u64>,
}

/// An event on its way to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// The event's id.
    pub event: String,
    /// The endpoint's.
    pub endpoint: String,
}

/// An event of the emitter's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub entity: Entity,
    /// Which version it made.
    pub version: u64,
}

/// A row of the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The emitter's event id.
    pub key: String,
    /// What became of it.
    pub status: String,
}

/// An audit entry of the receiver that says what became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The receiver's own event id.
    pub event_id: String,
    /// `applied`, or `stale`.
    pub action: String,
    /// What it is about; an entry that was forged may not say it.
    pub entity: Option<Entity>,
    /// Which version of it.
    pub version: u64,
}

/// What became of the events, as the receiver's audit log says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects<'b> {
    /// Effects that changed a record.
    pub applied: u64,
    /// Effects that came too late to change one.
    pub stale: u64,
    /// How many effects each event of the emitter's log has; those without one are left out.
    pub of_event: HashMap<&'b str, u64>,
    /// The receiver's event id of each effect of no event.
    pub of_no_event: Vec<&'b str>,
}

impl Kind {
    /// As both services name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Reservation => "reservation",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Guest, Self::Reservation]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

impl Books {
    /// Reads both.
    ///
    /// # Errors
    /// When one cannot be read, or holds what was never written.
    pub fn read(databases: &mut Databases) -> BoxFuture<'_, Result<Self>> {
        Box::pin(async {
            let mut books = Self::default();
            books.read_emitter(&mut databases.emitter).await?;
            books.read_receiver(&mut databases.receiver).await?;
            Ok(books)
        })
    }

    /// Counts the effects of each event.
    pub fn count_effects(&self) -> Effects<'_> {
        let mut effects = Effects::default();
        for effect in &self.effects {
            match effect.action.as_str() {
                "applied" => effects.applied += 1,
                _ => effects.stale += 1,
            }
            let received = self.inbox.get(&effect.event_id);
            match received.filter(|received| self.events.contains_key(&received.key)) {
                Some(received) => *effects.of_event.entry(&received.key).or_default() += 1,
                None => effects.of_no_event.push(&effect.event_id),
            }
        }
        effects
    }

    async fn read_emitter(&mut self, emitter: &mut Database) -> Result<()> {
        let log = "SELECT entity_kind, entity_id, entity_version, id FROM events
             WHERE entity_kind IN ('guest', 'reservation')";
        let note = |row: Row| {
            let (entity, version, [id]) = about(row)?;
            self.events.insert(id, Event { entity, version });
            Ok(())
        };
        emitter.each(log, note).await?;
        let note = |row: Row| {
            let [event] = texts(row)?;
            self.unqueued.insert(event);
            Ok(())
        };
        emitter
            .each("SELECT id FROM events WHERE feed_seq IS NULL", note)
            .await?;
        let note = |row: Row| {
            let [event, place] = texts(row)?;
            self.places.insert(event, place.parse()?);
            Ok(())
        };
        emitter
            .each("SELECT id, feed_seq FROM events WHERE feed_seq IS NOT NULL", note)
            .await?;
        let note = |row: Row| {
            let [event, endpoint, status] = texts(row)?;
            self.deliveries.insert(Delivery { event, endpoint }, status);
            Ok(())
        };
        emitter
            .each("SELECT event_id, endpoint_id, status FROM deliveries", note)
            .await?;
        let note = |row: Row| {
            let [event, endpoint, action] = texts(row)?;
            let entries = match action.as_str() {
                "delivered" => &mut self.delivered_entries,
                _ => &mut self.sent_again,
            };
            *entries.entry(Delivery { event, endpoint }).or_default() += 1;
            Ok(())
        };
        let entries = "SELECT event_id, source, action FROM audit_entries
             WHERE action = 'delivered' OR (action = 'delivery_retried' AND outcome LIKE '%was delivered%')";
        emitter.each(entries, note).await
    }

    async fn read_receiver(&mut self, receiver: &mut Database) -> Result<()> {
        let inbox =
            format!("SELECT event_id, idempotency_key, status FROM inbox WHERE source_id = '{SOURCE}'");
        let note = |row: Row| {
            let [event, key, status] = texts(row)?;
            self.inbox.insert(event, Received { key, status });
            Ok(())
        };
        receiver.each(&inbox, note).await?;
        let effects =
            "SELECT COALESCE(entity_kind, ''), COALESCE(entity_id, ''), COALESCE(entity_version, 0),
                 COALESCE(event_id, ''), action
             FROM audit_entries WHERE action IN ('applied', 'stale') ORDER BY id";
        let note = |row: Row| {
            let [kind, id, version, event_id, action] = texts(row)?;
            self.effects.push(Effect {
                event_id,
                action,
                entity: Kind::named(&kind).map(|kind| Entity { kind, id }),
                version: version.parse()?,
            });
            Ok(())
        };
        receiver.each(effects, note).await?;
        let records = format!(
            "SELECT kind, entity_id, version FROM records WHERE version > 0 AND source_id = '{SOURCE}'"
        );
        let note = |row: Row| {
            let (entity, version, []) = about(row)?;
            self.records.insert(entity, version);
            Ok(())
        };
        receiver.each(&records, note).await
    }
}

/// The values of a row none of which is NULL.
///
/// # Errors
/// When one is, or there are not so many.
pub fn texts<const N: usize>(row: Row) -> Result<[String; N]> {
    let values: Option<Vec<String>> = row.into_iter().collect();
    let values = values.context("a NULL")?;
    values.try_into().ok().context("another number of columns")
}

/// A row that begins with kind, id and version of an entity.
///
/// # Errors
/// When it does not.
pub fn about<const N: usize>(mut row: Row) -> Result<(Entity, u64, [String; N])> {
    let rest = texts(row.split_off(3))?;
    let [kind, id, version] = texts(row)?;
    let kind = Kind::named(&kind).context("an entity of another kind")?;
    Ok((Entity { kind, id }, version.parse()?, rest))
}
