//! `/properties`: list and make, show and change one.

use super::{
    Api,
    write::{expected_version, once, origin, read_object},
};
use crate::{desk::AnswerToKeep, domain::property::Property};
use api::{ListSpec, Request, Response, SortField, etag, reply};
use contract::{Problem, PropertyId};
use kit::{
    database_problem,
    idempotency::{Answer, Key, Slot},
    listing,
};
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
pub async fn list(api: Api, request: Request) -> Result<Response, Problem> {
    let query = request.list(&LIST)?;
    let rows = api.desk.store.properties(&request.caller.scope, &query).await;
    let rows = rows.map_err(database_problem)?;
    listing::answer(&request.answers, &query, rows, |property| property.to_json()).await
}

/// `POST /properties`
pub async fn create(api: Api, mut request: Request) -> Result<Response, Problem> {
    let key = Key::of(&request)?;
    let (raw, body) = read_object(&mut request).await?;
    let (desk, base_path, origin) = (api.desk.clone(), Arc::clone(&api.base_path), origin(&request));
    let work = |slot| async move {
        let answer = AnswerToKeep::new(slot, move |made: &Property| {
            let location = format!("{base_path}/properties/{}", made.id);
            Answer::created(location, made.version, &made.to_json()).in_part(made.id.as_str())
        });
        desk.create_property(&origin, body, &answer).await
    };
    once(&api, &request.caller, &request.context, key, raw, work).await
}

/// `GET /properties/{id}`
pub async fn show(api: Api, request: Request) -> Result<Response, Problem> {
    let property = api
        .desk
        .property(&request.caller.scope, &request.id("id")?)
        .await?;
    Ok(etag::with_etag(reply::ok(&property.to_json()), property.version))
}

/// `PUT /properties/{id}`: merges.
pub async fn merge(api: Api, mut request: Request) -> Result<Response, Problem> {
    let id: PropertyId = request.id("id")?;
    let expected = expected_version(&request)?;
    let (_held, patch) = read_object(&mut request).await?;
    let answer = AnswerToKeep::new(Slot::without_key(), |merged: &Property| {
        Answer::ok(merged.version, &merged.to_json())
    });
    let answer = api
        .desk
        .change_property(&origin(&request), &id, &patch, &expected, &answer)
        .await?;
    Ok(answer.into_response())
}
