//! `/properties` and `/health` over HTTP.

use http::Method;
use serde_json::{Value, json};

use crate::case::{Case, Ctx, cases};
use crate::pms::{BEGIN, Pms};

pub fn cases() -> Vec<Case> {
    cases![
        a_fresh_database_has_the_default_property,
        a_property_is_made_once_and_starts_today,
        merging_moves_neither_id_nor_business_date,
        each_change_is_audited_without_values,
        lists_are_paged,
        health_is_answered_with_and_without_the_base_path,
    ]
}

fn lisbon() -> Value {
    json!({"id": "LIS01", "name": "Lisbon", "timezone": "Pacific/Kiritimati", "currency": "EUR"})
}

async fn a_fresh_database_has_the_default_property(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let main = pms.get("/properties/MAIN").await.expect(200);
    let expected = json!({"id": "MAIN", "version": 1, "name": "Main", "timezone": "UTC", "currency": "EUR",
        "business_date": "2026-03-14", "created_at": "2026-03-14T09:26:53.589Z",
        "updated_at": "2026-03-14T09:26:53.589Z"});
    assert_eq!(main.body, expected);
    assert_eq!(main.header("etag"), "\"1\"");
    pms.stop().await;
    // A second start, days later, moves nothing.
    let again = Pms::start_at(&ctx, BEGIN.plus_millis(86_400_000)).await;
    assert_eq!(again.get("/properties/MAIN").await.expect(200).body, expected);
    again.stop().await;
}

async fn a_property_is_made_once_and_starts_today(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let key = [("idempotency-key", "k1")];
    let made = pms
        .send(Method::POST, "/properties", &key, Some(&lisbon()))
        .await
        .expect(201);
    assert_eq!(made.header("location"), "/api/v1/properties/LIS01");
    // 14 hours ahead of UTC it is the 14th as well, from 10:00 UTC of the 13th on.
    assert_eq!(made.body["business_date"], "2026-03-14");
    let again = pms
        .send(Method::POST, "/properties", &key, Some(&lisbon()))
        .await
        .expect(201);
    assert_eq!(
        (again.header("idempotency-replayed"), &again.body),
        ("true", &made.body)
    );
    let taken = pms.post("/properties", &lisbon()).await.expect(409);
    assert_eq!(
        (taken.body["code"].as_str(), taken.errors()),
        (Some("not_unique"), vec![("/id", "not_unique")])
    );
    let mut dated = lisbon();
    dated["id"] = json!("LIS02");
    dated["business_date"] = json!("2015-07-01");
    let dated = pms.post("/properties", &dated).await.expect(201);
    assert_eq!(dated.body["business_date"], "2015-07-01");
    pms.get("/properties/LIS03").await.expect(404);
    pms.get("/properties/lis01").await.expect(404);
    pms.stop().await;
}

async fn merging_moves_neither_id_nor_business_date(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let path = "/properties/LIS01";
    pms.post("/properties", &lisbon()).await.expect(201);
    let mut read = pms.get(path).await.expect(200).body;
    assert_eq!(pms.put(path, &read).await.expect(200).body["version"], 1);
    read["name"] = json!("City");
    let merged = pms.put(path, &read).await.expect(200);
    assert_eq!(
        (merged.header("etag"), &merged.body["name"]),
        ("\"2\"", &json!("City"))
    );
    for (patch, pointer) in [
        (json!({"business_date": "2026-03-15"}), "/business_date"),
        (json!({"id": "LIS02"}), "/id"),
    ] {
        let refused = pms.put(path, &patch).await.expect(422);
        assert_eq!(refused.errors(), [(pointer, "immutable")]);
    }
    let stale = [("if-match", "\"1\"")];
    pms.send(Method::PUT, path, &stale, Some(&json!({"name": "x"})))
        .await
        .expect(412);
    pms.put("/properties/NONE", &json!({"name": "x"}))
        .await
        .expect(404);
    pms.stop().await;
}

async fn each_change_is_audited_without_values(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    pms.post("/properties", &lisbon()).await.expect(201);
    pms.put("/properties/LIS01", &json!({"name": "City", "currency": "USD"}))
        .await
        .expect(200);
    pms.put("/properties/LIS01", &json!({"name": "City"}))
        .await
        .expect(200);
    pms.put("/properties/LIS01", &json!({"name": ""}))
        .await
        .expect(422);
    let created =
        "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'property_created' AND entity_version = 1";
    let updated =
        "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'property_updated' AND entity_version = 2
                   AND changed = '[\"name\",\"currency\"]'";
    assert_eq!((pms.count(created).await, pms.count(updated).await), (1, 1));
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM audit_entries").await, 2);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM events").await, 0);
    pms.stop().await;
}

async fn lists_are_paged(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    pms.post("/properties", &lisbon()).await.expect(201);
    let first = pms.get("/properties?limit=1").await.expect(200).body;
    let cursor = first["pagination"]["next_cursor"].as_str().unwrap();
    let second = pms
        .get(&format!("/properties?limit=1&cursor={cursor}"))
        .await
        .expect(200)
        .body;
    let ids = [&first["data"][0]["id"], &second["data"][0]["id"]];
    assert_eq!(ids, ["LIS01", "MAIN"]);
    assert_eq!(second["pagination"]["has_more"], false);
    pms.get("/properties?name=x").await.expect(400);
    pms.stop().await;
}

async fn health_is_answered_with_and_without_the_base_path(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for base in ["", "/api/v1"] {
        let path = format!("{base}/health");
        let alive = pms
            .send_raw(Method::GET, &path, &[], Vec::new())
            .await
            .expect(200);
        assert_eq!(alive.body["status"], "ok");
        let ready = pms
            .send_raw(Method::GET, &format!("{path}/ready"), &[], Vec::new())
            .await;
        assert_eq!(ready.expect(200).body["status"], "ready");
    }
    pms.stop().await;
}
