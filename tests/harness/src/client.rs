//! A client of the REST API as a front desk's software has one: keep-alive, idempotency keys on every POST, and
//! retries.
//!
//! A call is repeated until it has a final answer: connection errors, time-outs, 429, 503 and a key whose first request
//! still runs are not. That is safe, since a POST carries its `Idempotency-Key` and a PUT repeats nothing.

use anyhow::Context;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// One attempt, from the connection to the last byte of the answer.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(15);
/// How long a call is repeated: longer than any restart.
const PATIENCE: Duration = Duration::from_secs(90);
/// The pause after the first failed attempt; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Talks to one service; clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    base: String,
}

/// The service's final answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body; null when there is none.
    pub body: Value,
}

/// The service gave no final answer in time, or an unexpected one.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path}: {what}")]
pub struct Unanswered {
    method: Method,
    path: String,
    what: String,
}

/// One request; `key` makes a POST repeatable, and `expected`, the version that is to be changed, any other.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: &'a Method,
    /// Below the client's base.
    pub path: &'a str,
    /// The JSON that is sent.
    pub body: Option<&'a Value>,
    /// The `Idempotency-Key`.
    pub key: Option<&'a str>,
    /// The `If-Match`.
    pub expected: Option<u64>,
}

impl Client {
    /// A client of the API under `base`, such as `http://127.0.0.1:4001/api/v1`.
    pub fn new(base: impl Into<String>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            pool: Pool::builder(TokioExecutor::new()).build(connector),
            base: base.into(),
        }
    }

    /// Reads.
    ///
    /// # Errors
    /// No final answer within the client's time limit; the same for the other methods.
    pub async fn get(&self, path: &str) -> Result<Answer, Unanswered> {
        self.call(Call {
            method: &Method::GET,
            path,
            body: None,
            key: None,
            expected: None,
        })
        .await
    }

    /// Posts `body` under an idempotency key, which must be another for every other call.
    pub async fn post(&self, path: &str, body: &Value, key: &str) -> Result<Answer, Unanswered> {
        self.call(Call {
            method: &Method::POST,
            path,
            body: Some(body),
            key: Some(key),
            expected: None,
        })
        .await
    }

    /// Merges `body` into what is there.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer, Unanswered> {
        self.call(Call {
            method: &Method::PUT,
            path,
            body: Some(body),
            key: None,
            expected: None,
        })
        .await
    }

    /// Boxed, as is what else a caller in another crate would compile again.
    fn call<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Answer, Unanswered>> {
        Box::pin(self.call_until_answered(call))
    }

    async fn call_until_answered(&self, call: Call<'_>) -> Result<Answer, Unanswered> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = PAUSE_FIRST;
        loop {
            let what = match self.once(call, ATTEMPT_WITHIN).await {
                Ok(answer) if !answer.is_to_be_repeated() => return Ok(answer),
                Ok(answer) => format!("answered {}", answer.status),
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() + pause > deadline {
                return Err(Unanswered {
                    method: call.method.clone(),
                    path: call.path.to_owned(),
                    what,
                });
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Makes one attempt.
    ///
    /// # Errors
    /// When no complete answer comes `within`; the call may have been carried out anyway.
    pub fn once<'a>(&'a self, call: Call<'a>, within: Duration) -> BoxFuture<'a, anyhow::Result<Answer>> {
        Box::pin(async move {
            let attempt = timeout(within, self.attempt(call)).await;
            attempt.context("no answer in time")?
        })
    }

    async fn attempt(&self, call: Call<'_>) -> anyhow::Result<Answer> {
        let expected = call.expected.map(|version| format!("\"{version}\""));
        let headers = [
            ("content-type", Some("application/json")),
            ("idempotency-key", call.key),
            ("if-match", expected.as_deref()),
        ];
        let headers: Vec<_> = headers
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let body = call.body.map_or_else(Bytes::new, |body| body.to_string().into());
        let url = format!("{}{}", self.base, call.path);
        let answer = self.send(call.method, &url, &headers, body).await?;
        let (status, bytes) = (answer.status(), answer.into_body());
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)?
        };
        Ok(Answer { status, body })
    }

    /// Sends one request with any method, headers and bytes, to any address, and reads the whole answer; of a stream of events,
    /// which has no end, its head.
    ///
    /// # Errors
    /// When the request is none, or no whole answer comes.
    pub fn send(
        &self,
        method: &Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> BoxFuture<'static, anyhow::Result<Response<Bytes>>> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (request, pool) = (request.body(Full::new(body)), self.pool.clone());
        Box::pin(async move {
            let (parts, body) = pool.request(request?).await?.into_parts();
            if parts
                .headers
                .get(CONTENT_TYPE)
                .is_some_and(|media_type| media_type == "text/event-stream")
            {
                return Ok(Response::from_parts(parts, Bytes::new()));
            }
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        })
    }
}

impl Answer {
    /// Whether asking again makes sense: the service is busy, or the same key is still being worked on.
    pub fn is_to_be_repeated(&self) -> bool {
        matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) || (self.status == StatusCode::CONFLICT && self.body["code"] == "in_flight")
    }

    /// Why the service refused, short enough to count by: the problem's code, and for a validation where and which
    /// rule. Indices are left out, so that ten bad rates are one reason.
    pub fn refusal(&self) -> Option<String> {
        if self.status.is_success() {
            return None;
        }
        let code = self.body["code"].as_str().unwrap_or(self.status.as_str());
        let first = &self.body["errors"][0];
        Some(match (first["pointer"].as_str(), first["code"].as_str()) {
            (Some(pointer), Some(rule)) => format!("{code}: {} {rule}", without_indices(pointer)),
            _ => code.to_owned(),
        })
    }
}

fn without_indices(pointer: &str) -> String {
    let parts = pointer.split('/');
    let shown = parts.map(|part| if part.parse::<usize>().is_ok() { "*" } else { part });
    shown.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: u16, body: Value) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body,
        }
    }

    #[test]
    fn reasons_are_short_and_the_same_for_the_same_rule() {
        let refused = json!({"code": "validation_failed", "errors": [
            {"pointer": "/nightly_rates/3", "code": "not_an_amount", "message": "..."},
            {"pointer": "/nightly_rates/4", "code": "not_an_amount", "message": "..."},
        ]});
        let reason = answer(422, refused).refusal();
        assert_eq!(
            reason.as_deref(),
            Some("validation_failed: /nightly_rates/* not_an_amount")
        );
        let guard = answer(409, json!({"code": "transition_guard"})).refusal();
        assert_eq!(guard.as_deref(), Some("transition_guard"));
        assert_eq!(answer(404, Value::Null).refusal().as_deref(), Some("404"));
        assert_eq!(answer(201, json!({})).refusal(), None);
    }

    #[test]
    fn only_what_may_go_better_is_repeated() {
        for (status, code, repeated) in [
            (503, "unavailable", true),
            (429, "too_many_requests", true),
            (409, "in_flight", true),
            (409, "invalid_transition", false),
            (422, "validation_failed", false),
            (500, "internal", false),
            (201, "", false),
        ] {
            let answer = answer(status, json!({"code": code}));
            assert_eq!(answer.is_to_be_repeated(), repeated, "{status} {code}");
        }
    }
}
