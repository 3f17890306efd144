//! `POST /webhooks/{id}/recover`, `POST /webhooks/{id}/replay` and `/runs`: many deliveries of a webhook are made again, in the
//! background.

use super::{
    Api,
    write::{origin, read_object},
};
use crate::desk::RunAsked;
use crate::domain::{
    delivery_run::{RunKind, RunStatus},
    filter::Filter,
};
use crate::store::{COUNTED_MAX, DeliveryRun};
use api::{
    ListSpec, Request, Response, SortField,
    list::{PAGE, PAGE_SIZE, short_list},
    reply,
};
use contract::{Problem, ProblemCode, id::EndpointId};
use http::{HeaderValue, StatusCode, header::LOCATION};
use serde_json::{Value, json};

const STATUS: &str = "status";
const WEBHOOK: &str = "webhook_id";
const LIST: ListSpec = ListSpec {
    name: "runs",
    filters: &[STATUS, WEBHOOK, PAGE, PAGE_SIZE],
    sorts: &[SortField::int("created_at")],
    descending_by_default: true,
    updated_since: false,
};

/// `POST /webhooks/{id}/recover`
pub async fn recover(api: Api, request: Request) -> Result<Response, Problem> {
    begin(api, request, RunKind::Recover).await
}

/// `POST /webhooks/{id}/replay`
pub async fn replay(api: Api, request: Request) -> Result<Response, Problem> {
    begin(api, request, RunKind::Replay).await
}

async fn begin(api: Api, mut request: Request, kind: RunKind) -> Result<Response, Problem> {
    let id = request.id("id")?;
    let (_held, body) = read_object(&mut request).await?;
    let run = match api.desk.begin_run(&origin(&request), &id, kind, body).await? {
        RunAsked::Begun(run) => run,
        RunAsked::Counted(counted) => {
            return Ok(reply::ok(&json!({
                "dry_run": true,
                "matching": counted.matching,
                "without_body": counted.without_body,
                "complete": counted.complete,
                "looked_at_max": COUNTED_MAX,
            })));
        }
    };
    let mut response = reply::json(StatusCode::ACCEPTED, &view(&run));
    let location = format!("{}/runs/{}", api.base_path, run.id);
    let location = HeaderValue::from_str(&location).expect("a path built of ids is a header value");
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// `GET /runs`
pub async fn list(api: Api, request: Request) -> Result<Response, Problem> {
    let query = request.list(&LIST)?;
    let status = query.filter(STATUS).map(str::parse::<RunStatus>).transpose();
    let status = status.map_err(|_| refused("status is running, finished or cancelled"))?;
    let webhook = query.filter(WEBHOOK).map(str::parse::<EndpointId>).transpose();
    let webhook = webhook.map_err(|_| refused("webhook_id is no id"))?;
    let mut runs = api.desk.runs(&request.caller.scope).await?;
    runs.retain(|run| {
        status.is_none_or(|status| run.status == status)
            && webhook.as_ref().is_none_or(|webhook| run.endpoint == *webhook)
    });
    let position = |run: &DeliveryRun| (run.created_at.0, run.id.to_string());
    short_list(&query, runs, position, listed)
}

/// `GET /runs/{id}`
pub async fn show(api: Api, request: Request) -> Result<Response, Problem> {
    let run = api.desk.run(&request.caller.scope, &request.id("id")?).await?;
    Ok(reply::ok(&view(&run)))
}

/// `DELETE /runs/{id}`: ends a run. One that has ended stays as it ended.
pub async fn end(api: Api, request: Request) -> Result<Response, Problem> {
    let id = request.id("id")?;
    api.desk.end_run(&origin(&request), &id).await?;
    Ok(reply::no_content())
}

fn refused(detail: &str) -> Problem {
    Problem::new(ProblemCode::InvalidQuery).with_detail(detail)
}

/// In a list nobody has counted what waits.
fn listed(run: &DeliveryRun) -> Value {
    let (begin, end) = match run.kind {
        RunKind::Recover => ("since", "until"),
        RunKind::Replay => ("from", "to"),
    };
    json!({
        "id": run.id,
        "kind": run.kind.as_str(),
        "webhook_id": run.endpoint,
        "status": run.status.as_str(),
        begin: run.begins_at,
        end: run.ends_at,
        "filter": run.filter.as_ref().map(Filter::to_json),
        "matched": run.matched,
        "queued": run.queued,
        "without_body": run.without_body,
        "created_by": run.created_by,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "ended_at": run.ended_at,
    })
}

fn view(run: &DeliveryRun) -> Value {
    let mut view = listed(run);
    view["waiting"] = run.waiting.into();
    view
}
