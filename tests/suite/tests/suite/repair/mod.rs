//! What an operator sees and repairs at the receiver: who was refused, dead letters given back to the projector. And what is deleted once
//! it is old enough.

mod purges;
mod rejections;
mod requeue_routes;
mod requeue_runs;

use crate::case::Case;
use crate::ingest::Receiver;
use harness::config::BASE_PATH;
use harness::signer::{Answer, Delivery};
use serde_json::Value;

pub fn cases() -> Vec<Case> {
    let modules = [
        purges::cases(),
        rejections::cases(),
        requeue_routes::cases(),
        requeue_runs::cases(),
    ];
    modules.into_iter().flatten().collect()
}

/// ADMIN_API_KEY of these cases.
const ADMIN: &str = "an-admin-key-of-the-suite-that-is-long";

/// Sends a request of the API, with a key or, from this machine and while there is none, without.
async fn ask(
    receiver: &Receiver,
    key: Option<&str>,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Answer {
    let mut request = Delivery::bare(method, format!("{BASE_PATH}{path}"));
    if let Some(key) = key {
        request = request.and("x-api-key", key);
    }
    if let Some(body) = body {
        request = request
            .with("content-type", "application/json")
            .with_body(body.to_string());
    }
    receiver.send(&request).await
}

/// The answer, which must have this status.
async fn asked(receiver: &Receiver, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
    let answer = ask(receiver, None, method, path, body.clone()).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, status, "{method} {path} {body:?}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}
