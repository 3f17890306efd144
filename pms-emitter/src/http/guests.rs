//! `/guests`: list and make, show, change and delete one.

use super::{
    Api, ApiError,
    guest_query::{self, LIST},
    write::{CALLER, DECISIONS_MAX, new_event, new_id, read_object},
};
use crate::{
    domain::{
        change::Outcome,
        guest::{Guest, GuestStatus},
        guest_command::{self, Applied, Situation, no_property, take_property},
        property::Property,
        refusal::Refusal,
    },
    store::GuestWritten,
};
use api::{Preconditions, Request, RequestContext, Response, etag, reply};
use contract::{FieldError, GuestId, PropertyId};
use kit::{
    idempotency::{Answer, Key, Slot},
    listing,
};
use serde_json::{Map, Value};
use std::sync::Arc;

/// `GET /guests`
pub async fn list(api: Api, request: Request) -> Result<Response, ApiError> {
    let query = LIST.parse(request.query())?;
    let rows = api.store.guests(&guest_query::filter(&query)?, &query).await?;
    Ok(listing::answer(&request.answers, &query, rows, |guest| guest.to_json()).await?)
}

/// `POST /guests`
pub async fn create(api: Api, mut request: Request) -> Result<Response, ApiError> {
    let key = Key::of(&request)?;
    let (raw, mut body) = read_object(&mut request).await?;
    let property = take_property(&mut body)?;
    let context = Arc::clone(&request.context);
    let (worker, told, held) = (api.clone(), Arc::clone(&context), Arc::clone(&raw));
    let work = |slot| async move {
        let _held = held;
        make(&worker, &told, &property, body, slot).await
    };
    Ok(api.idempotency.run(CALLER, &context, key, &raw, work).await?)
}

/// `GET /guests/{id}`
pub async fn show(api: Api, request: Request) -> Result<Response, ApiError> {
    let (guest, _) = find(&api.for_reads(), &request.id("id")?).await?;
    Ok(etag::with_etag(reply::ok(&guest.to_json()), guest.version))
}

/// `PUT /guests/{id}` and `PATCH /guests/{id}`: both merge.
pub async fn merge(api: Api, mut request: Request) -> Result<Response, ApiError> {
    let id: GuestId = request.id("id")?;
    let expected = Preconditions::from_headers(&request.headers)?;
    let (_held, patch) = read_object(&mut request).await?;
    for _ in 0..DECISIONS_MAX {
        let (before, property) = find(&api, &id).await?;
        expected.check(before.version)?;
        let now = api.clock.now();
        let situation = Situation {
            property: &property,
            now,
            digest_key: &api.digest_key,
        };
        let Applied { outcome, warnings } = guest_command::merge(&before, patch.clone(), situation)?;
        let change = match outcome {
            Outcome::Changed(change) => change,
            Outcome::Unchanged => return Ok(shown(&before, &warnings).into_response()),
        };
        let answer = shown(&change.state, &warnings);
        let event = new_event(&api, &request.context, &change, now);
        match api.store.change_guest(before, change, event).await? {
            GuestWritten::Committed => return Ok(answer.into_response()),
            GuestWritten::Overtaken => {}
            refused => return Err(refusal(&refused)),
        }
    }
    Err(ApiError::Overtaken)
}

/// `DELETE /guests/{id}`
pub async fn delete(api: Api, request: Request) -> Result<Response, ApiError> {
    let id: GuestId = request.id("id")?;
    let expected = Preconditions::from_headers(&request.headers)?;
    for _ in 0..DECISIONS_MAX {
        let (before, _) = find(&api, &id).await?;
        expected.check(before.version)?;
        let now = api.clock.now();
        let change = guest_command::delete(&before, now)?;
        let event = new_event(&api, &request.context, &change, now);
        match api.store.delete_guest(before, change, event).await? {
            GuestWritten::Committed => return Ok(reply::no_content()),
            GuestWritten::Overtaken => {}
            refused => return Err(refusal(&refused)),
        }
    }
    Err(ApiError::Overtaken)
}

/// Makes a guest of a property; the answer is 201 with it.
async fn make(
    api: &Api,
    context: &RequestContext,
    property: &PropertyId,
    body: Map<String, Value>,
    slot: Slot,
) -> Result<Answer, ApiError> {
    let property = api.store.property(property).await?.ok_or_else(no_property)?;
    let now = api.clock.now();
    let situation = Situation {
        property: &property,
        now,
        digest_key: &api.digest_key,
    };
    let applied = guest_command::create(new_id(api), body, situation)?;
    let (change, warnings) = (applied.outcome, applied.warnings);
    let guest = &change.state;
    let location = format!("{}/guests/{}", api.base_path, guest.id);
    let answer =
        Answer::created(location, guest.version, &view(guest, &warnings)).about("guest", guest.id.as_str());
    let event = new_event(api, context, &change, now);
    match api
        .store
        .create_guest(change, event, answer.clone(), slot)
        .await?
    {
        GuestWritten::Committed => Ok(answer),
        refused => Err(refusal(&refused)),
    }
}

/// An active guest and its property; a merged, deleted or erased one is not found.
async fn find(api: &Api, id: &GuestId) -> Result<(Guest, Property), ApiError> {
    let found = api.store.guest(id).await?;
    let active = found.filter(|(guest, _)| guest.status == GuestStatus::Active);
    Ok(active.ok_or(Refusal::NotFound)?)
}

fn shown(guest: &Guest, warnings: &[FieldError]) -> Answer {
    Answer::ok(guest.version, &view(guest, warnings))
}

/// The guest with the warnings of the write that the answer belongs to.
fn view(guest: &Guest, warnings: &[FieldError]) -> Map<String, Value> {
    let mut view = guest.to_json();
    let warnings = serde_json::to_value(warnings).expect("warnings always serialise");
    view.insert("warnings".to_owned(), warnings);
    view
}

fn refusal(written: &GuestWritten) -> ApiError {
    match written {
        GuestWritten::Taken { index } => Refusal::NotUnique {
            pointer: format!("/external_ids/{index}"),
        }
        .into(),
        GuestWritten::InUse => Refusal::GuestInUse.into(),
        GuestWritten::Committed | GuestWritten::Overtaken => ApiError::Overtaken,
    }
}
