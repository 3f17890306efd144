//! What every write to a reservation does: read, decide, commit; and again on fresh state when it was overtaken.

use super::{
    Api, ApiError,
    write::{DECISIONS_MAX, new_event, new_id},
};
use crate::{
    domain::{
        change::{Change, Outcome},
        event::add_property_day,
        guest_command::no_property,
        property::Property,
        refusal::Refusal,
        reservation::Reservation,
        reservation_command::{self, Command},
    },
    store::{NewEvent, ReservationWrite, Written},
};
use api::{RequestContext, etag::Preconditions};
use contract::{PropertyId, ReservationId, UnixMillis};
use kit::idempotency::{Answer, Slot};
use serde_json::{Map, Value};

/// Makes a reservation of a property; the answer is 201 with it.
pub async fn make(
    api: &Api,
    context: &RequestContext,
    property_id: PropertyId,
    body: Map<String, Value>,
    slot: Slot,
) -> Result<Answer, ApiError> {
    let names_number = body
        .get("confirmation_number")
        .is_some_and(|number| !number.is_null());
    for _ in 0..DECISIONS_MAX {
        let property = api.store.property(&property_id).await?.ok_or_else(no_property)?;
        let now = api.clock.now();
        let id: ReservationId = new_id(api);
        let change = reservation_command::create(id.clone(), body.clone(), &property, now)?;
        let view = change.state.view(property.business_date);
        let location = format!("{}/reservations/{id}", api.base_path);
        let answer = Answer::created(location, change.state.version, &view).about("reservation", id.as_str());
        let write = ReservationWrite {
            before: None,
            event: event(api, context, &change, &property, now),
            change,
            property,
            slot: slot.clone(),
            answer: answer.clone(),
        };
        match api.store.write_reservation(write).await? {
            Written::Committed => return Ok(answer),
            Written::Overtaken => {}
            // A number of our own making: another id makes another one.
            Written::NotUnique { pointer } if pointer == "/confirmation_number" && !names_number => {}
            refused => return Err(refusal(refused)),
        }
    }
    Err(ApiError::Overtaken)
}

/// Applies a command to a reservation; the answer is 200 with what it is then, or 204 when it is deleted.
pub async fn change(
    api: &Api,
    context: &RequestContext,
    id: ReservationId,
    command: Command,
    expected: Preconditions,
    slot: Slot,
) -> Result<Answer, ApiError> {
    for _ in 0..DECISIONS_MAX {
        let found = api.store.reservation(id.clone()).await?;
        let (before, property) = found.ok_or(Refusal::NotFound)?;
        expected.check(before.version)?;
        let now = api.clock.now();
        let change = match reservation_command::apply(&before, &command, &property, now)? {
            Outcome::Changed(change) => change,
            Outcome::Unchanged => {
                let answer = shown(&before, &property);
                api.store.keep_answer(slot, answer.clone()).await?;
                return Ok(answer);
            }
        };
        let answer = match command {
            Command::Delete => Answer::no_content().about("reservation", id.as_str()),
            _ => shown(&change.state, &property),
        };
        let write = ReservationWrite {
            before: Some(before),
            event: event(api, context, &change, &property, now),
            change,
            property,
            slot: slot.clone(),
            answer: answer.clone(),
        };
        match api.store.write_reservation(write).await? {
            Written::Committed => return Ok(answer),
            Written::Overtaken => {}
            refused => return Err(refusal(refused)),
        }
    }
    Err(ApiError::Overtaken)
}

fn event(
    api: &Api,
    context: &RequestContext,
    change: &Change<Reservation>,
    property: &Property,
    now: UnixMillis,
) -> NewEvent {
    let mut event = new_event(api, context, change, now);
    add_property_day(&mut event.envelope, property);
    event
}

fn shown(state: &Reservation, property: &Property) -> Answer {
    Answer::ok(state.version, &state.view(property.business_date)).about("reservation", state.id.as_str())
}

fn refusal(written: Written) -> ApiError {
    match written {
        Written::NotUnique { pointer } => Refusal::NotUnique {
            pointer: pointer.to_owned(),
        }
        .into(),
        Written::NoSuchGuests(errors) => Refusal::Invalid(errors).into(),
        Written::Committed | Written::Overtaken => ApiError::Overtaken,
    }
}
