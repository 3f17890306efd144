//! What the endpoints that write have in common: the request's body, its preconditions, where it comes from, and that it is
//! done once for its idempotency key.

use super::Api;
use crate::desk::{DeskError, ExpectedVersion};
use crate::domain::{body::trim_edges, origin::Origin, refusal::Refusal};
use api::{
    Body, Caller, Preconditions, Request, RequestContext, Response,
    body::BODY_LEN_MAX,
    json_body::{self, VALUES_MAX},
    media_type::require_json,
};
use contract::Problem;
use kit::idempotency::{Answer, Key, Slot};
use serde_json::{Map, Value};
use std::{future::Future, sync::Arc};

/// Trees of one body that a write has at once: as it came, as it was merged for one decision, as the type that it was read
/// into, and as that type reads back.
const TREES_OF_A_WRITE: usize = 4;

/// Reads the raw body and the JSON object that it is.
///
/// The body has its place in the byte budget, with room for its trees, until its last clone is dropped: a caller that decides
/// and writes keeps one to the end, since what was read of it lives as long. Work that outlives the request keeps its own.
pub async fn read_object(request: &mut Request) -> Result<(Arc<Body>, Map<String, Value>), Problem> {
    require_json(&request.context.method, &request.headers)?;
    let mut raw = request.read_body(BODY_LEN_MAX).await?;
    let object = object_of(&mut raw)?;
    Ok((Arc::new(raw), object))
}

/// As [`read_object`]; no body at all is an empty object.
pub async fn read_optional_object(request: &mut Request) -> Result<(Arc<Body>, Map<String, Value>), Problem> {
    let typed = require_json(&request.context.method, &request.headers);
    let mut raw = request.read_body(BODY_LEN_MAX).await?;
    if raw.is_empty() {
        return Ok((Arc::new(raw), Map::new()));
    }
    typed?;
    let object = object_of(&mut raw)?;
    Ok((Arc::new(raw), object))
}

fn object_of(raw: &mut Body) -> Result<Map<String, Value>, Problem> {
    match json_body::parse(raw, VALUES_MAX, TREES_OF_A_WRITE)? {
        Value::Object(mut object) => {
            trim_edges(&mut object);
            Ok(object)
        }
        _ => Err(Refusal::field("", "wrong_type", "the body is not an object").into()),
    }
}

/// The versions that `If-Match` and `If-None-Match` expect.
pub fn expected_version(request: &Request) -> Result<ExpectedVersion, Problem> {
    let preconditions = Preconditions::from_headers(&request.headers)?;
    Ok(ExpectedVersion::when(move |version| {
        preconditions.allows(version)
    }))
}

/// Where a change that this request causes comes from.
pub fn origin(request: &Request) -> Origin {
    let context = &request.context;
    Origin {
        request_id: context.request_id.clone(),
        correlation_id: context.correlation_id.clone(),
        traceparent: context.traceparent.clone(),
        actor: request.caller.actor(),
        scope: request.caller.scope.clone(),
    }
}

/// Does `work` once for the caller's idempotency key, if the request has one; a retry gets the answer of the first attempt. The body
/// keeps its place in the byte budget until the work has ended, also when the client hangs up before.
pub async fn once<W, F>(
    api: &Api,
    caller: &Caller,
    context: &RequestContext,
    key: Option<Key>,
    raw: Arc<Body>,
    work: W,
) -> Result<Response, Problem>
where
    W: FnOnce(Slot) -> F,
    F: Future<Output = Result<Answer, DeskError>> + Send + 'static,
{
    let held = Arc::clone(&raw);
    let holding = |slot| {
        let working = work(slot);
        async move {
            let _held = held;
            working.await
        }
    };
    api.idempotency.run(caller, context, key, &raw, holding).await
}
