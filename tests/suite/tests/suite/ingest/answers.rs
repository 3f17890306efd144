//! The table of answers: new, repeated, still in progress, reused, unreadable, invalid, unknown.

use super::{Receiver, audited, batches::connect, event, execute, guest_event, number};
use crate::case::{Case, Ctx, cases};
use db::params;
use futures::future::join_all;
use harness::{engine::Engine, signer::Answer, waiting::until};
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        a_repeat_hears_of_the_first,
        f44_the_answers_do_not_rest_on_the_cache,
        f30_fifty_copies_at_once_are_one_event,
        f31_another_body_under_the_same_key_is_refused_and_recorded,
        a_reused_id_is_recorded_however_long_its_names_are,
        f31_two_bodies_racing_for_one_key_leave_one,
        what_cannot_be_read_is_refused_with_its_reasons,
        an_invalid_payload_is_refused_or_quarantined,
        an_erased_guest_leaves_nothing_but_the_key,
    ];
    all.extend(cases![only Engine::Mysql;
        f30_two_receivers_keep_one_of_fifty_copies,
        what_arrives_during_an_erasure_leaves_nothing,
    ]);
    all
}

fn id_of(answer: &Answer) -> String {
    answer.json()["event_id"].as_str().unwrap().to_owned()
}

fn assert_repeat(answer: &Answer, first: &Answer) {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("idempotency-replayed"), Some("true"));
    assert_eq!(
        answer.json(),
        json!({"status": "accepted", "event_id": id_of(first), "duplicate": true})
    );
}

async fn a_repeat_hears_of_the_first(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let body = guest_event("evt_1");
    let first = receiver.take("evt_1", &body).await;
    assert_eq!(first.status, 202);
    let receipt = json!({"status": "accepted", "event_id": id_of(&first), "duplicate": false});
    assert_eq!(first.json(), receipt);
    assert_eq!(first.header("idempotency-replayed"), None);
    for _ in 0..3 {
        assert_repeat(&receiver.take("evt_1", &body).await, &first);
    }
    let event = receiver.event("evt_1").await;
    assert_eq!(event["event_id"].as_str(), Some(id_of(&first).as_str()));
    assert_eq!(
        (&event["correlation_id"], &event["source"]),
        (&json!("req_of_the_change"), &json!("pms"))
    );
    receiver.stop().await;
    let db = ctx.open().await;
    let sql = "SELECT COALESCE(SUM(n), 0) AS n FROM audit_counts WHERE kind = 'duplicate'";
    assert_eq!(number(&db, sql, params![]).await, 3);
}

async fn f44_the_answers_do_not_rest_on_the_cache(ctx: Ctx) {
    let body = guest_event("evt_1");
    let receiver = Receiver::start(&ctx).await;
    let first = receiver.take("evt_1", &body).await;
    receiver.stop().await;
    for uncached in [false, true] {
        let receiver = if uncached {
            Receiver::start_uncached(&ctx).await
        } else {
            Receiver::start(&ctx).await
        };
        for _ in 0..2 {
            assert_repeat(&receiver.take("evt_1", &body).await, &first);
            assert_eq!(
                receiver
                    .take("evt_1", &guest_event_of("evt_1", "Costa"))
                    .await
                    .status,
                422
            );
        }
        receiver.stop().await;
    }
}

fn guest_event_of(key: &str, last_name: &str) -> Vec<u8> {
    event(key, "guest.created", &json!({"last_name": last_name}))
}

/// One new, all others repeats of it; a copy that waited for too long may be asked to come back.
fn assert_one_of(answers: &[Answer]) -> String {
    let first = answers
        .iter()
        .find(|answer| answer.status == 202)
        .expect("one is new");
    for answer in answers {
        match answer.status {
            202 => assert_eq!(answer.body, first.body, "two are new"),
            200 => assert_repeat(answer, first),
            status => panic!("{status}: {}", answer.json()),
        }
    }
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 1);
    id_of(first)
}

async fn f30_fifty_copies_at_once_are_one_event(ctx: Ctx) {
    for receiver in [Receiver::start(&ctx).await] {
        let body = guest_event("evt_1");
        let answers = join_all((0..50).map(|_| receiver.take("evt_1", &body))).await;
        assert_one_of(&answers);
        receiver.stop().await;
    }
    let uncached = Receiver::start_uncached(&ctx).await;
    let body = guest_event("evt_2");
    assert_one_of(&join_all((0..50).map(|_| uncached.take("evt_2", &body))).await);
    uncached.stop().await;
    let db = ctx.open().await;
    assert_eq!(number(&db, "SELECT COUNT(*) AS n FROM inbox", params![]).await, 2);
    assert_eq!(
        number(&db, "SELECT COUNT(*) AS n FROM inbox_bodies", params![]).await,
        2
    );
}

async fn f30_two_receivers_keep_one_of_fifty_copies(ctx: Ctx) {
    let (one, other) = (Receiver::start_uncached(&ctx).await, Receiver::start(&ctx).await);
    for round in 0..20 {
        let key = format!("evt_{round}");
        let body = guest_event(&key);
        let copies = (0..50).map(|copy| if copy % 2 == 0 { &one } else { &other });
        let answers = join_all(copies.map(|receiver| receiver.take(&key, &body))).await;
        assert_one_of(&answers);
    }
    one.stop().await;
    other.stop().await;
    let db = ctx.open().await;
    assert_eq!(
        number(&db, "SELECT COUNT(*) AS n FROM inbox", params![]).await,
        20
    );
}

async fn f31_another_body_under_the_same_key_is_refused_and_recorded(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let body = guest_event("evt_1");
    let first = receiver.take("evt_1", &body).await;
    for (count, other) in [guest_event_of("evt_1", "Costa"), [&body[..], b" "].concat()]
        .iter()
        .enumerate()
    {
        let refused = receiver.take("evt_1", other).await;
        assert_eq!(refused.status, 422);
        assert_eq!(refused.json()["code"], "idempotency_key_reused");
        let history = receiver.event("evt_1").await["history"].clone();
        let reuses = history
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["action"] == "id_reuse")
            .count();
        assert_eq!(reuses, count + 1);
    }
    assert_repeat(&receiver.take("evt_1", &body).await, &first);
    receiver.stop().await;
}

async fn a_reused_id_is_recorded_however_long_its_names_are(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let longest = |c: &str| c.repeat(64);
    let key = longest("e");
    let body = |amount: i64| {
        let envelope = json!({
            "type": format!("{}.paid", "k".repeat(40)), "idempotency_key": key, "timestamp": "2025-11-21T12:00:00.000Z",
            "schema_version": 1, "property_id": "P".repeat(16), "correlation_id": longest("c"),
            "entity": {"kind": longest("k"), "id": longest("i"), "version": 1}, "payload": {"amount": amount},
        });
        envelope.to_string().into_bytes()
    };
    let first = receiver.take(&key, &body(1)).await;
    assert_eq!(first.status, 202, "{}", first.json());
    let reused = receiver.take(&key, &body(2)).await;
    assert_eq!(reused.json()["code"], "idempotency_key_reused");
    receiver.stop().await;
    assert_eq!(audited(&ctx.open().await, "id_reuse").await, 1);
}

async fn f31_two_bodies_racing_for_one_key_leave_one(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let bodies = [guest_event_of("evt_1", "Silva"), guest_event_of("evt_1", "Costa")];
    let copies = (0..40).map(|copy| receiver.take("evt_1", &bodies[copy % 2]));
    let answers = join_all(copies).await;
    let winner = answers
        .iter()
        .position(|answer| answer.status == 202)
        .expect("one is new");
    for (copy, answer) in answers.iter().enumerate() {
        if copy % 2 == winner % 2 {
            assert!(copy == winner || answer.status == 200, "{}", answer.json());
        } else {
            assert_eq!(answer.json()["code"], "idempotency_key_reused");
        }
    }
    receiver.stop().await;
    // Copies of the loser that come at the same time are one attempt.
    let recorded = audited(&ctx.open().await, "id_reuse").await;
    assert!((1..=20).contains(&recorded), "{recorded}");
}

/// Codes and pointers of a 422.
fn reasons(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.status, 422, "{}", answer.json());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = answer.json()["errors"].clone();
    errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (text(&error["pointer"]), text(&error["code"])))
        .collect()
}

async fn what_cannot_be_read_is_refused_with_its_reasons(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let whole = String::from_utf8(guest_event("evt_1")).unwrap();
    let unreadable: [&[u8]; 4] = [
        b"",
        b"not json",
        &[b"\xef\xbb\xbf", whole.as_bytes()].concat(),
        b"[]",
    ];
    for body in unreadable {
        let reasons = reasons(&receiver.take("evt_1", body).await);
        assert_eq!(reasons[0].0, "", "{reasons:?}");
    }
    let empty = reasons(&receiver.take("evt_1", b"{}").await);
    assert!(
        empty.contains(&("/type".to_owned(), "required".to_owned())),
        "{empty:?}"
    );
    assert_eq!(receiver.get("/events").await.json()["data"], json!([]));
    receiver.stop().await;
}

async fn an_invalid_payload_is_refused_or_quarantined(ctx: Ctx) {
    let body = event(
        "evt_1",
        "reservation.created",
        &json!({"status": "confirmed", "check_in": "2026-01-01"}),
    );
    let receiver = Receiver::start(&ctx).await;
    let refused = reasons(&receiver.take("evt_1", &body).await);
    let required = |field: &str| (format!("/payload/{field}"), "required".to_owned());
    assert_eq!(refused, [required("check_out"), required("primary_guest_id")]);
    receiver.stop().await;

    let db = ctx.open().await;
    assert_eq!(number(&db, "SELECT COUNT(*) AS n FROM inbox", params![]).await, 0);
    execute(
        &db,
        "UPDATE sources SET on_invalid = 'quarantine' WHERE id = 'pms'",
        params![],
    )
    .await;
    let receiver = Receiver::start(&ctx).await;
    assert_eq!(receiver.take("evt_1", &body).await.status, 202);
    assert_eq!(receiver.take("evt_1", &body).await.status, 200);
    let event = receiver.event("evt_1").await;
    assert_eq!(event["status"], "dead_letter");
    let why = "invalid payload: /payload/check_out required, /payload/primary_guest_id required";
    assert_eq!(event["last_error"], why);
    assert_eq!(event["history"][0]["action"], "dead_lettered");
    assert_eq!(
        receiver.take("evt_2", b"{}").await.status,
        422,
        "unreadable is never kept"
    );
    receiver.stop().await;
}

async fn an_erased_guest_leaves_nothing_but_the_key(ctx: Ctx) {
    Receiver::start(&ctx).await.stop().await;
    let db = ctx.open().await;
    let sql = "INSERT INTO erasures (source_id, entity_id, event_id, erased_at) VALUES ('pms', 'x_evt_1', 'evt_0', 0)";
    execute(&db, sql, params![]).await;
    let receiver = Receiver::start(&ctx).await;
    let body = guest_event("evt_1");
    let first = receiver.take("evt_1", &body).await;
    assert_eq!(first.status, 202);
    assert_eq!(receiver.take("evt_2", &guest_event("evt_2")).await.status, 202);
    for again in [body, guest_event_of("evt_1", "Costa")] {
        assert_repeat(&receiver.take("evt_1", &again).await, &first);
    }
    let event = receiver.event("evt_1").await;
    assert_eq!(
        (&event["status"], &event["history"][0]["action"]),
        (&json!("suppressed"), &json!("suppressed"))
    );
    receiver.stop().await;
    let kept = "SELECT COUNT(*) AS n FROM inbox WHERE event_id = ? AND (salt IS NOT NULL OR fingerprint IS NOT NULL)";
    assert_eq!(number(&db, kept, params![id_of(&first)]).await, 0);
    let bodies = "SELECT COUNT(*) AS n FROM inbox_bodies WHERE event_id = ?";
    assert_eq!(number(&db, bodies, params![id_of(&first)]).await, 0);
}

async fn what_arrives_during_an_erasure_leaves_nothing(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let mut erasing = connect(&ctx).await;
    erasing.query_drop("BEGIN").await.unwrap();
    let register = "INSERT INTO erasures (source_id, entity_id, event_id, erased_at) VALUES ('pms', 'x_evt_1', 'evt_0', 0)";
    erasing.query_drop(register).await.unwrap();
    let body = event("evt_1", "guest.unheard_of", &json!({"last_name": "Silva"}));
    let mut taking = Box::pin(receiver.take("evt_1", &body));
    let db = ctx.open().await;
    // The batch's own look at the register: it comes to an end only once the erasure has.
    let waiting = "SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST \
                   WHERE DB = DATABASE() AND ID <> CONNECTION_ID() AND INFO LIKE '%FROM erasures%'";
    let until_it_waits = until("the batch waits for the erasure", || async {
        number(&db, waiting, params![]).await > 0
    });
    tokio::select! {
        answer = &mut taking => panic!("it does not wait for the erasure: {answer:?}"),
        () = until_it_waits => {}
    }
    erasing.query_drop("COMMIT").await.unwrap();
    assert_eq!(taking.await.status, 202);
    assert_eq!(receiver.event("evt_1").await["status"], "suppressed");
    receiver.stop().await;
    let bodies = "SELECT COUNT(*) AS n FROM inbox_bodies";
    assert_eq!(number(&ctx.open().await, bodies, params![]).await, 0);
}
