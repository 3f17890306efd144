//! Webhooks of an emitter, made the way its users make them: through the API.

use super::service::{Service, Stage};
use anyhow::{Result, ensure};
use harness::bodies;
use harness::bookings::Hotel;
use harness::client::{Call, Client};
use harness::program::EMITTER;
use http::Method;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;
use tokio::net::TcpListener;

/// Webhooks of one property at most, and of all properties.
const OF_PROPERTY_MAX: u16 = 100;
/// Those that get everything that a desk writes: half of them are for all properties, and half for its hotels.
pub const MATCHING_MAX: u16 = 2 * OF_PROPERTY_MAX;
/// Those of an emitter at most.
pub const ENDPOINTS_MAX: u16 = 1_000;

/// For one to be made.
const MADE_WITHIN: Duration = Duration::from_secs(10);

/// What lets webhooks lead to this machine, and as many deliveries to it at once as they come.
const LET_OUT: [(&str, &str); 3] = [
    ("EGRESS_ALLOW", "127.0.0.0/8"),
    ("EGRESS_ALLOW_HTTP", "true"),
    ("EGRESS_PER_ADDRESS", "4096"),
];

/// An emitter without a webhook of its environment's, whose webhooks may lead here, and where its metrics are.
///
/// # Errors
/// When it does not start.
pub async fn start_emitter(
    stage: &Stage<'_>,
    more: &[(&'static str, String)],
) -> Result<(Service, SocketAddr)> {
    let metrics = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?;
    let mut variables: Vec<(&'static str, String)> = LET_OUT
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    variables.push(("METRICS_ADDR", metrics.to_string()));
    variables.extend(more.iter().cloned());
    Ok((Service::start(stage, EMITTER, &variables).await?, metrics))
}

/// Makes webhooks that get all events of the hotels, at an address: the numbers of a range, of 0 to [`MATCHING_MAX`].
///
/// # Errors
/// When the emitter refuses one.
pub async fn make_matching(emitter: &Service, numbers: Range<u16>, url: &str) -> Result<()> {
    let client = emitter.client();
    let hotels = Hotel::ALL.map(Hotel::code);
    for number in numbers {
        let properties = if number % 2 == 0 {
            json!("*")
        } else {
            json!(hotels)
        };
        make(&client, number, url, &properties).await?;
    }
    Ok(())
}

/// Makes so many webhooks that never get anything: their properties have no events.
///
/// # Errors
/// When the emitter refuses one.
pub async fn make_idle(emitter: &Service, endpoints: u16, url: &str) -> Result<()> {
    let client = emitter.client();
    for first in (0..endpoints).step_by(usize::from(OF_PROPERTY_MAX)) {
        let mut property = bodies::property(Hotel::ALL[0], jiff::civil::date(2013, 1, 1));
        let id = format!("IDLE{first}");
        property["id"] = id.as_str().into();
        let made = client.post("/properties", &property, &id).await?;
        ensure!(made.status.is_success(), "{id}: {}", made.body);
        for number in first..endpoints.min(first + OF_PROPERTY_MAX) {
            make(&client, number, url, &json!([id])).await?;
        }
    }
    Ok(())
}

async fn make(client: &Client, number: u16, url: &str, properties: &Value) -> Result<()> {
    let name = format!("load-{number}");
    let body = json!({"name": name, "url": url, "events": ["*"], "property_ids": properties});
    let call = Call {
        method: &Method::POST,
        path: "/webhooks",
        body: Some(&body),
        key: None,
        expected: None,
    };
    let made = client.once(call, MADE_WITHIN).await?;
    ensure!(made.status.is_success(), "{name}: {}", made.body);
    Ok(())
}
