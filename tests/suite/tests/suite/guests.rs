//! `/guests` over HTTP: making, merging, deleting, and what every commit leaves behind.

use http::Method;
use serde_json::{Value, json};

use crate::case::{Case, Ctx, cases};
use crate::pms::Pms;

pub fn cases() -> Vec<Case> {
    cases![
        the_walk_of_a_newcomer_works_as_it_stands,
        put_and_patch_merge_alike,
        what_was_read_can_be_written_back_and_commits_nothing,
        if_match_is_honoured,
        one_commit_is_one_event_with_the_whole_state,
        a_deleted_guest_is_gone_but_in_its_event_and_its_list,
        external_ids_are_unique_per_property_and_system,
        one_of_many_racing_for_an_external_id_wins,
        writes_at_once_all_commit_one_after_the_other,
    ]
}

/// Writers of one guest at once: as many as a write is decided over again.
const WRITERS: usize = 5;
/// Requests racing for one external id.
const RACERS: usize = 20;

async fn the_walk_of_a_newcomer_works_as_it_stands(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let body = json!({"email": "john@example.com", "name": "John Doe", "phone": "+1234567890",
        "date_of_birth": "1990-01-01", "country": "USA"});
    let made = pms.post("/guests", &body).await.expect(201);
    let path = format!("/guests/{}", made.id());
    assert_eq!(made.header("location"), format!("/api/v1{path}"));
    assert_eq!(made.header("etag"), "\"1\"");
    assert_eq!(made.body["property_id"], "MAIN");
    assert_eq!(made.body["address"]["country"], "US");
    assert_eq!(made.body["phone"], "+1234567890");
    assert_eq!(made.body["warnings"][0]["code"], "impossible_phone_number");

    let renamed = pms.put(&path, &json!({"name": "John Smith"})).await.expect(200);
    assert_eq!(renamed.body["warnings"], json!([]));
    assert_eq!(
        (renamed.header("etag"), &renamed.body["last_name"]),
        ("\"2\"", &json!("Smith"))
    );
    let read = pms.get(&path).await.expect(200);
    assert_eq!(
        (read.header("etag"), &read.body["email"]),
        ("\"2\"", &json!("john@example.com"))
    );
    let events = pms.events(made.id()).await;
    let types: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["guest.created", "guest.updated"]);
    assert_eq!(events[1]["changed"], json!(["last_name"]));
    pms.stop().await;
}

async fn put_and_patch_merge_alike(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for method in [Method::PUT, Method::PATCH] {
        let body = json!({"name": "Ana Silva", "title": "Dr",
            "address": {"city": "Lisboa", "country": "PT"}, "preferences": ["quiet", "low floor"]});
        let made = pms.post("/guests", &body).await.expect(201);
        let patch = json!({"title": null, "address": {"city": "Porto"}, "preferences": ["quiet"]});
        let path = format!("/guests/{}", made.id());
        let merged = pms.send(method, &path, &[], Some(&patch)).await.expect(200).body;
        assert_eq!(merged["title"], Value::Null);
        assert_eq!(merged["address"]["city"], "Porto");
        assert_eq!(merged["address"]["country"], "PT");
        assert_eq!(merged["preferences"], json!(["quiet"]));
        assert_eq!(
            (&merged["first_name"], &merged["version"]),
            (&json!("Ana"), &json!(2))
        );
    }
    pms.stop().await;
}

async fn what_was_read_can_be_written_back_and_commits_nothing(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let body = json!({"name": "Ana Silva", "consent": [{"channel": "email", "status": "granted"}],
        "documents": [{"type": "passport", "issuing_country": "PT", "number": "AB123456"}]});
    let made = pms.post("/guests", &body).await.expect(201);
    let path = format!("/guests/{}", made.id());
    let read = pms.get(&path).await.expect(200).body;
    pms.clock.advance(std::time::Duration::from_secs(60));
    let same = pms.put(&path, &read).await.expect(200);
    assert_eq!(
        (same.header("etag"), &same.body["updated_at"]),
        ("\"1\"", &read["updated_at"])
    );
    assert_eq!(pms.events(made.id()).await.len(), 1);
    pms.stop().await;
}

async fn if_match_is_honoured(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let made = pms
        .post("/guests", &json!({"name": "Ana Silva"}))
        .await
        .expect(201);
    let path = format!("/guests/{}", made.id());
    let patch = json!({"title": "Dr"});
    for (tag, status) in [
        ("\"2\"", 412),
        ("W/\"1\"", 412),
        ("1", 400),
        ("\"1\"", 200),
        ("\"1\"", 412),
        ("*", 200),
        ("\"9\", \"2\"", 200),
    ] {
        let answer = pms
            .send(Method::PUT, &path, &[("if-match", tag)], Some(&patch))
            .await;
        assert_eq!(answer.status, status, "{tag}: {}", answer.body);
    }
    let stale = pms
        .send(Method::DELETE, &path, &[("if-match", "\"1\"")], None)
        .await;
    assert_eq!(stale.expect(412).body["code"], "precondition_failed");
    pms.send(Method::DELETE, &path, &[("if-match", "\"2\"")], None)
        .await
        .expect(204);
    pms.stop().await;
}

async fn one_commit_is_one_event_with_the_whole_state(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let made = pms
        .post("/guests", &json!({"name": "Ana Silva"}))
        .await
        .expect(201);
    let path = format!("/guests/{}", made.id());
    let headers = [("x-correlation-id", "chain_1"), ("x-request-id", "req_7")];
    let consent = json!({"consent": [{"channel": "sms", "status": "denied", "source": "web"}]});
    pms.send(Method::PATCH, &path, &headers, Some(&consent))
        .await
        .expect(200);
    pms.put(&path, &json!({"vip_level": 2})).await.expect(200);
    pms.put(&path, &json!({"email": "nonsense"})).await.expect(422);
    pms.delete(&path).await.expect(204);
    let events = pms.events(made.id()).await;
    let types: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "guest.created",
            "guest.consent_changed",
            "guest.updated",
            "guest.deleted"
        ]
    );
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["entity"]["version"], json!(index + 1));
        assert_eq!(event["payload"]["version"], json!(index + 1));
        assert_eq!(event["payload"]["last_name"], "Silva");
        assert_eq!(event["property_id"], "MAIN");
    }
    assert_eq!(events[1]["correlation_id"], "chain_1");
    assert_eq!(events[3]["payload"]["vip_level"], 2);
    pms.stop().await;
}

async fn a_deleted_guest_is_gone_but_in_its_event_and_its_list(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let made = pms
        .post("/guests", &json!({"name": "Ana Silva"}))
        .await
        .expect(201);
    let path = format!("/guests/{}", made.id());
    pms.delete(&path).await.expect(204);
    for answer in [
        pms.get(&path).await,
        pms.put(&path, &json!({"title": "Dr"})).await,
        pms.delete(&path).await,
    ] {
        assert_eq!(answer.expect(404).body["code"], "not_found");
    }
    assert_eq!(pms.get("/guests").await.expect(200).body["data"], json!([]));
    let deleted = pms.get("/guests?status=deleted").await.expect(200).body;
    assert_eq!(deleted["data"][0]["id"], made.id());
    assert_eq!(deleted["data"][0]["deleted_at"], "2026-03-14T09:26:53.589Z");
    let events = pms.events(made.id()).await;
    assert_eq!(events[1]["payload"]["deleted_at"], "2026-03-14T09:26:53.589Z");
    pms.get("/guests/gst_unknown").await.expect(404);
    pms.get("/guests/not%20an%20id").await.expect(404);
    pms.stop().await;
}

async fn external_ids_are_unique_per_property_and_system(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let city = json!({"id": "CITY", "name": "City", "timezone": "Europe/Lisbon", "currency": "EUR"});
    pms.post("/properties", &city).await.expect(201);
    let guest = |property: &str, system: &str, value: &str| {
        json!({"property_id": property, "name": "Ana Silva",
            "external_ids": [{"system": "mail", "value": value}, {"system": system, "value": value}]})
    };
    let first = pms.post("/guests", &guest("MAIN", "old", "A1")).await.expect(201);
    pms.post("/guests", &guest("CITY", "old", "A1")).await.expect(201);
    pms.post("/guests", &guest("MAIN", "old", "a1")).await.expect(201);
    let other = json!({"name": "B", "external_ids": [{"system": "new", "value": "A1"}, {"system": "old", "value": "A1"}]});
    let taken = pms.post("/guests", &other).await.expect(409);
    assert_eq!(taken.body["code"], "not_unique");
    assert_eq!(taken.errors(), [("/external_ids/1", "not_unique")]);

    // Nothing of the refused one stays, and an id that was given up is free.
    let alone = json!({"name": "B", "external_ids": [{"system": "new", "value": "A1"}]});
    let second = pms.post("/guests", &alone).await.expect(201);
    let path = format!("/guests/{}", second.id());
    pms.put(&path, &json!({"external_ids": other["external_ids"]}))
        .await
        .expect(409);
    pms.put(&format!("/guests/{}", first.id()), &json!({"external_ids": []}))
        .await
        .expect(200);
    pms.put(&path, &json!({"external_ids": other["external_ids"]}))
        .await
        .expect(200);
    pms.delete(&path).await.expect(204);
    pms.post("/guests", &other).await.expect(201);
    pms.stop().await;
}

async fn one_of_many_racing_for_an_external_id_wins(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let body = json!({"name": "Ana Silva", "external_ids": [{"system": "old", "value": "A1"}]});
    let answers = futures::future::join_all((0..RACERS).map(|_| pms.post("/guests", &body))).await;
    let with = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((with(201), with(409)), (1, RACERS - 1));
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM guests").await, 1);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM events").await, 1);
    pms.stop().await;
}

async fn writes_at_once_all_commit_one_after_the_other(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let made = pms
        .post("/guests", &json!({"name": "Ana Silva"}))
        .await
        .expect(201);
    let path = format!("/guests/{}", made.id());
    let fields = ["title", "first_name", "second_last_name", "notes", "language"];
    let patches: Vec<Value> = fields.iter().map(|field| json!({*field: "pt"})).collect();
    assert_eq!(patches.len(), WRITERS);
    let answers = futures::future::join_all(patches.iter().map(|patch| pms.put(&path, patch))).await;
    let mut versions: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect(200).body["version"].as_u64().unwrap())
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, [2, 3, 4, 5, 6]);
    let read = pms.get(&path).await.expect(200).body;
    for field in fields {
        assert_eq!(read[field], "pt", "{field}");
    }
    assert_eq!(pms.events(made.id()).await.len(), 6);
    pms.stop().await;
}
