//! `GET /webhooks/{id}/stats` and `GET /stats`: the attempts of a period, as they were counted when they were settled.

use super::{Api, deliveries};
use crate::store::{AttemptCounts, DeliveryRow, HOUR_MS, hour_of};
use api::{Request, Response, list::parse_parameters, reply};
use contract::{Problem, ProblemCode, Scope, UnixMillis, id::EndpointId};
use kit::database_problem;
use serde_json::{Map, Value, json};

const PERIOD_DAYS: &str = "period_days";
const PERIOD_DAYS_DEFAULT: u32 = 30;
/// As long as statistics are kept.
const PERIOD_DAYS_MAX: u32 = 400;
/// Deliveries that are shown beside the numbers.
const RECENT: usize = 10;

/// `GET /webhooks/{id}/stats`
pub async fn of_webhook(api: Api, request: Request) -> Result<Response, Problem> {
    let days = period_days(&request)?;
    let (id, scope) = (request.id("id")?, request.caller.scope.clone());
    api.desk.check_sees(&scope, &id).await?;
    answer(&api, scope, Some(id), days).await
}

/// `GET /stats`
pub async fn of_all(api: Api, request: Request) -> Result<Response, Problem> {
    let days = period_days(&request)?;
    answer(&api, request.caller.scope.clone(), None, days).await
}

fn period_days(request: &Request) -> Result<u32, Problem> {
    let given = parse_parameters(&[PERIOD_DAYS], request.query())?;
    let Some((_, text)) = given.first() else {
        return Ok(PERIOD_DAYS_DEFAULT);
    };
    let days = text
        .parse()
        .ok()
        .filter(|days| (1..=PERIOD_DAYS_MAX).contains(days));
    days.ok_or_else(|| {
        let detail = format!("{PERIOD_DAYS} must be 1 to {PERIOD_DAYS_MAX}");
        Problem::new(ProblemCode::InvalidQuery).with_detail(detail)
    })
}

async fn answer(
    api: &Api,
    scope: Scope,
    endpoint: Option<EndpointId>,
    days: u32,
) -> Result<Response, Problem> {
    let endpoints = match (&endpoint, &scope) {
        (Some(one), _) => Some(vec![one.clone()]),
        (None, Scope::All) => None,
        (None, Scope::Parts(_)) => {
            let seen = api.desk.endpoints(&scope).await?.into_iter();
            Some(seen.map(|one| one.id).collect())
        }
    };
    let hours = i64::from(days) * 24;
    let since = UnixMillis(hour_of(api.desk.clock.now()).0 - (hours - 1) * HOUR_MS);
    let store = &api.desk.store;
    let stats = store.delivery_stats(endpoints, since).await;
    let stats = stats.map_err(database_problem)?;
    let recent = store.attempted_deliveries(endpoint, scope, RECENT).await;
    let recent = recent.map_err(database_problem)?;
    let mut shown = counts(&stats.total);
    let beside = [
        ("period_days", json!(days)),
        ("recent_logs", recent.iter().map(log).collect()),
        (
            "by_hour",
            stats
                .hours
                .iter()
                .map(|(hour, of)| named("hour", json!(hour), of))
                .collect(),
        ),
        (
            "by_type",
            stats
                .types
                .iter()
                .map(|(name, of)| named("type", json!(name), of))
                .collect(),
        ),
    ];
    shown.extend(beside.map(|(name, value): (&str, Value)| (name.to_owned(), value)));
    Ok(reply::ok(&shown))
}

fn named(name: &str, value: Value, of: &AttemptCounts) -> Value {
    let mut shown = counts(of);
    shown.insert(name.to_owned(), value);
    shown.into()
}

/// Where there was no attempt, there is no rate and no duration.
fn counts(of: &AttemptCounts) -> Map<String, Value> {
    let attempts = of.attempts();
    let hundredths = (of.delivered * 10_000 + attempts / 2).checked_div(attempts);
    let Value::Object(shown) = json!({
        "total_triggers": attempts,
        "successful_triggers": of.delivered,
        "failed_triggers": of.failed,
        "success_rate": hundredths.map(|hundredths| hundredths as f64 / 100.0),
        "avg_duration_ms": of.duration_ms.checked_div(attempts),
        "p95_duration_ms": of.percentile_ms(95),
    }) else {
        unreachable!("it is an object")
    };
    shown
}

/// A delivery with how long its last attempt took.
fn log((row, duration_ms): &(DeliveryRow, Option<u64>)) -> Value {
    let mut shown = deliveries::view(row);
    shown["duration_ms"] = json!(duration_ms);
    shown
}
