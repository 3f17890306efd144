//! COMMIT is cut off on its way to the database, or its answer on the way back: each write of the emitter is one
//! change with one event all the same, and its retry hears so. MySQL only: SQLite has no way to lose.

use harness::{
    engine::Engine,
    fault_proxy::{FaultProxy, Mode},
};
use http::Method;
use serde_json::{Value, json};

use crate::case::{Case, Ctx, cases};
use crate::ingest::carry_out;
use crate::pms::{Pms, Reply};
use crate::reservations::request;

pub fn cases() -> Vec<Case> {
    cases![only Engine::Mysql;
        f11_a_post_whose_commit_is_lost_or_unknown_makes_one_event,
        f11_a_night_audit_whose_commit_is_lost_or_unknown_moves_one_day,
        f11_a_change_whose_commit_is_lost_or_unknown_is_made_once,
        f11_published_events_whose_commit_is_lost_or_unknown_are_written_once,
        f13_a_lost_race_runs_the_whole_write_again_and_not_for_ever,
    ]
}

/// Both sides of a commit.
const CUTS: [Mode; 2] = [Mode::CutBeforeCommit, Mode::CutAfterCommit];

/// An emitter, and a proxy on its way to the database. It has no endpoint: the only commits are those of requests.
async fn behind_a_proxy(ctx: &Ctx) -> (FaultProxy, Pms) {
    let (proxy, database) = FaultProxy::before(ctx.database.url()).await.unwrap();
    (proxy, Pms::start_through(ctx, database).await)
}

/// One call whose commit meets the fault.
async fn cut(proxy: &FaultProxy, mode: Mode, call: impl Future<Output = Reply>) -> Reply {
    proxy.set(mode);
    let reply = call.await;
    assert_eq!(proxy.mode(), Mode::Forward, "the fault was met: {mode:?}");
    reply
}

/// A POST that is cut, and its retry, which must hear of the first.
async fn post_twice(pms: &Pms, proxy: &FaultProxy, mode: Mode, path: &str, body: Option<&Value>) -> Reply {
    let key = format!("{mode:?}");
    let headers = [("idempotency-key", key.as_str())];
    let first = cut(proxy, mode, pms.send(Method::POST, path, &headers, body)).await;
    let again = pms.send(Method::POST, path, &headers, body).await;
    assert_eq!(
        (again.status, &again.body),
        (first.status, &first.body),
        "{mode:?}"
    );
    assert_eq!(again.header("idempotency-replayed"), "true");
    first
}

async fn f11_a_post_whose_commit_is_lost_or_unknown_makes_one_event(ctx: Ctx) {
    let (proxy, pms) = behind_a_proxy(&ctx).await;
    for mode in CUTS {
        let guest = post_twice(&pms, &proxy, mode, "/guests", Some(&json!({"name": "Ana Silva"}))).await;
        let guest = guest.expect(201);
        assert_eq!(pms.events(guest.id()).await.len(), 1, "{mode:?}");
        let booking = request(guest.id());
        let booked = post_twice(&pms, &proxy, mode, "/reservations", Some(&booking)).await;
        assert_eq!(pms.events(booked.expect(201).id()).await.len(), 1, "{mode:?}");
    }
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM guests").await, 2);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM reservations").await, 2);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM events").await, 4);
    pms.stop().await;
}

async fn f11_a_night_audit_whose_commit_is_lost_or_unknown_moves_one_day(ctx: Ctx) {
    let (proxy, pms) = behind_a_proxy(&ctx).await;
    let path = "/properties/MAIN/night-audit";
    for (mode, date) in CUTS.into_iter().zip(["2026-03-15", "2026-03-16"]) {
        let audit = post_twice(&pms, &proxy, mode, path, None).await.expect(200);
        assert_eq!(audit.body["business_date"], json!(date), "{mode:?}");
    }
    let audits = "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'night_audit'";
    assert_eq!(pms.count(audits).await, 2, "one record for each day");
    pms.stop().await;
}

async fn f11_a_change_whose_commit_is_lost_or_unknown_is_made_once(ctx: Ctx) {
    let (proxy, pms) = behind_a_proxy(&ctx).await;
    for mode in CUTS {
        let guest = pms
            .post("/guests", &json!({"name": "Ana Silva"}))
            .await
            .expect(201);
        let path = format!("/guests/{}", guest.id());
        let name = json!({"last_name": "Costa"});
        let put = cut(&proxy, mode, pms.put(&path, &name)).await.expect(200);
        assert_eq!(put.header("etag"), "\"2\"", "{mode:?}");
        cut(&proxy, mode, pms.delete(&path)).await.expect(204);
        let events = pms.events(guest.id()).await;
        let versions: Vec<_> = events
            .iter()
            .map(|event| event["entity"]["version"].as_u64())
            .collect();
        assert_eq!(versions, [Some(1), Some(2), Some(3)], "{mode:?}");
    }
    pms.stop().await;
}

async fn f11_published_events_whose_commit_is_lost_or_unknown_are_written_once(ctx: Ctx) {
    let (proxy, pms) = behind_a_proxy(&ctx).await;
    let event = |booking: &str| json!({"type": "booking.created", "entity": {"kind": "booking", "id": booking}, "payload": {"id": booking}});
    let statuses = |answer: &Reply| -> Vec<Value> {
        let data = answer.body["data"].as_array().unwrap();
        data.iter().map(|one| one["status"].clone()).collect()
    };
    for (nth, mode) in (1..).zip(CUTS) {
        let published = post_twice(&pms, &proxy, mode, "/events", Some(&event("b-1"))).await;
        published.expect(202);
        // One of the batch is there already.
        let mut events: Vec<Value> = (0..3).map(|_| event("b-2")).collect();
        let mut there = event("b-3");
        there["id"] = json!(format!("evt_there_{nth}"));
        pms.post("/events", &there).await.expect(202);
        for (place, one) in events.iter_mut().enumerate() {
            one["id"] = json!(format!("evt_{nth}_{place}"));
        }
        let batch = json!({"events": [events[0], events[1], there, events[2]]});
        let first = cut(&proxy, mode, pms.post("/events/batch", &batch))
            .await
            .expect(202);
        assert_eq!(statuses(&first), [202, 202, 200, 202], "{mode:?}");
        let again = pms.post("/events/batch", &batch).await.expect(200);
        assert_eq!(statuses(&again), [200; 4], "{mode:?}");
        for (entity, each) in [("b-1", 1), ("b-2", 3), ("b-3", 1)] {
            let versions: Vec<u64> = pms
                .events(entity)
                .await
                .iter()
                .map(|one| one["entity"]["version"].as_u64().unwrap())
                .collect();
            assert_eq!(
                versions,
                (1..=each * nth).collect::<Vec<_>>(),
                "{mode:?}: {entity}"
            );
        }
        let name = format!("spa.kind_{nth}");
        let made = post_twice(&pms, &proxy, mode, "/event-types", Some(&json!({"type": name}))).await;
        made.expect(201);
        let path = format!("/event-types/{name}");
        let put = cut(&proxy, mode, pms.put(&path, &json!({"category": "spa"}))).await;
        assert_eq!(put.expect(200).body["version"], 2, "{mode:?}");
        cut(&proxy, mode, pms.delete(&path)).await.expect(204);
    }
    assert_eq!(pms.count("SELECT types AS n FROM event_type_count").await, 0);
    pms.stop().await;
}

/// Lost races, in the server's words: a deadlock, a lock wait, a record that changed since it was read, a node that takes
/// no work now.
const RACES: [u32; 4] = [1213, 1205, 1020, 1047];

async fn f13_a_lost_race_runs_the_whole_write_again_and_not_for_ever(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    // No rollback reaches what counts the races that are still to be lost.
    carry_out(&ctx, "CREATE TABLE races (code INT, still INT) ENGINE = MyISAM").await;
    carry_out(&ctx, "INSERT INTO races VALUES (0, 0)").await;
    carry_out(
        &ctx,
        "CREATE TRIGGER race BEFORE INSERT ON events FOR EACH ROW BEGIN
             DECLARE lost INT DEFAULT (SELECT code FROM races WHERE still > 0);
             IF lost IS NOT NULL THEN
                 UPDATE races SET still = still - 1;
                 SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = lost;
             END IF;
         END",
    )
    .await;
    let reruns = || pms.store.db().counts().reruns.get();
    for (nth, code) in (1..).zip(RACES) {
        let key = format!("race-{code}");
        let headers = [("idempotency-key", key.as_str())];
        let guest = json!({"last_name": key});
        let post = || pms.send(Method::POST, "/guests", &headers, Some(&guest));
        carry_out(&ctx, &format!("UPDATE races SET code = {code}, still = 1000")).await;
        assert_eq!(post().await.expect(503).header("retry-after"), "1", "{code}");
        carry_out(&ctx, "UPDATE races SET still = 1").await;
        let before = reruns();
        let made = post().await.expect(201);
        assert_eq!(reruns() - before, 1, "{code}");
        assert_eq!(pms.events(made.id()).await.len(), 1, "{code}");
        assert_eq!(pms.count("SELECT COUNT(*) AS n FROM guests").await, nth, "{code}");
    }
    pms.stop().await;
}
