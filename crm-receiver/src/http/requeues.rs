//! `POST /events/{id}/requeue` and `/requeues`: dead letters are given back to the projector, one, or as a run those that a
//! filter finds.
//!
//! A run requeues what its maker saw when it began, and is seen by those who see all of that.

use super::malformed;
use crate::{
    event::AuditAction,
    project::WAIT_MAX_MS,
    store::{
        COUNTED_MAX, EventFilter, REQUEUE_KIND, REQUEUE_LEASE, RUNNING_MAX, RUNNING_OF_ONE_MAX, Requeue,
        RequeueCreation, RequeueOne, RequeueStatus, Store,
    },
};
use api::{Caller, ListSpec, Request, Response, SortField, reply};
use contract::{
    Clock, EventId, FieldError, Ids, Problem, ProblemCode, RequeueId, Scope, TypedId, UnixMillis,
};
use http::{HeaderValue, StatusCode, header::LOCATION};
use kit::{
    audit::AuditEntry,
    change::{ChangedBy, read_object},
    database_problem, listing,
    shape::{self, pointer_to},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::Notify;

/// The longest value of a filter, in bytes.
const FILTER_LEN_MAX: usize = 512;
/// How far the clocks of replicas may be apart: as far as leases bear.
const CLOCKS_APART_MAX_MS: i64 = REQUEUE_LEASE.as_millis() as i64;
/// The member of a body with the filter.
const FILTER: &str = "/filter";
/// The only status that is requeued.
const DEAD_LETTER: &str = crate::event::EventStatus::DeadLetter.into_str();

const REQUEUES: ListSpec = ListSpec {
    name: "requeues",
    filters: &["status"],
    sorts: &[SortField::int("created_at")],
    descending_by_default: true,
    updated_since: false,
};

/// What the routes need.
#[derive(Clone)]
pub struct RequeueRoutes {
    /// The tables.
    pub store: Store,
    /// The present time.
    pub clock: Arc<dyn Clock>,
    /// Makes the ids of runs.
    pub ids: Ids,
    /// Wakes the worker that continues runs.
    pub begun: Arc<Notify>,
    /// What every path begins with.
    pub base_path: Arc<str>,
}

/// What a run is asked for.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RequeueBody {
    /// Empty for all dead letters: it must be there, so that nobody requeues all by leaving it out.
    filter: Map<String, Value>,
    /// Only counts.
    #[serde(default)]
    dry_run: bool,
}

/// `POST /events/{id}/requeue`
pub async fn requeue_event(api: RequeueRoutes, request: Request) -> Result<Response, Problem> {
    let id: EventId = request.id("id")?;
    let by = ChangedBy::of(&request);
    let filter = Map::from_iter([("event_id".to_owned(), json!(id))]);
    let run = api.new_run(&by.caller, filter);
    let entry = entry(&by, AuditAction::RequeueFinished, &run);
    let done = api.store.requeue_event(&id, &run, entry).await;
    match done.map_err(database_problem)? {
        RequeueOne::Done => {}
        RequeueOne::NoEvent => return Err(Problem::new(ProblemCode::NotFound)),
        RequeueOne::NotDead(status) => {
            let status: &'static str = status.into();
            let problem = Problem::new(ProblemCode::NotADeadLetter);
            return Err(problem
                .with_detail(format!("its status is {status}"))
                .with_extension("event_status", status));
        }
        RequeueOne::NoBody => return Err(Problem::new(ProblemCode::BodyGone)),
    }
    let run = api.store.requeue(&run.id).await.map_err(database_problem)?;
    let run = run.ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
    // The projector looks by itself every half second.
    Ok(api.accepted(&run))
}

/// `POST /requeues`
pub async fn create(api: RequeueRoutes, mut request: Request) -> Result<Response, Problem> {
    let by = ChangedBy::of(&request);
    let body = Value::Object(read_object(&mut request).await?);
    let body: RequeueBody = shape::fit(&body).map_err(|error| Problem::validation(vec![error]))?;
    let filter = read_filter(&body.filter, &by.caller.scope)?;
    let run = api.new_run(&by.caller, body.filter);
    if body.dry_run {
        let counted = api
            .store
            .count_requeueable(&filter, latest_due(run.created_at))
            .await;
        let counted = counted.map_err(database_problem)?;
        return Ok(reply::ok(&json!({
            "dry_run": true,
            "matching": counted.matching,
            "without_body": counted.without_body,
            "complete": counted.complete,
            "looked_at_max": COUNTED_MAX,
        })));
    }
    let mut entry = entry(&by, AuditAction::RequeueStarted, &run);
    entry.changed = run.filter.keys().cloned().collect();
    let created = api.store.create_requeue(&run, entry).await;
    let running = match created.map_err(database_problem)? {
        RequeueCreation::Begun => None,
        RequeueCreation::TooMany => Some(format!("{RUNNING_MAX} runs")),
        RequeueCreation::TooManyOfOne => Some(format!("{RUNNING_OF_ONE_MAX} runs of yours")),
    };
    if let Some(running) = running {
        let detail = format!("{running} are not at their end: wait for one, or have one cancelled");
        return Err(Problem::new(ProblemCode::TooManyRequeues).with_detail(detail));
    }
    api.begun.notify_one();
    Ok(api.accepted(&run))
}

/// `GET /requeues`
pub async fn list(api: RequeueRoutes, request: Request) -> Result<Response, Problem> {
    let query = request.list(&REQUEUES)?;
    let status = query.filter("status");
    let status = status.map(|text| text.parse::<RequeueStatus>().map_err(|_| malformed("status")));
    let rows = api
        .store
        .requeues(status.transpose()?, &request.caller.scope, &query)
        .await;
    let rows = rows.map_err(database_problem)?;
    listing::answer(&request.answers, &query, rows, |run| view(&run)).await
}

/// `GET /requeues/{id}`
pub async fn show(api: RequeueRoutes, request: Request) -> Result<Response, Problem> {
    let run = api.find(&request.caller, &request.id("id")?).await?;
    Ok(reply::ok(&view(&run)))
}

/// `DELETE /requeues/{id}`: cancels a run. One that has ended stays as it ended.
pub async fn cancel(api: RequeueRoutes, request: Request) -> Result<Response, Problem> {
    let run = api.find(&request.caller, &request.id("id")?).await?;
    let entry = entry(&ChangedBy::of(&request), AuditAction::RequeueCancelled, &run);
    let entry = AuditEntry {
        at: api.clock.now(),
        ..entry
    };
    api.store
        .cancel_requeue(&run.id, entry)
        .await
        .map_err(database_problem)?;
    Ok(reply::no_content())
}

impl RequeueRoutes {
    fn new_run(&self, caller: &Caller, filter: Map<String, Value>) -> Requeue {
        let id = self.ids.new_id(RequeueId::PREFIX).parse();
        let id = id.unwrap_or_else(|_| unreachable!("the ids we make are valid ids"));
        let now = self.clock.now();
        Requeue::new(
            id,
            filter,
            caller.scope.clone(),
            caller.actor(),
            now,
            latest_due(now),
        )
    }

    /// The run of that id, if the caller sees all that it requeues.
    async fn find(&self, caller: &Caller, id: &RequeueId) -> Result<Requeue, Problem> {
        let found = self.store.requeue(id).await.map_err(database_problem)?;
        found
            .filter(|run| caller.scope.covers(&run.scope))
            .ok_or_else(|| Problem::new(ProblemCode::NotFound))
    }

    /// 202 with the run and where it is found.
    fn accepted(&self, run: &Requeue) -> Response {
        let mut response = reply::json(StatusCode::ACCEPTED, &view(run));
        let location = format!("{}/requeues/{}", self.base_path, run.id);
        let location = HeaderValue::from_str(&location).expect("a path built of ids is a header value");
        response.headers_mut().insert(LOCATION, location);
        response
    }
}

/// No dead letter of now was due later than this, by any replica's clock. Those that come soon after are found too, which requeues
/// none twice.
pub fn latest_due(now: UnixMillis) -> UnixMillis {
    now.plus_millis(WAIT_MAX_MS + CLOCKS_APART_MAX_MS)
}

fn read_filter(filter: &Map<String, Value>, scope: &Scope) -> Result<EventFilter, Problem> {
    let mut errors = Vec::new();
    for (name, value) in filter {
        let refused = |code: &str, message: &str| FieldError::new(pointer_to(FILTER, name), code, message);
        match value {
            _ if !EventFilter::NAMES.contains(&name.as_str()) => {
                errors.push(refused("unknown_field", "GET /events has no such filter"));
            }
            Value::String(text) if text.is_empty() || text.len() > FILTER_LEN_MAX => {
                errors.push(refused("invalid", "it must be 1 to 512 bytes long"));
            }
            Value::String(text) if name == "status" && text != DEAD_LETTER => {
                errors.push(refused("not_a_dead_letter", "only dead letters are requeued"));
            }
            Value::String(_) => {}
            _ => errors.push(refused("wrong_type", "it is a text, as in GET /events")),
        }
    }
    if !errors.is_empty() {
        return Err(Problem::validation(errors));
    }
    EventFilter::read(|name| filter.get(name)?.as_str(), scope).map_err(|name| {
        let error = FieldError::new(pointer_to(FILTER, name), "invalid", "it is not valid");
        Problem::validation(vec![error])
    })
}

fn view(run: &Requeue) -> Value {
    json!({
        "id": run.id,
        "status": run.status,
        "filter": run.filter,
        "property_ids": run.scope,
        "requeued": run.requeued,
        "skipped": run.skipped,
        "created_by": run.created_by,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "ended_at": run.ended_at,
    })
}

/// What the audit log says of a run.
fn entry(by: &ChangedBy, action: AuditAction, run: &Requeue) -> AuditEntry {
    by.entry(action.into_str(), REQUEUE_KIND, run.id.as_str(), run.created_at)
}
