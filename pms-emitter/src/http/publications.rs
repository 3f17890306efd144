//! `POST /events` and `POST /events/batch`: events that others publish.

use super::{
    Api,
    write::{once, origin},
};
use crate::{
    desk::{AnswerToKeep, Receipt},
    domain::{publication::Publication, refusal::Refusal},
};
use api::{
    Body, Request, Response,
    body::BODY_LEN_MAX,
    json_body::{self, VALUES_MAX},
    media_type::require_json,
    reply,
};
use contract::{FieldError, Problem, ProblemCode};
use http::StatusCode;
use kit::idempotency::{Answer, Key};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Events of a batch.
pub const BATCH_EVENTS_MAX: usize = 1_000;
/// Bytes of a batch.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Values of a batch.
const BATCH_VALUES_MAX: usize = 200_000;
/// Broken rules that the answer to a batch names of one event.
const ERRORS_OF_ONE_MAX: usize = 10;
/// Trees of one body at once: what is read of it is moved out of it.
const TREES: usize = 1;
/// Texts of a body at once, beside it: as they are sent, as they are given to the transaction, and as they stand in a statement.
const TEXTS: usize = 3;
/// The header that a webhook has.
const WEBHOOK_ID: &str = "webhook-id";

/// `POST /events`
pub async fn publish(api: Api, mut request: Request) -> Result<Response, Problem> {
    refuse_webhook(&request)?;
    let key = Key::of(&request)?;
    let (raw, value) = read(&mut request, BODY_LEN_MAX, VALUES_MAX).await?;
    let publication = Publication::read(object(value)?)?;
    let (desk, origin) = (api.desk.clone(), origin(&request));
    let work = |slot| async move {
        let answer = AnswerToKeep::new(slot, |receipt: &Receipt| {
            let answer = if receipt.duplicate {
                Answer::unversioned(receipt)
            } else {
                Answer::accepted(receipt)
            };
            answer.in_part(receipt.property_id.as_str())
        });
        desk.publish(&origin, publication, &answer).await
    };
    once(&api, &request.caller, &request.context, key, raw, work).await
}

/// `POST /events/batch`
pub async fn publish_all(api: Api, mut request: Request) -> Result<Response, Problem> {
    refuse_webhook(&request)?;
    if Key::of(&request)?.is_some() {
        let detail = "the events of a batch are repeated by their own ids";
        return Err(Problem::new(ProblemCode::InvalidIdempotencyKey).with_detail(detail));
    }
    let (_held, value) = read(&mut request, BATCH_BYTES_MAX, BATCH_VALUES_MAX).await?;
    let publications = events(object(value)?)?
        .into_iter()
        .map(|one| Publication::read(object(one)?))
        .collect();
    let results = api.desk.publish_all(&origin(&request), publications).await?;
    let is_new = |one: &Result<Receipt, Refusal>| one.as_ref().is_ok_and(|receipt| !receipt.duplicate);
    let status = if results.iter().any(is_new) {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    let reservation = request.answers.reserve();
    let mut data = Vec::with_capacity(results.len());
    for result in results {
        data.push(shown(result));
    }
    let bytes = serde_json::to_vec(&json!({ "data": data })).expect("it is plain data");
    reservation.grow(bytes.len())?;
    Ok(reservation.with(reply::bytes_of(status, "application/json", bytes)))
}

/// What a receiver of webhooks would send on: it came from here, or from another emitter, and would never end.
fn refuse_webhook(request: &Request) -> Result<(), Problem> {
    if request.headers.contains_key(WEBHOOK_ID) {
        let detail = "the request has the header webhook-id";
        return Err(Problem::new(ProblemCode::WebhookLoop).with_detail(detail));
    }
    Ok(())
}

/// The body, which keeps its place in the byte budget while it lives, and the value that it is.
async fn read(
    request: &mut Request,
    bytes_max: usize,
    values_max: usize,
) -> Result<(Arc<Body>, Value), Problem> {
    require_json(&request.context.method, &request.headers)?;
    let mut raw = request.read_body(bytes_max).await?;
    let value = json_body::parse(&mut raw, values_max, TREES)?;
    raw.reserve(TEXTS * raw.len())?;
    Ok((Arc::new(raw), value))
}

fn object(value: Value) -> Result<Map<String, Value>, Refusal> {
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(Refusal::field("", "wrong_type", "it is not an object")),
    }
}

/// The events of a batch's body.
fn events(mut body: Map<String, Value>) -> Result<Vec<Value>, Refusal> {
    let events = body.remove("events");
    let mut errors: Vec<FieldError> = body
        .keys()
        .map(|name| {
            FieldError::new(
                kit::shape::pointer_to("", name),
                "unknown_field",
                "there is no such field",
            )
        })
        .collect();
    let (code, message) = match events {
        Some(Value::Array(events)) if errors.is_empty() && (1..=BATCH_EVENTS_MAX).contains(&events.len()) => {
            return Ok(events);
        }
        Some(Value::Array(events)) if (1..=BATCH_EVENTS_MAX).contains(&events.len()) => {
            return Err(Refusal::Invalid(errors));
        }
        Some(Value::Array(_)) => (
            "out_of_range",
            format!("a batch has 1 to {BATCH_EVENTS_MAX} events"),
        ),
        None | Some(Value::Null) => ("required", "it is required".to_owned()),
        Some(_) => ("wrong_type", "it has the wrong type".to_owned()),
    };
    errors.push(FieldError::new("/events", code, message));
    Err(Refusal::Invalid(errors))
}

/// What became of one event of a batch: what it would have been answered alone.
fn shown(result: Result<Receipt, Refusal>) -> Value {
    match result {
        Ok(receipt) => {
            let status = if receipt.duplicate {
                StatusCode::OK
            } else {
                StatusCode::ACCEPTED
            };
            json!({
                "status": status.as_u16(),
                "id": receipt.id,
                "type": receipt.event_type,
                "property_id": receipt.property_id,
                "duplicate": receipt.duplicate,
            })
        }
        Err(refusal) => {
            let mut problem = Problem::from(refusal);
            problem.errors.truncate(ERRORS_OF_ONE_MAX);
            json!({
                "status": problem.code.status(),
                "code": problem.code.as_str(),
                "detail": problem.detail,
                "errors": problem.errors,
            })
        }
    }
}
