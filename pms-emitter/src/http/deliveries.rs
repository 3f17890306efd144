//! `/deliveries`, and those of one webhook: what was sent to whom, what was not, and why.
//!
//! A caller sees the deliveries of a webhook whose properties its key sees, also of one that was deleted.

use super::Api;
use crate::domain::delivery::DeliveryStatus;
use crate::store::{DeliveryAttempt, DeliveryFilter, DeliveryRow};
use api::{ListQuery, ListSpec, Request, Response, SortField, list::Pagination, reply};
use contract::{
    Problem, ProblemCode, Scope, UnixMillis,
    id::{EndpointId, IdempotencyKey},
};
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
    let scope = &request.caller.scope;
    let id = visible(&api, scope, request.id("id")?).await?;
    page(&api, scope, query, Some(id)).await
}

/// `GET /webhooks/{id}/deliveries/{event_id}`
pub async fn show(api: Api, request: Request) -> Result<Response, Problem> {
    let event: IdempotencyKey = request.id("event_id")?;
    let id = visible(&api, &request.caller.scope, request.id("id")?).await?;
    let found = api.desk.store.delivery(&id, &event).await;
    let found = found.map_err(database_problem)?;
    let (row, attempts) = found.ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
    Ok(reply::ok(&shown(&row, &attempts)))
}

/// The webhook of a path, if the caller sees it.
async fn visible(api: &Api, scope: &Scope, id: EndpointId) -> Result<EndpointId, Problem> {
    let of_webhook = api.desk.store.scope_of_endpoint(&id).await;
    let of_webhook = of_webhook.map_err(database_problem)?;
    let seen = of_webhook.is_some_and(|of_webhook| scope.covers(&of_webhook));
    seen.then_some(id)
        .ok_or_else(|| Problem::new(ProblemCode::NotFound))
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
        "next_attempt_at": is_pending.then_some(row.due_at.max(row.event.committed_at)),
        "settled_at": row.settled_at,
    })
}

/// One with its attempts.
pub(super) fn shown(row: &DeliveryRow, attempts: &[DeliveryAttempt]) -> Value {
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
