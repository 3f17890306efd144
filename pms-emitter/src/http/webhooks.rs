//! `/webhooks`: who is subscribed to events, and the secrets that sign what is sent to each.
//!
//! A caller sees and makes only those whose properties its own key sees, and the query of an address only if it may change it. An
//! answer that shows a secret is kept under no idempotency key, so these routes do without one.

use super::{
    Api,
    caller_places::CallerPlaces,
    routes::WEBHOOKS,
    webhook_status::without_secrets,
    write::{expected_version, origin, read_object, read_optional_object},
};
use crate::desk::{Desk, DeskError};
use crate::domain::{event::object_of, origin::Origin, test_event::TestOutcome};
use crate::store::{Endpoint, EndpointSecret};
use api::{
    Caller, ListSpec, Request, Response, SortField, etag,
    list::{PAGE, PAGE_SIZE, short_list},
    reply,
};
use contract::{Problem, ProblemCode, UnixMillis, id::EndpointId};
use kit::shape;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::future::Future;

/// Tests that a process sends at once: each waits for an answer.
pub const TESTS_MAX: usize = 8;
/// Those of one API key, so that the others have a place.
pub const TESTS_OF_ONE_MAX: usize = 2;

const LIST: ListSpec = ListSpec {
    name: "webhooks",
    filters: &[PAGE, PAGE_SIZE],
    sorts: &[SortField::int("created_at")],
    descending_by_default: false,
    updated_since: false,
};
const SECRETS: ListSpec = ListSpec {
    name: "webhook-secrets",
    filters: &[PAGE, PAGE_SIZE],
    sorts: &[SortField::int("n")],
    descending_by_default: true,
    updated_since: false,
};

/// Which tests go on. Clones share the places.
#[derive(Clone)]
pub struct TestPlaces(CallerPlaces);

impl Default for TestPlaces {
    fn default() -> Self {
        Self(CallerPlaces::new(TESTS_MAX, TESTS_OF_ONE_MAX))
    }
}

/// `GET /webhooks`
pub async fn list(api: Api, request: Request) -> Result<Response, Problem> {
    let query = request.list(&LIST)?;
    let endpoints = api.desk.endpoints(&request.caller.scope).await?;
    let position = |endpoint: &Endpoint| (endpoint.created_at.0, endpoint.id.to_string());
    short_list(&query, endpoints, position, |endpoint| {
        view(endpoint, &request.caller)
    })
}

/// `POST /webhooks`
pub async fn create(api: Api, mut request: Request) -> Result<Response, Problem> {
    let (_held, body) = read_object(&mut request).await?;
    let made = api.desk.make_endpoint(&origin(&request), body).await?;
    let location = format!("{}/webhooks/{}", api.base_path, made.endpoint.id);
    let mut body = view(&made.endpoint, &request.caller);
    if let Some(secret) = made.secret {
        body["secret"] = secret.into();
    }
    let answer = reply::created(&location, &body);
    Ok(etag::with_etag(answer, made.endpoint.version))
}

/// `GET /webhooks/{id}`
pub async fn show(api: Api, request: Request) -> Result<Response, Problem> {
    let endpoint = api
        .desk
        .endpoint(&request.caller.scope, &request.id("id")?)
        .await?;
    Ok(shown(&endpoint, &request.caller))
}

/// `PUT /webhooks/{id}`: merges.
pub async fn change(api: Api, mut request: Request) -> Result<Response, Problem> {
    let id: EndpointId = request.id("id")?;
    let expected = expected_version(&request)?;
    let (_held, patch) = read_object(&mut request).await?;
    let origin = origin(&request);
    let changed = api.desk.change_endpoint(&origin, &id, patch, &expected);
    Ok(shown(&changed.await?, &request.caller))
}

/// `DELETE /webhooks/{id}`
pub async fn remove(api: Api, request: Request) -> Result<Response, Problem> {
    let expected = expected_version(&request)?;
    let id = request.id("id")?;
    api.desk
        .delete_endpoint(&origin(&request), &id, &expected)
        .await?;
    Ok(reply::no_content())
}

/// `POST /webhooks/{id}/pause`
pub async fn pause(api: Api, request: Request) -> Result<Response, Problem> {
    act(api, request, |desk, origin, id| async move {
        desk.pause_endpoint(&origin, &id, true).await
    })
    .await
}

/// `POST /webhooks/{id}/resume`
pub async fn resume(api: Api, request: Request) -> Result<Response, Problem> {
    act(api, request, |desk, origin, id| async move {
        desk.pause_endpoint(&origin, &id, false).await
    })
    .await
}

/// `POST /webhooks/{id}/enable`
pub async fn enable(api: Api, request: Request) -> Result<Response, Problem> {
    act(api, request, |desk, origin, id| async move {
        desk.enable_endpoint(&origin, &id).await
    })
    .await
}

async fn act<F>(
    api: Api,
    request: Request,
    act: impl FnOnce(Desk, Origin, EndpointId) -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<Endpoint, DeskError>>,
{
    let id = request.id("id")?;
    let endpoint = act(api.desk.clone(), origin(&request), id).await?;
    Ok(shown(&endpoint, &request.caller))
}

/// `POST /webhooks/{id}/test`: the answer is there once the endpoint's is.
pub async fn test(api: Api, mut request: Request) -> Result<Response, Problem> {
    let id: EndpointId = request.id("id")?;
    let (_held, body) = read_optional_object(&mut request).await?;
    let body: TestBody =
        shape::fit(&Value::Object(body)).map_err(|error| Problem::validation(vec![error]))?;
    let _place = api.tests.0.take(&request.caller.id).ok_or_else(|| {
        let detail = format!("{TESTS_MAX} tests are going on, or {TESTS_OF_ONE_MAX} of yours");
        Problem::new(ProblemCode::Overloaded)
            .with_detail(detail)
            .with_retry_after(1)
    })?;
    match api.desk.test_endpoint(&origin(&request), &id, body.event).await? {
        TestOutcome::Sent { status, duration } => Ok(reply::ok(&json!({
            "status_class": status.map_or("none".to_owned(), |status| format!("{}xx", status / 100)),
            "duration_ms": u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }))),
        TestOutcome::Unusable => Err(Problem::new(ProblemCode::Unsendable)),
    }
}

/// `POST /webhooks/{id}/rotate-secret`
pub async fn rotate_secret(api: Api, mut request: Request) -> Result<Response, Problem> {
    let id: EndpointId = request.id("id")?;
    let (_held, body) = read_optional_object(&mut request).await?;
    let rotated = api.desk.rotate_secret(&origin(&request), &id, body).await?;
    let location = format!("{}/webhooks/{id}/secrets", api.base_path);
    let mut body = json!({
        "n": rotated.n,
        "since": rotated.since,
        "until": null,
        "others_until": rotated.others_until,
    });
    if let Some(secret) = rotated.secret {
        body["secret"] = secret.into();
    }
    Ok(reply::created(&location, &body))
}

/// `GET /webhooks/{id}/secrets`
pub async fn list_secrets(api: Api, request: Request) -> Result<Response, Problem> {
    let query = request.list(&SECRETS)?;
    let secrets = api
        .desk
        .secrets(&request.caller.scope, &request.id("id")?)
        .await?;
    let position =
        |secret: &EndpointSecret| (i64::try_from(secret.n).unwrap_or(i64::MAX), secret.n.to_string());
    short_list(&query, secrets, position, |secret| json!(SecretView::of(secret)))
}

/// `DELETE /webhooks/{id}/secrets/{n}`
pub async fn end_secret(api: Api, request: Request) -> Result<Response, Problem> {
    let (id, n) = (request.id("id")?, request.id("n")?);
    api.desk.end_secret(&origin(&request), &id, n).await?;
    Ok(reply::no_content())
}

/// What a test asks for.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TestBody {
    /// The type of the example; by default the first that the endpoint names.
    #[serde(default)]
    event: Option<String>,
}

/// A secret as it is shown: all of it but the secret.
#[derive(Serialize)]
struct SecretView {
    n: u64,
    since: UnixMillis,
    until: Option<UnixMillis>,
}

impl SecretView {
    fn of(secret: &EndpointSecret) -> Self {
        Self {
            n: secret.n,
            since: secret.since,
            until: secret.until,
        }
    }
}

fn shown(endpoint: &Endpoint, caller: &Caller) -> Response {
    etag::with_etag(reply::ok(&view(endpoint, caller)), endpoint.version)
}

/// What is beside the settings.
#[derive(Serialize)]
struct Beside<'e> {
    header_names: &'e [String],
    state: &'static str,
    disabled_reason: Option<&'e str>,
    managed_by: &'static str,
    created_by: Option<&'e str>,
    created_at: UnixMillis,
    updated_at: UnixMillis,
    last_triggered_at: Option<UnixMillis>,
}

fn view(endpoint: &Endpoint, caller: &Caller) -> Value {
    let mut view = Map::new();
    view.insert("id".to_owned(), json!(endpoint.id));
    match &endpoint.settings {
        Some(settings) => {
            view.extend(settings.to_object());
            // Many services put a token there: only those who may change it need it.
            if WEBHOOKS.admin().check(caller).is_err() {
                view.insert("url".to_owned(), without_secrets(&settings.url).into());
            }
        }
        None => view.extend(of_environment(endpoint)),
    }
    view.extend(object_of(&Beside {
        header_names: &endpoint.header_names,
        state: state(endpoint),
        disabled_reason: endpoint.disabled_reason.as_deref(),
        managed_by: if endpoint.settings.is_some() {
            "api"
        } else {
            "environment"
        },
        created_by: endpoint.created_by.as_deref(),
        created_at: endpoint.created_at,
        updated_at: endpoint.updated_at,
        last_triggered_at: endpoint.last_triggered_at,
    }));
    view.into()
}

/// The rest of it stands in the environment, not in the tables.
fn of_environment(endpoint: &Endpoint) -> Map<String, Value> {
    let Value::Object(shown) = json!({
        "name": endpoint.id,
        "url": endpoint.url.as_deref().map(without_secrets),
        "events": ["*"],
        "property_ids": "*",
        "active": !endpoint.is_paused,
    }) else {
        unreachable!("it is an object")
    };
    shown
}

/// Whether events go out at all; what was queued is kept in every state.
fn state(endpoint: &Endpoint) -> &'static str {
    match () {
        () if endpoint.url.is_none() => "no_url",
        () if endpoint.disabled_reason.is_some() => "disabled",
        () if endpoint.is_paused => "paused",
        () => "active",
    }
}
