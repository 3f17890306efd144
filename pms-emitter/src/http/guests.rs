//! `/guests`: list and make, show, change and delete one.

use super::{
    Api,
    guest_query::{self, LIST},
    write::{expected_version, once, origin, read_object},
};
use crate::{
    desk::{AnswerToKeep, GuestWithWarnings},
    domain::guest_command::take_property,
};
use api::{Request, Response, etag, reply};
use contract::{GuestId, Problem};
use kit::{
    database_problem,
    idempotency::{Answer, Key, Slot},
    listing,
};
use serde_json::{Map, Value};
use std::sync::Arc;

/// `GET /guests`
pub async fn list(api: Api, request: Request) -> Result<Response, Problem> {
    let query = request.list(&LIST)?;
    let filter = guest_query::filter(&query, &request.caller.scope)?;
    let rows = api.desk.store.guests(&filter, &query).await;
    let rows = rows.map_err(database_problem)?;
    listing::answer(&request.answers, &query, rows, |guest| guest.to_json()).await
}

/// `POST /guests`
pub async fn create(api: Api, mut request: Request) -> Result<Response, Problem> {
    let key = Key::of(&request)?;
    let (raw, mut body) = read_object(&mut request).await?;
    let property = take_property(&mut body)?;
    let (desk, base_path, origin) = (api.desk.clone(), Arc::clone(&api.base_path), origin(&request));
    let work = |slot| async move {
        let answer = AnswerToKeep::new(slot, move |made: &GuestWithWarnings| created(&base_path, made));
        desk.create_guest(&origin, &property, body, &answer).await
    };
    once(&api, &request.caller, &request.context, key, raw, work).await
}

/// `GET /guests/{id}`
pub async fn show(api: Api, request: Request) -> Result<Response, Problem> {
    let guest = api.desk.guest(&request.caller.scope, &request.id("id")?).await?;
    Ok(etag::with_etag(reply::ok(&guest.to_json()), guest.version))
}

/// `PUT /guests/{id}` and `PATCH /guests/{id}`: both merge.
pub async fn merge(api: Api, mut request: Request) -> Result<Response, Problem> {
    let id: GuestId = request.id("id")?;
    let expected = expected_version(&request)?;
    let (_held, patch) = read_object(&mut request).await?;
    let answer = AnswerToKeep::new(Slot::without_key(), |merged: &GuestWithWarnings| {
        Answer::ok(merged.guest.version, &view(merged))
    });
    let answer = api
        .desk
        .change_guest(&origin(&request), &id, &patch, &expected, &answer)
        .await?;
    Ok(answer.into_response())
}

/// `DELETE /guests/{id}`
pub async fn delete(api: Api, request: Request) -> Result<Response, Problem> {
    let id: GuestId = request.id("id")?;
    let expected = expected_version(&request)?;
    api.desk.delete_guest(&origin(&request), &id, &expected).await?;
    Ok(reply::no_content())
}

fn created(base_path: &str, made: &GuestWithWarnings) -> Answer {
    let guest = &made.guest;
    let location = format!("{base_path}/guests/{}", guest.id);
    Answer::created(location, guest.version, &view(made))
        .about("guest", guest.id.as_str())
        .in_part(guest.property_id.as_str())
}

/// The guest with the warnings of the write that the answer belongs to.
fn view(written: &GuestWithWarnings) -> Map<String, Value> {
    let mut view = written.guest.to_json();
    let warnings = serde_json::to_value(&written.warnings).expect("warnings always serialise");
    view.insert("warnings".to_owned(), warnings);
    view
}
