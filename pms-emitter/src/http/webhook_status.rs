//! `GET /guests/webhook/status`: how delivery stands, endpoint by endpoint.

use super::{Api, ApiError};
use crate::store::{BreakerChange, EndpointStatus};
use api::{Request, Response, reply};
use contract::{UnixMillis, id::EndpointId};
use serde::Serialize;
use url::Url;

#[derive(Serialize)]
struct Status {
    endpoints: Vec<Endpoint>,
    pending: u64,
    delivered: u64,
    dead: u64,
}

#[derive(Serialize)]
struct Endpoint {
    id: EndpointId,
    url: Option<String>,
    state: State,
    disabled_reason: Option<String>,
    paused_until: Option<UnixMillis>,
    breaker: Breaker,
    pending: u64,
    delivered: u64,
    dead: u64,
    last_success_at: Option<UnixMillis>,
    last_error_at: Option<UnixMillis>,
    last_error: Option<String>,
}

/// Whether events go out at all.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Active,
    Paused,
    Disabled,
    NoUrl,
}

#[derive(Serialize)]
struct Breaker {
    state: &'static str,
    since: UnixMillis,
    history: Vec<Change>,
}

#[derive(Serialize)]
struct Change {
    at: UnixMillis,
    from: &'static str,
    to: &'static str,
    reason: String,
}

/// Answers every endpoint, and the sums over them.
pub async fn show(api: Api, _request: Request) -> Result<Response, ApiError> {
    let statuses = api.desk.store.endpoint_statuses().await?;
    let now = api.desk.clock.now();
    let sum = |count: fn(&EndpointStatus) -> u64| statuses.iter().map(count).sum();
    let (pending, delivered, dead) = (
        sum(|one| one.pending),
        sum(|one| one.delivered),
        sum(|one| one.dead),
    );
    let endpoints = statuses
        .into_iter()
        .map(|status| Endpoint::of(status, now))
        .collect();
    Ok(reply::ok(&Status {
        endpoints,
        pending,
        delivered,
        dead,
    }))
}

impl Endpoint {
    fn of(status: EndpointStatus, now: UnixMillis) -> Self {
        let paused_until = status.is_paused(now).then_some(status.paused_until);
        let (last_error_at, last_error) = status.last_error.unzip();
        let (state, since) = status.breaker;
        Self {
            state: match () {
                () if status.url.is_none() => State::NoUrl,
                () if status.disabled_reason.is_some() => State::Disabled,
                () if paused_until.is_some() => State::Paused,
                () => State::Active,
            },
            id: status.id,
            url: status.url.as_deref().map(without_user_info),
            disabled_reason: status.disabled_reason,
            paused_until,
            breaker: Breaker {
                state: state.as_str(),
                since,
                history: status.breaker_history.into_iter().map(Change::of).collect(),
            },
            pending: status.pending,
            delivered: status.delivered,
            dead: status.dead,
            last_success_at: status.last_success_at,
            last_error_at,
            last_error,
        }
    }
}

impl Change {
    fn of(change: BreakerChange) -> Self {
        Self {
            at: change.at,
            from: change.from.as_str(),
            to: change.to.as_str(),
            reason: change.reason,
        }
    }
}

/// The address without what may be a secret in it: user-info and the query.
fn without_user_info(url: &str) -> String {
    let Ok(mut url) = url.parse::<Url>() else {
        return String::new();
    };
    // These fail only for addresses without a host, which no endpoint has.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
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
                "https://crm.example/hook",
            ),
            (
                "http://127.0.0.1:5001/api/v1/webhooks/pms",
                "http://127.0.0.1:5001/api/v1/webhooks/pms",
            ),
            ("nonsense", ""),
        ] {
            assert_eq!(without_user_info(url), shown);
        }
    }
}
