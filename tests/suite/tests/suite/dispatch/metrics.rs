//! What an emitter shows of itself: deliveries and attempts by their outcome, the breaker, the queue, the API.

use std::time::Duration;

use harness::client::Client;
use harness::receiver_double::{Answer, Gate, ReceiverDouble};
use harness::waiting::until as until_true;
use serde_json::json;

use super::rig::{PAST_OPEN, Rig, SECRETS, Setup};
use crate::case::{Case, Ctx, cases};
use crate::metrics::until;
use crate::pms::Pms;

pub fn cases() -> Vec<Case> {
    cases![
        attempts_and_deliveries_are_counted_by_their_outcome,
        what_waits_is_shown_over_all_webhooks,
        the_breakers_state_is_shown_as_it_moves,
        the_api_is_counted_by_route_and_says_nothing_of_anyone,
    ]
}

const BREAKER: &str = "pms_emitter_breaker_state{endpoint=\"env\"}";
const PENDING: &str = "pms_emitter_outbox_pending_deliveries";
const LAG: &str = "pms_emitter_outbox_lag_seconds";

fn attempts(status: &str) -> String {
    format!("pms_emitter_delivery_attempts_total{{status=\"{status}\"}}")
}

fn deliveries(outcome: &str) -> String {
    format!("pms_emitter_deliveries_total{{outcome=\"{outcome}\"}}")
}

async fn attempts_and_deliveries_are_counted_by_their_outcome(ctx: Ctx) {
    // One at a time, so that the answers come in their order.
    let rig = Rig::start(
        &ctx,
        Setup {
            concurrency: 1,
            schedule: "0s,0s,0s,0s",
            ..Setup::default()
        },
    )
    .await;
    rig.double.then([
        Answer::status(302),
        Answer::status(500),
        Answer::reset(),
        Answer::status(202),
    ]);
    rig.emit(0..1).await;
    rig.until_delivered(1).await;
    rig.double.then([Answer::status(422)]);
    rig.emit(1..2).await;
    rig.until("dead", |status| status.dead == 1).await;
    let page = until(rig.metrics_address(), "settled", |page| {
        page.value(&deliveries("dead")) == 1.0
    })
    .await;
    for status in ["2xx", "3xx", "4xx", "5xx", "none"] {
        assert_eq!(page.value(&attempts(status)), 1.0, "{status}");
    }
    assert_eq!(page.value(&deliveries("delivered")), 1.0);
    assert_eq!(page.value(&deliveries("retried")), 3.0);
    assert_eq!(page.value(&deliveries("lost")), 0.0);
    assert_eq!(page.value("pms_emitter_delivery_attempt_seconds_count"), 5.0);
    assert_eq!(page.value(PENDING), 0.0);
    rig.stop().await;
}

async fn what_waits_is_shown_over_all_webhooks(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let double = ReceiverDouble::start().await.unwrap();
    let gate = Gate::closed();
    double.otherwise(Answer::status(200).behind(&gate));
    let mut paths = Vec::new();
    for events in ["guest.*", "*"] {
        let webhook =
            json!({"name": "CRM", "url": double.url(), "events": [events], "retry_schedule": [0, 60]});
        let made = pms.post("/webhooks", &webhook).await.expect(201);
        paths.push(format!("/webhooks/{}", made.id()));
    }
    for name in ["Doe", "Roe"] {
        pms.post("/guests", &json!({"last_name": name})).await.expect(201);
        pms.clock.advance(Duration::from_secs(5));
    }
    double.wait_for_held(4).await;
    let shows = async |pending: f64, lag: f64| {
        until_true("the metrics show it", || async {
            let page = pms.metrics().await;
            (page.value(PENDING), page.value(LAG)) == (pending, lag)
        })
        .await;
    };
    shows(4.0, 10.0).await;
    gate.open(4);
    shows(0.0, 0.0).await;
    // A retry waits from when it is due.
    double.then([Answer::status(500)]);
    gate.open(1);
    pms.post("/guests", &json!({"last_name": "Poe"}))
        .await
        .expect(201);
    let waits =
        "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'pending' AND attempts = 1 AND owner IS NULL";
    until_true("it is to be tried again", || async {
        pms.count(waits).await == 1
    })
    .await;
    pms.clock.advance(Duration::from_secs(10));
    shows(1.0, 0.0).await;
    pms.clock.advance(Duration::from_secs(90));
    double.wait_for_held(1).await;
    let page = pms.metrics().await;
    let (pending, lag) = (page.value(PENDING), page.value(LAG));
    assert!(pending == 1.0 && (28.0..=52.0).contains(&lag), "{pending} {lag}");
    // Where nothing is sent, nothing is late.
    for path in &paths {
        pms.post(&format!("{path}/pause"), &json!({})).await.expect(200);
    }
    shows(1.0, 0.0).await;
    gate.open(1);
    shows(0.0, 0.0).await;
    pms.stop().await;
}

async fn the_breakers_state_is_shown_as_it_moves(ctx: Ctx) {
    let rig = Rig::start(
        &ctx,
        Setup {
            breaker_failures: 2,
            schedule: "0s,0s,0s,0s,0s,0s,0s,0s,0s,0s",
            ..Setup::default()
        },
    )
    .await;
    let address = rig.metrics_address();
    assert_eq!(rig.metrics().await.value(BREAKER), 0.0);
    rig.double.then([Answer::status(503), Answer::status(503)]);
    let gate = Gate::closed();
    rig.double.otherwise(Answer::status(200).behind(&gate));
    rig.emit(0..1).await;
    until(address, "open", |page| page.value(BREAKER) == 2.0).await;
    rig.clock.advance(PAST_OPEN);
    // The probe waits at the gate: until it is answered the breaker is half-open, however often somebody looks.
    rig.double.wait_for_held(1).await;
    for _ in 0..3 {
        let page = rig.metrics().await;
        assert_eq!((page.value(BREAKER), page.value(PENDING)), (1.0, 1.0));
    }
    gate.open(1);
    until(address, "closed", |page| page.value(BREAKER) == 0.0).await;
    rig.double.otherwise(Answer::status(503));
    rig.emit(1..2).await;
    until(address, "open", |page| page.value(BREAKER) == 2.0).await;
    rig.double.otherwise(Answer::status(200));
    rig.clock.advance(PAST_OPEN);
    until(address, "closed again", |page| page.value(BREAKER) == 0.0).await;
    rig.until_delivered(2).await;
    rig.stop().await;
}

async fn the_api_is_counted_by_route_and_says_nothing_of_anyone(ctx: Ctx) {
    let rig = Rig::start(&ctx, Setup::default()).await;
    let client = Client::new(rig.base.as_str());
    let body = json!({"last_name": "Canaria", "email": "canary@example.com"});
    let made = client.post("/guests", &body, "canary-1").await.unwrap().body;
    let id = made["id"].as_str().unwrap();
    client.get(&format!("/guests/{id}")).await.unwrap();
    client.get("/guests/gst_canary").await.unwrap();
    client.get("/canary").await.unwrap();
    rig.until_delivered(1).await;
    let page = rig.metrics().await;
    let requests = |method: &str, route: &str, status: &str| {
        page.value(&format!(
            "pms_emitter_http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"
        ))
    };
    assert_eq!(requests("POST", "/api/v1/guests", "2xx"), 1.0);
    assert_eq!(requests("GET", "/api/v1/guests/{id}", "2xx"), 1.0);
    assert_eq!(requests("GET", "/api/v1/guests/{id}", "4xx"), 1.0);
    assert_eq!(requests("", "", "4xx"), 1.0);
    let text = page.text.to_lowercase();
    let secrets = SECRETS.split(' ');
    let url = rig.double.url();
    for canary in secrets.chain(["canar", "example.com", "main", id, &url]) {
        assert!(!text.contains(canary), "{canary} in\n{text}");
    }
    rig.stop().await;
}
