//! Balances the books of both services: was anything lost or doubled, and do the profiles say what the file says?
//!
//! An independent reader: plain SQL on both databases, none of the services' code. An effect is an `applied` or
//! `stale` audit entry of the receiver; every event of the emitter's log must have exactly one, and nothing else may
//! have any. Profiles are compared with [`crate::expected`]. The suite plants each kind of fault in real books.

use crate::bodies::CURRENCY;
use crate::bookings::Booking;
use crate::expected::{self, Totals, UnreadableColumn};
use crate::loader::Loaded;
use crate::people::Cast;
use contract::Money;
use db::{Db, DbError, Row};
use futures::future::BoxFuture;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// The name under which the receiver knows the emitter.
pub const SOURCE: &str = "pms";

/// Rows of one query.
const PAGE: usize = 5_000;
/// A page may take long on a busy machine.
const PAGE_WITHIN: Duration = Duration::from_secs(60);

/// What the books say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Events about guests in the emitter's log.
    pub guest_events: u64,
    /// Events about reservations in the emitter's log.
    pub reservation_events: u64,
    /// Deliveries that are done.
    pub delivered: u64,
    /// Effects that changed a record.
    pub applied: u64,
    /// Effects that came too late to change one.
    pub stale: u64,
    /// The emitter's events without an effect.
    pub lost: u64,
    /// The emitter's events with more than one effect, and effects that no event of the emitter's asked for.
    pub doubled: u64,
    /// Profiles.
    pub profiles: u64,
    /// Profiles whose stays, nights or revenue differ from the expected ones, and guests who are in no profile.
    pub wrong_totals: u64,
}

impl Ledger {
    /// Events of the emitter's log.
    pub fn events(&self) -> u64 {
        self.guest_events + self.reservation_events
    }

    /// Nothing lost, nothing doubled, nothing wrong.
    pub fn is_balanced(&self) -> bool {
        (self.lost, self.doubled, self.wrong_totals) == (0, 0, 0)
    }
}

/// Books that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
    /// A stored profile is not in the shape that the API shows.
    #[error("profile {0} cannot be read")]
    Profile(String),
}

/// Balances the books. `expected` has the totals of each guest by their id at the emitter.
///
/// # Errors
/// When a database cannot be read.
pub fn balance<'a>(
    emitter: &'a Db,
    receiver: &'a Db,
    expected: &'a HashMap<String, Totals>,
) -> BoxFuture<'a, Result<Ledger, LedgerError>> {
    Box::pin(read_and_balance(emitter, receiver, expected))
}

async fn read_and_balance(
    emitter: &Db,
    receiver: &Db,
    expected: &HashMap<String, Totals>,
) -> Result<Ledger, LedgerError> {
    let log = events(emitter).await?;
    let effects = effects(receiver).await?;
    let profiles = profiles(receiver).await?;
    let mut ledger = Ledger {
        delivered: delivered(emitter).await?,
        profiles: profiles.len() as u64,
        wrong_totals: wrong_totals(&profiles, expected),
        ..Ledger::default()
    };
    for (event, kind) in &log {
        match kind.as_str() {
            "guest" => ledger.guest_events += 1,
            _ => ledger.reservation_events += 1,
        }
        match effects
            .get(event)
            .map_or(0, |effect| effect.applied + effect.stale)
        {
            0 => ledger.lost += 1,
            1 => {}
            _ => ledger.doubled += 1,
        }
    }
    for (event, effect) in &effects {
        ledger.applied += effect.applied;
        ledger.stale += effect.stale;
        if !log.contains_key(event) {
            ledger.doubled += effect.applied + effect.stale;
        }
    }
    Ok(ledger)
}

/// What `csv` says of each guest whom the service took, over the rows of `bookings` that it took.
///
/// # Errors
/// When the file is not what the expected totals were written for.
pub fn expected_by_guest(
    csv: &str,
    bookings: &[Booking],
    cast: &Cast,
    loaded: &Loaded,
) -> Result<HashMap<String, Totals>, UnreadableColumn> {
    let mut person_of_row = HashMap::new();
    for (index, booking) in bookings
        .iter()
        .enumerate()
        .filter(|(index, _)| loaded.accepted[*index])
    {
        person_of_row.insert(booking.row, cast.of_booking[index]);
    }
    let totals = expected::totals(csv, cast.people.len(), |row| person_of_row.get(&row).copied())?;
    let guests = loaded.guests.iter().zip(totals);
    Ok(guests
        .filter_map(|(guest, totals)| Some((guest.clone()?, totals)))
        .collect())
}

/// How often an event took effect.
#[derive(Clone, Copy, Debug, Default)]
struct Effects {
    applied: u64,
    stale: u64,
}

/// What a profile says of itself.
#[derive(Debug)]
struct Claimed {
    guests: Vec<String>,
    /// None where a number is missing, or money is not in the file's currency.
    totals: Option<Totals>,
}

/// The emitter's log: each event's id and the kind of its entity.
async fn events(emitter: &Db) -> Result<BTreeMap<String, String>, LedgerError> {
    let mut log = BTreeMap::new();
    loop {
        let after = log
            .last_key_value()
            .map_or_else(String::new, |(id, _): (&String, _)| id.clone());
        let sql = format!("SELECT id, entity_kind FROM events WHERE id > ? ORDER BY id LIMIT {PAGE}");
        let rows = page(emitter, "ledger_events", sql, after).await?;
        let last = rows.len() < PAGE;
        for row in rows {
            log.insert(
                row.get("id")?,
                row.get::<Option<String>>("entity_kind")?.unwrap_or_default(),
            );
        }
        if last {
            return Ok(log);
        }
    }
}

async fn delivered(emitter: &Db) -> Result<u64, LedgerError> {
    let sql = "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'delivered' AND event_id > ?";
    let rows = page(emitter, "ledger_delivered", sql.to_owned(), String::new()).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.get("n"))?)
}

/// The receiver's effects by the emitter's event id, which is the idempotency key; those of no event in the inbox under
/// the empty one, which no event has.
async fn effects(receiver: &Db) -> Result<HashMap<String, Effects>, LedgerError> {
    let mut effects: HashMap<String, Effects> = HashMap::new();
    let mut after = 0_i64;
    loop {
        let sql = format!(
            "SELECT entry.id, entry.action, COALESCE(inbox.idempotency_key, '') AS idempotency_key
             FROM audit_entries AS entry LEFT JOIN inbox ON inbox.event_id = entry.event_id
             WHERE entry.id > ? AND COALESCE(inbox.source_id, '{SOURCE}') = '{SOURCE}'
               AND entry.action IN ('applied', 'stale')
             ORDER BY entry.id LIMIT {PAGE}"
        );
        let rows = page(receiver, "ledger_effects", sql, after).await?;
        for row in &rows {
            after = row.get("id")?;
            let effect = effects.entry(row.get("idempotency_key")?).or_default();
            match row.get::<String>("action")?.as_str() {
                "applied" => effect.applied += 1,
                _ => effect.stale += 1,
            }
        }
        if rows.len() < PAGE {
            return Ok(effects);
        }
    }
}

async fn profiles(receiver: &Db) -> Result<Vec<Claimed>, LedgerError> {
    let mut profiles = Vec::new();
    let mut after = String::new();
    loop {
        let sql = format!(
            "SELECT id, body FROM profiles WHERE id > ? AND body IS NOT NULL ORDER BY id LIMIT {PAGE}"
        );
        let rows = page(receiver, "ledger_profiles", sql, after.clone()).await?;
        for row in &rows {
            after = row.get("id")?;
            let body: String = row.get("body")?;
            profiles.push(claimed(&body).ok_or_else(|| LedgerError::Profile(after.clone()))?);
        }
        if rows.len() < PAGE {
            return Ok(profiles);
        }
    }
}

/// One page of rows after a position.
async fn page<P>(db: &Db, name: &'static str, sql: String, after: P) -> Result<Vec<Row>, DbError>
where
    P: Clone + Into<db::Value> + Send + Sync + 'static,
{
    let db = db.with_deadline(PAGE_WITHIN);
    db.read(name, move |tx| {
        let (sql, after) = (sql.clone(), after.clone());
        Box::pin(async move { tx.query(&sql, vec![after.into()]).await })
    })
    .await
}

fn claimed(body: &str) -> Option<Claimed> {
    let profile: serde_json::Value = serde_json::from_str(body).ok()?;
    let records = profile["records"].as_array()?;
    let guests = records.iter().filter_map(|record| record["guest_id"].as_str());
    Some(Claimed {
        guests: guests.map(ToOwned::to_owned).collect(),
        totals: claimed_totals(&profile["metrics"]),
    })
}

fn claimed_totals(metrics: &serde_json::Value) -> Option<Totals> {
    let currency = CURRENCY.parse().ok()?;
    let mut revenue_minor = 0;
    for revenue in metrics["revenue"].as_array()? {
        if revenue["currency"] != CURRENCY {
            return None;
        }
        revenue_minor += Money::parse(revenue["total"].as_str()?, currency).ok()?.minor;
    }
    Some(Totals {
        stays: metrics["stays"].as_u64()?,
        nights: metrics["room_nights"].as_u64()?,
        revenue_minor,
    })
}

/// A profile must say the sum of what its guests are expected to have; every guest must be in one.
fn wrong_totals(profiles: &[Claimed], expected: &HashMap<String, Totals>) -> u64 {
    let mut missing: HashMap<&str, Totals> = expected
        .iter()
        .map(|(guest, totals)| (guest.as_str(), *totals))
        .collect();
    let mut wrong = 0;
    for profile in profiles {
        let mut sum = Totals::default();
        let mut known = !profile.guests.is_empty();
        for guest in &profile.guests {
            match missing.remove(guest.as_str()) {
                Some(totals) => sum = sum.plus(totals),
                // Nobody's, or in two profiles at once.
                None => known = false,
            }
        }
        wrong += u64::from(!known || profile.totals != Some(sum));
    }
    wrong + missing.len() as u64
}

#[cfg(test)]
mod tests;
