//! `POST /events/{id}/requeue` and `/requeues`, over real sockets: who may what, and what comes of it.

use super::{ADMIN, ask, asked};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, audited, config, event, execute, guest_event, number};
use db::{Db, params};
use harness::engine::Engine;
use harness::waiting::until_some;
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    let both = cases![
        a_dead_letter_is_requeued_once,
        a_run_requeues_what_its_filter_finds,
        a_filter_has_the_members_of_the_list_of_events,
        a1_a_key_requeues_and_sees_what_is_in_its_scope,
        no_more_than_two_runs_of_a_caller_go_on_at_a_time,
        a_run_finds_dead_letters_of_a_replica_whose_clock_is_ahead,
    ];
    let of_replicas = cases![only Engine::Mysql; a7_two_replicas_share_the_runs_and_requeue_each_event_once];
    both.into_iter().chain(of_replicas).collect()
}

/// Makes every event of a type a dead letter.
async fn kill(db: &Db, event_type: &str) -> u64 {
    let sql = "UPDATE inbox SET status = 'dead_letter', attempts = 8, last_error = 'planted' WHERE type = ?";
    let event_type = event_type.to_owned();
    let killed = db.transaction("kill", move |tx| {
        let event_type = event_type.clone();
        Box::pin(async move { tx.execute(sql, params![event_type]).await })
    });
    killed.await.unwrap()
}

/// A guest whose event was applied and is a dead letter all the same: requeued, it changes nothing.
async fn dead_guest(receiver: &Receiver, ctx: &Ctx, key: &str) -> String {
    assert_eq!(receiver.take(key, &guest_event(key)).await.status, 202);
    receiver.settle(ctx).await;
    receiver.event(key).await["event_id"].as_str().unwrap().to_owned()
}

/// The run, once it has ended.
async fn ended(receiver: &Receiver, id: &str) -> Value {
    until_some("the run ends", || async {
        let run = asked(receiver, "GET", &format!("/requeues/{id}"), None, 200).await;
        (run["status"] != "running").then_some(run)
    })
    .await
}

async fn a_dead_letter_is_requeued_once(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let db = ctx.open().await;
    let id = dead_guest(&receiver, &ctx, "evt_1").await;
    let path = format!("/events/{id}/requeue");
    let refused = asked(&receiver, "POST", &path, None, 409).await;
    assert_eq!(
        (&refused["code"], &refused["event_status"]),
        (&json!("not_a_dead_letter"), &json!("applied"))
    );
    kill(&db, "guest.created").await;

    let answer = ask(&receiver, None, "POST", &path, None).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    let run = answer.json();
    let location = format!("/api/v1/requeues/{}", run["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert_eq!(
        (&run["status"], &run["requeued"], &run["skipped"]),
        (&json!("finished"), &json!(1), &json!(0))
    );
    assert_eq!(run["filter"], json!({"event_id": id}));
    assert_eq!(asked(&receiver, "GET", &location[7..], None, 200).await, run);
    receiver.settle(&ctx).await;
    let event = receiver.event("evt_1").await;
    assert_eq!(
        (&event["status"], &event["last_error"]),
        (&json!("stale"), &json!(null))
    );
    let actions: Vec<_> = event["history"].as_array().unwrap().iter().collect();
    assert_eq!(
        actions
            .iter()
            .filter(|entry| entry["action"] == "requeued")
            .count(),
        1
    );
    assert!(
        actions.iter().any(|entry| entry["actor"].as_str().is_some()),
        "{actions:?}"
    );
    // Again: it is no dead letter any more.
    asked(&receiver, "POST", &path, None, 409).await;
    assert_eq!(
        (
            audited(&db, "requeued").await,
            audited(&db, "requeue_finished").await
        ),
        (1, 1)
    );

    kill(&db, "guest.created").await;
    execute(&db, "DELETE FROM inbox_bodies", params![]).await;
    let refused = asked(&receiver, "POST", &path, None, 409).await;
    assert_eq!(refused["code"], "body_gone");
    asked(&receiver, "POST", "/events/evt_nobody/requeue", None, 404).await;
    assert_eq!(audited(&db, "requeued").await, 1);
    receiver.stop().await;
}

async fn a_run_requeues_what_its_filter_finds(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let db = ctx.open().await;
    for key in ["evt_1", "evt_2", "evt_3"] {
        dead_guest(&receiver, &ctx, key).await;
    }
    let other = event("evt_4", "ping", &json!({}));
    assert_eq!(receiver.take("evt_4", &other).await.status, 202);
    kill(&db, "guest.created").await;
    kill(&db, "ping").await;
    let body = "DELETE FROM inbox_bodies WHERE event_id = (SELECT event_id FROM inbox WHERE idempotency_key = 'evt_3')";
    execute(&db, body, params![]).await;

    let filter =
        json!({"type": "guest.created", "property_id": "LIS01", "source": "pms", "status": "dead_letter"});
    let dry = json!({"filter": filter, "dry_run": true});
    let counted = asked(&receiver, "POST", "/requeues", Some(dry), 200).await;
    assert_eq!(
        (
            &counted["matching"],
            &counted["without_body"],
            &counted["complete"]
        ),
        (&json!(2), &json!(1), &json!(true))
    );
    assert_eq!(
        number(&db, "SELECT COUNT(*) AS n FROM requeues", params![]).await,
        0
    );

    let run = asked(
        &receiver,
        "POST",
        "/requeues",
        Some(json!({"filter": filter})),
        202,
    )
    .await;
    assert_eq!((&run["status"], &run["filter"]), (&json!("running"), &filter));
    let run = ended(&receiver, run["id"].as_str().unwrap()).await;
    assert_eq!(
        (&run["status"], &run["requeued"], &run["skipped"]),
        (&json!("finished"), &json!(2), &json!(1))
    );
    receiver.settle(&ctx).await;
    for (key, status) in [
        ("evt_1", "stale"),
        ("evt_2", "stale"),
        ("evt_3", "dead_letter"),
        ("evt_4", "dead_letter"),
    ] {
        assert_eq!(receiver.event(key).await["status"], status, "{key}");
    }
    let entries = "SELECT COUNT(*) AS n FROM audit_entries WHERE entity_kind = 'requeue' AND actor IS NOT NULL \
                   AND (action = 'requeue_started' AND changed LIKE '%property_id%' \
                        OR action = 'requeue_finished' AND outcome = 'requeued 2, skipped 1')";
    assert_eq!(number(&db, entries, params![]).await, 2);

    // One that has ended stays so.
    let path = format!("/requeues/{}", run["id"].as_str().unwrap());
    asked(&receiver, "DELETE", &path, None, 204).await;
    assert_eq!(asked(&receiver, "GET", &path, None, 200).await, run);
    let list = asked(&receiver, "GET", "/requeues?status=finished", None, 200).await;
    assert_eq!(list["data"], json!([run]));
    let list = asked(&receiver, "GET", "/requeues?status=running", None, 200).await;
    assert_eq!(list["data"], json!([]));
    asked(&receiver, "GET", "/requeues?status=lost", None, 400).await;
    asked(&receiver, "GET", "/requeues/rqu_nobody", None, 404).await;
    receiver.stop().await;
}

async fn a_filter_has_the_members_of_the_list_of_events(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for (body, pointer, code) in [
        (json!({}), "/filter", "required"),
        (json!({"filter": []}), "/filter", "wrong_type"),
        (json!({"filter": {}, "force": true}), "/force", "unknown_field"),
        (json!({"filter": {}, "dry_run": "yes"}), "/dry_run", "wrong_type"),
        (
            json!({"filter": {"colour": "red"}}),
            "/filter/colour",
            "unknown_field",
        ),
        (
            json!({"filter": {"limit": "1"}}),
            "/filter/limit",
            "unknown_field",
        ),
        (
            json!({"filter": {"from": "yesterday"}}),
            "/filter/from",
            "invalid",
        ),
        (
            json!({"filter": {"property_id": "lis01"}}),
            "/filter/property_id",
            "invalid",
        ),
        (json!({"filter": {"source": "a.b"}}), "/filter/source", "invalid"),
        (json!({"filter": {"type": "é"}}), "/filter/type", "invalid"),
        (json!({"filter": {"type": 1}}), "/filter/type", "wrong_type"),
        (json!({"filter": {"type": ""}}), "/filter/type", "invalid"),
        (
            json!({"filter": {"type": "x".repeat(513)}}),
            "/filter/type",
            "invalid",
        ),
        (
            json!({"filter": {"status": "applied"}}),
            "/filter/status",
            "not_a_dead_letter",
        ),
    ] {
        let refused = asked(&receiver, "POST", "/requeues", Some(body.clone()), 422).await;
        let error = &refused["errors"][0];
        assert_eq!(
            (&error["pointer"], &error["code"]),
            (&json!(pointer), &json!(code)),
            "{body}"
        );
    }
    assert_eq!(
        asked(&receiver, "GET", "/requeues", None, 200).await["data"],
        json!([])
    );
    receiver.stop().await;
}

async fn a1_a_key_requeues_and_sees_what_is_in_its_scope(ctx: Ctx) {
    let mut config = config(ctx.url());
    config.access.admin_api_key = Some(ADMIN.parse().unwrap());
    let receiver = Receiver::start_with(config).await;
    let db = ctx.open().await;
    let make = async |permission: &str, scope: Value| {
        let body = json!({"name": "a key", "permissions": [permission], "property_ids": scope});
        let made = ask(&receiver, Some(ADMIN), "POST", "/api-keys", Some(body)).await;
        made.json()["key"].as_str().unwrap().to_owned()
    };
    let (own, other, reads) = (
        make("admin", json!(["LIS01"])).await,
        make("admin", json!(["OPO01"])).await,
        make("read", json!("*")).await,
    );
    assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 202);
    receiver.settle(&ctx).await;
    kill(&db, "guest.created").await;
    let found = receiver
        .get_with(ADMIN, "/events?idempotency_key=evt_1")
        .await
        .json();
    let path = format!(
        "/events/{}/requeue",
        found["data"][0]["event_id"].as_str().unwrap()
    );
    let body = || Some(json!({"filter": {}}));

    for (method, path) in [
        ("POST", path.as_str()),
        ("POST", "/requeues"),
        ("DELETE", "/requeues/rqu_1"),
    ] {
        let refused = ask(&receiver, Some(&reads), method, path, body()).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (403, &json!("forbidden")),
            "{path}"
        );
    }
    assert_eq!(
        ask(&receiver, Some(&other), "POST", &path, None).await.status,
        404
    );
    // A run of the other key finds nothing: neither counted nor requeued.
    let dry = Some(json!({"filter": {}, "dry_run": true}));
    let counted = ask(&receiver, Some(&other), "POST", "/requeues", dry.clone())
        .await
        .json();
    assert_eq!(counted["matching"], 0);
    let counted = ask(&receiver, Some(&own), "POST", "/requeues", dry).await.json();
    assert_eq!(counted["matching"], 1);
    let run = ask(&receiver, Some(&other), "POST", "/requeues", body())
        .await
        .json();
    assert_eq!(run["property_ids"], json!(["OPO01"]));
    let id = run["id"].as_str().unwrap();
    let path_of_run = format!("/requeues/{id}");
    let ended = until_some("the run ends", || async {
        let run = ask(&receiver, Some(ADMIN), "GET", &path_of_run, None)
            .await
            .json();
        (run["status"] == "finished").then_some(run)
    })
    .await;
    assert_eq!(ended["requeued"], 0);
    for (key, status, listed) in [(&own, 404, 0), (&other, 200, 1), (&reads, 200, 1)] {
        assert_eq!(
            ask(&receiver, Some(key), "GET", &path_of_run, None).await.status,
            status
        );
        let list = ask(&receiver, Some(key), "GET", "/requeues", None).await.json();
        assert_eq!(list["data"].as_array().map(Vec::len), Some(listed), "{list}");
    }
    assert_eq!(
        ask(&receiver, Some(&own), "DELETE", &path_of_run, None)
            .await
            .status,
        404
    );
    assert_eq!(ask(&receiver, Some(&own), "POST", &path, None).await.status, 202);
    // That run sees one property, and so does not show itself to a key of another.
    let list = ask(&receiver, Some(&other), "GET", "/requeues", None)
        .await
        .json();
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1), "{list}");
    receiver.stop().await;
}

async fn no_more_than_two_runs_of_a_caller_go_on_at_a_time(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let db = ctx.open().await;
    // Runs that nobody continues: the lease is another's.
    let lease =
        "INSERT INTO leases (name, owner, lease_until, epoch, fences) VALUES ('requeues', 'other', ?, 1, 0)";
    let until = contract::Clock::now(receiver.clock.as_ref()).plus_millis(10_000);
    execute(&db, lease, params![until]).await;
    let body = || Some(json!({"filter": {}}));
    let first = asked(&receiver, "POST", "/requeues", body(), 202).await;
    asked(&receiver, "POST", "/requeues", body(), 202).await;
    let refused = asked(&receiver, "POST", "/requeues", body(), 409).await;
    assert_eq!(refused["code"], "too_many_requeues");
    let path = format!("/requeues/{}", first["id"].as_str().unwrap());
    asked(&receiver, "DELETE", &path, None, 204).await;
    assert_eq!(
        asked(&receiver, "GET", &path, None, 200).await["status"],
        "cancelled"
    );
    assert_eq!(audited(&db, "requeue_cancelled").await, 1);
    asked(&receiver, "POST", "/requeues", body(), 202).await;
    receiver.stop().await;
}

async fn a_run_finds_dead_letters_of_a_replica_whose_clock_is_ahead(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let db = ctx.open().await;
    dead_guest(&receiver, &ctx, "evt_1").await;
    assert_eq!(kill(&db, "guest.created").await, 1);
    // Its last try was made 20 s from now, and the one after it due a minute later.
    let due = contract::Clock::now(receiver.clock.as_ref()).plus_millis(80_000);
    execute(&db, "UPDATE inbox SET due_at = ?", params![due]).await;
    let run = asked(&receiver, "POST", "/requeues", Some(json!({"filter": {}})), 202).await;
    let run = ended(&receiver, run["id"].as_str().unwrap()).await;
    assert_eq!(run["requeued"], 1);
    receiver.stop().await;
}

async fn a7_two_replicas_share_the_runs_and_requeue_each_event_once(ctx: Ctx) {
    let (one, other) = (Receiver::start(&ctx).await, Receiver::start(&ctx).await);
    let db = ctx.open().await;
    for number in 0..250 {
        let key = format!("evt_{number}");
        assert_eq!(one.take(&key, &guest_event(&key)).await.status, 202);
    }
    one.settle(&ctx).await;
    assert_eq!(kill(&db, "guest.created").await, 250);
    let body = || Some(json!({"filter": {}}));
    let (first, second) = tokio::join!(
        asked(&one, "POST", "/requeues", body(), 202),
        asked(&other, "POST", "/requeues", body(), 202)
    );
    let (first, second) = (
        ended(&other, first["id"].as_str().unwrap()).await,
        ended(&one, second["id"].as_str().unwrap()).await,
    );
    let requeued = first["requeued"].as_i64().unwrap() + second["requeued"].as_i64().unwrap();
    assert_eq!(requeued, 250, "{first} {second}");
    one.settle(&ctx).await;
    assert_eq!(audited(&db, "requeued").await, 250);
    assert_eq!(audited(&db, "applied").await, 250);
    let stale = "SELECT COUNT(*) AS n FROM inbox WHERE status = 'stale'";
    assert_eq!(number(&db, stale, params![]).await, 250);
    one.stop().await;
    other.stop().await;
}
