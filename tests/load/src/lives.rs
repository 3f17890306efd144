//! Bodies of events as the emitter writes them, from real bookings: the rules of the PMS make each one.
//!
//! A life is one guest with one reservation: made and changed; made, checked in, checked out. Its ids and instants are
//! stand-ins that [`crate::template`] finds again and replaces.

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use contract::UnixMillis;
use harness::bookings::{self, Booking, CSV, End};
use harness::seeded::DEFAULT_SEED;
use harness::{bodies, draft, people};
use pms_emitter::domain::change::{Change, ChangeOutcome};
use pms_emitter::domain::event::{EventPayload, envelope};
use pms_emitter::domain::guest_command::{self, Situation};
use pms_emitter::domain::guest_document::DigestKey;
use pms_emitter::domain::property::Property;
use pms_emitter::domain::refusal::Refusal;
use pms_emitter::domain::reservation_command::{self, Command};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Stands in for the event's id and idempotency key.
pub const EVENT_ID: &str = "evt_eeeeeeeeeeeeeeeeeeeeeeeeee";
/// Stands in for the guest's id.
pub const GUEST_ID: &str = "gst_gggggggggggggggggggggggggg";
/// Stands in for the reservation's id.
pub const RESERVATION_ID: &str = "res_rrrrrrrrrrrrrrrrrrrrrrrrrr";
/// Stands in for the id of the request that caused the event.
pub const REQUEST_ID: &str = "req_qqqqqqqqqqqqqqqqqqqqqqqqqq";
/// Stands in for every instant at which something was committed: later than every booking.
pub const NOW: UnixMillis = UnixMillis(1_511_111_111_111);
/// Different lives: enough that no two neighbours are alike.
pub const LIVES: usize = 64;

/// How much of a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyStyle {
    /// What has no content is left out, and so is what the envelope says already: 870 bytes on average
    Compact,
    /// As pms-emitter writes it, nulls and all: 1,600 bytes on average
    Full,
}

/// The bodies of one guest and one reservation, by version.
#[derive(Clone, Debug)]
pub struct Life {
    /// Of the guest.
    pub guest: Vec<Vec<u8>>,
    /// Of the reservation.
    pub reservation: Vec<Vec<u8>>,
}

/// [`LIVES`] lives, always the same.
///
/// # Errors
/// When the bookings are not what the rules of the PMS take.
pub fn lives(style: BodyStyle) -> Result<Vec<Life>> {
    let bookings = bookings::read(CSV)?;
    let cast = people::cast(&bookings, DEFAULT_SEED);
    let usable: Vec<usize> = (0..bookings.len())
        .filter(|at| bookings[*at].end == End::CheckedOut && bookings[*at].persons() > 0)
        .collect();
    let step = usable.len() / LIVES;
    let chosen = usable.into_iter().step_by(step).take(LIVES);
    chosen
        .map(|at| life(&bookings[at], &cast.people[cast.of_booking[at]], style))
        .collect()
}

fn life(booking: &Booking, person: &people::Person, style: BodyStyle) -> Result<Life> {
    let digest_key: DigestKey = "of no guest's documents".parse()?;
    let arrival = Property::create(object(bodies::property(booking.hotel, booking.arrival)), NOW)
        .map_err(|refusal| refused(booking, &refusal))?;
    let departure = Property {
        business_date: booking.departure(),
        ..arrival.clone()
    };
    let situation = Situation {
        property: &arrival,
        now: NOW,
        digest_key: &digest_key,
    };
    let mut request = object(bodies::guest(person, booking.row));
    request.remove("property_id");
    let made = guest_command::create(GUEST_ID.parse()?, request, situation)
        .map_err(|refusal| refused(booking, &refusal))?
        .outcome;
    let patch = object(json!({"vip_level": 2, "language": "en-GB"}));
    let changed = guest_command::merge(&made.state, patch, situation)
        .map_err(|refusal| refused(booking, &refusal))?
        .outcome;
    let guest = vec![body(&made, style)?, body(&change(changed)?, style)?];
    let reservation = stay(booking, [&arrival, &arrival, &departure], style)?;
    Ok(Life { guest, reservation })
}

/// A reservation made, checked in and checked out, on these days of its hotel.
fn stay(booking: &Booking, days: [&Property; 3], style: BodyStyle) -> Result<Vec<Vec<u8>>> {
    let drafts = draft::drafts(booking, DEFAULT_SEED);
    let last = drafts.last().context("a booking has at least one draft")?;
    let mut request = bodies::reservation(booking, last, DEFAULT_SEED);
    request.insert("primary_guest_id".to_owned(), GUEST_ID.into());
    let mut commit = reservation_command::create(RESERVATION_ID.parse()?, request, days[0], NOW)
        .map_err(|refusal| refused(booking, &refusal))?;
    let mut written = vec![body(&commit, style)?];
    let room = json!({"room_id": format!("{}-101", booking.room_assigned)});
    for (name, with, property) in [("check-in", room, days[1]), ("check-out", json!({}), days[2])] {
        let command = Command::named(name, object(with)).context("a transition of the table")?;
        let outcome = reservation_command::apply(&commit.state, &command, property, NOW)
            .map_err(|refusal| refused(booking, &refusal))?;
        commit = change(outcome)?;
        written.push(body(&commit, style)?);
    }
    Ok(written)
}

fn change<T>(outcome: ChangeOutcome<T>) -> Result<Change<T>> {
    match outcome {
        ChangeOutcome::Changed(change) => Ok(change),
        ChangeOutcome::Unchanged => Err(anyhow!("a step of a life changes something")),
    }
}

fn refused(booking: &Booking, refusal: &Refusal) -> anyhow::Error {
    anyhow!("row {}: {refusal:?}", booking.row)
}

fn body<T: EventPayload>(change: &Change<T>, style: BodyStyle) -> Result<Vec<u8>> {
    let mut envelope = envelope(&EVENT_ID.parse()?, change, NOW, Some(REQUEST_ID.to_owned()));
    if style == BodyStyle::Full {
        return Ok(envelope.to_bytes());
    }
    envelope.changed.clear();
    let mut payload = Value::Object(envelope.payload);
    leave_out_empty(&mut payload);
    envelope.payload = object(payload);
    for repeated in ["id", "version", "property_id", "created_at", "updated_at"] {
        envelope.payload.remove(repeated);
    }
    Ok(envelope.to_bytes())
}

/// Takes out what says nothing, as most senders do.
fn leave_out_empty(value: &mut Value) {
    if let Value::Object(members) = value {
        members.values_mut().for_each(leave_out_empty);
        members.retain(|_, value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(items) => !items.is_empty(),
            Value::Object(members) => !members.is_empty(),
            Value::Number(number) => number.as_u64() != Some(0),
            Value::String(text) => text != "0.00",
            Value::Bool(true) => true,
        });
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::{GUEST_VERSIONS, RESERVATION_VERSIONS};

    #[test]
    fn every_life_has_the_versions_of_the_mix() {
        for style in [BodyStyle::Compact, BodyStyle::Full] {
            let lives = lives(style).unwrap();
            assert_eq!(lives.len(), LIVES);
            for life in &lives {
                for (bodies, versions) in [
                    (&life.guest, GUEST_VERSIONS),
                    (&life.reservation, RESERVATION_VERSIONS),
                ] {
                    let read = bodies
                        .iter()
                        .map(|body| serde_json::from_slice::<Value>(body).unwrap());
                    let found: Vec<u64> = read
                        .map(|body| body["entity"]["version"].as_u64().unwrap())
                        .collect();
                    assert_eq!(found, (1..=versions).collect::<Vec<_>>());
                }
            }
            let sizes: Vec<usize> = lives
                .iter()
                .flat_map(|life| life.guest.iter().chain(&life.reservation))
                .map(Vec::len)
                .collect();
            let allowed = match style {
                BodyStyle::Compact => 400..=1_600,
                BodyStyle::Full => 800..=2_600,
            };
            assert!(sizes.iter().all(|size| allowed.contains(size)), "{sizes:?}");
        }
    }
}
