//! Events that others publish, and the catalogue of their types.

mod batches;
mod events;
mod types;

use crate::case::Case;
use crate::pms::{Pms, Reply};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub fn cases() -> Vec<Case> {
    [batches::cases(), events::cases(), types::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// Makes a second property beside `MAIN`.
async fn open_lisbon(pms: &Pms) {
    let lisbon = json!({"id": "LIS01", "name": "Lisbon", "timezone": "Europe/Lisbon", "currency": "EUR"});
    pms.post("/properties", &lisbon).await.expect(201);
}

/// A booking of a property, about which nothing is wrong.
fn booking(id: &str, property: &str) -> Value {
    json!({"type": "booking.created", "property_id": property, "entity": {"kind": "booking", "id": id},
        "payload": {"id": id, "total": "100.00"}})
}

/// The same with an id of its own.
fn named(event: &str, mut booking: Value) -> Value {
    booking["id"] = json!(event);
    booking
}

async fn keyed(pms: &Pms, key: &str, body: &Value) -> Reply {
    pms.send(Method::POST, "/events", &[("idempotency-key", key)], Some(body))
        .await
}

/// The versions of an entity's events, as they stand in what is sent.
async fn versions(pms: &Pms, entity: &str) -> Vec<u64> {
    let events = pms.events(entity).await;
    let versions = events
        .iter()
        .map(|event| event["entity"]["version"].as_u64().unwrap());
    versions.collect()
}

/// The status of a request that declares so long a body: it is decided before a byte of it has come.
async fn status_of_declared(pms: &Pms, path: &str, length: usize) -> String {
    let head = format!(
        "POST /api/v1{path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n",
        pms.address()
    );
    let mut stream = TcpStream::connect(pms.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    String::from_utf8(status.to_vec()).unwrap()
}
