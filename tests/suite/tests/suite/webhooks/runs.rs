//! Runs: what died is delivered after all, and what was delivered, or never queued, is delivered again, a bounded part at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::Clock;
use harness::receiver_double::{Answer, Gate, Received, ReceiverDouble};
use harness::waiting::{until, until_some};
use http::Method;
use pms_emitter::store::{RUN_LEASE, RUNNING_OF_ENDPOINT_MAX, RunBatch, WAITING_MAX};
use serde_json::{Value, json};

use super::{double, guest, names, rename, subscribe, subscribe_to, until_count, until_pending};
use crate::access::{ADMIN, guarded, key, with_key};
use crate::case::{Case, Ctx, cases};
use crate::pms::{BEGIN, Pms};

/// More than two batches of waiting deliveries.
const MANY: usize = 450;

pub fn cases() -> Vec<Case> {
    cases![
        what_died_in_a_span_is_delivered_after_all,
        what_matches_now_is_delivered_again_or_for_the_first_time,
        a_replay_takes_what_its_filter_passes,
        a_run_has_two_hundred_waiting_at_most_and_goes_on_after_a_restart,
        a_run_is_ended_and_what_it_made_due_stays_so,
        a_process_that_lost_the_lease_writes_nothing,
        a_run_of_a_deleted_webhook_ends,
        what_no_run_can_be_is_refused,
        a_caller_sees_and_begins_runs_of_webhooks_that_it_sees,
    ]
}

/// The run at a path, once it has ended.
async fn ended(pms: &Pms, path: &str) -> Value {
    until_some("the run has ended", || async {
        let run = pms.get(path).await.expect(200).body;
        (run["status"] != "running").then_some(run)
    })
    .await
}

/// Begins a run, and answers where it is found.
async fn begin(pms: &Pms, path: &str, body: &Value) -> String {
    let begun = pms.post(path, body).await.expect(202);
    let location = begun.header("location");
    let (_, id) = location.rsplit_once('/').unwrap();
    assert!(location.ends_with(&format!("/runs/{}", begun.id())), "{location}");
    format!("/runs/{id}")
}

/// A webhook that is paused, and a run of it that has as many waiting as it may.
async fn full_run(pms: &Pms, double: &ReceiverDouble) -> (String, String) {
    publish(pms, MANY).await;
    until_pending(pms, 0).await;
    let id = subscribe(pms, double, json!({"active": false}))
        .await
        .id()
        .to_owned();
    let run = begin(pms, &format!("/webhooks/{id}/replay"), &json!({"from": BEGIN})).await;
    until("it is full", || async {
        pms.get(&run).await.expect(200).body["waiting"] == WAITING_MAX
    })
    .await;
    (id, run)
}

/// Publishes so many events of one type, numbered in their payloads.
async fn publish(pms: &Pms, count: usize) {
    pms.post("/event-types", &json!({"type": "spa.booked"}))
        .await
        .expect(201);
    let event = |number| json!({"type": "spa.booked", "payload": {"number": number}});
    let events: Vec<_> = (0..count).map(event).collect();
    pms.post("/events/batch", &json!({"events": events}))
        .await
        .expect(202);
}

/// How often each event was received.
fn times(received: &[Received]) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for one in received {
        *times.entry(one.id().to_owned()).or_default() += 1;
    }
    times
}

async fn what_died_in_a_span_is_delivered_after_all(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    double.otherwise(Answer::status(422));
    let id = subscribe(&pms, &double, json!({})).await.id().to_owned();
    for number in 0..5 {
        guest(&pms, &format!("Early {number}")).await;
    }
    double.wait_for(5).await;
    until_pending(&pms, 0).await;
    pms.clock.advance(Duration::from_secs(60));
    guest(&pms, "Late").await;
    double.wait_for(6).await;
    until_pending(&pms, 0).await;
    double.otherwise(Answer::status(200));

    let path = format!("/webhooks/{id}/recover");
    let span = json!({"since": BEGIN, "until": BEGIN.plus_millis(1_000)});
    let mut dry = span.clone();
    dry["dry_run"] = true.into();
    let counted = pms.post(&path, &dry).await.expect(200);
    assert_eq!(
        (
            &counted.body["matching"],
            &counted.body["without_body"],
            &counted.body["complete"]
        ),
        (&json!(5), &json!(0), &json!(true))
    );
    let dead = "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'dead'";
    assert_eq!(pms.count(dead).await, 6, "a dry run changes nothing");
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM delivery_runs").await, 0);

    let run = begin(&pms, &path, &span).await;
    let run = ended(&pms, &run).await;
    for (name, value) in [
        ("kind", json!("recover")),
        ("webhook_id", json!(id)),
        ("status", json!("finished")),
        ("matched", json!(5)),
        ("queued", json!(5)),
        ("without_body", json!(0)),
        ("since", json!(BEGIN)),
        ("filter", Value::Null),
    ] {
        assert_eq!(run[name], value, "{name}");
    }
    until_pending(&pms, 0).await;
    assert_eq!(pms.count(dead).await, 1, "the one that died later");
    let mut recovered = names(&double.received()[6..]);
    recovered.sort_unstable();
    assert_eq!(recovered, ["Early 0", "Early 1", "Early 2", "Early 3", "Early 4"]);
    let audited = "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'dead_retried'";
    assert_eq!(pms.count(audited).await, 5);
    let audited = "SELECT COUNT(*) AS n FROM audit_entries WHERE action IN ('run_started', 'run_finished')";
    assert_eq!(pms.count(audited).await, 2);
    // Without an end it is up to now.
    let run = begin(&pms, &path, &json!({"since": BEGIN})).await;
    assert_eq!(ended(&pms, &run).await["queued"], 1);
    until_pending(&pms, 0).await;
    assert_eq!(pms.count(dead).await, 0);
    let listed = pms.get("/runs?status=finished").await.expect(200);
    assert_eq!(listed.body["data"].as_array().unwrap().len(), 2);
    assert_eq!(
        pms.get("/runs?webhook_id=env").await.expect(200).body["data"],
        json!([])
    );
    pms.stop().await;
}

async fn what_matches_now_is_delivered_again_or_for_the_first_time(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let before = guest(&pms, "Before").await;
    pms.clock.advance(Duration::from_secs(60));
    until_pending(&pms, 0).await;
    let id = subscribe(&pms, &double, json!({"events": ["guest.created"]}))
        .await
        .id()
        .to_owned();
    guest(&pms, "After").await;
    rename(&pms, &before, "Renamed").await;
    double.wait_for(1).await;
    until_pending(&pms, 0).await;
    let path = format!("/webhooks/{id}/replay");
    let counted = pms
        .post(&path, &json!({"from": BEGIN, "dry_run": true}))
        .await
        .expect(200);
    assert_eq!(counted.body["matching"], 2);
    let run = begin(&pms, &path, &json!({"from": BEGIN})).await;
    let run = ended(&pms, &run).await;
    assert_eq!((&run["matched"], &run["queued"]), (&json!(2), &json!(2)));
    let received = double.wait_for(3).await;
    until_pending(&pms, 0).await;
    let mut replayed = names(&received[1..]);
    replayed.sort_unstable();
    assert_eq!(replayed, ["After", "Before"]);
    let again = received[1..]
        .iter()
        .find(|one| one.id() == received[0].id())
        .unwrap();
    assert_eq!(again.body, received[0].body, "the same bytes");
    // What is subscribed to now counts, and the end is not in the span.
    pms.put(&format!("/webhooks/{id}"), &json!({"events": ["guest.updated"]}))
        .await
        .expect(200);
    let later = BEGIN.plus_millis(60_000);
    for (span, queued) in [
        (json!({"from": BEGIN, "to": later}), 0),
        (json!({"from": later, "to": later.plus_millis(1)}), 1),
    ] {
        let run = begin(&pms, &path, &span).await;
        assert_eq!(ended(&pms, &run).await["queued"], queued, "{span}");
    }
    until_pending(&pms, 0).await;
    assert_eq!(names(&double.received()[3..]), ["Renamed"]);
    pms.stop().await;
}

async fn a_replay_takes_what_its_filter_passes(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let id = subscribe(&pms, &double, json!({})).await.id().to_owned();
    publish(&pms, 60).await;
    double.wait_for(60).await;
    until_pending(&pms, 0).await;
    let erase = pms.db.transaction("erase", |tx| {
        Box::pin(async move {
            let sql = "UPDATE event_bodies SET body = NULL WHERE INSTR(body, '\"number\":59') > 0";
            tx.execute(sql, Vec::new()).await
        })
    });
    assert_eq!(erase.await.unwrap(), 1);
    let body = json!({"from": BEGIN, "filter": {"path": "/number", "op": ">=", "value": 50}});
    let path = format!("/webhooks/{id}/replay");
    let mut dry = body.clone();
    dry["dry_run"] = true.into();
    assert_eq!(pms.post(&path, &dry).await.expect(200).body["matching"], 9);
    let run = begin(&pms, &path, &body).await;
    let run = ended(&pms, &run).await;
    assert_eq!((&run["matched"], &run["queued"]), (&json!(9), &json!(9)));
    assert_eq!(run["filter"], body["filter"]);
    until_pending(&pms, 0).await;
    let numbers = |received: &[Received]| {
        let number = |one: &Received| {
            let body: Value = serde_json::from_slice(&one.body).unwrap();
            body["payload"]["number"].as_u64().unwrap()
        };
        let mut numbers: Vec<_> = received.iter().map(number).collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(numbers(&double.received()[60..]), (50..59).collect::<Vec<_>>());
    // Its own filter is asked too.
    let own = json!({"filter": {"path": "/number", "op": "<", "value": 55}});
    pms.put(&format!("/webhooks/{id}"), &own).await.expect(200);
    assert_eq!(pms.post(&path, &dry).await.expect(200).body["matching"], 5);
    let own = json!({"filter": null});
    pms.put(&format!("/webhooks/{id}"), &own).await.expect(200);
    // Without a filter the one without a body is counted.
    let run = begin(&pms, &path, &json!({"from": BEGIN})).await;
    let run = ended(&pms, &run).await;
    assert_eq!(
        (&run["matched"], &run["queued"], &run["without_body"]),
        (&json!(60), &json!(59), &json!(1))
    );
    pms.stop().await;
}

async fn a_run_has_two_hundred_waiting_at_most_and_goes_on_after_a_restart(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    publish(&pms, MANY).await;
    until_pending(&pms, 0).await;
    let gate = Gate::closed();
    double.otherwise(Answer::status(200).behind(&gate));
    let id = subscribe(&pms, &double, json!({"max_concurrency": 8}))
        .await
        .id()
        .to_owned();
    let run = begin(&pms, &format!("/webhooks/{id}/replay"), &json!({"from": BEGIN})).await;
    until("it is full", || async {
        pms.get(&run).await.expect(200).body["waiting"] == WAITING_MAX
    })
    .await;
    double.wait_for_held(8).await;
    // A run of another webhook goes on to its end beside, whose every step looks at this one too.
    let other = self::double().await;
    let other_id = subscribe(&pms, &other, json!({})).await.id().to_owned();
    let beside = begin(
        &pms,
        &format!("/webhooks/{other_id}/replay"),
        &json!({"from": BEGIN}),
    )
    .await;
    assert_eq!(ended(&pms, &beside).await["queued"], MANY);
    other.wait_for(MANY).await;
    let shown = pms.get(&run).await.expect(200).body;
    assert_eq!(
        (&shown["status"], &shown["queued"]),
        (&json!("running"), &json!(WAITING_MAX))
    );
    until_count(
        &pms,
        "all of the other's are settled",
        "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'pending'",
        i64::try_from(WAITING_MAX).unwrap(),
    )
    .await;
    gate.open(MANY * 2);
    pms.stop().await;

    let pms = Pms::start(&ctx).await;
    let shown = ended(&pms, &run).await;
    assert_eq!(
        (&shown["status"], &shown["matched"], &shown["queued"]),
        (&json!("finished"), &json!(MANY), &json!(MANY))
    );
    until_pending(&pms, 0).await;
    let times = times(&double.received());
    assert_eq!(times.len(), MANY);
    assert!(times.values().all(|times| *times == 1), "each once: {times:?}");
    assert_eq!(
        pms.count("SELECT COUNT(*) AS n FROM delivery_run_waiting").await,
        0
    );
    pms.stop().await;
}

async fn a_run_is_ended_and_what_it_made_due_stays_so(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let (id, run) = full_run(&pms, &double).await;
    pms.delete(&run).await.expect(204);
    pms.delete(&run).await.expect(204);
    let shown = pms.get(&run).await.expect(200).body;
    assert_eq!(
        (&shown["status"], &shown["queued"]),
        (&json!("cancelled"), &json!(WAITING_MAX))
    );
    pms.post(&format!("/webhooks/{id}/resume"), &json!({}))
        .await
        .expect(200);
    until_pending(&pms, 0).await;
    assert_eq!(double.received().len(), WAITING_MAX);
    let audited = "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'run_cancelled'";
    assert_eq!(pms.count(audited).await, 1);
    pms.stop().await;
}

async fn a_process_that_lost_the_lease_writes_nothing(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    publish(&pms, MANY).await;
    until_pending(&pms, 0).await;
    let lease = pms
        .store
        .claim_runs("a process that stands still", pms.clock.now())
        .await
        .unwrap()
        .unwrap();
    let id = subscribe(&pms, &double, json!({"active": false}))
        .await
        .id()
        .to_owned();
    let path = begin(&pms, &format!("/webhooks/{id}/replay"), &json!({"from": BEGIN})).await;
    let read = pms.store.runs_in_progress().await.unwrap().remove(0);
    assert_eq!((read.matched, read.queued), (0, 0), "the lease is held");
    pms.clock.advance(RUN_LEASE + Duration::from_secs(1));
    until("another has gone on", || async {
        pms.get(&path).await.expect(200).body["waiting"] == WAITING_MAX
    })
    .await;
    let late = pms.store.run_batch(&read, &lease, pms.clock.now()).await.unwrap();
    assert!(matches!(late, RunBatch::Lost | RunBatch::Full(_)), "{late:?}");
    // There is room again, and it is still not his.
    pms.post(&format!("/webhooks/{id}/resume"), &json!({}))
        .await
        .expect(200);
    ended(&pms, &path).await;
    until_pending(&pms, 0).await;
    let late = pms.store.run_batch(&read, &lease, pms.clock.now()).await.unwrap();
    assert_eq!(late, RunBatch::Lost);
    until_pending(&pms, 0).await;
    let times = times(&double.received());
    assert_eq!(times.len(), MANY);
    assert!(times.values().all(|times| *times == 1));
    pms.stop().await;
}

async fn a_run_of_a_deleted_webhook_ends(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let (id, run) = full_run(&pms, &double).await;
    pms.delete(&format!("/webhooks/{id}")).await.expect(204);
    let shown = ended(&pms, &run).await;
    assert_eq!(shown["status"], "cancelled");
    until_pending(&pms, 0).await;
    let cancelled = "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'cancelled'";
    assert_eq!(pms.count(cancelled).await, i64::try_from(WAITING_MAX).unwrap());
    pms.post(&format!("/webhooks/{id}/replay"), &json!({"from": BEGIN}))
        .await
        .expect(404);
    pms.stop().await;
}

async fn what_no_run_can_be_is_refused(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    publish(&pms, MANY).await;
    until_pending(&pms, 0).await;
    let id = subscribe(&pms, &double, json!({"active": false}))
        .await
        .id()
        .to_owned();
    let (recover, replay) = (
        format!("/webhooks/{id}/recover"),
        format!("/webhooks/{id}/replay"),
    );
    let earlier = BEGIN.plus_millis(-1);
    for (path, body, pointer) in [
        (&recover, json!({}), "/since"),
        (&recover, json!({"since": "yesterday"}), "/since"),
        (&recover, json!({"since": BEGIN, "until": earlier}), "/until"),
        (&recover, json!({"since": BEGIN, "filter": null}), "/filter"),
        (&replay, json!({}), "/from"),
        (&replay, json!({"from": BEGIN, "to": earlier}), "/to"),
        (
            &replay,
            json!({"from": BEGIN, "filter": {"path": "/a", "op": "~", "value": 1}}),
            "/filter/op",
        ),
    ] {
        let refused = pms.post(path, &body).await.expect(422);
        let pointers: Vec<_> = refused.errors().into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(pointers, [pointer], "{body}");
    }
    for _ in 0..RUNNING_OF_ENDPOINT_MAX {
        pms.post(&replay, &json!({"from": BEGIN})).await.expect(202);
        until_count(
            &pms,
            "it has begun",
            "SELECT COUNT(*) AS n FROM delivery_runs WHERE queued = 0 AND matched = 0",
            0,
        )
        .await;
    }
    let refused = pms.post(&replay, &json!({"from": BEGIN})).await.expect(409);
    assert_eq!(refused.body["code"], "too_many_runs");
    // A dry run needs no place.
    pms.post(&replay, &json!({"from": BEGIN, "dry_run": true}))
        .await
        .expect(200);
    for missing in ["/runs/drn_none", "/runs/not.an.id"] {
        pms.get(missing).await.expect(404);
        pms.delete(missing).await.expect(404);
    }
    pms.get("/runs?status=gone").await.expect(400);
    pms.stop().await;
}

async fn a_caller_sees_and_begins_runs_of_webhooks_that_it_sees(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let double = double().await;
    let scope = || json!(["LIS01"]);
    let writer = key(&pms, &["webhooks:write"], scope()).await;
    let reader = key(&pms, &["webhooks:read"], scope()).await;
    let admin = key(&pms, &["webhooks:admin"], scope()).await;
    let mut paths = Vec::new();
    for properties in [scope(), json!("*")] {
        let id = subscribe_to(&pms, &double, properties).await;
        paths.push(format!("/webhooks/{id}/replay"));
    }
    let body = json!({"from": BEGIN});
    let mut runs = Vec::new();
    for path in &paths {
        let begun = with_key(&pms, ADMIN, Method::POST, path, Some(&body))
            .await
            .expect(202);
        runs.push(format!("/runs/{}", begun.id()));
    }
    with_key(&pms, &writer, Method::POST, &paths[0], Some(&body))
        .await
        .expect(202);
    with_key(&pms, &writer, Method::POST, &paths[1], Some(&body))
        .await
        .expect(404);
    with_key(&pms, &reader, Method::POST, &paths[0], Some(&body))
        .await
        .expect(403);
    with_key(&pms, &reader, Method::GET, &runs[0], None)
        .await
        .expect(200);
    with_key(&pms, &reader, Method::GET, &runs[1], None)
        .await
        .expect(404);
    with_key(&pms, &writer, Method::DELETE, &runs[0], None)
        .await
        .expect(403);
    with_key(&pms, &admin, Method::DELETE, &runs[1], None)
        .await
        .expect(404);
    with_key(&pms, &admin, Method::DELETE, &runs[0], None)
        .await
        .expect(204);
    for (key, count) in [(reader.as_str(), 2), (ADMIN, 3)] {
        let listed = with_key(&pms, key, Method::GET, "/runs", None).await.expect(200);
        assert_eq!(listed.body["data"].as_array().unwrap().len(), count);
    }
    pms.stop().await;
}
