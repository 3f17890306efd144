//! The largest records that a service accepts, created through its own API.

use crate::service::Service;
use anyhow::{Context, Result, ensure};
use contract::clock::Clock;
use contract::{EntityKind, EntityRef, Envelope, SecretList};
use harness::client::Client;
use harness::signer;
use kit::random::SystemClock;
use serde_json::{Map, Value, json};

/// A character of three bytes that no rule cuts off.
const WIDE: &str = "\u{6f22}";
/// Characters of one text, from the longest that is allowed.
const TEXT_LENS: std::ops::RangeInclusive<usize> = 1..=200;
/// How much shorter the next try is.
const TEXT_STEP: usize = 5;
/// The nights of the longest stay.
const NIGHTS: usize = 365;
/// What the body of the largest event has of the 256 KiB that are allowed, beside its memberships.
const EVENT_BYTES: usize = 250 * 1024;

/// A guest of the emitter, as large as it takes them: the body that made it.
pub async fn guest(client: &Client) -> Result<(String, Value)> {
    fitting(client, "/guests", |len| {
        json!({
            "last_name": "Largest",
            "notes": WIDE.repeat(4_000),
            "preferences": vec![WIDE.repeat(len); 50],
        })
    })
    .await
}

/// A reservation of that guest, as large as the emitter takes them: the body that made it.
pub async fn reservation(client: &Client, guest: &str) -> Result<(String, Value)> {
    fitting(client, "/reservations", |len| {
        json!({
            "primary_guest_id": guest,
            "check_in": "2016-01-01",
            "check_out": "2016-12-31",
            "room_id": "1",
            "nightly_rates": vec!["1234567.89"; NIGHTS],
            "special_requests": vec![WIDE.repeat(2 * len); 20],
        })
    })
    .await
}

/// Makes the record with the longest texts that are taken, and answers its id.
async fn fitting(client: &Client, path: &str, body: impl Fn(usize) -> Value) -> Result<(String, Value)> {
    let mut refused = Value::Null;
    for len in TEXT_LENS.rev().step_by(TEXT_STEP) {
        let body = body(len);
        let answer = client.post(path, &body, &format!("largest-{path}-{len}")).await?;
        if answer.status.is_success() {
            let id = answer.body["id"].as_str().context("what was made has an id")?;
            return Ok((id.to_owned(), body));
        }
        refused = answer.body;
    }
    anyhow::bail!("{path} takes none: {refused}")
}

/// So many more of a record under other keys.
pub async fn more(client: &Client, path: &str, body: &Value, count: usize) -> Result<()> {
    for n in 0..count {
        let made = client.post(path, body, &format!("more-{path}-{n}")).await?;
        ensure!(made.status.is_success(), "{path}: {}", made.body);
    }
    Ok(())
}

/// Makes so many profiles in the receiver, each as large as an event allows.
pub async fn profiles(receiver: &Service, secret: &str, count: usize) -> Result<()> {
    let secrets: SecretList = secret.parse()?;
    for n in 0..count {
        let (id, body) = guest_event(n, memberships())?;
        let sent = signer::send(
            receiver.address(),
            "pms",
            &id,
            &body,
            &secrets,
            SystemClock.now().seconds(),
        );
        let answer = sent.await?;
        let text = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 202, "{}: {text}", answer.status);
    }
    Ok(())
}

/// The event that makes guest number `n`, with its idempotency key.
pub fn guest_event(n: usize, payload: Value) -> Result<(String, Vec<u8>)> {
    let mut payload: Map<String, Value> = serde_json::from_value(payload)?;
    payload.insert("last_name".to_owned(), "Largest".into());
    let id = format!("evt_hostile_{n:06}");
    let envelope = Envelope {
        test: false,
        event_type: "guest.created".to_owned(),
        idempotency_key: id.parse()?,
        timestamp: SystemClock.now(),
        schema_version: 1,
        property_id: Some("MAIN".parse()?),
        entity: Some(EntityRef {
            kind: EntityKind::Guest,
            id: format!("gst_hostile_{n:06}").parse()?,
            version: 1,
        }),
        correlation_id: Some(format!("req_{n:060}")),
        changed: Vec::new(),
        payload,
    };
    Ok((id, envelope.to_bytes()))
}

/// Memberships as long as a body has room for; a profile has all of them, in the list too.
fn memberships() -> Value {
    let item = json!({"programme": WIDE.repeat(64), "number": WIDE.repeat(64), "level": WIDE.repeat(64)});
    let count = EVENT_BYTES / item.to_string().len();
    let of_one = |n: usize| {
        let mut item = item.clone();
        item["number"] = format!("{n}").into();
        item
    };
    json!({"loyalty": (0..count).map(of_one).collect::<Value>()})
}
