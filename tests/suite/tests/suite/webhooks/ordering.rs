//! `ordering: entity`: one delivery of an entity at a time, in the order of the feed.

use std::time::Duration;

use contract::{Clock, UnixMillis};
use harness::receiver_double::{Answer, Gate, ReceiverDouble};
use harness::waiting::until;
use kit::purge::PurgeStep;
use pms_emitter::retention::{self, ByHand, Retention};
use serde_json::{Value, json};

use super::{double, guest, lisbon, names, rename, subscribe, until_count};
use crate::case::{Case, Ctx, cases};
use crate::pms::{BEGIN, Pms};

const DAY: Duration = Duration::from_secs(24 * 3_600);

pub fn cases() -> Vec<Case> {
    cases![
        a_failing_event_holds_back_its_own_entity_and_nothing_else,
        a_dead_event_lets_the_next_one_go,
        one_that_is_made_due_by_hand_waits_for_the_one_that_is_pending,
        dead_ones_of_an_entity_that_are_retried_go_one_at_a_time,
        what_was_before_goes_in_order_too,
        the_order_changes_only_while_nothing_is_pending,
        a_ping_waits_for_no_other,
        a_deleted_webhook_leaves_no_order,
        a_purge_of_the_one_that_was_waited_for_lets_the_next_one_go,
        f43_a_clock_that_is_set_back_while_one_waits_holds_up_none_and_keeps_the_order,
        f26_what_waits_behind_a_410_stays_and_goes_in_order_once_it_is_enabled,
    ]
}

async fn in_order(pms: &Pms, double: &ReceiverDouble, schedule: Value) -> String {
    let with = json!({"ordering": "entity", "retry_schedule": schedule});
    subscribe(pms, double, with).await.id().to_owned()
}

/// The deliveries of a webhook, the oldest first.
async fn deliveries(pms: &Pms, id: &str) -> Vec<Value> {
    let listed = pms.get(&format!("/webhooks/{id}/deliveries")).await.expect(200);
    let mut listed = listed.body["data"].as_array().unwrap().clone();
    listed.reverse();
    listed
}

/// Waits until the deliveries of a webhook stand so, the oldest first.
async fn stand(pms: &Pms, id: &str, statuses: &[&str]) {
    until(&format!("they are {statuses:?}"), || async {
        let listed = deliveries(pms, id).await;
        listed.iter().map(|one| &one["status"]).eq(statuses)
    })
    .await;
}

async fn retry(pms: &Pms, id: &str, delivery: &Value) -> Value {
    let event = delivery["event_id"].as_str().unwrap();
    let path = format!("/webhooks/{id}/deliveries/{event}/retry");
    pms.post(&path, &json!({})).await.expect(202).body
}

async fn a_failing_event_holds_back_its_own_entity_and_nothing_else(ctx: Ctx) {
    let (pms, ordered, other) = (Pms::start(&ctx).await, double().await, double().await);
    let id = in_order(&pms, &ordered, json!([0, 3_600])).await;
    subscribe(&pms, &other, json!({})).await;
    ordered.then([Answer::status(500)]);
    let ann = guest(&pms, "Ann").await;
    ordered.wait_for(1).await;
    rename(&pms, &ann, "Ann 2").await;
    rename(&pms, &ann, "Ann 3").await;
    let bob = guest(&pms, "Bob").await;
    rename(&pms, &bob, "Bob 2").await;
    assert_eq!(names(&ordered.wait_for(3).await), ["Ann", "Bob", "Bob 2"]);
    other.wait_for(5).await;
    let pending = ["pending", "pending", "pending", "delivered", "delivered"];
    stand(&pms, &id, &pending).await;
    let listed = deliveries(&pms, &id).await;
    let waits: Vec<_> = listed.iter().map(|one| &one["waits_for_entity"]).collect();
    assert_eq!(waits, [false, true, true, false, false]);
    let next: Vec<_> = listed[..3]
        .iter()
        .map(|one| one["next_attempt_at"].is_null())
        .collect();
    assert_eq!(next, [false, true, true]);
    pms.clock.advance(Duration::from_secs(2 * 3_600));
    let received = names(&ordered.wait_for(6).await);
    assert_eq!(received[3..], ["Ann", "Ann 2", "Ann 3"]);
    stand(&pms, &id, &["delivered"; 5]).await;
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM delivery_order").await, 0);
    pms.stop().await;
}

async fn a_dead_event_lets_the_next_one_go(ctx: Ctx) {
    let (pms, double, gate) = (Pms::start(&ctx).await, double().await, Gate::closed());
    let id = in_order(&pms, &double, json!([0])).await;
    double.then([Answer::status(500).behind(&gate)]);
    let ann = guest(&pms, "Ann").await;
    double.wait_for_held(1).await;
    rename(&pms, &ann, "Ann 2").await;
    stand(&pms, &id, &["pending", "pending"]).await;
    gate.open(1);
    assert_eq!(names(&double.wait_for(2).await), ["Ann", "Ann 2"]);
    stand(&pms, &id, &["dead", "delivered"]).await;
    pms.stop().await;
}

async fn one_that_is_made_due_by_hand_waits_for_the_one_that_is_pending(ctx: Ctx) {
    let (pms, double, gate) = (Pms::start(&ctx).await, double().await, Gate::closed());
    let id = in_order(&pms, &double, json!([0])).await;
    double.then([Answer::status(422), Answer::status(200).behind(&gate)]);
    let ann = guest(&pms, "Ann").await;
    stand(&pms, &id, &["dead"]).await;
    rename(&pms, &ann, "Ann 2").await;
    double.wait_for_held(1).await;
    rename(&pms, &ann, "Ann 3").await;
    stand(&pms, &id, &["dead", "pending", "pending"]).await;
    let listed = deliveries(&pms, &id).await;
    for waits in [&listed[0], &listed[2]] {
        let due = retry(&pms, &id, waits).await;
        let shown = (&due["status"], &due["waits_for_entity"]);
        assert_eq!(shown, (&json!("pending"), &json!(true)));
    }
    gate.open(1);
    let received = names(&double.wait_for(4).await);
    assert_eq!(received, ["Ann", "Ann 2", "Ann", "Ann 3"]);
    stand(&pms, &id, &["delivered"; 3]).await;

    // Nothing else is pending of it: it goes at once.
    retry(&pms, &id, &listed[0]).await;
    assert_eq!(names(&double.wait_for(5).await)[4], "Ann");
    stand(&pms, &id, &["delivered"; 3]).await;
    pms.stop().await;
}

async fn dead_ones_of_an_entity_that_are_retried_go_one_at_a_time(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let id = in_order(&pms, &double, json!([0])).await;
    double.then([422, 422, 422].map(Answer::status));
    let ann = guest(&pms, "Ann").await;
    rename(&pms, &ann, "Ann 2").await;
    rename(&pms, &ann, "Ann 3").await;
    stand(&pms, &id, &["dead"; 3]).await;
    let path = format!("/webhooks/{id}");
    for by in ["recover", "replay", "command"] {
        let gate = Gate::closed();
        let before = double.received().len();
        double.then([200, 200, 422].map(|status| Answer::status(status).behind(&gate)));
        match by {
            "command" => {
                let all = UnixMillis(0)..=pms.clock.now();
                let retried = pms.store.retry_dead(all, pms.clock.now()).await.unwrap();
                assert_eq!(retried.count, 1);
            }
            "recover" => {
                let since = json!({"since": BEGIN});
                pms.post(&format!("{path}/recover"), &since).await.expect(202);
            }
            _ => {
                let span = json!({"from": BEGIN, "to": BEGIN.plus_millis(1)});
                pms.post(&format!("{path}/replay"), &span).await.expect(202);
            }
        }
        let expected: &[&str] = if by == "command" {
            &["Ann 3"]
        } else {
            &["Ann", "Ann 2", "Ann 3"]
        };
        for sent in 1..=expected.len() {
            double.wait_for(before + sent).await;
            let listed = deliveries(&pms, &id).await;
            let is_out = |one: &&Value| one["status"] == "pending" && one["waits_for_entity"] == false;
            assert_eq!(listed.iter().filter(is_out).count(), 1, "{by}: {listed:#?}");
            gate.open(1);
        }
        let received = names(&double.received());
        assert_eq!(received[before..], *expected, "{by}");
        if by == "command" {
            stand(&pms, &id, &["delivered"; 3]).await;
        } else {
            stand(&pms, &id, &["delivered", "delivered", "dead"]).await;
        }
    }
    pms.stop().await;
}

async fn what_was_before_goes_in_order_too(ctx: Ctx) {
    let (pms, double, gate) = (Pms::start(&ctx).await, double().await, Gate::closed());
    for name in ["Ann", "Bob"] {
        let id = guest(&pms, name).await;
        rename(&pms, &id, &format!("{name} 2")).await;
        rename(&pms, &id, &format!("{name} 3")).await;
    }
    double.otherwise(Answer::status(200).behind(&gate));
    let with = json!({"ordering": "entity", "start": "beginning"});
    let id = subscribe(&pms, &double, with).await.id().to_owned();
    double.wait_for_held(2).await;
    stand(&pms, &id, &["pending"; 6]).await;
    let mut first = names(&double.received());
    first.sort_unstable();
    assert_eq!(first, ["Ann", "Bob"]);
    gate.open(6);
    let received = names(&double.wait_for(6).await);
    for name in ["Ann", "Bob"] {
        let theirs: Vec<_> = received.iter().filter(|one| one.starts_with(name)).collect();
        assert_eq!(theirs, [name, &format!("{name} 2"), &format!("{name} 3")]);
    }
    stand(&pms, &id, &["delivered"; 6]).await;
    pms.stop().await;
}

async fn the_order_changes_only_while_nothing_is_pending(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    double.then([Answer::status(500)]);
    let body = |ordering: &str| {
        json!({
            "name": "CRM", "url": double.url(), "events": ["*"], "retry_schedule": [0, 3_600], "ordering": ordering,
        })
    };
    let made = pms.post("/webhooks", &body("none")).await.expect(201);
    let (id, path) = (made.id(), format!("/webhooks/{}", made.id()));
    let ann = guest(&pms, "Ann").await;
    until("it failed", || async {
        deliveries(&pms, id).await.iter().any(|one| one["attempts"] == 1)
    })
    .await;
    let refused = pms.put(&path, &body("entity")).await.expect(409);
    assert_eq!(refused.body["code"], "deliveries_waiting");
    pms.put(&path, &body("none")).await.expect(200);
    retry(&pms, id, &deliveries(&pms, id).await[0]).await;
    stand(&pms, id, &["delivered"]).await;
    let changed = pms.put(&path, &body("entity")).await.expect(200);
    assert_eq!(changed.body["ordering"], "entity");

    let gate = Gate::closed();
    double.otherwise(Answer::status(200).behind(&gate));
    rename(&pms, &ann, "Ann 2").await;
    rename(&pms, &ann, "Ann 3").await;
    double.wait_for_held(1).await;
    stand(&pms, id, &["delivered", "pending", "pending"]).await;
    assert_eq!(double.held(), 1);
    let refused = pms.put(&path, &body("none")).await.expect(409);
    assert_eq!(refused.body["code"], "deliveries_waiting");
    gate.open(2);
    assert_eq!(names(&double.wait_for(4).await)[2..], ["Ann 2", "Ann 3"]);
    stand(&pms, id, &["delivered"; 3]).await;
    pms.stop().await;
}

async fn a_ping_waits_for_no_other(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    pms.post("/properties", &lisbon()).await.expect(201);
    double.otherwise(Answer::status(500));
    let with = json!({
        "ordering": "entity", "retry_schedule": [0, 86_400], "heartbeat_minutes": 1, "property_ids": ["LIS01"],
    });
    subscribe(&pms, &double, with).await;
    for pings in 1..=2 {
        pms.clock.advance(Duration::from_secs(90));
        double.wait_for(pings).await;
    }
    pms.stop().await;
}

async fn a_deleted_webhook_leaves_no_order(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let id = in_order(&pms, &double, json!([0, 3_600])).await;
    double.otherwise(Answer::status(500));
    let ann = guest(&pms, "Ann").await;
    rename(&pms, &ann, "Ann 2").await;
    stand(&pms, &id, &["pending", "pending"]).await;
    double.wait_for(1).await;
    pms.delete(&format!("/webhooks/{id}")).await.expect(204);
    until_count(
        &pms,
        "all is cancelled",
        "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'cancelled'",
        2,
    )
    .await;
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM delivery_order").await, 0);
    pms.stop().await;
}

async fn a_purge_of_the_one_that_was_waited_for_lets_the_next_one_go(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let id = in_order(&pms, &double, json!([0])).await;
    let path = format!("/webhooks/{id}");
    pms.post(&format!("{path}/pause"), &json!({})).await.expect(200);
    let ann = guest(&pms, "Ann").await;
    pms.clock.advance(200 * DAY);
    rename(&pms, &ann, "Ann 2").await;
    stand(&pms, &id, &["pending", "pending"]).await;
    pms.clock.advance(200 * DAY);
    let retention = Retention {
        events_days: 36_500,
        ..Retention::default()
    };
    let (store, clock) = (pms.store.clone(), pms.clock.clone());
    let mut purger = retention::at_once(store, clock, retention, "by_hand".to_owned(), ByHand::default());
    while matches!(purger.step().await.unwrap(), PurgeStep::Worked) {}
    pms.post(&format!("{path}/resume"), &json!({})).await.expect(200);
    assert_eq!(names(&double.wait_for(1).await), ["Ann 2"]);
    stand(&pms, &id, &["delivered"]).await;
    pms.stop().await;
}

async fn f43_a_clock_that_is_set_back_while_one_waits_holds_up_none_and_keeps_the_order(ctx: Ctx) {
    let (pms, double, gate) = (Pms::start(&ctx).await, double().await, Gate::closed());
    let id = in_order(&pms, &double, json!([0, 3_600])).await;
    double.then([Answer::status(500)]);
    let ann = guest(&pms, "Ann").await;
    until("it waits for an hour", || async {
        deliveries(&pms, &id).await.iter().any(|one| one["attempts"] == 1)
    })
    .await;
    rename(&pms, &ann, "Ann 2").await;
    rename(&pms, &ann, "Ann 3").await;
    stand(&pms, &id, &["pending"; 3]).await;
    // What is made due by hand has a time from which on it is due, while it waits too.
    for waits in &deliveries(&pms, &id).await[1..] {
        retry(&pms, &id, waits).await;
    }
    assert_eq!(double.received().len(), 1);

    // These times were set by a clock that is a day ahead of this one.
    double.otherwise(Answer::status(200).behind(&gate));
    pms.clock.set(BEGIN.plus_millis(-24 * 3_600_000));
    double.wait_for_held(1).await;
    rename(&pms, &ann, "Ann 4").await;
    stand(&pms, &id, &["pending"; 4]).await;
    for sent in 2..=5 {
        double.wait_for(sent).await;
        let listed = deliveries(&pms, &id).await;
        let waits = listed.iter().filter(|one| one["waits_for_entity"] == true);
        assert_eq!(waits.count(), 5 - sent, "one at a time: {listed:#?}");
        gate.open(1);
    }
    stand(&pms, &id, &["delivered"; 4]).await;
    assert_eq!(
        names(&double.received()),
        ["Ann", "Ann", "Ann 2", "Ann 3", "Ann 4"],
        "in the order of the feed, each once"
    );
    pms.stop().await;
}

async fn f26_what_waits_behind_a_410_stays_and_goes_in_order_once_it_is_enabled(ctx: Ctx) {
    let (pms, double, gone) = (Pms::start(&ctx).await, double().await, Gate::closed());
    let id = in_order(&pms, &double, json!([0, 3_600])).await;
    let path = format!("/webhooks/{id}");
    double.then([Answer::status(410).behind(&gone)]);
    let ann = guest(&pms, "Ann").await;
    double.wait_for_held(1).await;
    rename(&pms, &ann, "Ann 2").await;
    stand(&pms, &id, &["pending", "pending"]).await;
    gone.open(1);
    until("it is disabled", || async {
        pms.get(&path).await.body["state"] == "disabled"
    })
    .await;
    rename(&pms, &ann, "Ann 3").await;
    let bob = guest(&pms, "Bob").await;
    rename(&pms, &bob, "Bob 2").await;
    stand(&pms, &id, &["pending"; 5]).await;
    let listed = deliveries(&pms, &id).await;
    let waits: Vec<_> = listed.iter().map(|one| &one["waits_for_entity"]).collect();
    assert_eq!(waits, [false, true, true, false, true]);
    assert_eq!(double.received().len(), 1, "nothing goes to one that is gone");

    let gate = Gate::closed();
    double.otherwise(Answer::status(200).behind(&gate));
    pms.post(&format!("{path}/enable"), &json!({})).await.expect(200);
    double.wait_for_held(2).await;
    let mut first = names(&double.received()[1..]);
    first.sort_unstable();
    assert_eq!(first, ["Ann", "Bob"], "the one that was answered 410 first");
    gate.open(5);
    stand(&pms, &id, &["delivered"; 5]).await;
    let received = names(&double.received()[1..]);
    for (name, theirs) in [
        ("Ann", &["Ann", "Ann 2", "Ann 3"][..]),
        ("Bob", &["Bob", "Bob 2"]),
    ] {
        let of_one: Vec<_> = received.iter().filter(|one| one.starts_with(name)).collect();
        assert_eq!(of_one, theirs, "in order, each once");
    }
    pms.stop().await;
}
