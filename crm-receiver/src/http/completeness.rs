//! `GET /sources/{id}/completeness`: how far what is here was compared with the sender's feed, and what is missing.

use super::sources::{SourceRoutes, find};
use crate::{ingest::PMS, store::MissingEvent};
use api::{Request, Response, reply};
use contract::{Problem, PropertyId, SourceId, UnixMillis, id::IdempotencyKey};
use kit::database_problem;
use serde::Serialize;

/// Missing events that are shown.
const SHOWN_MAX: u32 = 100;

/// `GET /sources/{id}/completeness`
pub async fn show(api: SourceRoutes, request: Request) -> Result<Response, Problem> {
    let source = find(&api, &request.caller, &request.id("id")?).await?.id;
    let state = api.store.reconciliation(&source).await;
    let state = state.map_err(database_problem)?.unwrap_or_default();
    let events = match state.missing {
        0 => Vec::new(),
        _ => {
            let events = api.store.missing_events(&source, SHOWN_MAX).await;
            events.map_err(database_problem)?
        }
    };
    let scope = &request.caller.scope;
    let seen = events.into_iter().filter(|event| {
        let property = event.property_id.as_ref().map(PropertyId::as_str);
        scope.has_optional(property)
    });
    Ok(reply::ok(&Completeness {
        // No other has a feed that is read here.
        compared: api.has_feed && source.as_str() == PMS,
        source,
        complete_up_to: state.complete_up_to,
        feed_head: state.feed_head,
        checked_at: state.checked_at,
        began_again_at: state.began_again_at,
        missing: state.missing,
        past_retention: state.past_retention,
        given_up: state.given_up,
        missing_events: seen.map(Missing::from).collect(),
    }))
}

#[derive(Serialize)]
struct Completeness {
    source: SourceId,
    compared: bool,
    complete_up_to: i64,
    feed_head: i64,
    checked_at: Option<UnixMillis>,
    began_again_at: Option<UnixMillis>,
    missing: u64,
    past_retention: u64,
    given_up: u64,
    missing_events: Vec<Missing>,
}

#[derive(Serialize)]
struct Missing {
    idempotency_key: IdempotencyKey,
    feed_seq: i64,
    #[serde(rename = "type")]
    event_type: String,
    property_id: Option<PropertyId>,
    committed_at: UnixMillis,
    reason: &'static str,
    found_at: UnixMillis,
}

impl From<MissingEvent> for Missing {
    fn from(event: MissingEvent) -> Self {
        Self {
            idempotency_key: event.key,
            feed_seq: event.feed_seq,
            event_type: event.event_type,
            property_id: event.property_id,
            committed_at: event.committed_at,
            reason: event.reason.into_str(),
            found_at: event.found_at,
        }
    }
}
