//! What every write has in common: its body, its ids, its event, and how often it is decided.

use super::{Api, ApiError};
use crate::{
    domain::{
        body::trim_edges,
        change::Change,
        event::{EventPayload, envelope},
        refusal::Refusal,
    },
    store::NewEvent,
};
use api::{
    Body, Request, RequestContext,
    body::BODY_LEN_MAX,
    json_body::{self, VALUES_MAX},
    media_type::require_json,
};
use contract::{EventId, TypedId, UnixMillis};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Whom an idempotency key belongs to as long as there are no API keys.
pub const CALLER: &str = "anyone";

/// How often a write that was overtaken is decided, in all.
pub const DECISIONS_MAX: usize = 5;

/// Trees of one body that a write has at once: as it came, as it was merged for one decision, as the type that it was read
/// into, and as that type reads back.
const TREES_OF_A_WRITE: usize = 4;

/// Reads the raw body and the JSON object that it is.
///
/// The body has its place in the byte budget, with room for its trees, until its last clone is dropped: a caller that decides
/// and writes keeps one to the end, since what was read of it lives as long. Work that outlives the request keeps its own.
pub async fn read_object(request: &mut Request) -> Result<(Arc<Body>, Map<String, Value>), ApiError> {
    require_json(&request.context.method, &request.headers)?;
    let mut raw = request.read_body(BODY_LEN_MAX).await?;
    let object = object_of(&mut raw)?;
    Ok((Arc::new(raw), object))
}

/// As [`read_object`]; no body at all is an empty object.
pub async fn read_optional_object(
    request: &mut Request,
) -> Result<(Arc<Body>, Map<String, Value>), ApiError> {
    let typed = require_json(&request.context.method, &request.headers);
    let mut raw = request.read_body(BODY_LEN_MAX).await?;
    if raw.is_empty() {
        return Ok((Arc::new(raw), Map::new()));
    }
    typed?;
    let object = object_of(&mut raw)?;
    Ok((Arc::new(raw), object))
}

fn object_of(raw: &mut Body) -> Result<Map<String, Value>, ApiError> {
    match json_body::parse(raw, VALUES_MAX, TREES_OF_A_WRITE)? {
        Value::Object(mut object) => {
            trim_edges(&mut object);
            Ok(object)
        }
        _ => Err(Refusal::field("", "wrong_type", "the body is not an object").into()),
    }
}

/// A new id of its type.
pub fn new_id<T: TypedId>(api: &Api) -> T {
    let id = api.ids.new_id(T::PREFIX).parse();
    id.unwrap_or_else(|_| unreachable!("the ids we make are valid ids"))
}

/// The event that tells of a change which a request caused, committed at `now`.
pub fn new_event<T: EventPayload>(
    api: &Api,
    context: &RequestContext,
    change: &Change<T>,
    now: UnixMillis,
) -> NewEvent {
    let id: EventId = new_id(api);
    NewEvent {
        envelope: envelope(&id, change, now, Some(context.correlation_id.to_string())),
        id,
        committed_at: now,
        traceparent: context.traceparent.clone(),
    }
}
