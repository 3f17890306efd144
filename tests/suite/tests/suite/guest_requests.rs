//! What clients send to `/guests`, well meant or not: retries, SQL, odd keys, bodies that cannot be read.

use http::Method;
use serde_json::json;

use crate::case::{Case, Ctx, cases};
use crate::pms::Pms;

pub fn cases() -> Vec<Case> {
    cases![
        a_retried_post_makes_one_guest,
        sql_in_every_string_is_only_text,
        keys_differing_in_case_are_two_and_a_space_at_an_edge_is_refused,
        bodies_that_cannot_be_read_are_refused,
        personal_data_never_comes_back_in_a_refusal,
        events_hold_neither_document_numbers_nor_free_text,
    ]
}

async fn a_retried_post_makes_one_guest(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let key = [("idempotency-key", "order-17")];
    let body = json!({"name": "Ana Silva", "date_of_birth": "1900-01-01"});
    let first = pms
        .send(Method::POST, "/guests", &key, Some(&body))
        .await
        .expect(201);
    pms.put(&format!("/guests/{}", first.id()), &json!({"title": "Dr"}))
        .await
        .expect(200);
    let again = pms
        .send(Method::POST, "/guests", &key, Some(&body))
        .await
        .expect(201);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(first.header("idempotency-replayed"), "");
    assert_eq!(again.body, first.body);
    assert_eq!(again.body["warnings"][0]["code"], "placeholder");
    for name in ["location", "etag"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    let other = json!({"name": "Ana Costa"});
    let reused = pms
        .send(Method::POST, "/guests", &key, Some(&other))
        .await
        .expect(422);
    assert_eq!(reused.body["code"], "idempotency_key_reused");
    let malformed = [("idempotency-key", "a b")];
    pms.send(Method::POST, "/guests", &malformed, Some(&body))
        .await
        .expect(400);
    // A refusal is no answer to be kept: the key is free again.
    let fresh = [("idempotency-key", "order-18")];
    pms.send(Method::POST, "/guests", &fresh, Some(&json!({"name": ""})))
        .await
        .expect(422);
    pms.send(Method::POST, "/guests", &fresh, Some(&other))
        .await
        .expect(201);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM guests").await, 2);
    pms.stop().await;
}

async fn sql_in_every_string_is_only_text(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let bad = "'; DROP TABLE guests; -- \" \\ % _ ?";
    let body = json!({
        "title": bad, "first_name": bad, "last_name": bad, "second_last_name": bad, "notes": bad,
        "preferences": [bad], "external_ids": [{"system": bad, "value": bad}],
        "address": {"line1": bad, "line2": bad, "city": bad, "region": bad, "postal_code": bad},
        "loyalty": [{"programme": bad, "number": bad, "level": bad}],
        "documents": [{"type": "passport", "number": bad}],
        "consent": [{"channel": "email", "status": "granted", "source": bad}],
    });
    let made = pms.post("/guests", &body).await.expect(201);
    let read = pms.get(&format!("/guests/{}", made.id())).await.expect(200).body;
    for pointer in [
        "/title",
        "/last_name",
        "/notes",
        "/preferences/0",
        "/external_ids/0/value",
        "/address/region",
        "/loyalty/0/level",
        "/documents/0/number",
        "/consent/0/source",
    ] {
        assert_eq!(read.pointer(pointer).unwrap(), bad, "{pointer}");
    }
    let query = "status=active&last_name='%20OR%201=1--&external_id=a'%20OR%20'1'='1:b";
    let found = pms.get(&format!("/guests?{query}")).await.expect(200).body;
    assert_eq!(found["data"], json!([]));
    pms.get("/guests?email='%20OR%201=1").await.expect(400);
    pms.get("/guests/'%20OR%201=1").await.expect(404);
    pms.post("/guests", &json!({"property_id": bad, "name": "x"}))
        .await
        .expect(422);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM guests").await, 1);
    pms.stop().await;
}

async fn keys_differing_in_case_are_two_and_a_space_at_an_edge_is_refused(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let guest = |value: &str| json!({"name": "Ana", "external_ids": [{"system": "old", "value": value}]});
    for value in ["José", "JOSÉ", "Jose", "José\u{301}"] {
        pms.post("/guests", &guest(value)).await.expect(201);
    }
    for value in ["José ", " José", "José\u{a0}", "José\n"] {
        let refused = pms.post("/guests", &guest(value)).await.expect(422);
        assert_eq!(
            refused.errors(),
            [("/external_ids/0/value", "space_at_edge")],
            "{value:?}"
        );
    }
    let found = pms
        .get("/guests?external_id=old:JOS%C3%89")
        .await
        .expect(200)
        .body;
    assert_eq!(found["data"].as_array().unwrap().len(), 1);
    let made = pms.get("/guests").await.expect(200).body;
    let id = made["data"][0]["id"].as_str().unwrap();
    pms.get(&format!("/guests/{}", id.to_uppercase()))
        .await
        .expect(404);
    pms.get(&format!("/guests/{id}%20")).await.expect(404);
    pms.stop().await;
}

async fn bodies_that_cannot_be_read_are_refused(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let path = "/api/v1/guests";
    for (raw, status, code) in [
        ("{", 400, "invalid_json"),
        ("{\"last_name\":\"a\",\"last_name\":\"b\"}", 400, "invalid_json"),
        ("[]", 422, "validation_failed"),
        ("{}", 422, "validation_failed"),
        (
            "{\"last_name\":\"a\",\"surname\":\"b\"}",
            422,
            "validation_failed",
        ),
    ] {
        let answer = pms
            .send_raw(Method::POST, path, &[], raw.into())
            .await
            .expect(status);
        assert_eq!(answer.body["code"], code, "{raw}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    let text = [("content-type", "text/plain")];
    pms.send_raw(Method::POST, path, &text, b"{}".to_vec())
        .await
        .expect(415);
    let unknown = json!({"property_id": "NONE", "name": "Ana"});
    let refused = pms.post("/guests", &unknown).await.expect(422);
    assert_eq!(refused.errors(), [("/property_id", "unknown_value")]);
    let wrong = pms
        .send(Method::POST, "/guests/gst_1", &[], Some(&json!({})))
        .await
        .expect(405);
    assert!(wrong.header("allow").contains("PATCH"));
    pms.stop().await;
}

async fn personal_data_never_comes_back_in_a_refusal(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let canary = "canary7731";
    for body in [
        json!({"name": "Ana", "email": canary}),
        json!({"name": "Ana", "phone": canary, "date_of_birth": canary, "language": format!("{canary}_")}),
        json!({"name": "Ana", "vip_level": canary}),
        json!({"name": "Ana", "consent": [{"channel": canary, "status": "granted"}]}),
        json!({"name": "Ana", "documents": canary}),
        json!({"last_name": canary.repeat(11)}),
    ] {
        let refused = pms.post("/guests", &body).await.expect(422);
        assert!(!refused.errors().is_empty());
        assert!(!refused.body.to_string().contains(canary), "{}", refused.body);
    }
    pms.stop().await;
}

async fn events_hold_neither_document_numbers_nor_free_text(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let body = json!({"name": "Ana Silva", "notes": "canary-notes", "preferences": ["canary-preference"],
        "documents": [{"type": "passport", "issuing_country": "PRT", "number": "CANARY 99871"}]});
    let made = pms.post("/guests", &body).await.expect(201);
    assert_eq!(made.body["documents"][0]["number"], "CANARY 99871");
    pms.put(
        &format!("/guests/{}", made.id()),
        &json!({"notes": "canary-more"}),
    )
    .await
    .expect(200);
    let events = pms.events(made.id()).await;
    let text = serde_json::to_string(&events).unwrap();
    for hidden in ["canary", "CANARY"] {
        assert!(!text.contains(hidden), "{text}");
    }
    assert_eq!(events[1]["changed"], json!(["notes"]));
    let document = &events[0]["payload"]["documents"][0];
    assert_eq!(document["last4"], "9871");
    assert_eq!(document["issuing_country"], "PT");
    assert_eq!(document["digest"].as_str().unwrap().len(), 64);
    pms.stop().await;
}
