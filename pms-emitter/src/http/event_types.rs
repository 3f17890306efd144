//! `/event-types`: list and make, show, change and delete one. Those that come with the program are shown like the others.

use super::{
    Api,
    write::{expected_version, once, origin, read_object},
};
use crate::{
    desk::AnswerToKeep,
    domain::{
        shipped_types,
        type_definition::{TypeDefinition, TypeName},
    },
    store::TypeSummary,
};
use api::{
    Caller, ListSpec, Request, Response, SortField, etag,
    list::{PAGE, PAGE_SIZE, short_list},
    reply,
};
use contract::{Problem, ProblemCode, Scope};
use kit::{
    database_problem,
    idempotency::{Answer, Key, Slot},
};
use serde::Serialize;
use std::sync::Arc;

const CATEGORY: &str = "category";
const ORIGIN: &str = "origin";
const PACK: &str = "pack";

/// `GET /event-types`
const LIST: ListSpec = ListSpec {
    name: "event-types",
    filters: &[CATEGORY, ORIGIN, PACK, PAGE, PAGE_SIZE],
    sorts: &[SortField::int("type")],
    descending_by_default: false,
    updated_since: false,
};

/// A row of the list: the type without its schema and example.
#[derive(Serialize)]
struct Row {
    #[serde(rename = "type")]
    name: String,
    origin: &'static str,
    packs: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    category: Option<String>,
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<contract::UnixMillis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<contract::UnixMillis>,
}

/// `GET /event-types`
pub async fn list(api: Api, request: Request) -> Result<Response, Problem> {
    let query = request.list(&LIST)?;
    let registered = api.desk.store.event_types().await.map_err(database_problem)?;
    let shipped = shipped_types::all().iter().map(|one| Row {
        name: one.name.clone(),
        origin: one.origin(),
        packs: one.packs,
        version: None,
        category: Some(one.category.clone()),
        description: Some(one.description.clone()),
        created_at: None,
        updated_at: None,
    });
    let mut rows: Vec<Row> = shipped.chain(registered.into_iter().map(row)).collect();
    let asked = |name, value: Option<&str>| query.filter(name).is_none_or(|wanted| value == Some(wanted));
    rows.retain(|row| {
        asked(CATEGORY, row.category.as_deref())
            && asked(ORIGIN, Some(row.origin))
            && query.filter(PACK).is_none_or(|pack| row.packs.contains(&pack))
    });
    // By their names alone. A position is an id, which has no dots; with hyphens for them the order is the same.
    let position = |row: &Row| (0, row.name.replace('.', "-"));
    short_list(&query, rows, position, |row| serde_json::json!(row))
}

fn row(one: TypeSummary) -> Row {
    Row {
        name: one.name.to_string(),
        origin: "custom",
        packs: &[],
        version: Some(one.version),
        category: one.category,
        description: one.description,
        created_at: Some(one.created_at),
        updated_at: Some(one.updated_at),
    }
}

/// `POST /event-types`
pub async fn create(api: Api, mut request: Request) -> Result<Response, Problem> {
    sees_all(&request.caller)?;
    let key = Key::of(&request)?;
    let (raw, body) = read_object(&mut request).await?;
    let (desk, base_path, origin) = (api.desk.clone(), Arc::clone(&api.base_path), origin(&request));
    let work = |slot| async move {
        let answer = AnswerToKeep::new(slot, move |made: &TypeDefinition| {
            let location = format!("{base_path}/event-types/{}", made.name);
            Answer::created(location, made.version, &made.to_json())
        });
        desk.create_event_type(&origin, body, &answer).await
    };
    once(&api, &request.caller, &request.context, key, raw, work).await
}

/// `GET /event-types/{type}`
pub async fn show(api: Api, request: Request) -> Result<Response, Problem> {
    if let Some(shipped) = shipped_types::find(request.param("type")) {
        return Ok(reply::ok(&shipped.to_json()));
    }
    let found = api.desk.event_type(&request.id("type")?).await?;
    Ok(etag::with_etag(reply::ok(&found.to_json()), found.version))
}

/// `PUT /event-types/{type}`: what is absent stays.
pub async fn merge(api: Api, mut request: Request) -> Result<Response, Problem> {
    sees_all(&request.caller)?;
    let name = name(&request)?;
    let expected = expected_version(&request)?;
    let (_held, patch) = read_object(&mut request).await?;
    let answer = AnswerToKeep::new(Slot::without_key(), |merged: &TypeDefinition| {
        Answer::ok(merged.version, &merged.to_json())
    });
    let answer = api
        .desk
        .change_event_type(&origin(&request), &name, &patch, &expected, &answer)
        .await?;
    Ok(answer.into_response())
}

/// `DELETE /event-types/{type}`
pub async fn delete(api: Api, request: Request) -> Result<Response, Problem> {
    sees_all(&request.caller)?;
    let (name, expected) = (name(&request)?, expected_version(&request)?);
    api.desk
        .delete_event_type(&origin(&request), &name, &expected)
        .await?;
    Ok(reply::no_content())
}

/// The type that a path names. One of the program's whose name nobody else could register cannot be changed either.
fn name(request: &Request) -> Result<TypeName, Problem> {
    if shipped_types::find(request.param("type")).is_some() {
        return Err(Problem::new(ProblemCode::ShippedEventType));
    }
    request.id("type")
}

/// A type is one for all properties: who sees some of them changes none for the others.
fn sees_all(caller: &Caller) -> Result<(), Problem> {
    if caller.scope.covers(&Scope::All) {
        return Ok(());
    }
    let detail = "types of events are those of all properties: a key of all of them may change one";
    Err(Problem::new(ProblemCode::Forbidden).with_detail(detail))
}
