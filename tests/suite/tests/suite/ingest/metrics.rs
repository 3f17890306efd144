//! What a receiver shows of itself: numbers that move with what was done, nothing about anyone, and only if asked.

use super::{Receiver, SECRET, config, event, execute, guest_event};
use crate::attacks::forgeries::one_for_each_cause;
use crate::case::{Case, Ctx, cases};
use crate::metrics::{ask, until};
use crm_receiver::app::{App, Runtime};
use harness::signer::Delivery;
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};
use tokio::net::TcpListener;

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        every_answer_and_every_cause_of_a_refusal_is_counted,
        a_clock_that_is_off_is_measured_in_its_direction,
        lag_grows_while_nothing_is_projected_and_ends_at_zero,
        nothing_in_them_is_secret_or_about_anyone,
    ];
    all.extend(cases![free; off_by_default_and_never_on_the_apis_port, an_address_that_is_taken_is_named]);
    all
}

const REJECTS: &str = "crm_receiver_ingest_rejects_total";

fn accepts(answer: &str) -> String {
    format!("crm_receiver_ingest_accepts_total{{answer=\"{answer}\"}}")
}

fn rejects(cause: &str) -> String {
    format!("{REJECTS}{{cause=\"{cause}\"}}")
}

fn outcome(outcome: &str) -> String {
    format!("crm_receiver_projection_events_total{{outcome=\"{outcome}\"}}")
}

async fn every_answer_and_every_cause_of_a_refusal_is_counted(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let body = guest_event("evt_1");
    for (id, body, status) in [
        ("evt_1", body.clone(), 202),
        ("evt_1", body.clone(), 200),
        (
            "evt_1",
            event("evt_1", "guest.created", &json!({"last_name": "Souza"})),
            422,
        ),
        ("evt_2", guest_event("evt_2"), 202),
    ] {
        assert_eq!(receiver.take(id, &body).await.status, status);
    }
    let mut expected: BTreeMap<&str, f64> = BTreeMap::new();
    let whole = receiver.delivery("evt_3", &guest_event("evt_3"));
    let long = vec![b' '; 257 * 1024];
    let broken = [
        (
            "unsupported_media_type",
            whole.clone().with("content-type", "text/plain"),
        ),
        ("payload_too_large", whole.clone().with_body(long)),
        ("validation_failed", receiver.delivery("evt_3", b"{}")),
    ];
    for (cause, refused) in one_for_each_cause().into_iter().chain(broken) {
        assert!(receiver.send(&refused).await.status >= 400, "{cause}");
        *expected.entry(cause).or_default() += 1.0;
    }
    let page = receiver.metrics().await;
    for (answer, times) in [("new", 2.0), ("duplicate", 1.0), ("id_reuse", 1.0)] {
        assert_eq!(page.value(&accepts(answer)), times, "{answer}");
    }
    for (cause, times) in &expected {
        assert_eq!(page.value(&rejects(cause)), *times, "{cause}");
    }
    assert_eq!(
        page.sum(REJECTS),
        expected.values().sum::<f64>(),
        "nothing beside"
    );

    let route = |status| {
        format!(
            "crm_receiver_http_requests_total{{method=\"POST\",route=\"/api/v1/webhooks/{{source}}\",status=\"{status}\"}}"
        )
    };
    assert_eq!((page.value(&route("2xx")), page.value(&route("5xx"))), (3.0, 0.0));
    let batches = page.value("crm_receiver_ingest_batch_rows_count");
    let rows = page.value("crm_receiver_ingest_batch_rows_sum");
    assert!(
        batches >= 2.0 && rows >= batches,
        "{batches} batches of {rows} rows"
    );
    assert_eq!(page.value("crm_receiver_ingest_commit_seconds_count"), batches);
    assert!(page.value("crm_receiver_ingest_commit_seconds_sum") > 0.0);
    assert_eq!(page.value("crm_receiver_ingest_queue_entries"), 0.0);
    assert_eq!(page.value("crm_receiver_store_breaker_state"), 0.0);
    let connections = page.value("crm_receiver_http_connections_total{outcome=\"accepted\"}");
    assert!(connections >= expected.values().sum::<f64>());
    receiver.stop().await;
}

async fn a_clock_that_is_off_is_measured_in_its_direction(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let now = receiver.seconds();
    let body = guest_event("evt_1");
    for off in [4_000, -90_000, -100_000, 1_000] {
        let at = contract::UnixSeconds(now.0 + off);
        let sent = Delivery::signed("pms", "evt_1", &body, &receiver.secrets, at);
        let status = receiver.send(&sent).await.status;
        assert_eq!(status, if off == 1_000 { 202 } else { 401 });
    }
    let page = receiver.metrics().await;
    let skew = |part: &str, labels: &str| {
        page.value(&format!(
            "crm_receiver_ingest_rejected_skew_seconds_{part}{{{labels}}}"
        ))
    };
    assert_eq!(skew("sum", "direction=\"ahead\""), 4_000.0);
    assert_eq!(skew("count", "direction=\"ahead\""), 1.0);
    assert_eq!(skew("sum", "direction=\"behind\""), 190_000.0);
    assert_eq!(skew("bucket", "direction=\"behind\",le=\"86400\""), 0.0);
    assert_eq!(skew("bucket", "direction=\"behind\",le=\"172800\""), 2.0);
    assert_eq!(page.value(&rejects("skew")), 3.0);
    receiver.stop().await;
}

async fn lag_grows_while_nothing_is_projected_and_ends_at_zero(ctx: Ctx) {
    const LAG: &str = "crm_receiver_projection_lag_seconds";
    let receiver = Receiver::start(&ctx).await;
    let (address, db) = (receiver.metrics.unwrap(), ctx.open().await);
    receiver.take("evt_1", &guest_event("evt_1")).await;
    let applied = |times: f64| move |page: &crate::metrics::Page| page.value(&outcome("applied")) == times;
    until(address, "applied", applied(1.0)).await;
    until(address, "without lag", |page| page.value(LAG) == 0.0).await;

    execute(&db, "ALTER TABLE profiles RENAME TO out_of_reach", vec![]).await;
    receiver.take("evt_2", &guest_event("evt_2")).await;
    for minutes in 1..=3 {
        receiver.clock.advance(Duration::from_secs(61));
        let lag = f64::from(minutes * 61);
        until(address, "behind", |page| page.value(LAG) == lag).await;
    }
    execute(&db, "ALTER TABLE out_of_reach RENAME TO profiles", vec![]).await;
    receiver.clock.advance(Duration::from_secs(61));
    until(address, "applied", applied(2.0)).await;
    until(address, "without lag", |page| page.value(LAG) == 0.0).await;

    // What is given up waits no longer, and is counted as what it is.
    execute(&db, "ALTER TABLE profiles RENAME TO out_of_reach", vec![]).await;
    receiver.take("evt_3", &guest_event("evt_3")).await;
    until(address, "given up", |page| {
        receiver.clock.advance(Duration::from_secs(61));
        page.value(&outcome("dead_letter")) == 1.0
    })
    .await;
    let page = until(address, "without lag", |page| page.value(LAG) == 0.0).await;
    assert_eq!(page.sum("crm_receiver_projection_events_total"), 3.0);
    assert!(page.value("crm_receiver_db_errors_total{kind=\"statement\"}") > 0.0);
    db.close().await;
    receiver.stop().await;
}

async fn nothing_in_them_is_secret_or_about_anyone(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let person = json!({"last_name": "Canaria", "first_name": "Canary", "email": "canary@example.com"});
    receiver
        .take("evt_canary", &event("evt_canary", "guest.created", &person))
        .await;
    receiver.get("/guest-profiles?name=Canaria").await;
    receiver.get("/guest-profiles/prf_canary").await;
    receiver.get("/canary").await;
    let nobody = Delivery {
        path: "/api/v1/webhooks/canary".to_owned(),
        ..receiver.delivery("evt_canary", b"{}")
    };
    receiver.send(&nobody).await;
    let text = receiver.metrics().await.text.to_lowercase();
    for canary in [SECRET, "canar", "lis01", "example.com", "evt_"] {
        assert!(!text.contains(canary), "{canary} in\n{text}");
    }
    receiver.stop().await;
}

async fn off_by_default_and_never_on_the_apis_port(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let page = receiver.metrics.unwrap();
    for path in ["/metrics", "/api/v1/metrics"] {
        assert_eq!(ask(receiver.address, "GET", path).await.status, 404, "{path}");
    }
    assert_eq!(ask(page, "POST", "/metrics").await.status, 405);
    for path in ["/", "/api/v1/events", "/health"] {
        assert_eq!(ask(page, "GET", path).await.status, 404, "{path}");
    }
    receiver.stop().await;
    let freed = TcpListener::bind(page).await;
    assert!(freed.is_ok(), "it stops with the service");

    let mut silent = config(ctx.url());
    silent.http.metrics_addr = None;
    let app = App::build(silent, Runtime::system()).await.unwrap();
    assert_eq!(app.metrics_address(), None);
}

async fn an_address_that_is_taken_is_named(ctx: Ctx) {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut refused = config(ctx.url());
    refused.http.metrics_addr = Some(taken.local_addr().unwrap().to_string().parse().unwrap());
    let error = App::build(refused, Runtime::system()).await.err().unwrap();
    let said = error.to_string();
    assert!(
        said.starts_with("METRICS_ADDR: cannot listen on 127.0.0.1:"),
        "{said}"
    );
}
