//! `/properties`: list and make, show and change one.

use super::{
    Api, ApiError,
    write::{CALLER, DECISIONS_MAX, read_object},
};
use crate::{
    domain::{property::Property, refusal::Refusal},
    store::PropertyWritten,
};
use api::{ListSpec, Preconditions, Request, RequestContext, Response, SortField, etag, reply};
use contract::{PropertyId, UnixMillis};
use kit::{
    audit::AuditEntry,
    idempotency::{Answer, Key, Slot},
    listing,
};
use serde_json::{Map, Value};
use std::sync::Arc;

/// `GET /properties`
const LIST: ListSpec = ListSpec {
    name: "properties",
    filters: &[],
    sorts: &[SortField::int("created_at")],
    descending_by_default: false,
    updated_since: true,
};

/// `GET /properties`
pub async fn list(api: Api, request: Request) -> Result<Response, ApiError> {
    let query = LIST.parse(request.query())?;
    let rows = api.store.properties(&query).await?;
    Ok(listing::answer(&request.answers, &query, rows, |property| property.to_json()).await?)
}

/// `POST /properties`
pub async fn create(api: Api, mut request: Request) -> Result<Response, ApiError> {
    let key = Key::of(&request)?;
    let (raw, body) = read_object(&mut request).await?;
    let context = Arc::clone(&request.context);
    let (worker, told, held) = (api.clone(), Arc::clone(&context), Arc::clone(&raw));
    let work = |slot| async move {
        let _held = held;
        make(&worker, &told, body, slot).await
    };
    Ok(api.idempotency.run(CALLER, &context, key, &raw, work).await?)
}

/// `GET /properties/{id}`
pub async fn show(api: Api, request: Request) -> Result<Response, ApiError> {
    let property = find(&api.for_reads(), &request.id("id")?).await?;
    Ok(etag::with_etag(reply::ok(&property.to_json()), property.version))
}

/// `PUT /properties/{id}`: merges.
pub async fn merge(api: Api, mut request: Request) -> Result<Response, ApiError> {
    let id: PropertyId = request.id("id")?;
    let expected = Preconditions::from_headers(&request.headers)?;
    let (_held, patch) = read_object(&mut request).await?;
    for _ in 0..DECISIONS_MAX {
        let before = find(&api, &id).await?;
        expected.check(before.version)?;
        let now = api.clock.now();
        let Some(after) = before.merge(patch.clone(), now)? else {
            return Ok(shown(&before).into_response());
        };
        let answer = shown(&after);
        let mut entry = entry("property_updated", &request.context, &after, now);
        entry.changed = before
            .differences(&after)
            .into_iter()
            .map(str::to_owned)
            .collect();
        match api.store.change_property(after, entry).await? {
            PropertyWritten::Committed => return Ok(answer.into_response()),
            PropertyWritten::Overtaken | PropertyWritten::Taken => {}
        }
    }
    Err(ApiError::Overtaken)
}

async fn make(
    api: &Api,
    context: &RequestContext,
    body: Map<String, Value>,
    slot: Slot,
) -> Result<Answer, ApiError> {
    let now = api.clock.now();
    let property = Property::create(body, now)?;
    let location = format!("{}/properties/{}", api.base_path, property.id);
    let answer = Answer::created(location, property.version, &property.to_json());
    let entry = entry("property_created", context, &property, now);
    let written = api
        .store
        .create_property(property, entry, answer.clone(), slot)
        .await?;
    match written {
        PropertyWritten::Committed => Ok(answer),
        PropertyWritten::Taken | PropertyWritten::Overtaken => Err(Refusal::NotUnique {
            pointer: "/id".to_owned(),
        }
        .into()),
    }
}

async fn find(api: &Api, id: &PropertyId) -> Result<Property, ApiError> {
    Ok(api.store.property(id).await?.ok_or(Refusal::NotFound)?)
}

fn shown(property: &Property) -> Answer {
    Answer::ok(property.version, &property.to_json())
}

fn entry(action: &'static str, context: &RequestContext, property: &Property, now: UnixMillis) -> AuditEntry {
    let mut entry = AuditEntry::new(action, now);
    entry.property_id = Some(property.id.to_string());
    entry.entity_kind = Some("property".to_owned());
    entry.entity_id = Some(property.id.to_string());
    entry.entity_version = i64::try_from(property.version).ok();
    entry.correlation_id = Some(context.correlation_id.to_string());
    entry.request_id = Some(context.request_id.to_string());
    entry
}
