//! `/reservations` over HTTP: a stay from its booking to its end, and what every commit leaves behind.

use http::Method;
use serde_json::{Value, json};

use crate::case::{Case, Ctx, cases};
use crate::pms::{Pms, Reply};

pub fn cases() -> Vec<Case> {
    cases![
        a_stay_from_booking_to_departure,
        a_booking_that_ends_before_it_begins,
        a_put_of_the_status_is_the_transition,
        what_was_read_can_be_written_back_and_commits_nothing,
        if_match_is_honoured,
        a_deleted_reservation_is_gone_but_in_its_event_and_its_list,
        a_retried_post_has_one_effect,
    ]
}

/// The day on which a case begins, in the default property's zone.
pub const TODAY: &str = "2026-03-14";

/// The id of a new guest of the default property.
pub async fn guest(pms: &Pms) -> String {
    let made = pms
        .post("/guests", &json!({"name": "Ana Silva"}))
        .await
        .expect(201);
    made.id().to_owned()
}

/// A request for three nights from today.
pub fn request(guest: &str) -> Value {
    json!({"primary_guest_id": guest, "check_in": TODAY, "check_out": "2026-03-17", "adults": 2,
        "nightly_rates": ["100", "110", "120.5"]})
}

/// With these fields instead.
pub fn with(mut request: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else {
        panic!("fields")
    };
    request.as_object_mut().unwrap().extend(fields);
    request
}

/// A confirmed reservation of three nights from today, and its path.
pub async fn booked(pms: &Pms) -> (Reply, String) {
    let guest = guest(pms).await;
    let made = pms.post("/reservations", &request(&guest)).await.expect(201);
    let path = format!("/reservations/{}", made.id());
    (made, path)
}

/// Calls a transition by its name.
pub async fn act(pms: &Pms, path: &str, name: &str, body: Value) -> Reply {
    pms.post(&format!("{path}/{name}"), &body).await
}

async fn types(pms: &Pms, path: &str) -> Vec<String> {
    let id = path.rsplit('/').next().unwrap();
    let events = pms.events(id).await;
    for (place, event) in events.iter().enumerate() {
        assert_eq!(
            event["entity"]["version"],
            json!(place + 1),
            "versions have no gap"
        );
        assert_eq!(event["payload"]["version"], event["entity"]["version"]);
    }
    let name = |event: &Value| {
        event["type"]
            .as_str()
            .unwrap()
            .trim_start_matches("reservation.")
            .to_owned()
    };
    events.iter().map(name).collect()
}

async fn a_stay_from_booking_to_departure(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (made, path) = booked(&pms).await;
    assert_eq!(made.header("location"), format!("/api/v1{path}"));
    assert_eq!(made.header("etag"), "\"1\"");
    for (name, value) in [
        ("status", json!("confirmed")),
        ("computed_status", json!("due_in")),
        ("room_total", json!("330.50")),
        ("total", json!("330.50")),
        ("currency", json!("EUR")),
        ("nights", json!(3)),
        ("booked_on", json!(TODAY)),
        ("property_id", json!("MAIN")),
    ] {
        assert_eq!(made.body[name], value, "{name}");
    }
    let guarded = act(&pms, &path, "check-in", json!({})).await.expect(409);
    assert_eq!(
        (&guarded.body["code"], &guarded.body["guard"]),
        (&json!("transition_guard"), &json!("room_missing"))
    );
    act(&pms, &path, "assign-room", json!({"room_id": "101"}))
        .await
        .expect(200);
    let inside = act(&pms, &path, "check-in", json!({"room_id": "102"}))
        .await
        .expect(200);
    assert_eq!(
        (inside.header("etag"), &inside.body["checked_in_on"]),
        ("\"3\"", &json!(TODAY))
    );
    pms.put(&path, &json!({"balance": "12.5"})).await.expect(200);
    act(&pms, &path, "check-out", json!({})).await.expect(409);
    act(
        &pms,
        &path,
        "check-out",
        json!({"balance_override": {"reason": "the company pays"}}),
    )
    .await
    .expect(200);
    act(&pms, &path, "revert-check-out", json!({})).await.expect(200);
    let left = act(&pms, &path, "check-out", json!({"balance": "0"}))
        .await
        .expect(200);
    assert_eq!(
        (&left.body["check_out"], &left.body["checked_out_on"]),
        (&json!("2026-03-17"), &json!(TODAY))
    );
    let forbidden = act(&pms, &path, "cancel", json!({"reason": "late"}))
        .await
        .expect(409);
    assert_eq!(forbidden.body["code"], "invalid_transition");
    assert_eq!(forbidden.body["allowed"], json!(["revert-check-out"]));
    let expected = [
        "created",
        "room_assigned",
        "checked_in",
        "updated",
        "checked_out",
        "check_out_reverted",
        "checked_out",
    ];
    assert_eq!(types(&pms, &path).await, expected);
    let events = pms.events(left.id()).await;
    assert_eq!(events[2]["changed"], json!(["status", "room_id"]));
    assert_eq!(events[6]["payload"]["checked_out_on"], TODAY);
    pms.stop().await;
}

async fn a_booking_that_ends_before_it_begins(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let guest = guest(&pms).await;
    let inquiry = with(request(&guest), json!({"status": "inquiry", "adults": 0}));
    let made = pms.post("/reservations", &inquiry).await.expect(201);
    let path = format!("/reservations/{}", made.id());
    act(&pms, &path, "confirm", json!({})).await.expect(409);
    pms.put(&path, &json!({"status": "optional"})).await.expect(200);
    pms.put(&path, &json!({"adults": 1})).await.expect(200);
    act(&pms, &path, "confirm", json!({})).await.expect(200);
    let refused = act(&pms, &path, "cancel", json!({})).await.expect(422);
    assert_eq!(refused.errors(), [("/reason", "required")]);
    let cancelled = act(&pms, &path, "cancel", json!({"reason": "ill", "fee": "20"}))
        .await
        .expect(200);
    assert_eq!(cancelled.body["cancellation"]["fee"], "20.00");
    assert_eq!(cancelled.body["cancellation"]["by"], "guest");
    let back = act(&pms, &path, "reinstate", json!({})).await.expect(200);
    assert_eq!(back.body["cancellation"], Value::Null);
    act(&pms, &path, "no-show", json!({})).await.expect(200);
    act(&pms, &path, "reinstate", json!({})).await.expect(200);
    act(&pms, &path, "check-in", json!({"room_id": "1"}))
        .await
        .expect(200);
    act(&pms, &path, "revert-check-in", json!({})).await.expect(200);
    let expected = [
        "created",
        "updated",
        "updated",
        "confirmed",
        "cancelled",
        "reinstated",
        "no_show",
        "reinstated",
        "checked_in",
        "check_in_reverted",
    ];
    assert_eq!(types(&pms, &path).await, expected);
    pms.stop().await;
}

async fn a_put_of_the_status_is_the_transition(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (_, path) = booked(&pms).await;
    pms.put(&path, &json!({"status": "checked_in"})).await.expect(409);
    let body = json!({"status": "checked_in", "room_id": "7", "adults": 3});
    pms.send(Method::PATCH, &path, &[], Some(&body)).await.expect(200);
    let refused = pms
        .put(
            &path,
            &json!({"status": "cancelled", "cancellation": {"reason": "x"}}),
        )
        .await
        .expect(409);
    assert_eq!(refused.body["allowed"], json!(["revert-check-in", "check-out"]));
    pms.put(&path, &json!({"status": "checked_out"}))
        .await
        .expect(200);
    assert_eq!(types(&pms, &path).await, ["created", "checked_in", "checked_out"]);
    let walk_in = with(
        request(&guest(&pms).await),
        json!({"status": "checked_in", "room_id": "8"}),
    );
    let made = pms.post("/reservations", &walk_in).await.expect(201);
    assert_eq!(
        (&made.body["checked_in_on"], &made.body["computed_status"]),
        (&json!(TODAY), &json!("checked_in"))
    );
    pms.stop().await;
}

async fn what_was_read_can_be_written_back_and_commits_nothing(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (_, path) = booked(&pms).await;
    act(&pms, &path, "cancel", json!({"reason": "ill"}))
        .await
        .expect(200);
    let read = pms.get(&path).await.expect(200);
    let again = pms.put(&path, &read.body).await.expect(200);
    assert_eq!((again.header("etag"), &again.body), ("\"2\"", &read.body));
    let edited = with(read.body.clone(), json!({"company": "ACME"}));
    assert_eq!(pms.put(&path, &edited).await.expect(200).header("etag"), "\"3\"");
    assert_eq!(types(&pms, &path).await, ["created", "cancelled", "updated"]);
    pms.stop().await;
}

async fn if_match_is_honoured(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (_, path) = booked(&pms).await;
    let body = json!({"adults": 3});
    let put = async |tag| {
        pms.send(Method::PUT, &path, &[("if-match", tag)], Some(&body))
            .await
    };
    assert_eq!(put("\"2\"").await.expect(412).body["code"], "precondition_failed");
    put("nonsense").await.expect(400);
    put("\"1\"").await.expect(200);
    put("\"1\"").await.expect(412);
    put("*").await.expect(200);
    let cancel = format!("{path}/cancel");
    let reason = json!({"reason": "ill"});
    pms.send(Method::POST, &cancel, &[("if-match", "\"1\"")], Some(&reason))
        .await
        .expect(412);
    pms.send(Method::POST, &cancel, &[("if-match", "\"2\"")], Some(&reason))
        .await
        .expect(200);
    pms.send(Method::DELETE, &path, &[("if-match", "\"2\"")], None)
        .await
        .expect(412);
    pms.send(Method::DELETE, &path, &[("if-match", "\"3\"")], None)
        .await
        .expect(204);
    pms.stop().await;
}

async fn a_deleted_reservation_is_gone_but_in_its_event_and_its_list(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (made, path) = booked(&pms).await;
    assert_eq!(pms.delete(&path).await.expect(409).body["code"], "not_deletable");
    act(&pms, &path, "cancel", json!({"reason": "ill"}))
        .await
        .expect(200);
    pms.delete(&path).await.expect(204);
    pms.get(&path).await.expect(404);
    pms.put(&path, &json!({"adults": 1})).await.expect(404);
    act(&pms, &path, "reinstate", json!({})).await.expect(404);
    pms.delete(&path).await.expect(404);
    let last = pms.events(made.id()).await.pop().unwrap();
    assert_eq!(
        (&last["type"], &last["payload"]["status"]),
        (&json!("reservation.deleted"), &json!("cancelled"))
    );
    assert!(last["payload"]["deleted_at"].is_string());
    let ids = |reply: Reply| reply.body["data"].as_array().unwrap().len();
    assert_eq!(ids(pms.get("/reservations").await.expect(200)), 0);
    assert_eq!(
        ids(pms.get("/reservations?status=cancelled").await.expect(200)),
        0
    );
    assert_eq!(ids(pms.get("/reservations?status=deleted").await.expect(200)), 1);
    pms.stop().await;
}

async fn a_retried_post_has_one_effect(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let body = request(&guest(&pms).await);
    let key = [("idempotency-key", "k-1")];
    let first = pms
        .send(Method::POST, "/reservations", &key, Some(&body))
        .await
        .expect(201);
    let again = pms
        .send(Method::POST, "/reservations", &key, Some(&body))
        .await
        .expect(201);
    assert_eq!(
        (again.header("idempotency-replayed"), &again.body),
        ("true", &first.body)
    );
    assert_eq!(
        (again.header("etag"), again.header("location")),
        ("\"1\"", first.header("location"))
    );
    let other = with(body, json!({"adults": 1}));
    let reused = pms
        .send(Method::POST, "/reservations", &key, Some(&other))
        .await
        .expect(422);
    assert_eq!(reused.body["code"], "idempotency_key_reused");
    // A key belongs to its path, so the same one serves each transition.
    let path = format!("/reservations/{}", first.id());
    let room = json!({"room_id": "1"});
    for (name, body) in [
        ("assign-room", &room),
        ("check-in", &json!({})),
        ("check-out", &json!({})),
    ] {
        let path = format!("{path}/{name}");
        let first = pms.send(Method::POST, &path, &key, Some(body)).await.expect(200);
        let again = pms.send(Method::POST, &path, &key, Some(body)).await.expect(200);
        assert_eq!(
            (again.header("idempotency-replayed"), &again.body),
            ("true", &first.body)
        );
    }
    assert_eq!(
        types(&pms, &path).await,
        ["created", "room_assigned", "checked_in", "checked_out"]
    );
    // What changed nothing is an answer too.
    let (_, path) = booked(&pms).await;
    let path = format!("{path}/assign-room");
    pms.post(&path, &room).await.expect(200);
    for replayed in ["", "true"] {
        let answer = pms.send(Method::POST, &path, &key, Some(&room)).await.expect(200);
        assert_eq!(
            (answer.header("etag"), answer.header("idempotency-replayed")),
            ("\"2\"", replayed)
        );
    }
    pms.stop().await;
}
