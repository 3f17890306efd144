//! `/guests`: list and make, show, change and delete one.

use super::{
    Api, ApiError,
    guest_query::{self, LIST},
    write::{expected_version, once, origin, read_object},
};
use crate::{
    desk::{AnswerToKeep, GuestWithWarnings},
    domain::guest_command::take_property,
};
use api::{Request, Response, etag, reply};
use contract::GuestId;
use kit::{
    idempotency::{Answer, Key},
    listing,
};
use serde_json::{Map, Value};
use std::sync::Arc;

/// `GET /guests`
pub async fn list(api: Api, request: Request) -> Result<Response, ApiError> {
    let query = LIST.parse(request.query())?;
    let rows = api
        .desk
        .store
        .guests(&guest_query::filter(&query)?, &query)
        .await?;
    Ok(listing::answer(&request.answers, &query, rows, |guest| guest.to_json()).await?)
}

/// `POST /guests`
pub async fn create(api: Api, mut request: Request) -> Result<Response, ApiError> {
    let key = Key::of(&request)?;
    let (raw, mut body) = read_object(&mut request).await?;
    let property = take_property(&mut body)?;
    let (desk, base_path, origin) = (api.desk.clone(), Arc::clone(&api.base_path), origin(&request));
    let work = |slot| async move {
        let answer = AnswerToKeep::new(slot, move |made: &GuestWithWarnings| created(&base_path, made));
        let answer = desk.create_guest(&origin, &property, body, answer).await?;
        Ok::<_, ApiError>(answer)
    };
    once(&api, &request.context, key, raw, work).await
}

/// `GET /guests/{id}`
pub async fn show(api: Api, request: Request) -> Result<Response, ApiError> {
    let guest = api.desk.guest(&request.id("id")?).await?;
    Ok(etag::with_etag(reply::ok(&guest.to_json()), guest.version))
}

/// `PUT /guests/{id}` and `PATCH /guests/{id}`: both merge.
pub async fn merge(api: Api, mut request: Request) -> Result<Response, ApiError> {
    let id: GuestId = request.id("id")?;
    let expected = expected_version(&request)?;
    let (_held, patch) = read_object(&mut request).await?;
    let merged = api
        .desk
        .change_guest(&origin(&request), &id, &patch, &expected)
        .await?;
    Ok(Answer::ok(merged.guest.version, &view(&merged)).into_response())
}

/// `DELETE /guests/{id}`
pub async fn delete(api: Api, request: Request) -> Result<Response, ApiError> {
    let id: GuestId = request.id("id")?;
    let expected = expected_version(&request)?;
    api.desk.delete_guest(&origin(&request), &id, &expected).await?;
    Ok(reply::no_content())
}

fn created(base_path: &str, made: &GuestWithWarnings) -> Answer {
    let guest = &made.guest;
    let location = format!("{base_path}/guests/{}", guest.id);
    Answer::created(location, guest.version, &view(made)).about("guest", guest.id.as_str())
}

/// The guest with the warnings of the write that the answer belongs to.
fn view(written: &GuestWithWarnings) -> Map<String, Value> {
    let mut view = written.guest.to_json();
    let warnings = serde_json::to_value(&written.warnings).expect("warnings always serialise");
    view.insert("warnings".to_owned(), warnings);
    view
}
