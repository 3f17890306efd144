//! R43: bodies that are small on the wire and large once they are read.

use super::{Attacked, Target, largest};
use crate::generator::Pace;
use crate::options::Options;
use crate::pool::Pool;
use crate::service::Service;
use crate::template::PATH;
use anyhow::Result;
use contract::SecretList;
use contract::clock::Clock;
use harness::config::BASE_PATH;
use harness::signer::Delivery;
use kit::random::SystemClock;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Bodies at once.
const AT_ONCE: usize = 60;
/// What one body has of values, where it has room for them.
const VALUES: usize = 75_000;
/// What it has of bytes, under the 256 KiB that are taken.
const BODY_BYTES: usize = 255 * 1024;
/// Stands in for the values.
const PLACE: &str = "\"place\"";

/// The tiniest values of each kind, as one list or object.
fn shapes() -> Vec<String> {
    let list = |value: &str| format!("[{}]", vec![value; fitting(value.len() + 1)].join(","));
    let members: Vec<String> = (0..fitting("\"00000\":0,".len()))
        .map(|n| format!("\"{n:05}\":0"))
        .collect();
    let mut shapes: Vec<String> = ["0", "\"\"", "[]", "{}", "[0]", "{\"\":0}"].map(list).into();
    shapes.push(format!("{{{}}}", members.join(",")));
    shapes
}

fn fitting(bytes: usize) -> usize {
    VALUES.min(BODY_BYTES / bytes - 100)
}

/// The bodies of the emitter's two resources, with and without a key.
pub async fn on_emitter(emitter: &Service, options: &Options) -> Result<Attacked> {
    let mut target = Target::watch(emitter)?;
    let resources = [
        ("/guests", json!({"last_name": "T", "preferences": "place"})),
        (
            "/reservations",
            json!({"check_in": "2016-01-01", "special_requests": "place"}),
        ),
    ];
    let phase = options.time() / 4;
    for (path, body) in &resources {
        for key in [None, Some("one-for-all")] {
            let requests = shapes().into_iter().map(|values| {
                let body = body.to_string().replace(PLACE, &values);
                let key = key.map_or_else(String::new, |key| format!("idempotency-key: {key}\r\n"));
                request(&format!("{BASE_PATH}{path}"), &key, &body)
            });
            let name = format!("{path}{}", key.map_or("", |_| ", a key"));
            attack(&mut target, &name, requests, phase).await?;
        }
    }
    target.end().await
}

/// The bodies of the webhook: signed under one key, signed under a key of their own, unsigned.
pub async fn on_receiver(receiver: &Service, options: &Options, secret: &str) -> Result<Attacked> {
    let mut target = Target::watch(receiver)?;
    let secrets: SecretList = secret.parse()?;
    let phase = options.time() / 3;
    let events = |keys: usize| -> Result<Vec<Delivery>> {
        let mut deliveries = Vec::new();
        for (n, values) in shapes().iter().cycle().take(keys.max(shapes().len())).enumerate() {
            let (id, body) = largest::guest_event(n.min(keys - 1), json!({"x": "place"}))?;
            let body = String::from_utf8(body)?.replace(PLACE, values);
            let now = SystemClock.now().seconds();
            deliveries.push(Delivery::signed("pms", &id, body.as_bytes(), &secrets, now));
        }
        Ok(deliveries)
    };
    for (name, keys) in [("signed, one key", 1), ("signed", AT_ONCE)] {
        let bytes = events(keys)?
            .into_iter()
            .map(|event| event.bytes(receiver.address()));
        attack(&mut target, name, bytes, phase).await?;
    }
    // Last: after some hundred of these nothing more is heard from this address for a minute.
    let unsigned = shapes().into_iter().map(|values| request(PATH, "", &values));
    attack(&mut target, "unsigned", unsigned, phase).await?;
    target.end().await
}

/// Sends the requests in turn for some time, so many at once. None of them may be taken.
async fn attack(
    target: &mut Target<'_>,
    name: &str,
    requests: impl Iterator<Item = Vec<u8>>,
    time: Duration,
) -> Result<()> {
    let requests = Arc::new(Pool::of_requests(requests));
    let load = target.load(AT_ONCE, Pace::Closed, time);
    let measured = target.send(name, load, requests).await?;
    let taken = measured.tally.good();
    if taken > 0 {
        target.fault(format!("{name}: {taken} were taken"));
    }
    let failed = measured.tally.of(500);
    if failed > 0 {
        target.fault(format!("{name}: {failed} x 500"));
    }
    Ok(())
}

fn request(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n\
         {body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_json_within_its_bytes_and_of_many_values() {
        for shape in shapes() {
            assert!(shape.len() <= BODY_BYTES, "{}", shape.len());
            let read: serde_json::Value = serde_json::from_str(&shape).unwrap();
            let values = read.as_array().map_or_else(
                || read.as_object().unwrap().len(),
                |list| {
                    list.iter()
                        .map(|value| 1 + value.as_array().map_or(0, Vec::len))
                        .sum()
                },
            );
            assert!(values > 20_000, "{values}: {}", &shape[..40]);
        }
    }
}
