//! `POST /webhooks/{source}`: checks the raw bytes in a fixed order, then hands the event to the batcher.
//!
//! Content type and declared length are checked first, then the signature's headers and their time, then whether the
//! queue has space, then the body's length, then its signature; only what is authentic is parsed. Every failure of
//! authenticity gets one and the same answer.

use super::Api;
use crate::{
    event::Accepted,
    ingest::{
        IngestError,
        delivery::{RawDelivery, Rejection},
    },
    store::{BODY_LEN_MAX, CountKind},
};
use api::{
    Request, Response,
    json_body::{VALUES_MAX, reserve_tree},
    media_type::require_json,
    reply,
};
use contract::{EventId, Problem, ProblemCode, UnixMillis};
use db::failpoint;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_LENGTH};
use kit::access::client_address;
use serde::Serialize;

/// The memory budget of all bodies is large enough for a body of `api`'s limit, and so for that of every event.
const _: () = assert!(BODY_LEN_MAX <= api::body::BODY_LEN_MAX);
/// Marks the answer to a repeat.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// `POST /webhooks/{source}`
pub async fn receive(api: Api, mut request: Request) -> Result<Response, Problem> {
    let now = api.clock.now();
    let accepted = accept(&api, &mut request, now).await;
    count(&api, &accepted, now);
    answer(accepted?)
}

fn count(api: &Api, accepted: &Result<Accepted, Problem>, now: UnixMillis) {
    match accepted {
        Ok(accepted) => {
            api.meters.accepted(accepted);
            if let Accepted::Duplicate(_) = accepted {
                api.counts.add(CountKind::Duplicate, "same_body", now);
            }
        }
        // `unauthentic` has counted it already, by its cause.
        Err(problem) if problem.code == ProblemCode::Unauthorized => {}
        Err(problem) => {
            api.meters.refused(problem.code);
            api.counts.add(CountKind::Rejected, problem.code.as_str(), now);
        }
    }
}

/// Counts a delivery that is not authentic; its answer is the same, whatever the cause.
fn unauthentic(api: &Api, rejection: &Rejection, now: UnixMillis) -> Problem {
    api.meters.unauthentic(rejection);
    api.counts.add(CountKind::Rejected, rejection.cause, now);
    if let Some(skew) = rejection.skew_seconds {
        api.counts.add_skew(skew, now);
    }
    Problem::new(ProblemCode::Unauthorized)
}

async fn accept(api: &Api, request: &mut Request, now: UnixMillis) -> Result<Accepted, Problem> {
    require_json(&request.context.method, &request.headers)?;
    if declared_len(&request.headers).is_some_and(|len| len > BODY_LEN_MAX) {
        return Err(Problem::new(ProblemCode::PayloadTooLarge));
    }
    let lines = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let client = || client_address(&request.context, &request.headers, &api.trusted_proxies);
    let sender = api.sources.named(request.param("source"), client);
    let refused = |rejection| unauthentic(api, &rejection, now);
    let raw = RawDelivery::read(sender, lines, now).map_err(refused)?;
    if api.batcher.is_full() {
        return Err(IngestError::Overloaded.into());
    }
    let (body, reservation) = request.read_body(BODY_LEN_MAX).await?.into_parts();
    failpoint::reached("delivery.unverified");
    let verified = raw.verify(body).map_err(refused)?;
    // An event of the largest reservation, of 365 nights and 102 guests, holds some 600 values, and one of a guest 1,000.
    let tree = reserve_tree(verified.body(), &reservation, VALUES_MAX)?;
    let arrival = verified.parse().map_err(Problem::validation)?;
    drop(tree);
    let key = arrival.key.clone();
    let accepted = api
        .batcher
        .accept(arrival, &request.context, Some(reservation))
        .await?;
    tracing::info!(
        event.id = key.as_str(),
        outcome = accepted.into_str(),
        "webhook taken in"
    );
    Ok(accepted)
}

/// A length that is not a number is hyper's to refuse.
fn declared_len(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn answer(accepted: Accepted) -> Result<Response, Problem> {
    match accepted {
        Accepted::New(event_id) => Ok(reply::json(StatusCode::ACCEPTED, &Receipt::of(event_id, false))),
        Accepted::Duplicate(event_id) => {
            let mut response = reply::ok(&Receipt::of(event_id, true));
            response
                .headers_mut()
                .insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
        Accepted::IdReuse(_) => Err(Problem::new(ProblemCode::IdempotencyKeyReused)),
    }
}

/// The answer for an event that is committed.
#[derive(Serialize)]
struct Receipt {
    status: &'static str,
    event_id: EventId,
    duplicate: bool,
}

impl Receipt {
    fn of(event_id: EventId, duplicate: bool) -> Self {
        Self {
            status: "accepted",
            event_id,
            duplicate,
        }
    }
}
