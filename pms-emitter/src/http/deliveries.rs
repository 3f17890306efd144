//! `/deliveries`, and those of one webhook: what was sent to whom, what was not, and why.
//!
//! A caller sees the deliveries of a webhook whose properties its key sees, also of one that was deleted.

use super::{Api, write::origin};
use crate::domain::delivery::DeliveryStatus;
use crate::store::{DeliveryAttempt, DeliveryFilter, DeliveryRow};
use api::{ListQuery, ListSpec, Request, Response, SortField, list::Pagination, reply};
use contract::{Problem, ProblemCode, Scope, UnixMillis, id::EndpointId};
use http::StatusCode;
use kit::database_problem;
use serde::Serialize;
use serde_json::{Value, json};

const FILTERS: [&str; 5] = ["status", "type", "code", "from", "to"];
const ALL: ListSpec = ListSpec {
    name: "deliveries",
    filters: &FILTERS,
    sorts: &[SortField::int("feed_seq")],
    descending_by_default: true,
    updated_since: false,
};
const OF_WEBHOOK: ListSpec = ListSpec {
    name: "webhook-deliveries",
    ..ALL
};

/// `GET /deliveries`
pub async fn list(api: Api, request: Request) -> Result<Response, Problem> {
    let query = request.list(&ALL)?;
    page(&api, &request.caller.scope, query, None).await
}

/// `GET /webhooks/{id}/deliveries`
pub async fn list_of_webhook(api: Api, request: Request) -> Result<Response, Problem> {
    let query = request.list(&OF_WEBHOOK)?;
    let (id, scope) = (request.id("id")?, &request.caller.scope);
    api.desk.check_sees(scope, &id).await?;
    page(&api, scope, query, Some(id)).await
}

/// `GET /webhooks/{id}/deliveries/{event_id}`
pub async fn show(api: Api, request: Request) -> Result<Response, Problem> {
    let (id, event) = (request.id("id")?, request.id("event_id")?);
    let found = api.desk.delivery(&request.caller.scope, &id, &event).await?;
    Ok(reply::ok(&shown(&found)))
}

/// `POST /webhooks/{id}/deliveries/{event_id}/retry`
pub async fn retry(api: Api, request: Request) -> Result<Response, Problem> {
    let (id, event) = (request.id("id")?, request.id("event_id")?);
    let due = api.desk.retry_delivery(&origin(&request), &id, &event).await?;
    Ok(reply::json(StatusCode::ACCEPTED, &shown(&due)))
}

/// A page of rows that are in memory.
#[derive(Serialize)]
struct Page {
    data: Vec<Value>,
    pagination: Pagination,
}

async fn page(
    api: &Api,
    scope: &Scope,
    query: ListQuery,
    endpoint: Option<EndpointId>,
) -> Result<Response, Problem> {
    if !query.sort.descending {
        return Err(refused("deliveries are listed from the newest event on"));
    }
    let instant = |text: &str| UnixMillis::parse_rfc3339(text);
    let filter = DeliveryFilter {
        endpoint,
        status: read(&query, "status", |text| text.parse().ok())?,
        event_type: read(&query, "type", |text| text.parse().ok())?,
        code: read(&query, "code", |text| text.parse().ok())?,
        from: read(&query, "from", instant)?,
        to: read(&query, "to", instant)?,
        attempted: false,
        scope: scope.clone(),
    };
    let page = api.desk.store.deliveries(filter, &query).await;
    let page = page.map_err(database_problem)?;
    Ok(reply::ok(&Page {
        data: page.rows.iter().map(view).collect(),
        pagination: query.pagination(page.next_page_after.as_ref()),
    }))
}

fn read<T>(query: &ListQuery, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
    let Some(text) = query.filter(name) else {
        return Ok(None);
    };
    let refused = || refused(&format!("{name} is not of its field's form"));
    parse(text).map(Some).ok_or_else(refused)
}

fn refused(detail: &str) -> Problem {
    Problem::new(ProblemCode::InvalidQuery).with_detail(detail)
}

/// A delivery as it is shown.
pub(super) fn view(row: &DeliveryRow) -> Value {
    let entity = row.event.entity.as_ref();
    let is_pending = row.status == DeliveryStatus::Pending;
    json!({
        "event_id": row.event.id,
        "webhook_id": row.endpoint,
        "type": row.event.event_type,
        "property_id": row.event.property_id,
        "entity": entity.map(|(kind, id, version)| json!({"kind": kind, "id": id, "version": version})),
        "status": row.status.as_str(),
        "attempts": row.attempts,
        "last_status": row.last_status,
        "last_error": row.last_error,
        "committed_at": row.event.committed_at,
        // What is due at once was so from the beginning.
        "next_attempt_at": row.due_at.filter(|_| is_pending).map(|at| at.max(row.event.committed_at)),
        "waits_for_entity": is_pending && row.due_at.is_none(),
        "settled_at": row.settled_at,
    })
}

/// One with its attempts.
fn shown((row, attempts): &(DeliveryRow, Vec<DeliveryAttempt>)) -> Value {
    let mut view = view(row);
    view["attempts_made"] = attempts.iter().map(attempt).collect();
    view
}

fn attempt(attempt: &DeliveryAttempt) -> Value {
    json!({
        "number": attempt.number,
        "at": attempt.at,
        "status": attempt.status,
        "duration_ms": attempt.duration_ms,
        "error": attempt.error,
        "answer": attempt.answer,
    })
}
