//! What is said of endpoints, to whom, and how often; and the pings that one asks for.

use std::time::Duration;

use contract::{Clock, UnixMillis};
use db::{Params, params};
use harness::receiver_double::{Answer, Gate, Received};
use harness::waiting::until;
use pms_emitter::store::ToNotice;
use serde_json::{Value, json};

use super::{body, double, guest, subscribe, until_count};
use crate::case::{Case, Ctx, cases};
use crate::pms::{BEGIN, Pms};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

pub fn cases() -> Vec<Case> {
    cases![
        one_that_fails_for_days_is_named_and_then_stopped_once_each,
        one_that_answers_again_has_recovered,
        failures_at_one_address_do_not_count_at_another,
        what_was_never_attempted_is_no_failure_of_its_endpoint,
        a_rate_of_failures_is_said_once_until_it_was_low_again,
        f26_one_that_is_gone_is_said_to_be_to_those_who_ask,
        f26_a_410_that_stops_nothing_is_neither_audited_nor_said,
        a_delivery_that_is_given_up_is_said_and_never_about_a_notice,
        nobody_is_said_what_is_about_itself_and_all_does_not_mean_it,
        a_heartbeat_pings_its_endpoint_alone,
        f43_a_clock_that_was_ahead_holds_up_no_ping,
    ]
}

/// One that looks often.
async fn start(ctx: &Ctx) -> Pms {
    Pms::start_set(ctx, |config| {
        config.delivery.look_every = Duration::from_millis(20);
    })
    .await
}

/// The types that came, in their order, each with what it is about.
fn said(received: &[Received]) -> Vec<(String, Value)> {
    let one = |one: &Received| {
        let body = body(one);
        (body["type"].as_str().unwrap().to_owned(), body["payload"].clone())
    };
    received.iter().map(one).collect()
}

async fn change(pms: &Pms, sql: &'static str, values: Params) {
    let changed = pms.db.transaction("change", move |tx| {
        let values = values.clone();
        Box::pin(async move { tx.execute(sql, values).await })
    });
    assert_eq!(changed.await.unwrap(), 1);
}

/// As if it had failed from that long ago until now, in so many hours.
async fn has_failed(pms: &Pms, id: &str, lasted: i64, hours: i64) {
    let sql = "UPDATE endpoints SET failing_since = ?, failing_hours = ?, last_error_at = ? WHERE id = ?";
    change(pms, sql, params![BEGIN.0 - lasted, hours, BEGIN.0, id]).await;
}

/// Nothing is to be said of the endpoint at a path, and it is active.
async fn nothing_is_said(pms: &Pms, path: &str) {
    let found = pms.store.endpoints_to_notice(pms.clock.now()).await.unwrap();
    assert_eq!(found, ToNotice::default());
    assert_eq!(pms.get(path).await.body["state"], "active");
}

async fn one_that_fails_for_days_is_named_and_then_stopped_once_each(ctx: Ctx) {
    let (pms, bad, watcher) = (start(&ctx).await, double().await, double().await);
    bad.otherwise(Answer::status(500));
    subscribe(&pms, &watcher, json!({"events": ["webhook.*"]})).await;
    let made = subscribe(&pms, &bad, json!({})).await;
    let (id, path) = (made.id().to_owned(), format!("/webhooks/{}", made.id()));
    guest(&pms, "Doe").await;
    until_count(
        &pms,
        "its failure is noted",
        "SELECT COUNT(*) AS n FROM endpoints WHERE failing_hours = 1 AND failing_since IS NOT NULL",
        1,
    )
    .await;
    has_failed(&pms, &id, 6 * DAY, 2).await;
    for (lasted, expected) in [(DAY * 5 / 2, 50), (DAY * 7 / 2, 70), (DAY * 9 / 2, 90)] {
        has_failed(&pms, &id, lasted, 3).await;
        let so_far = watcher.received().len();
        let received = watcher.wait_for(so_far + 1).await;
        let (kind, payload) = said(&received).pop().unwrap();
        assert_eq!(
            (kind.as_str(), &payload["percent"]),
            ("webhook.failing", &json!(expected))
        );
        assert_eq!(payload["endpoint_id"], json!(id));
    }
    assert_eq!(pms.get(&path).await.body["state"], "active");
    has_failed(&pms, &id, 5 * DAY, 3).await;
    let (kind, payload) = said(&watcher.wait_for(4).await).pop().unwrap();
    assert_eq!(
        (kind.as_str(), &payload["reason"]),
        ("webhook.disabled", &json!("failing"))
    );
    assert_eq!(pms.get(&path).await.body["disabled_reason"], "failing");

    // Enabling it clears the count, so the next failure is its first.
    pms.post(&format!("{path}/enable"), &json!({})).await.expect(200);
    let cleared = "SELECT COUNT(*) AS n FROM endpoints WHERE failing_level = 0 AND disabled_reason IS NULL AND deleted_at IS NULL";
    assert_eq!(pms.count(cleared).await, 3);
    let events = "SELECT COUNT(*) AS n FROM events WHERE type LIKE 'webhook.%'";
    assert_eq!(pms.count(events).await, 4, "each once");
    pms.stop().await;
}

async fn one_that_answers_again_has_recovered(ctx: Ctx) {
    let (pms, bad, watcher) = (start(&ctx).await, double().await, double().await);
    subscribe(&pms, &watcher, json!({"events": ["webhook.recovered"]})).await;
    let made = subscribe(&pms, &bad, json!({})).await;
    has_failed(&pms, made.id(), 3 * DAY, 3).await;
    until_count(
        &pms,
        "it is said",
        "SELECT COUNT(*) AS n FROM endpoints WHERE failing_level = 50",
        1,
    )
    .await;
    guest(&pms, "Doe").await;
    bad.wait_for(1).await;
    let (kind, payload) = said(&watcher.wait_for(1).await).remove(0);
    assert_eq!(
        (kind.as_str(), payload["endpoint_id"].as_str()),
        ("webhook.recovered", Some(made.id()))
    );
    pms.stop().await;
}

async fn failures_at_one_address_do_not_count_at_another(ctx: Ctx) {
    let (pms, old, new) = (start(&ctx).await, double().await, double().await);
    new.otherwise(Answer::status(500));
    let made = subscribe(&pms, &old, json!({})).await;
    let path = format!("/webhooks/{}", made.id());
    has_failed(&pms, made.id(), 5 * DAY - HOUR, 9).await;
    let rate = "UPDATE endpoints SET rate_window = ?, rate_attempts = 100, rate_failed = 90 WHERE id = ?";
    change(&pms, rate, params![BEGIN.0 - BEGIN.0 % (5 * 60_000), made.id()]).await;
    until_count(
        &pms,
        "both are said",
        "SELECT COUNT(*) AS n FROM endpoints WHERE failing_level = 90 AND rate_alarm = 1",
        1,
    )
    .await;
    // Not for another reason: what it is sent is the same.
    pms.put(&path, &json!({"name": "CRM of before"}))
        .await
        .expect(200);
    let failing = "SELECT COUNT(*) AS n FROM endpoints WHERE failing_level = 90 AND failing_hours = 9
         AND failing_since IS NOT NULL AND rate_alarm = 1 AND rate_failed = 90";
    assert_eq!(pms.count(failing).await, 1);
    pms.put(&path, &json!({"url": new.url()})).await.expect(200);
    let clear =
        "SELECT COUNT(*) AS n FROM endpoints WHERE id <> 'env' AND failing_level = 0 AND failing_hours = 0
         AND failing_since IS NULL AND rate_alarm = 0 AND rate_failed = 0 AND rate_attempts = 0";
    assert_eq!(pms.count(clear).await, 1);

    // Its first failure is after the fifth day of the old one's.
    pms.clock.advance(Duration::from_secs(2 * 3_600));
    guest(&pms, "Doe").await;
    until_count(
        &pms,
        "its failure is noted",
        "SELECT COUNT(*) AS n FROM endpoints WHERE failing_hours = 1 AND rate_attempts = 1",
        1,
    )
    .await;
    nothing_is_said(&pms, &path).await;
    pms.stop().await;
}

async fn what_was_never_attempted_is_no_failure_of_its_endpoint(ctx: Ctx) {
    let (pms, double) = (start(&ctx).await, double().await);
    let made = subscribe(&pms, &double, json!({})).await;
    let path = format!("/webhooks/{}", made.id());
    pms.post(&format!("{path}/pause"), &json!({})).await.expect(200);
    has_failed(&pms, made.id(), 5 * DAY - HOUR, 9).await;
    guest(&pms, "Doe").await;
    until("it is queued, and the endpoint named", || async {
        let queued = "SELECT COUNT(*) AS n FROM deliveries";
        let named = "SELECT COUNT(*) AS n FROM endpoints WHERE failing_level = 90";
        (pms.count(queued).await, pms.count(named).await) == (1, 1)
    })
    .await;
    // As an erasure does.
    change(&pms, "DELETE FROM event_bodies", params![]).await;
    pms.clock.advance(Duration::from_secs(2 * 3_600));
    pms.post(&format!("{path}/resume"), &json!({})).await.expect(200);
    until_count(
        &pms,
        "it is given up",
        "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'dead' AND attempts = 0",
        1,
    )
    .await;
    nothing_is_said(&pms, &path).await;
    assert_eq!(double.received().len(), 0);
    pms.stop().await;
}

async fn a_rate_of_failures_is_said_once_until_it_was_low_again(ctx: Ctx) {
    let (pms, shaky, watcher) = (start(&ctx).await, double().await, double().await);
    subscribe(&pms, &watcher, json!({"events": ["webhook.failure_rate"]})).await;
    let made = subscribe(&pms, &shaky, json!({})).await;
    let id = made.id().to_owned();
    let has = async |attempts: i64, failed: i64| {
        let sql = "UPDATE endpoints SET rate_attempts = ?, rate_failed = ? WHERE id = ?";
        change(&pms, sql, params![attempts, failed, &id]).await;
    };
    let alarms = "SELECT COUNT(*) AS n FROM endpoints WHERE rate_alarm = 1";
    guest(&pms, "Doe").await;
    until_count(
        &pms,
        "the attempt is counted",
        "SELECT COUNT(*) AS n FROM endpoints WHERE rate_attempts = 1 AND rate_failed = 0 AND rate_window > 0",
        1,
    )
    .await;
    has(19, 19).await;
    has(20, 2).await;
    has(20, 3).await;
    let (kind, payload) = said(&watcher.wait_for(1).await).remove(0);
    assert_eq!(
        (kind.as_str(), payload["endpoint_id"].as_str()),
        ("webhook.failure_rate", Some(id.as_str()))
    );
    has(20, 1).await;
    has(1_000, 900).await;
    assert_eq!(pms.count(alarms).await, 1);
    has(1_000, 49).await;
    until_count(&pms, "it is over", alarms, 0).await;
    has(1_000, 101).await;
    watcher.wait_for(2).await;
    assert_eq!(
        pms.count("SELECT COUNT(*) AS n FROM events WHERE type = 'webhook.failure_rate'")
            .await,
        2
    );
    pms.stop().await;
}

async fn f26_one_that_is_gone_is_said_to_be_to_those_who_ask(ctx: Ctx) {
    let (pms, gone, watcher) = (start(&ctx).await, double().await, double().await);
    gone.otherwise(Answer::status(410));
    subscribe(&pms, &watcher, json!({"events": ["webhook.disabled"]})).await;
    let made = subscribe(&pms, &gone, json!({})).await;
    guest(&pms, "Doe").await;
    let (kind, payload) = said(&watcher.wait_for(1).await).remove(0);
    assert_eq!(
        (kind.as_str(), &payload["reason"]),
        ("webhook.disabled", &json!("gone"))
    );
    assert_eq!(payload["endpoint_id"].as_str(), Some(made.id()));
    pms.stop().await;
}

async fn f26_a_410_that_stops_nothing_is_neither_audited_nor_said(ctx: Ctx) {
    let (pms, gone, watcher) = (start(&ctx).await, double().await, double().await);
    let gate = Gate::closed();
    let late = || Answer::status(410).behind(&gate);
    subscribe(&pms, &watcher, json!({"events": ["webhook.disabled"]})).await;
    let path = format!("/webhooks/{}", subscribe(&pms, &gone, json!({})).await.id());
    let stops = async || {
        let audited = "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'endpoint_disabled'";
        let said = "SELECT COUNT(*) AS n FROM events WHERE type = 'webhook.disabled'";
        (pms.count(audited).await, pms.count(said).await)
    };
    // It was changed meanwhile: the answer was about what it is no more, and the delivery is tried by what it is now.
    gone.then([late()]);
    guest(&pms, "Doe").await;
    gone.wait_for(1).await;
    let named = json!({"name": "the new CRM"});
    pms.put(&path, &named).await.expect(200);
    gate.open(1);
    gone.wait_for(2).await;
    assert_eq!(pms.get(&path).await.body["state"], "active");
    assert_eq!(stops().await, (0, 0));
    // Of two that are going on the first stops it.
    gone.then([late(), late()]);
    guest(&pms, "Roe").await;
    guest(&pms, "Poe").await;
    gone.wait_for(4).await;
    for settled in [2, 3] {
        gate.open(1);
        until_count(
            &pms,
            "the answer is settled",
            "SELECT COUNT(*) AS n FROM delivery_attempts WHERE status = 410",
            settled,
        )
        .await;
        assert_eq!(pms.get(&path).await.body["state"], "disabled");
    }
    assert_eq!(stops().await, (1, 1));
    pms.stop().await;
}

async fn a_delivery_that_is_given_up_is_said_and_never_about_a_notice(ctx: Ctx) {
    let (pms, bad, watcher, other) = (start(&ctx).await, double().await, double().await, double().await);
    bad.otherwise(Answer::status(422));
    watcher.otherwise(Answer::status(422));
    let dead = json!({"events": ["delivery.dead"]});
    subscribe(&pms, &bad, json!({})).await;
    guest(&pms, "Before").await;
    until_count(
        &pms,
        "it is dead, and nobody asks",
        "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'dead'",
        1,
    )
    .await;
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM events").await, 1);
    subscribe(&pms, &watcher, dead.clone()).await;
    subscribe(&pms, &other, dead).await;
    guest(&pms, "Doe").await;
    let (kind, payload) = said(&watcher.wait_for(1).await).remove(0);
    assert_eq!(
        (kind.as_str(), &payload["type"]),
        ("delivery.dead", &json!("guest.created"))
    );
    assert_eq!(
        payload["reason"],
        "the receiver refused the event's content (422)"
    );
    other.wait_for(1).await;
    until_count(
        &pms,
        "what the watcher refused is dead",
        "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'dead'",
        3,
    )
    .await;
    assert_eq!(
        pms.count("SELECT COUNT(*) AS n FROM events").await,
        3,
        "nothing is said of it"
    );
    pms.stop().await;
}

async fn nobody_is_said_what_is_about_itself_and_all_does_not_mean_it(ctx: Ctx) {
    let (pms, own, other, all) = (start(&ctx).await, double().await, double().await, double().await);
    let made = subscribe(&pms, &own, json!({"events": ["webhook.*"]})).await;
    subscribe(&pms, &other, json!({"events": ["webhook.secret_rotated"]})).await;
    subscribe(&pms, &all, json!({"events": ["*"]})).await;
    let rotate = format!("/webhooks/{}/rotate-secret", made.id());
    pms.post(&rotate, &json!({})).await.expect(201);
    let (kind, payload) = said(&other.wait_for(1).await).remove(0);
    assert_eq!(
        (kind.as_str(), payload["endpoint_id"].as_str()),
        ("webhook.secret_rotated", Some(made.id()))
    );
    guest(&pms, "Doe").await;
    all.wait_for(1).await;
    let deliveries = "SELECT COUNT(*) AS n FROM deliveries";
    assert_eq!(pms.count(deliveries).await, 2);
    assert_eq!((own.received().len(), all.received().len()), (0, 1));
    pms.stop().await;
}

async fn a_heartbeat_pings_its_endpoint_alone(ctx: Ctx) {
    let (pms, quiet, other) = (start(&ctx).await, double().await, double().await);
    // No filter is asked about a ping.
    let filter = json!({"path": "/last_name", "op": "=", "value": "Nobody"});
    let with = json!({"events": ["guest.erased"], "heartbeat_minutes": 10, "filter": filter});
    let made = subscribe(&pms, &quiet, with).await;
    subscribe(&pms, &other, json!({})).await;
    pms.clock.advance(Duration::from_secs(599));
    guest(&pms, "Doe").await;
    other.wait_for(1).await;
    assert_eq!(quiet.received().len(), 0);
    pms.clock.advance(Duration::from_secs(1));
    assert_eq!(body(&quiet.wait_for(1).await[0])["type"], "ping");
    // The clock passes no lease.
    let delivered = "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'delivered'";
    until_count(&pms, "both are settled", delivered, 2).await;
    pms.clock.advance(Duration::from_secs(600));
    quiet.wait_for(2).await;
    until_count(&pms, "the second ping too", delivered, 3).await;
    let path = format!("/webhooks/{}", made.id());
    pms.put(&path, &json!({"heartbeat_minutes": null}))
        .await
        .expect(200);
    pms.clock.advance(Duration::from_secs(6_000));
    guest(&pms, "Roe").await;
    other.wait_for(2).await;
    assert_eq!(
        pms.count("SELECT COUNT(*) AS n FROM events WHERE type = 'ping'")
            .await,
        2
    );
    assert_eq!(other.received().len(), 2);
    pms.stop().await;
}

async fn f43_a_clock_that_was_ahead_holds_up_no_ping(ctx: Ctx) {
    let (pms, quiet) = (start(&ctx).await, double().await);
    let with = json!({"events": ["guest.erased"], "heartbeat_minutes": 10});
    let made = subscribe(&pms, &quiet, with).await;
    let settled = async |pings| {
        until_count(
            &pms,
            "the ping is settled",
            "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'delivered'",
            pings,
        )
        .await;
    };
    // A day ahead for one beat.
    pms.clock.advance(Duration::from_secs(24 * 3_600));
    quiet.wait_for(1).await;
    settled(1).await;
    pms.clock.set(BEGIN);
    quiet.wait_for(2).await;
    settled(2).await;
    // From then on as ever, and by as much as the clocks of replicas differ nothing is sooner.
    let due = async |now: UnixMillis| pms.store.endpoints_to_notice(now).await.unwrap().beats.len();
    assert_eq!(due(BEGIN.plus_millis(-60_000)).await, 0);
    assert_eq!(due(BEGIN.plus_millis(-60_001)).await, 1);
    assert_eq!(due(BEGIN.plus_millis(599_999)).await, 0);
    pms.clock.advance(Duration::from_secs(600));
    quiet.wait_for(3).await;
    settled(3).await;

    // One that was chosen while the clock was ahead; and none that is chosen no more.
    pms.clock.advance(Duration::from_secs(24 * 3_600));
    quiet.wait_for(4).await;
    settled(4).await;
    let path = format!("/webhooks/{}", made.id());
    let every = async |minutes: Value| {
        let with = json!({"heartbeat_minutes": minutes});
        pms.put(&path, &with).await.expect(200);
    };
    every(Value::Null).await;
    assert_eq!(due(BEGIN).await, 0);
    every(json!(20)).await;
    assert_eq!(due(BEGIN).await, 1);
    pms.stop().await;
}
