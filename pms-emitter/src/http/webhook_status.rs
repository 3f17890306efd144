//! `GET /guests/webhook/status`: how delivery stands, endpoint by endpoint. `GET /webhooks/{id}/status`: one of them in detail.

use super::Api;
use crate::store::{BreakerChange, EndpointStatus, counted_up_to};
use api::{Request, Response, reply};
use contract::{Problem, ProblemCode, Scope, UnixMillis};
use kit::database_problem;
use serde_json::{Value, json};
use url::Url;

/// Answers every endpoint, and the sums over them.
pub async fn show(api: Api, request: Request) -> Result<Response, Problem> {
    // The counts are those of all properties.
    if request.caller.scope != Scope::All {
        return Err(Problem::new(ProblemCode::NotFound));
    }
    let statuses = api.desk.store.endpoint_statuses().await;
    let statuses = statuses.map_err(database_problem)?;
    let now = api.desk.clock.now();
    let sum = |count: fn(&EndpointStatus) -> u64| statuses.iter().map(count).sum::<u64>();
    Ok(reply::ok(&json!({
        "endpoints": statuses.iter().map(|status| endpoint(status, now)).collect::<Vec<_>>(),
        "pending": sum(|one| one.pending),
        "delivered": sum(|one| one.delivered),
        "dead": sum(|one| one.dead),
        "counted_up_to": counted_up_to(statuses.len()),
    })))
}

/// `GET /webhooks/{id}/status`
pub async fn show_one(api: Api, request: Request) -> Result<Response, Problem> {
    let id = request.id("id")?;
    let details = api.desk.endpoint_details(&request.caller.scope, &id).await?;
    let now = api.desk.clock.now();
    let mut shown = endpoint(&details.status, now);
    let is_paused = details.is_paused_by_person;
    if is_paused && shown["state"] == "active" {
        shown["state"] = "paused".into();
    }
    shown["paused"] = is_paused.into();
    shown["in_flight"] = details.in_flight.into();
    let oldest = details.oldest_pending.as_ref();
    shown["oldest_pending"] = oldest
        .map(|(event, at)| {
            let age = now.0.saturating_sub(at.0).max(0) / 1_000;
            json!({"event_id": event, "committed_at": at, "age_seconds": age})
        })
        .into();
    Ok(reply::ok(&shown))
}

fn endpoint(status: &EndpointStatus, now: UnixMillis) -> Value {
    let is_paused = status.is_paused(now);
    // Whether events go out at all.
    let state = match () {
        () if status.url.is_none() => "no_url",
        () if status.disabled_reason.is_some() => "disabled",
        () if is_paused => "paused",
        () => "active",
    };
    let (breaker, since) = status.breaker;
    let (last_error_at, last_error) = status.last_error.as_ref().map(|(at, error)| (at, error)).unzip();
    json!({
        "id": status.id,
        "url": status.url.as_deref().map(without_secrets),
        "state": state,
        "disabled_reason": status.disabled_reason,
        "paused_until": is_paused.then_some(status.paused_until),
        "breaker": {
            "state": breaker.as_str(),
            "since": since,
            "history": status.breaker_history.iter().map(change).collect::<Vec<_>>(),
        },
        "pending": status.pending,
        "delivered": status.delivered,
        "dead": status.dead,
        "last_success_at": status.last_success_at,
        "last_error_at": last_error_at,
        "last_error": last_error,
    })
}

fn change(change: &BreakerChange) -> Value {
    json!({
        "at": change.at,
        "from": change.from.as_str(),
        "to": change.to.as_str(),
        "reason": change.reason,
    })
}

/// The address without what may be a secret in it: user-info, and what the query says.
pub(super) fn without_secrets(url: &str) -> String {
    let Ok(mut url) = url.parse::<Url>() else {
        return String::new();
    };
    // These fail only for addresses without a host, which no endpoint has.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if url.query().is_some() {
        url.set_query(Some("..."));
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        for (url, shown) in [
            (
                "https://user:hunter2@crm.example/hook?token=hunter2",
                "https://crm.example/hook?...",
            ),
            (
                "http://127.0.0.1:5001/api/v1/webhooks/pms",
                "http://127.0.0.1:5001/api/v1/webhooks/pms",
            ),
            ("nonsense", ""),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
