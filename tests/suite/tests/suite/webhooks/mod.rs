//! Webhooks: endpoints that are made through the API, and what is sent to them.

mod adoption;
mod deliveries;
mod endpoints;
mod notices;
mod ordering;
mod outages;
mod retries;
mod runs;
mod secrets;
mod sending;
mod shapes;
mod verifiers;

use contract::UnixSeconds;
use harness::receiver_double::{Received, ReceiverDouble};
use harness::waiting::until;
use http::Method;
use serde_json::{Value, json};

use crate::access::{ADMIN, with_key};
use crate::case::Case;
use crate::pms::{Pms, Reply};

pub fn cases() -> Vec<Case> {
    [
        adoption::cases(),
        deliveries::cases(),
        endpoints::cases(),
        notices::cases(),
        ordering::cases(),
        outages::cases(),
        retries::cases(),
        runs::cases(),
        secrets::cases(),
        sending::cases(),
        shapes::cases(),
        verifiers::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Who takes what is sent.
async fn double() -> ReceiverDouble {
    ReceiverDouble::start().await.unwrap()
}

/// An endpoint of everything at a double, with what differs.
async fn subscribe(pms: &Pms, double: &ReceiverDouble, with: Value) -> Reply {
    let mut body = json!({"name": "CRM", "url": double.url(), "events": ["*"]});
    body.as_object_mut()
        .unwrap()
        .extend(with.as_object().unwrap().clone());
    pms.post("/webhooks", &body).await.expect(201)
}

/// A guest of that last name, which makes an event.
async fn guest(pms: &Pms, name: &str) -> String {
    let made = pms.post("/guests", &json!({"last_name": name})).await;
    made.expect(201).id().to_owned()
}

/// Another last name of a guest, which makes an event too.
async fn rename(pms: &Pms, guest: &str, name: &str) {
    let path = format!("/guests/{guest}");
    pms.put(&path, &json!({"last_name": name})).await.expect(200);
}

/// A second hotel, beside that of every case.
fn lisbon() -> Value {
    json!({"id": "LIS01", "name": "Lisbon", "timezone": "Europe/Lisbon", "currency": "EUR"})
}

/// An endpoint of everything of these properties at a double, made with the admin key; its id.
async fn subscribe_to(pms: &Pms, double: &ReceiverDouble, properties: Value) -> String {
    let body = json!({"name": "one", "url": double.url(), "events": ["*"], "property_ids": properties});
    let made = with_key(pms, ADMIN, Method::POST, "/webhooks", Some(&body)).await;
    made.expect(201).id().to_owned()
}

/// Waits until a query counts so many.
async fn until_count(pms: &Pms, what: &str, sql: &'static str, count: i64) {
    until(what, || async { pms.count(sql).await == count }).await;
}

/// Waits until all events are queued, and so many deliveries are pending.
async fn until_pending(pms: &Pms, pending: i64) {
    let waiting = "SELECT 1000 * (SELECT COUNT(*) FROM events WHERE feed_seq IS NULL)
            + (SELECT COUNT(*) FROM deliveries WHERE status = 'pending') AS n";
    until_count(pms, "the others are settled", waiting, pending).await;
}

fn body(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

/// What these requests are about, by their types, in their order.
fn types(received: &[Received]) -> Vec<String> {
    let one = |one: &Received| body(one)["type"].as_str().unwrap().to_owned();
    received.iter().map(one).collect()
}

/// Whose guests these requests are about, in their order.
fn names(received: &[Received]) -> Vec<String> {
    let name = |one: &Received| body(one)["payload"]["last_name"].as_str().unwrap().to_owned();
    received.iter().map(name).collect()
}

/// Whether a request is signed with these secrets, all of which are checked one by one.
fn is_signed_with(received: &Received, secret: &str, at: UnixSeconds) -> bool {
    received.verify(&secret.parse().unwrap(), at).is_ok()
}
