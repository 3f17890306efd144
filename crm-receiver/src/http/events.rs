//! `GET /events` and `GET /events/{id}`: the received events and their status, for browsing and for audits.
//!
//! The list is newest first. It is no safe order for polling: commits become visible out of order.

use super::{Api, malformed};
use crate::store::{EventFilter, EventRow};
use api::{
    Request, Response,
    list::{ListQuery, ListSpec, SortField},
    reply,
};
use contract::{Problem, ProblemCode, Scope};
use kit::{audit::AuditEntry, database_problem, listing};
use serde::Serialize;
use serde_json::{Value, json};

const EVENTS: ListSpec = ListSpec {
    name: "events",
    filters: &EventFilter::NAMES,
    sorts: &[SortField::int("received_at")],
    descending_by_default: true,
    updated_since: false,
};

/// `GET /events`
pub async fn list(api: Api, request: Request) -> Result<Response, Problem> {
    let query = request.list(&EVENTS)?;
    let rows = api
        .store
        .events(&filter(&query, &request.caller.scope)?, &query)
        .await
        .map_err(database_problem)?;
    listing::answer(&request.answers, &query, rows, |row| row).await
}

/// `GET /events/{id}`
pub async fn show(api: Api, request: Request) -> Result<Response, Problem> {
    let found = api
        .store
        .event(&request.id("id")?)
        .await
        .map_err(database_problem)?;
    let seen = found.filter(|(event, _)| request.caller.scope.has_optional(event.property_id.as_deref()));
    let (event, history) = seen.ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
    let history = history.iter().map(show_entry).collect();
    Ok(reply::ok(&ShownEvent { event, history }))
}

/// An event with what the audit log says of it.
#[derive(Serialize)]
struct ShownEvent {
    #[serde(flatten)]
    event: EventRow,
    history: Vec<Value>,
}

fn filter(query: &ListQuery, scope: &Scope) -> Result<EventFilter, Problem> {
    EventFilter::read(|name| query.filter(name), scope).map_err(malformed)
}

fn show_entry(entry: &AuditEntry) -> Value {
    json!({
        "at": entry.at,
        "action": entry.action,
        "outcome": entry.outcome,
        "actor": entry.actor,
        "changed": entry.changed,
        "correlation_id": entry.correlation_id,
        "request_id": entry.request_id,
    })
}
