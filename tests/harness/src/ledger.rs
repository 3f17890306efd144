//! Balances the books of both services: finds lost and doubled events, and profiles that differ from the file.
//!
//! It reads the [`books`](crate::books), and none of the services' code. An effect is an `applied` or
//! `stale` audit entry of the receiver; every event of the emitter's log must have exactly one, and nothing else may
//! have any. Profiles are compared with [`crate::expected`]. The suite plants each kind of fault in real books.

use crate::bodies::CURRENCY;
use crate::bookings::Booking;
use crate::books::{Books, Kind, texts};
use crate::database::{Database, Databases, Row};
use crate::expected::{self, Totals, UnreadableColumn};
use crate::loader::Loaded;
use crate::people::Cast;
use anyhow::{Context, Result};
use contract::Money;
use futures::future::BoxFuture;
use std::collections::HashMap;

/// The result of balancing the books.
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

    /// The result for the events alone.
    fn of_events(books: &Books) -> Self {
        let effects = books.count_effects();
        let times = |event: &str| effects.of_event.get(event).copied().unwrap_or(0);
        let about = |kind| {
            books
                .events
                .values()
                .filter(move |event| event.entity.kind == kind)
        };
        let delivered = books.deliveries.values().filter(|status| *status == "delivered");
        let lost = books.events.keys().filter(|event| times(event) == 0);
        let repeated = books.events.keys().filter(|event| times(event) > 1);
        Self {
            guest_events: about(Kind::Guest).count() as u64,
            reservation_events: about(Kind::Reservation).count() as u64,
            delivered: delivered.count() as u64,
            applied: effects.applied,
            stale: effects.stale,
            lost: lost.count() as u64,
            doubled: (repeated.count() + effects.of_no_event.len()) as u64,
            ..Self::default()
        }
    }

    /// Nothing lost, nothing doubled, nothing wrong.
    pub fn is_balanced(&self) -> bool {
        (self.lost, self.doubled, self.wrong_totals) == (0, 0, 0)
    }
}

/// Balances the books. `expected` has the totals of each guest by their id at the emitter.
///
/// # Errors
/// When a database cannot be read, or a stored profile is not in the shape that the API shows.
pub fn balance<'a>(
    databases: &'a mut Databases,
    expected: &'a HashMap<String, Totals>,
) -> BoxFuture<'a, Result<Ledger>> {
    Box::pin(async move {
        let books = Books::read(databases).await?;
        let profiles = profiles(&mut databases.receiver).await?;
        let mut ledger = Ledger::of_events(&books);
        ledger.profiles = profiles.len() as u64;
        ledger.wrong_totals = wrong_totals(&profiles, expected);
        Ok(ledger)
    })
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

/// What a profile says of itself.
#[derive(Debug)]
struct Claimed {
    guests: Vec<String>,
    /// None where a number is missing, or money is not in the file's currency.
    totals: Option<Totals>,
}

async fn profiles(receiver: &mut Database) -> Result<Vec<Claimed>> {
    let mut profiles = Vec::new();
    let read = |row: Row| {
        let [id, body] = texts(row)?;
        profiles.push(claimed(&body).with_context(|| format!("profile {id} cannot be read"))?);
        Ok(())
    };
    let all = "SELECT id, body FROM profiles WHERE body IS NOT NULL";
    receiver.each(all, read).await?;
    Ok(profiles)
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
