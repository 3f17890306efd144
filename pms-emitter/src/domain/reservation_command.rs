//! What can be done to a reservation: make it, merge fields into it, take a transition, assign a room, delete it.
//!
//! Each is a pure step: the state, a command, the property and the instant give the new state with its one event, or
//! the reason why not. A transition under its own name and a PUT that changes `status` are one and the same merge.

use super::{
    body,
    change::{Change, ChangeOutcome},
    property::Property,
    rates,
    record_size::within_bound,
    refusal::Refusal,
    reservation::{Reservation, event_of},
    reservation_document::{changed_fields, document, drop_what_ends, fields_with_content, read},
    reservation_rules::{broken_rules, guard},
    transition::{Status, Transition},
};
use contract::{EventType, FieldError, ReservationId, UnixMillis};
use serde_json::{Map, Value, json};

/// Fields of our own answers that a client may send back and that change nothing.
const READ_ONLY: &[&str] = &[
    "id",
    "version",
    "nights",
    "booked_on",
    "actual_check_in_at",
    "actual_check_out_at",
    "checked_in_on",
    "checked_out_on",
    "created_at",
    "updated_at",
    "deleted_at",
    "computed_status",
    "lead_time_days",
];

/// How much of an id, from its end, makes a confirmation number: 50 of its random bits.
const NUMBER_FROM_ID_LEN: usize = 10;

/// What a client asks of an existing reservation.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Merge these fields (RFC 7396); a `status` among them asks for the transition that leads there.
    Merge(Map<String, Value>),
    /// Take this transition, with what it may carry.
    Move(Transition, Map<String, Value>),
    /// Assign the room that the body names.
    AssignRoom(Map<String, Value>),
    /// Delete it: it keeps its state and is no longer shown.
    Delete,
}

impl Command {
    /// The command of `POST /reservations/{id}/{name}`; None when there is no command of that name.
    pub fn named(name: &str, body: Map<String, Value>) -> Option<Self> {
        if name == "assign-room" {
            return Some(Self::AssignRoom(body));
        }
        Transition::all()
            .filter(|known| !matches!(known, Transition::Hold | Transition::Waitlist))
            .find(|known| known.name() == name)
            .map(|transition| Self::Move(transition, body))
    }
}

/// A new reservation of the property from a request body. A walk-in (`status: checked_in`) meets the guards of a
/// check-in.
pub fn create(
    id: ReservationId,
    mut request: Map<String, Value>,
    property: &Property,
    now: UnixMillis,
) -> Result<Change<Reservation>, Refusal> {
    body::drop_read_only(&mut request, READ_ONLY);
    request.remove("property_id");
    request.retain(|_, value| !value.is_null());
    let no_person_count = ["adults", "children", "infants"]
        .iter()
        .all(|name| !request.contains_key(*name));
    for (name, default) in [
        ("confirmation_number", json!(number_from(&id))),
        ("status", json!(Status::default())),
        ("currency", json!(property.currency)),
        ("booked_at", json!(now)),
        ("adults", json!(u32::from(no_person_count))),
    ] {
        request.entry(name).or_insert(default);
    }
    let mut booking = read(request, |_| true, now)?;
    let mut errors = broken_rules(None, &mut booking, true, now);
    if !booking.status.may_start() {
        errors.push(FieldError::new(
            "/status",
            "not_a_start",
            "a reservation cannot begin in it",
        ));
    }
    Refusal::unless_empty(errors)?;
    let mut state = Reservation {
        id,
        version: 1,
        property_id: property.id.clone(),
        booked_on: booking.booked_at.date_in(&property.timezone),
        booking,
        actual_check_in_at: None,
        actual_check_out_at: None,
        checked_in_on: None,
        checked_out_on: None,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    if state.status() == Status::CheckedIn {
        guard(Transition::CheckIn, None, &state.booking, property.business_date)?;
        state.record(Transition::CheckIn, property.business_date, now);
    }
    within_bound(&state, || state.booking.content_len(), || 0)?;
    Ok(Change {
        changed: fields_with_content(&state.booking),
        event_type: EventType::ReservationCreated,
        state,
    })
}

/// What a command makes of a reservation, at an instant, on its property's business date.
pub fn apply(
    state: &Reservation,
    command: &Command,
    property: &Property,
    now: UnixMillis,
) -> Result<ChangeOutcome<Reservation>, Refusal> {
    match command {
        Command::Merge(patch) => {
            let same = |sent: &Value| sent == state.property_id.as_str();
            if !patch.get("property_id").is_none_or(same) {
                return Err(Refusal::field("/property_id", "immutable", "cannot be changed"));
            }
            revise(state, patch, None, property, now)
        }
        Command::Move(transition, body) => {
            if !transition.leaves(state.status()) {
                return Err(invalid_transition(state.status()));
            }
            let patch = patch_of(*transition, body)?;
            revise(state, &patch, Some(*transition), property, now).map_err(|refusal| match refusal {
                Refusal::Invalid(errors) if *transition == Transition::Cancel => {
                    Refusal::Invalid(as_in_cancel_body(errors))
                }
                other => other,
            })
        }
        Command::AssignRoom(body) => {
            if !state.status().is_ahead() && state.status() != Status::CheckedIn {
                return Err(invalid_transition(state.status()));
            }
            only_fields(body, &["room_id"])?;
            if body.get("room_id").is_none_or(Value::is_null) {
                return Err(Refusal::field("/room_id", "required", "is required"));
            }
            revise(state, body, None, property, now)
        }
        Command::Delete => delete(state, now),
    }
}

/// Merges a patch, checks rules and guards, and says what changed. `asked` is a transition called by its own name.
fn revise(
    before: &Reservation,
    patch: &Map<String, Value>,
    asked: Option<Transition>,
    property: &Property,
    now: UnixMillis,
) -> Result<ChangeOutcome<Reservation>, Refusal> {
    let before_document = document(&before.booking);
    let mut merged = Value::Object(before_document.clone());
    let mut written = patch.clone();
    body::drop_read_only(&mut written, READ_ONLY);
    written.remove("property_id");
    body::merge_patch(&mut merged, Value::Object(written));
    let Value::Object(mut merged) = merged else {
        return Err(Refusal::field("", "wrong_type", "the body is not an object"));
    };
    merged.retain(|_, value| !value.is_null());
    rates::drop_derived(&mut merged, patch);
    let target = merged
        .get("status")
        .and_then(Value::as_str)
        .and_then(Status::known);
    let transition = match target {
        Some(target) if target != before.status() => Some(
            asked
                .or_else(|| Transition::between(before.status(), target))
                .ok_or_else(|| invalid_transition(before.status()))?,
        ),
        _ => None,
    };
    if transition.is_some() {
        drop_what_ends(&mut merged, &before_document);
    }
    let mut booking = read(merged, |member| patch.contains_key(member), now)?;
    Refusal::unless_empty(broken_rules(
        Some(before),
        &mut booking,
        transition.is_some(),
        now,
    ))?;
    if let Some(transition) = transition {
        guard(transition, Some(before), &booking, property.business_date)?;
    }
    let changed = changed_fields(&before_document, &booking);
    if changed.is_empty() {
        return Ok(ChangeOutcome::Unchanged);
    }
    let event_type = event_of(transition, &changed, &booking);
    let mut state = Reservation {
        version: before.version + 1,
        updated_at: now,
        ..before.clone()
    };
    if booking.booked_at != before.booking.booked_at {
        state.booked_on = booking.booked_at.date_in(&property.timezone);
    }
    state.booking = booking;
    if let Some(transition) = transition {
        state.record(transition, property.business_date, now);
    }
    let (content, grown_from) = (|| state.booking.content_len(), || before.booking.content_len());
    within_bound(&state, content, grown_from)?;
    Ok(ChangeOutcome::Changed(Change {
        state,
        event_type,
        changed,
    }))
}

fn delete(before: &Reservation, now: UnixMillis) -> Result<ChangeOutcome<Reservation>, Refusal> {
    if !before.status().is_deletable() {
        return Err(Refusal::NotDeletable);
    }
    let state = Reservation {
        version: before.version + 1,
        updated_at: now,
        deleted_at: Some(now),
        ..before.clone()
    };
    Ok(ChangeOutcome::Changed(Change {
        state,
        event_type: EventType::ReservationDeleted,
        changed: vec!["deleted_at"],
    }))
}

/// The patch that a transition's own body means.
fn patch_of(transition: Transition, body: &Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    let carried: &[&str] = match transition {
        Transition::Cancel => &["at", "reason", "by", "fee"],
        Transition::CheckIn => &["room_id"],
        Transition::CheckOut => &["balance", "balance_override"],
        _ => &[],
    };
    only_fields(body, carried)?;
    let mut patch = if transition == Transition::Cancel {
        Map::from_iter([("cancellation".to_owned(), Value::Object(body.clone()))])
    } else {
        body.clone()
    };
    patch.insert("status".to_owned(), json!(transition.target()));
    Ok(patch)
}

fn only_fields(body: &Map<String, Value>, carried: &[&str]) -> Result<(), Refusal> {
    Refusal::unless_empty(
        body.keys()
            .filter(|name| !carried.contains(&name.as_str()))
            .map(|name| FieldError::new(body::pointer_to("", name), "unknown_field", "cannot be sent here"))
            .collect(),
    )
}

/// In the body of `cancel` the cancellation's fields stand at the top.
fn as_in_cancel_body(errors: Vec<FieldError>) -> Vec<FieldError> {
    errors
        .into_iter()
        .map(|error| {
            let pointer = error
                .pointer
                .strip_prefix("/cancellation")
                .unwrap_or(&error.pointer);
            FieldError::new(pointer, error.code, error.message)
        })
        .collect()
}

fn invalid_transition(from: Status) -> Refusal {
    Refusal::InvalidTransition {
        allowed: Transition::allowed_from(from),
    }
}

fn number_from(id: &ReservationId) -> String {
    let text = id.as_str();
    text[text.len().saturating_sub(NUMBER_FROM_ID_LEN)..].to_ascii_uppercase()
}

#[cfg(test)]
pub(super) mod fixtures;
#[cfg(test)]
mod guard_tests;
#[cfg(test)]
mod largest;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walks;
