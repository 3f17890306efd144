//! `GET /guest-profiles` and `GET /guest-profiles/{id}`: who the guests are.
//!
//! The list finds people by name (the beginnings of words of all their names), e-mail, telephone number and country; it
//! shows each without what only the whole profile has. A merged or deleted guest is listed only by its `status`.

use super::{Api, malformed, typed};
use crate::{
    profile::{
        Profile,
        terms::TermKind,
        view::{self, OnDay},
    },
    store::{ProfileFilter, StoredProfile},
};
use api::{
    Request, Response,
    answers::ANSWER_BYTES_IN_ALL,
    list::{ListQuery, ListSpec, SortField, parse_parameters},
    reply,
};
use contract::{Problem, ProblemCode, ProfileId, Scope, date::parse_date};
use jiff::civil::Date;
use kit::{database_problem, fold::words::typed_words, listing};
use serde_json::Value;
use std::time::Duration;
use tokio::{sync::SemaphorePermit, time::timeout};

const GUEST_PROFILES: ListSpec = ListSpec {
    name: "guest_profiles",
    filters: &["name", "email", "phone", "country", "property_id", "status"],
    sorts: &[SortField::int("updated_at"), SortField::text("name")],
    descending_by_default: true,
    updated_since: true,
};

/// How many reservations of a profile are shown, the newest first; `metrics.reservations` counts them all.
const RESERVATIONS_SHOWN: usize = 100;

/// How many times its text's length a profile takes in memory while it is read and shown: as fields, as a tree, as an
/// answer.
const PROFILE_COST: usize = 8;
/// The most that is counted for one profile: the largest of all must be shown too.
const PROFILE_COST_MAX: usize = ANSWER_BYTES_IN_ALL / 2;
/// Longer profiles are read one at a time: several would use up the memory budget of all other answers.
const PROFILE_BYTES_USUAL: usize = PROFILE_COST_MAX / PROFILE_COST / 8;
/// How long a request for a long profile waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(1);
/// When a client should come back that did not get its turn.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The filters that are looked up as whole terms.
const TERMS: [(&str, TermKind); 3] = [
    ("email", TermKind::Email),
    ("phone", TermKind::Phone),
    ("country", TermKind::Country),
];

/// `GET /guest-profiles`
pub async fn list(api: Api, request: Request) -> Result<Response, Problem> {
    let query = request.list(&GUEST_PROFILES)?;
    let rows = api
        .store
        .profiles(&filter(&query, &request.caller.scope)?, &query)
        .await
        .map_err(database_problem)?;
    listing::answer(&request.answers, &query, rows, |summary| summary).await
}

/// `GET /guest-profiles/{id}`, with `as_of`: the day that `next_stay` and `in_house` are about, by default today at each
/// stay's own property.
pub async fn show(api: Api, request: Request) -> Result<Response, Problem> {
    let as_of = as_of(&request)?;
    let (stored, _turn) = stored(&api, &request.id("id")?).await?;
    let place = request.answers.reserve();
    place.grow((PROFILE_COST * stored.bytes()).min(PROFILE_COST_MAX))?;
    let (profile, days) = stored.read().map_err(database_problem)?;
    if !profile.is_in(&request.caller.scope) {
        return Err(Problem::new(ProblemCode::NotFound));
    }
    let on_day = match as_of {
        Some(day) => view::on_day(&profile.reservations, day),
        None => view::today(&profile.reservations, &days, api.clock.now()),
    };
    Ok(place.with(reply::ok(&shown(profile, on_day))))
}

/// A profile as it is stored, and the turn of a large one, to be kept until its answer is made.
async fn stored<'a>(
    api: &'a Api,
    id: &ProfileId,
) -> Result<(StoredProfile, Option<SemaphorePermit<'a>>), Problem> {
    let not_found = || Problem::new(ProblemCode::NotFound);
    let found = api
        .store
        .stored_profile(id, PROFILE_BYTES_USUAL)
        .await
        .map_err(database_problem)?;
    if let Some(usual) = found.ok_or_else(not_found)? {
        return Ok((usual, None));
    }
    let turn = timeout(TURN_WITHIN, api.large_profiles.acquire()).await;
    let turn = turn
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| Problem::new(ProblemCode::Unavailable).with_retry_after(RETRY_AFTER_SECONDS))?;
    let large = api
        .store
        .stored_profile(id, usize::MAX)
        .await
        .map_err(database_problem)?;
    Ok((large.flatten().ok_or_else(not_found)?, Some(turn)))
}

/// The whole profile, its metrics with what depends on the day.
fn shown(mut profile: Profile, on_day: OnDay) -> Value {
    profile.reservations.truncate(RESERVATIONS_SHOWN);
    let mut whole = serde_json::to_value(profile).expect("a profile always serialises");
    let on_day = serde_json::to_value(on_day).expect("a day always serialises");
    if let (Some(metrics), Value::Object(on_day)) = (whole["metrics"].as_object_mut(), on_day) {
        metrics.extend(on_day);
    }
    whole
}

fn as_of(request: &Request) -> Result<Option<Date>, Problem> {
    match parse_parameters(&["as_of"], request.query())?.first() {
        None => Ok(None),
        Some((name, text)) => parse_date(text).map(Some).ok_or_else(|| malformed(name)),
    }
}

fn filter(query: &ListQuery, scope: &Scope) -> Result<ProfileFilter, Problem> {
    let mut terms = Vec::new();
    for (name, kind) in TERMS {
        if let Some(text) = query.filter(name) {
            terms.push((kind, kind.fold(text).ok_or_else(|| malformed(name))?));
        }
    }
    let name = query.filter("name").map(typed_words);
    if name.as_ref().is_some_and(Vec::is_empty) {
        return Err(malformed("name"));
    }
    Ok(ProfileFilter {
        name: name.unwrap_or_default(),
        terms,
        property_id: typed(query, "property_id")?,
        status: typed(query, "status")?,
        scope: scope.clone(),
    })
}
