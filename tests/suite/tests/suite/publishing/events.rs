//! `POST /events` over HTTP.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use harness::receiver_double::ReceiverDouble;
use http::Method;
use pms_emitter::config::EndpointConfig;
use serde_json::{Value, json};

use super::{booking, keyed, named, open_lisbon, status_of_declared, versions};
use crate::case::{Case, Ctx, cases};
use crate::dispatch::rig::SECRETS;
use crate::pms::{BEGIN, Pms};

pub fn cases() -> Vec<Case> {
    cases![
        an_event_is_taken_and_delivered,
        a_repeat_is_a_duplicate_and_another_event_under_its_id_is_refused,
        an_idempotency_key_is_kept_as_for_any_write,
        two_at_once_with_one_id_are_one_event,
        versions_are_counted_for_each_entity_without_gaps,
        an_entity_is_one_of_its_property,
        what_an_event_may_not_be,
        e14_what_came_as_a_webhook_is_not_published_again,
        an_event_is_published_within_a_scope,
        events_of_before_keep_their_versions,
    ]
}

async fn an_event_is_taken_and_delivered(ctx: Ctx) {
    let double = Arc::new(ReceiverDouble::start().await.unwrap());
    let endpoint = EndpointConfig {
        url: double.url().parse().unwrap(),
        secrets: SECRETS.parse().unwrap(),
    };
    let pms = Pms::start_with(&ctx, BEGIN, Some(endpoint)).await;
    let headers = [("x-correlation-id", "cor-1")];
    let mut event = named("evt_one", booking("b-1", "MAIN"));
    event["payload"]["note"] = json!(" kept as it is, \u{200b}\"version\":0} ");
    let taken = pms
        .send(Method::POST, "/events", &headers, Some(&event))
        .await
        .expect(202);
    let expected =
        json!({"id": "evt_one", "type": "booking.created", "property_id": "MAIN", "duplicate": false});
    assert_eq!(taken.body, expected);
    let without = json!({"type": "message.received", "payload": {"id": "m-1"}});
    let taken = pms.post("/events", &without).await.expect(202);
    assert!(taken.id().starts_with("evt_"));
    assert_eq!(taken.body["property_id"], "MAIN");
    harness::waiting::until("both are delivered", || async { double.received().len() == 2 }).await;
    let mut sent: Vec<Value> = double
        .received()
        .iter()
        .map(|one| {
            let body: Value = serde_json::from_slice(&one.body).unwrap();
            assert_eq!(body["idempotency_key"], one.id());
            body
        })
        .collect();
    sent.sort_by_key(|body| body["type"].to_string());
    assert_eq!(
        sent[0],
        json!({"type": "booking.created", "idempotency_key": "evt_one", "timestamp": "2026-03-14T09:26:53.589Z",
            "schema_version": 1, "property_id": "MAIN", "entity": {"kind": "booking", "id": "b-1", "version": 1},
            "correlation_id": sent[0]["correlation_id"], "changed": [], "payload": event["payload"]})
    );
    assert_eq!(
        (&sent[1]["entity"], &sent[1]["payload"]),
        (&Value::Null, &without["payload"])
    );
    pms.stop().await;
}

async fn a_repeat_is_a_duplicate_and_another_event_under_its_id_is_refused(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    open_lisbon(&pms).await;
    let first = named("evt_one", booking("b-1", "MAIN"));
    pms.post("/events", &first).await.expect(202);
    // Members in another order and other white space are the same content.
    let text = r#"{ "payload": {"total":"100.00",   "id":"b-1"}, "entity":{"id":"b-1","kind":"booking"},
        "property_id":"MAIN","type":"booking.created","id":"evt_one"}"#;
    for _ in 0..2 {
        let repeat = pms
            .send_raw(Method::POST, "/api/v1/events", &[], text.into())
            .await
            .expect(200);
        assert_eq!(
            (&repeat.body["duplicate"], repeat.id()),
            (&json!(true), "evt_one")
        );
    }
    for (member, value) in [
        ("type", json!("booking.confirmed")),
        ("property_id", json!("LIS01")),
        ("entity", Value::Null),
        ("entity", json!({"kind": "booking", "id": "b-2"})),
        ("payload", json!({"id": "b-1", "total": "100.01"})),
    ] {
        let mut other = first.clone();
        other[member] = value;
        let refused = pms.post("/events", &other).await.expect(422);
        assert_eq!(refused.body["code"], "idempotency_key_reused", "{member}");
    }
    // Nor may it be the id of an event that nobody published.
    pms.post("/guests", &json!({"last_name": "Silva"}))
        .await
        .expect(201);
    let row = pms.db.read("of_guest", |tx| {
        Box::pin(async move {
            tx.query_one("SELECT id FROM events WHERE type = 'guest.created'", vec![])
                .await
        })
    });
    let guest: String = row.await.unwrap().unwrap().get("id").unwrap();
    let refused = pms
        .post("/events", &named(&guest, booking("b-1", "MAIN")))
        .await
        .expect(422);
    assert_eq!(refused.body["code"], "idempotency_key_reused");
    // None of them has used up a version.
    pms.post("/events", &booking("b-1", "MAIN")).await.expect(202);
    assert_eq!(versions(&pms, "b-1").await, [1, 2]);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM events").await, 3);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM entity_versions").await, 1);
    // Each digest has a salt of its own, and is nothing that the content alone gives.
    let twice = "SELECT COUNT(DISTINCT content_digest) AS n FROM events WHERE content_digest IS NOT NULL";
    assert_eq!(pms.count(twice).await, 2);
    pms.stop().await;
}

async fn an_idempotency_key_is_kept_as_for_any_write(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let event = booking("b-1", "MAIN");
    let taken = keyed(&pms, "k-1", &event).await.expect(202);
    let replayed = keyed(&pms, "k-1", &event).await.expect(202);
    assert_eq!(
        (replayed.header("idempotency-replayed"), &replayed.body),
        ("true", &taken.body)
    );
    keyed(&pms, "k-1", &booking("b-2", "MAIN")).await.expect(422);
    // One that finds its event there is remembered as well.
    let repeat = named(taken.id(), event);
    for replayed in ["", "true"] {
        let answer = keyed(&pms, "k-2", &repeat).await.expect(200);
        assert_eq!(
            (answer.header("idempotency-replayed"), &answer.body["duplicate"]),
            (replayed, &json!(true))
        );
    }
    assert_eq!(versions(&pms, "b-1").await, [1]);
    pms.stop().await;
}

async fn two_at_once_with_one_id_are_one_event(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for nth in 0..20 {
        // Of one entity, and of two: these wait for each other at another row.
        let id = format!("evt_{nth}");
        let same = named(&id, booking("b-1", "MAIN"));
        let (one, other) = tokio::join!(pms.post("/events", &same), pms.post("/events", &same));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 202], "{} {}", one.body, other.body);
        let id = format!("evt_other_{nth}");
        let (here, there) = (
            named(&id, booking("b-2", "MAIN")),
            named(&id, booking("b-3", "MAIN")),
        );
        let (one, other) = tokio::join!(pms.post("/events", &here), pms.post("/events", &there));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [202, 422], "{} {}", one.body, other.body);
    }
    assert_eq!(versions(&pms, "b-1").await, (1..=20).collect::<Vec<_>>());
    assert_eq!(
        versions(&pms, "b-2").await.len() + versions(&pms, "b-3").await.len(),
        20
    );
    pms.stop().await;
}

async fn versions_are_counted_for_each_entity_without_gaps(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let posts = (0..50).map(|_| async { pms.post("/events", &booking("b-1", "MAIN")).await.status });
    assert!(join_all(posts).await.into_iter().all(|status| status == 202));
    assert_eq!(versions(&pms, "b-1").await, (1..=50).collect::<Vec<_>>());
    pms.post("/events", &booking("b-2", "MAIN")).await.expect(202);
    assert_eq!(versions(&pms, "b-2").await, [1]);
    pms.stop().await;
}

async fn an_entity_is_one_of_its_property(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    open_lisbon(&pms).await;
    for property in ["MAIN", "LIS01", "MAIN"] {
        pms.post("/events", &booking("7", property)).await.expect(202);
    }
    // Of another kind it is another one, too.
    let mut payment = booking("7", "MAIN");
    payment["entity"]["kind"] = json!("payment");
    pms.post("/events", &payment).await.expect(202);
    let counted = pms.db.read("counted", |tx| {
        Box::pin(async move {
            let sql = "SELECT property_id, entity_kind, entity_version FROM events ORDER BY property_id, entity_kind, entity_version";
            tx.query(sql, vec![]).await
        })
    });
    let counted: Vec<(String, String, i64)> = counted
        .await
        .unwrap()
        .iter()
        .map(|row| {
            let (property, kind) = (row.get("property_id").unwrap(), row.get("entity_kind").unwrap());
            (property, kind, row.get("entity_version").unwrap())
        })
        .collect();
    let expected = [
        ("LIS01", "booking", 1),
        ("MAIN", "booking", 1),
        ("MAIN", "booking", 2),
        ("MAIN", "payment", 1),
    ];
    assert_eq!(
        counted,
        expected.map(|(property, kind, version)| (property.to_owned(), kind.to_owned(), version))
    );
    // All of them get their places.
    harness::waiting::until("all have places", || async {
        pms.count("SELECT COUNT(*) AS n FROM events WHERE feed_seq IS NULL")
            .await
            == 0
    })
    .await;
    pms.stop().await;
}

async fn what_an_event_may_not_be(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let with = |member: &str, value: Value| {
        let mut event = booking("b-1", "MAIN");
        event[member] = value;
        event
    };
    let long = json!({"id": "b-1", "note": "secret ".repeat(28 * 1024)});
    for (member, value, pointer, code) in [
        ("id", json!("evt.1"), "/id", "invalid"),
        ("id", json!(7), "/id", "wrong_type"),
        ("type", Value::Null, "/type", "required"),
        ("type", json!("booking.invented"), "/type", "unknown_type"),
        ("type", json!("Booking Created"), "/type", "unknown_type"),
        ("type", json!("guest.created"), "/type", "reserved"),
        ("type", json!("reservation.checked_in"), "/type", "reserved"),
        ("type", json!("ping"), "/type", "reserved"),
        ("type", json!("webhook.failing"), "/type", "reserved"),
        ("type", json!("delivery.dead"), "/type", "reserved"),
        ("property_id", json!("NONE1"), "/property_id", "unknown_value"),
        ("property_id", json!("none"), "/property_id", "unknown_value"),
        ("entity", json!("b-1"), "/entity", "wrong_type"),
        ("entity", json!({"kind": "booking"}), "/entity/id", "required"),
        (
            "entity",
            json!({"kind": "a/b", "id": "1"}),
            "/entity/kind",
            "invalid",
        ),
        (
            "entity",
            json!({"kind": "webhook", "id": "ep_1"}),
            "/entity/kind",
            "reserved",
        ),
        (
            "entity",
            json!({"kind": "guest", "id": "gst_1"}),
            "/entity/kind",
            "reserved",
        ),
        (
            "entity",
            json!({"kind": "booking", "id": "1", "version": 7}),
            "/entity/version",
            "read_only",
        ),
        ("payload", json!(["secret"]), "/payload", "wrong_type"),
        (
            "payload",
            json!({"id": 7, "note": "secret"}),
            "/payload/id",
            "against_schema",
        ),
        ("payload", json!({"note": "secret"}), "/payload", "against_schema"),
        ("payload", long, "/payload", "too_long"),
        ("test", json!(true), "/test", "unknown_field"),
    ] {
        let refused = pms.post("/events", &with(member, value)).await.expect(422);
        assert_eq!(refused.errors(), [(pointer, code)], "{member}: {pointer}");
        assert!(!refused.body.to_string().contains("secret"));
    }
    pms.post("/events", &json!([])).await.expect(422);
    pms.send_raw(Method::POST, "/api/v1/events", &[], b"{".to_vec())
        .await
        .expect(400);
    assert_eq!(
        status_of_declared(&pms, "/events", 256 * 1024 + 1).await,
        "HTTP/1.1 413"
    );
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM events").await, 0);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM entity_versions").await, 0);
    // One byte below the bound is taken.
    let overhead = json!({"id": "b-1", "note": ""}).to_string().len();
    let largest = json!({"id": "b-1", "note": "x".repeat(192 * 1024 - overhead)});
    pms.post("/events", &with("payload", largest)).await.expect(202);
    assert_eq!(versions(&pms, "b-1").await, [1]);
    pms.stop().await;
}

async fn e14_what_came_as_a_webhook_is_not_published_again(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let batch = json!({"events": [booking("b-1", "MAIN")]});
    for (path, body) in [("/events", booking("b-1", "MAIN")), ("/events/batch", batch)] {
        for id in ["evt_1", ""] {
            let refused = pms
                .send(Method::POST, path, &[("webhook-id", id)], Some(&body))
                .await
                .expect(422);
            assert_eq!(refused.body["code"], "webhook_loop");
        }
    }
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM events").await, 0);
    // Nor is what an emitter delivers to the address at which events are published, its own or another's.
    let folder = tempfile::tempdir().unwrap();
    let other = format!("sqlite://{}/other.db", folder.path().display());
    let other = Pms::start_through(&ctx, other.parse().unwrap()).await;
    pms.stop().await;
    let endpoint = EndpointConfig {
        url: format!("http://{}/api/v1/events", other.address())
            .parse()
            .unwrap(),
        secrets: SECRETS.parse().unwrap(),
    };
    let pms = Pms::start_with(&ctx, BEGIN, Some(endpoint)).await;
    pms.post("/events", &booking("b-1", "MAIN")).await.expect(202);
    harness::waiting::until("it is given up", || async {
        pms.count("SELECT COUNT(*) AS n FROM deliveries WHERE status = 'dead' AND last_status = 422")
            .await
            == 1
    })
    .await;
    let made = other.store.db().read("made", |tx| {
        Box::pin(async move { tx.query("SELECT id FROM events", vec![]).await })
    });
    assert!(made.await.unwrap().is_empty());
    other.stop().await;
    pms.stop().await;
}

async fn an_event_is_published_within_a_scope(ctx: Ctx) {
    const ADMIN: &str = "an-admin-key-of-the-suite-that-is-long";
    let pms = Pms::start_set(&ctx, |config| {
        config.access.admin_api_key = Some(ADMIN.parse().unwrap());
    })
    .await;
    let send = async |key: &str, path: &str, body: Value| {
        pms.send(Method::POST, path, &[("x-api-key", key)], Some(&body))
            .await
    };
    let lisbon = json!({"id": "LIS01", "name": "Lisbon", "timezone": "Europe/Lisbon", "currency": "EUR"});
    send(ADMIN, "/properties", lisbon).await.expect(201);
    let key = async |permissions: Value| {
        let body = json!({"name": "producer", "permissions": permissions, "property_ids": ["LIS01"]});
        let made = send(ADMIN, "/api-keys", body).await.expect(201);
        made.body["key"].as_str().unwrap().to_owned()
    };
    let producer = key(json!(["events:write", "event-types:admin"])).await;
    send(&producer, "/events", booking("b-1", "LIS01"))
        .await
        .expect(202);
    // The process knows by now that there is the other one: that makes no difference.
    send(ADMIN, "/events", booking("b-1", "MAIN")).await.expect(202);
    let refused = send(&producer, "/events", booking("b-1", "MAIN"))
        .await
        .expect(422);
    assert_eq!(refused.errors(), [("/property_id", "unknown_value")]);
    let both = json!({"events": [booking("b-1", "MAIN"), booking("b-1", "LIS01")]});
    let answer = send(&producer, "/events/batch", both).await.expect(202);
    let statuses = [
        &answer.body["data"][0]["status"],
        &answer.body["data"][1]["status"],
    ];
    assert_eq!(statuses, [422, 202]);
    // A type is one for all properties.
    send(&producer, "/event-types", json!({"type": "spa.booked"}))
        .await
        .expect(403);
    let reader = key(json!(["events:read"])).await;
    send(&reader, "/events", booking("b-1", "LIS01"))
        .await
        .expect(403);
    send(&reader, "/events/batch", json!({"events": []}))
        .await
        .expect(403);
    pms.stop().await;
}

/// Of a guest no version is there twice, as before.
async fn events_of_before_keep_their_versions(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let guest = pms
        .post("/guests", &json!({"last_name": "Silva"}))
        .await
        .expect(201);
    pms.clock.advance(Duration::from_secs(1));
    pms.put(
        &format!("/guests/{}", guest.id()),
        &json!({"last_name": "Santos"}),
    )
    .await
    .expect(200);
    assert_eq!(versions(&pms, guest.id()).await, [1, 2]);
    let copied = pms.db.transaction("copy", |tx| {
        Box::pin(async move {
            let sql = "INSERT INTO events (id, type, property_id, entity_kind, entity_id, entity_version, committed_at, changed)
                       SELECT 'evt_copy', type, property_id, entity_kind, entity_id, entity_version, committed_at, changed
                       FROM events WHERE entity_version = 2";
            tx.execute(sql, vec![]).await
        })
    });
    assert_eq!(copied.await, Err(db::DbError::Duplicate));
    pms.stop().await;
}
