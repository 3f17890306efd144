//! `/event-types` over HTTP.

use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

use crate::case::{Case, Ctx, cases};
use crate::pms::Pms;

pub fn cases() -> Vec<Case> {
    cases![
        a_type_is_registered_changed_and_deleted,
        what_a_type_may_not_be,
        a_change_holds_for_the_next_event,
        types_that_come_with_the_program_are_listed_and_stay,
        lists_of_types_are_paged_and_narrowed,
        there_are_so_many_types_and_no_more,
        each_change_of_a_type_is_audited,
    ]
}

fn spa() -> Value {
    json!({"type": "spa.booked", "category": "spa", "description": "A treatment was booked.",
        "schema": {"type": "object", "required": ["treatment"], "properties": {"treatment": {"type": "string"}}},
        "example": {"treatment": "sauna"}})
}

fn treatment(value: &Value) -> Value {
    json!({"type": "spa.booked", "payload": {"treatment": value}})
}

async fn a_type_is_registered_changed_and_deleted(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let key = [("idempotency-key", "k1")];
    let made = pms
        .send(Method::POST, "/event-types", &key, Some(&spa()))
        .await
        .expect(201);
    assert_eq!(
        (made.header("location"), made.header("etag")),
        ("/api/v1/event-types/spa.booked", "\"1\"")
    );
    let expected = json!({"type": "spa.booked", "origin": "custom", "packs": [], "version": 1, "category": "spa",
        "description": "A treatment was booked.", "schema": spa()["schema"], "example": spa()["example"],
        "created_at": "2026-03-14T09:26:53.589Z", "updated_at": "2026-03-14T09:26:53.589Z"});
    assert_eq!(made.body, expected);
    let again = pms
        .send(Method::POST, "/event-types", &key, Some(&spa()))
        .await
        .expect(201);
    assert_eq!(
        (again.header("idempotency-replayed"), &again.body),
        ("true", &expected)
    );
    let taken = pms.post("/event-types", &spa()).await.expect(409);
    assert_eq!(
        (&taken.body["code"], taken.errors()),
        (&json!("not_unique"), vec![("/type", "not_unique")])
    );

    let path = "/event-types/spa.booked";
    let read = pms.get(path).await.expect(200);
    assert_eq!(read.body, expected);
    // What was read may be sent back as it is.
    assert_eq!(pms.put(path, &read.body).await.expect(200).body, expected);
    pms.clock.advance(std::time::Duration::from_secs(1));
    let changed = pms
        .put(
            path,
            &json!({"description": null, "example": {"treatment": "mud"}}),
        )
        .await
        .expect(200);
    assert_eq!(
        (changed.header("etag"), &changed.body["version"]),
        ("\"2\"", &json!(2))
    );
    assert_eq!(
        (
            &changed.body["description"],
            &changed.body["example"],
            &changed.body["schema"]
        ),
        (&Value::Null, &json!({"treatment": "mud"}), &spa()["schema"])
    );
    // A schema is one value: nothing of the one before stays in it.
    let other = json!({"schema": {"type": "object"}});
    assert_eq!(
        pms.put(path, &other).await.expect(200).body["schema"],
        other["schema"]
    );
    let stale = [("if-match", "\"2\"")];
    pms.send(Method::PUT, path, &stale, Some(&json!({"category": "x"})))
        .await
        .expect(412);
    pms.send(Method::DELETE, path, &stale, None).await.expect(412);
    pms.send(Method::DELETE, path, &[("if-match", "\"3\"")], None)
        .await
        .expect(204);
    pms.get(path).await.expect(404);
    pms.delete(path).await.expect(404);
    pms.put(path, &json!({})).await.expect(404);
    pms.post("/events", &treatment(&json!("sauna"))).await.expect(422);
    pms.post("/event-types", &spa()).await.expect(201);
    pms.stop().await;
}

async fn what_a_type_may_not_be(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let with = |member: &str, value: Value| {
        let mut spa = spa();
        spa[member] = value;
        spa
    };
    let huge = json!({"description": "x".repeat(64 * 1024)});
    let remote = json!({"properties": {"treatment": {"$ref": "https://example.com/treatment.json"}}});
    for (member, value, pointer, code) in [
        ("type", Value::Null, "/type", "required"),
        ("type", json!(7), "/type", "wrong_type"),
        ("type", json!("Spa.booked"), "/type", "invalid"),
        ("type", json!("spa"), "/type", "invalid"),
        (
            "type",
            json!(format!("spa.{}", "x".repeat(61))),
            "/type",
            "invalid",
        ),
        ("type", json!("guest.flown"), "/type", "reserved"),
        ("type", json!("delivery.flown"), "/type", "reserved"),
        ("category", json!("x".repeat(65)), "/category", "length"),
        ("description", json!("x".repeat(501)), "/description", "length"),
        ("schema", json!([]), "/schema", "wrong_type"),
        ("schema", huge, "/schema", "too_long"),
        (
            "schema",
            remote,
            "/schema/properties/treatment/$ref",
            "remote_reference",
        ),
        (
            "schema",
            json!({"items": {"$ref": "#"}}),
            "/schema/items/$ref",
            "recursive_reference",
        ),
        (
            "schema",
            json!({"type": "colour"}),
            "/schema/type",
            "invalid_schema",
        ),
        (
            "example",
            json!({"treatment": 7}),
            "/example/treatment",
            "against_schema",
        ),
        ("example", json!({}), "/example", "against_schema"),
        ("example", json!("sauna"), "/example", "wrong_type"),
        ("colour", json!("red"), "/colour", "unknown_field"),
    ] {
        let refused = pms.post("/event-types", &with(member, value)).await.expect(422);
        assert_eq!(refused.errors(), [(pointer, code)], "{member}");
        assert!(!refused.body.to_string().contains("sauna"));
    }
    pms.post("/event-types", &spa()).await.expect(201);
    // A new schema is held against the example that is there.
    let path = "/event-types/spa.booked";
    let refused = pms
        .put(path, &json!({"schema": {"required": ["price"]}}))
        .await
        .expect(422);
    assert_eq!(refused.errors(), [("/example", "against_schema")]);
    let refused = pms.put(path, &json!({"type": "spa.cancelled"})).await.expect(422);
    assert_eq!(refused.errors(), [("/type", "immutable")]);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM event_types").await, 1);
    pms.stop().await;
}

/// Two emitters on one database where that can be; each keeps what it has read of a type.
async fn a_change_holds_for_the_next_event(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    pms.post("/event-types", &spa()).await.expect(201);
    pms.post("/events", &treatment(&json!("sauna"))).await.expect(202);
    pms.post("/events", &treatment(&json!(7))).await.expect(422);
    // As another replica changes it, of which this one hears nothing.
    let change = |schema: &'static str, revision: &'static str| {
        let db = pms.db.clone();
        async move {
            let changed = db.transaction("change", move |tx| {
                Box::pin(async move {
                    let sql =
                        "UPDATE event_types SET payload_schema = ?, revision = ? WHERE type = 'spa.booked'";
                    tx.execute(sql, db::params![schema, revision]).await
                })
            });
            assert_eq!(changed.await.unwrap(), 1);
        }
    };
    change(
        r#"{"properties": {"treatment": {"type": "integer"}}}"#,
        "rev_other",
    )
    .await;
    let batch = |value: &Value| json!({"events": [treatment(value)]});
    pms.post("/events", &treatment(&json!("sauna"))).await.expect(422);
    pms.post("/events", &treatment(&json!(7))).await.expect(202);
    change(
        r#"{"properties": {"treatment": {"type": "boolean"}}}"#,
        "rev_third",
    )
    .await;
    let refused = pms.post("/events/batch", &batch(&json!(7))).await.expect(200);
    assert_eq!(refused.body["data"][0]["status"], 422);
    pms.post("/events/batch", &batch(&json!(true))).await.expect(202);
    let gone = pms.db.transaction("delete", move |tx| {
        Box::pin(async move { tx.execute("DELETE FROM event_types", vec![]).await })
    });
    gone.await.unwrap();
    let refused = pms.post("/events", &treatment(&json!(true))).await.expect(422);
    assert_eq!(refused.errors(), [("/type", "unknown_type")]);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM events").await, 3);
    pms.stop().await;
}

async fn types_that_come_with_the_program_are_listed_and_stay(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let listed = pms.get("/event-types?limit=200").await.expect(200);
    assert_eq!(listed.body["pagination"]["total"], 56);
    for row in listed.body["data"].as_array().unwrap() {
        let name = row["type"].as_str().unwrap();
        let path = format!("/event-types/{name}");
        let shown = pms.get(&path).await.expect(200).body;
        assert!(
            shown["schema"].is_object() && shown["example"].is_object(),
            "{name}"
        );
        assert_eq!(
            (&shown["origin"], &shown["packs"]),
            (&row["origin"], &row["packs"]),
            "{name}"
        );
        for refused in [
            pms.put(&path, &json!({"category": "x"})).await,
            pms.delete(&path).await,
        ] {
            assert_eq!(refused.expect(409).body["code"], "shipped_event_type", "{name}");
        }
        let event = json!({"type": name, "payload": shown["example"]});
        match row["origin"].as_str() {
            // The example is a payload that is taken.
            Some("pack") => drop(pms.post("/events", &event).await.expect(202)),
            _ => assert_eq!(
                pms.post("/events", &event).await.expect(422).errors(),
                [("/type", "reserved")],
                "{name}"
            ),
        }
        let mine = pms.post("/event-types", &json!({"type": name})).await;
        assert!([409, 422].contains(&mine.status), "{name}");
    }
    let of_pack = async |pack: &str| {
        let path = format!("/event-types?pack={pack}");
        pms.get(&path).await.expect(200).body["pagination"]["total"].clone()
    };
    assert_eq!(
        (
            of_pack("lokroom").await,
            of_pack("chatbot").await,
            of_pack("powalyze").await,
            of_pack("x").await
        ),
        (json!(11), json!(6), json!(14), json!(0))
    );
    pms.stop().await;
}

async fn lists_of_types_are_paged_and_narrowed(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for nth in 0..5 {
        let one =
            json!({"type": format!("spa.kind_{nth}"), "category": if nth < 2 { "bath" } else { "spa" }});
        pms.post("/event-types", &one).await.expect(201);
    }
    let mut names = Vec::new();
    let mut path = "/event-types?limit=7".to_owned();
    loop {
        let page = pms.get(&path).await.expect(200).body;
        names.extend(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["type"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["pagination"]["next_cursor"].as_str() else {
            break;
        };
        path = format!("/event-types?limit=7&cursor={cursor}");
    }
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(
        (names.len(), names.iter().collect::<BTreeSet<_>>().len()),
        (61, 61)
    );
    for (filter, total) in [
        ("origin=custom", 5),
        ("origin=custom&category=bath", 2),
        ("category=booking", 4),
        ("origin=guestwire", 26),
    ] {
        let page = pms.get(&format!("/event-types?{filter}")).await.expect(200).body;
        assert_eq!(page["pagination"]["total"], total, "{filter}");
    }
    pms.get("/event-types?colour=red").await.expect(400);
    pms.stop().await;
}

async fn there_are_so_many_types_and_no_more(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let filled = pms.db.transaction("fill", move |tx| {
        Box::pin(async move {
            let sql = "UPDATE event_type_count SET types = 997";
            tx.execute(sql, vec![]).await
        })
    });
    filled.await.unwrap();
    let made = futures::future::join_all((0..12).map(|nth| {
        let pms = &pms;
        async move {
            pms.post("/event-types", &json!({"type": format!("spa.kind_{nth}")}))
                .await
                .status
        }
    }))
    .await;
    let count = |status: u16| made.iter().filter(|one| **one == status).count();
    assert_eq!((count(201), count(409)), (3, 9), "{made:?}");
    let refused = pms.post("/event-types", &spa()).await.expect(409);
    assert_eq!(refused.body["code"], "too_many_event_types");
    let listed = pms.get("/event-types?origin=custom").await.expect(200).body;
    let one = listed["data"][0]["type"].as_str().unwrap();
    pms.delete(&format!("/event-types/{one}")).await.expect(204);
    pms.post("/event-types", &spa()).await.expect(201);
    pms.post("/event-types", &json!({"type": "spa.more"}))
        .await
        .expect(409);
    pms.stop().await;
}

async fn each_change_of_a_type_is_audited(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let path = "/event-types/spa.booked";
    pms.post("/event-types", &spa()).await.expect(201);
    pms.put(path, &json!({"category": "wellness"})).await.expect(200);
    pms.put(path, &json!({"category": "wellness"})).await.expect(200);
    pms.delete(path).await.expect(204);
    let rows = pms.db.read("audited", |tx| {
        Box::pin(async move {
            let sql = "SELECT action, changed FROM audit_entries WHERE entity_kind = 'event_type' AND entity_id = 'spa.booked'
                       ORDER BY id";
            tx.query(sql, vec![]).await
        })
    });
    let rows = rows.await.unwrap();
    let audited: Vec<(String, Option<String>)> = rows
        .iter()
        .map(|row| (row.get("action").unwrap(), row.get("changed").unwrap()))
        .collect();
    let actions: Vec<&str> = audited.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(
        actions,
        ["event_type_created", "event_type_updated", "event_type_deleted"]
    );
    assert_eq!(audited[1].1.as_deref(), Some(r#"["category"]"#));
    pms.stop().await;
}
