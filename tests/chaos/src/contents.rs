//! Compares the receiver's state of each guest and reservation with the emitter's last event about it.
//!
//! The expected state is derived from the emitter's payloads by simple rules that hold for the clerks' load, without
//! the services' code. That load merges and deletes nobody and names one guest in a reservation, so a profile is one
//! guest's last state, and the sums of what names that guest.

use anyhow::{Context, Result};
use harness::books::{Entity, Kind, about, texts};
use harness::database::{Databases, Row};
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The last event of each entity. The payloads' rows may be many, so no more of each is kept than is compared.
const LAST_EVENTS: &str = "SELECT event.entity_kind, event.entity_id, event.entity_version, content.body
     FROM events AS event JOIN event_bodies AS content ON content.event_id = event.id
     WHERE event.entity_kind IN ('guest', 'reservation') AND event.entity_version = (SELECT MAX(later.entity_version) FROM events AS later
         WHERE later.entity_kind = event.entity_kind AND later.entity_id = event.entity_id)";
const RECORDS: &str = "SELECT kind, entity_id, version, type, COALESCE(property_id, ''), deleted, state
     FROM records WHERE version > 0 AND source_id = 'pms'";
const PROFILES: &str = "SELECT body FROM profiles WHERE body IS NOT NULL";

/// Both sides.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// What the emitter sent last of each entity.
    sent: HashMap<Entity, State>,
    /// The receiver's record of it.
    kept: HashMap<Entity, State>,
    /// What each profile must say, by its guest.
    expected: HashMap<String, Shown>,
    /// What the profiles say, each with the guests whose records it links.
    shown: Vec<(Vec<String>, Shown)>,
}

/// One state of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    version: u64,
    event_type: String,
    property: String,
    /// Of the payload, whatever the order of its members.
    hash: u64,
}

/// What is compared of a profile.
#[derive(Clone, Debug, Default, PartialEq)]
struct Shown {
    names: [Option<String>; 2],
    email: Option<String>,
    phone: Option<String>,
    reservations: BTreeSet<String>,
    stays: u64,
    nights: u64,
    cancellations: u64,
    /// The totals and the room totals of the stays, by currency.
    revenue: BTreeMap<String, (Decimal, Decimal)>,
    /// Events about the guest and the reservations.
    events: u64,
}

impl Contents {
    /// Reads both.
    ///
    /// # Errors
    /// When a database cannot be read, or holds what is no payload and no profile.
    pub async fn read(databases: &mut Databases) -> Result<Self> {
        let Databases { emitter, receiver } = databases;
        let mut contents = Self::default();
        let mut bookings = Vec::new();
        let sent = |row: Row| {
            let (entity, version, [body]) = about(row)?;
            let envelope: Value = serde_json::from_str(&body)?;
            let payload = &envelope["payload"];
            let text = |field: &str| envelope[field].as_str().unwrap_or_default().to_owned();
            let state = State {
                version,
                event_type: text("type"),
                property: text("property_id"),
                hash: hash(payload),
            };
            match entity.kind {
                Kind::Guest => {
                    let shown = Shown::of_guest(payload, version);
                    contents.expected.insert(entity.id.clone(), shown);
                }
                Kind::Reservation => bookings.push(booking(&entity.id, payload, version)?),
            }
            contents.sent.insert(entity, state);
            Ok(())
        };
        emitter.each(LAST_EVENTS, sent).await?;
        for (guest, shown) in bookings {
            contents.expected.entry(guest).or_default().add(shown);
        }
        let kept = |row: Row| {
            let (entity, version, [event_type, property, deleted, state]) = about(row)?;
            // Nobody is deleted by this load; a record that says so is another state.
            let event_type = if deleted == "0" { event_type } else { deleted };
            let state = State {
                version,
                event_type,
                property,
                hash: hash(&serde_json::from_str(&state)?),
            };
            contents.kept.insert(entity, state);
            Ok(())
        };
        receiver.each(RECORDS, kept).await?;
        let shown = |row: Row| {
            let [body] = texts(row)?;
            contents.shown.push(profile(&serde_json::from_str(&body)?)?);
            Ok(())
        };
        receiver.each(PROFILES, shown).await?;
        Ok(contents)
    }

    /// What differs, in words without a person in them. A record that stands at another version is not of this account.
    pub fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        for (entity, sent) in &self.sent {
            let kept = self.kept.get(entity);
            if kept.is_some_and(|kept| kept.version == sent.version && kept != sent) {
                differences.push(format!("{entity:?}: its record is not what its last event says"));
            }
        }
        let mut missing: HashMap<&str, &Shown> = self
            .expected
            .iter()
            .map(|(guest, shown)| (guest.as_str(), shown))
            .collect();
        for (guests, shown) in &self.shown {
            let expected = match guests.as_slice() {
                [guest] => missing.remove(guest.as_str()),
                _ => None,
            };
            if expected != Some(shown) {
                differences.push(format!("{guests:?}: the profile is not what its events say"));
            }
        }
        differences.extend(missing.into_keys().map(|guest| format!("{guest}: no profile")));
        differences
    }
}

impl Shown {
    /// Of a guest whom no reservation names.
    fn of_guest(payload: &Value, version: u64) -> Self {
        Self {
            names: ["first_name", "last_name"].map(|field| text(payload, field)),
            email: text(payload, "email"),
            phone: text(payload, "phone"),
            events: version,
            ..Self::default()
        }
    }

    /// Adds what a reservation brings.
    fn add(&mut self, of: Self) {
        self.reservations.extend(of.reservations);
        self.stays += of.stays;
        self.nights += of.nights;
        self.cancellations += of.cancellations;
        self.events += of.events;
        for (currency, (total, room)) in of.revenue {
            let sum = self.revenue.entry(currency).or_default();
            *sum = (sum.0 + total, sum.1 + room);
        }
    }
}

/// What a reservation brings to its guest.
fn booking(id: &str, payload: &Value, version: u64) -> Result<(String, Shown)> {
    let guest = text(payload, "primary_guest_id").context("a reservation of nobody")?;
    let mut shown = Shown {
        reservations: BTreeSet::from([id.to_owned()]),
        events: version,
        ..Shown::default()
    };
    match payload["status"].as_str() {
        Some("cancelled") => shown.cancellations = 1,
        Some("checked_out") => {
            let date = |field| anyhow::Ok(text(payload, field).context("no date")?.parse::<Date>()?);
            let nights = date("checked_out_on")? - date("checked_in_on")?.min(date("check_in")?);
            let currency = text(payload, "currency").context("no currency")?;
            shown.stays = 1;
            shown.nights = u64::try_from(nights.get_days())?;
            let amounts = (amount(payload, "total")?, amount(payload, "room_total")?);
            shown.revenue.insert(currency, amounts);
        }
        _ => {}
    }
    Ok((guest, shown))
}

/// A profile as the receiver keeps it: whose it is, and what it says.
fn profile(body: &Value) -> Result<(Vec<String>, Shown)> {
    let list = |list: &Value, field: &str| -> Vec<String> {
        let items = list.as_array().into_iter().flatten();
        items.filter_map(|item| text(item, field)).collect()
    };
    let metrics = &body["metrics"];
    let count = |of: &Value| of.as_u64().context("no count");
    let mut revenue = BTreeMap::new();
    for row in metrics["revenue"].as_array().into_iter().flatten() {
        let currency = text(row, "currency").context("no currency")?;
        revenue.insert(currency, (amount(row, "total")?, amount(row, "room_total")?));
    }
    let shown = Shown {
        names: ["first_name", "last_name"].map(|field| text(body, field)),
        email: text(body, "email"),
        phone: text(body, "phone"),
        reservations: list(&body["reservations"], "reservation_id")
            .into_iter()
            .collect(),
        stays: count(&metrics["stays"])?,
        nights: count(&metrics["room_nights"])?,
        cancellations: count(&metrics["cancellations"])?,
        revenue,
        events: count(&body["timeline_count"])?,
    };
    Ok((list(&body["records"], "guest_id"), shown))
}

fn text(of: &Value, field: &str) -> Option<String> {
    of[field].as_str().map(str::to_owned)
}

fn amount(of: &Value, field: &str) -> Result<Decimal> {
    let amount = of[field].as_str().context("no amount")?;
    Ok(amount.parse()?)
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
