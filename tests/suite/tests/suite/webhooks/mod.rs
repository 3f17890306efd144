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
use serde_json::{Value, json};

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

/// Whose guests these requests are about, in their order.
fn names(received: &[Received]) -> Vec<String> {
    let body = |one: &Received| serde_json::from_slice::<Value>(&one.body).unwrap();
    let name = |one: &Received| body(one)["payload"]["last_name"].as_str().unwrap().to_owned();
    received.iter().map(name).collect()
}

/// Whether a request is signed with these secrets, all of which are checked one by one.
fn is_signed_with(received: &Received, secret: &str, at: UnixSeconds) -> bool {
    received.verify(&secret.parse().unwrap(), at).is_ok()
}
