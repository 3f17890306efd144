//! What `/reservations` refuses, over HTTP: other people's numbers, guests that are not there, bodies and queries that
//! cannot be read. And what its lists answer.

use http::Method;
use serde_json::{Value, json};

use crate::case::{Case, Ctx, cases};
use crate::pms::{Pms, Reply};
use crate::reservations::{act, booked, guest, request, with};

pub fn cases() -> Vec<Case> {
    cases![
        numbers_are_unique_per_property,
        guests_are_active_and_of_the_property,
        what_is_not_there_is_404_and_what_cannot_be_read_is_refused,
        a_refusal_leaves_nothing_behind,
        lists_filter_and_sort_and_go_on_where_they_were,
        free_text_stays_out_of_events_and_values_out_of_refusals,
    ]
}

async fn numbers_are_unique_per_property(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let other = json!({"id": "LIS01", "name": "Lisbon", "timezone": "Europe/Lisbon", "currency": "EUR"});
    pms.post("/properties", &other).await.expect(201);
    let guest = guest(&pms).await;
    let numbered = with(
        request(&guest),
        json!({"confirmation_number": "A-1", "channel_reference": {"channel": "OTA", "number": "77"}}),
    );
    let first = pms.post("/reservations", &numbered).await.expect(201);
    let refused = pms.post("/reservations", &numbered).await.expect(409);
    assert_eq!(refused.body["code"], "not_unique");
    assert_eq!(refused.errors(), [("/confirmation_number", "not_unique")]);
    let second = pms
        .post(
            "/reservations",
            &with(numbered.clone(), json!({"confirmation_number": "a-1"})),
        )
        .await
        .expect(409);
    assert_eq!(second.errors(), [("/channel_reference", "not_unique")]);
    let made = with(
        numbered,
        json!({"confirmation_number": "a-1", "channel_reference": null}),
    );
    let second = pms.post("/reservations", &made).await.expect(201);
    let path = format!("/reservations/{}", second.id());
    let refused = pms
        .put(&path, &json!({"confirmation_number": "A-1"}))
        .await
        .expect(409);
    assert_eq!(refused.errors(), [("/confirmation_number", "not_unique")]);
    pms.put(&format!("/reservations/{}", first.id()), &json!({"adults": 1}))
        .await
        .expect(200);
    let there = pms
        .post("/guests", &json!({"name": "Rui Costa", "property_id": "LIS01"}))
        .await
        .expect(201);
    let there = with(
        request(there.id()),
        json!({"property_id": "LIS01", "confirmation_number": "A-1"}),
    );
    pms.post("/reservations", &there).await.expect(201);
    pms.stop().await;
}

async fn guests_are_active_and_of_the_property(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let other = json!({"id": "LIS01", "name": "Lisbon", "timezone": "Europe/Lisbon", "currency": "EUR"});
    pms.post("/properties", &other).await.expect(201);
    let (here, gone) = (guest(&pms).await, guest(&pms).await);
    let there = pms
        .post("/guests", &json!({"name": "Rui Costa", "property_id": "LIS01"}))
        .await
        .expect(201);
    pms.delete(&format!("/guests/{gone}")).await.expect(204);
    for (fields, pointer) in [
        (json!({"primary_guest_id": "gst_nobody"}), "/primary_guest_id"),
        (json!({"primary_guest_id": gone}), "/primary_guest_id"),
        (json!({"booker_guest_id": there.id()}), "/booker_guest_id"),
        (
            json!({"accompanying_guest_ids": [gone]}),
            "/accompanying_guest_ids/0",
        ),
    ] {
        let refused = pms
            .post("/reservations", &with(request(&here), fields))
            .await
            .expect(422);
        assert_eq!(refused.errors(), [(pointer, "no_such_guest")]);
    }
    let refused = pms
        .post(
            "/reservations",
            &with(request(&here), json!({"property_id": "NONE"})),
        )
        .await
        .expect(422);
    assert_eq!(refused.errors()[0].0, "/property_id");

    // In whatever role, a guest whose stay is in house or ahead stays.
    let (booker, companion) = (guest(&pms).await, guest(&pms).await);
    let named = json!({"booker_guest_id": booker, "accompanying_guest_ids": [companion]});
    let made = pms
        .post("/reservations", &with(request(&here), named))
        .await
        .expect(201);
    let path = format!("/reservations/{}", made.id());
    for guest in [&here, &booker, &companion] {
        let refused = pms.delete(&format!("/guests/{guest}")).await.expect(409);
        assert_eq!(refused.body["code"], "guest_in_use");
    }
    pms.put(&path, &json!({"booker_guest_id": null}))
        .await
        .expect(200);
    pms.delete(&format!("/guests/{booker}")).await.expect(204);
    act(&pms, &path, "cancel", json!({"reason": "ill"}))
        .await
        .expect(200);
    pms.delete(&format!("/guests/{companion}")).await.expect(204);
    let refused = act(&pms, &path, "reinstate", json!({})).await.expect(422);
    assert_eq!(refused.errors(), [("/accompanying_guest_ids/0", "no_such_guest")]);
    // A past stay keeps its guests, and its bill can still be changed.
    pms.put(&path, &json!({"company": "ACME"})).await.expect(200);
    pms.put(&path, &json!({"accompanying_guest_ids": []}))
        .await
        .expect(200);
    act(&pms, &path, "reinstate", json!({})).await.expect(200);
    pms.stop().await;
}

async fn what_is_not_there_is_404_and_what_cannot_be_read_is_refused(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (_, path) = booked(&pms).await;
    for missing in [
        "/reservations/res_none",
        "/reservations/a.b",
        "/reservations/%27%20OR%201",
    ] {
        pms.get(missing).await.expect(404);
        pms.put(missing, &json!({})).await.expect(404);
        pms.delete(missing).await.expect(404);
        act(&pms, missing, "confirm", json!({})).await.expect(404);
    }
    act(&pms, &path, "explode", json!({})).await.expect(404);
    pms.get(&format!("{path}/confirm")).await.expect(405);
    pms.put("/reservations", &json!({})).await.expect(405);
    let full = format!("/api/v1{path}");
    pms.send_raw(Method::PUT, &full, &[], b"{\"adults\":1,\"adults\":2}".to_vec())
        .await
        .expect(400);
    pms.send_raw(
        Method::PUT,
        &full,
        &[("content-type", "text/plain")],
        b"{}".to_vec(),
    )
    .await
    .expect(415);
    pms.send_raw(Method::PUT, &full, &[], b"[]".to_vec())
        .await
        .expect(422);
    pms.send_raw(Method::POST, &format!("{full}/assign-room"), &[], Vec::new())
        .await
        .expect(422);
    for query in [
        "?colour=red",
        "?status=gone",
        "?limit=0",
        "?limit=201",
        "?cursor=zzz",
        "?sort=total",
        "?status=a&status=b",
    ] {
        pms.get(&format!("/reservations{query}")).await.expect(400);
    }
    pms.stop().await;
}

async fn a_refusal_leaves_nothing_behind(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let guest = guest(&pms).await;
    let key = [("idempotency-key", "k-2")];
    let nobody = with(request(&guest), json!({"booker_guest_id": "gst_nobody"}));
    pms.send(Method::POST, "/reservations", &key, Some(&nobody))
        .await
        .expect(422);
    let negative = with(request(&guest), json!({"nightly_rates": ["100", "-6.38", "1"]}));
    let refused = pms
        .send(Method::POST, "/reservations", &key, Some(&negative))
        .await
        .expect(422);
    assert_eq!(refused.errors(), [("/nightly_rates/1", "not_an_amount")]);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM reservations").await, 0);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM reservation_guests").await, 0);
    assert_eq!(
        pms.count("SELECT COUNT(*) AS n FROM events WHERE entity_kind = 'reservation'")
            .await,
        0
    );
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM idempotency").await, 0);
    pms.send(Method::POST, "/reservations", &key, Some(&request(&guest)))
        .await
        .expect(201);
    pms.stop().await;
}

async fn lists_filter_and_sort_and_go_on_where_they_were(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (one, two) = (guest(&pms).await, guest(&pms).await);
    for (place, day) in [14, 20, 16, 14, 18].into_iter().enumerate() {
        pms.clock.advance(std::time::Duration::from_secs(1));
        let fields = json!({"check_in": format!("2026-03-{day}"), "check_out": "2026-03-25", "nightly_rates": null,
            "confirmation_number": format!("N{place}"), "channel": if place == 2 { "Direct" } else { "TA/TO" },
            "booker_guest_id": if place == 1 { Value::from(two.clone()) } else { Value::Null }});
        pms.post("/reservations", &with(request(&one), fields))
            .await
            .expect(201);
    }
    let numbers = |reply: &Reply| -> Vec<String> {
        let rows = reply.body["data"].as_array().unwrap().iter();
        rows.map(|row| row["confirmation_number"].as_str().unwrap().to_owned())
            .collect()
    };
    for (query, expected) in [
        ("", &["N0", "N1", "N2", "N3", "N4"][..]),
        ("?sort=-created_at&limit=2", &["N4", "N3"]),
        ("?channel=Direct", &["N2"]),
        ("?confirmation_number=N3", &["N3"]),
        ("?computed_status=due_in", &["N0", "N3"]),
        ("?computed_status=confirmed", &["N1", "N2", "N4"]),
        (
            "?status=confirmed&check_in_from=2026-03-16&check_in_to=2026-03-18",
            &["N2", "N4"],
        ),
        ("?check_in=2026-03-20", &["N1"]),
        ("?check_out_to=2026-03-24", &[]),
        ("?property_id=NONE", &[]),
        (&format!("?guest_id={two}"), &["N1"]),
        (&format!("?primary_guest_id={two}"), &[]),
        ("?updated_since=2026-03-14T09:26:57.589Z", &["N3", "N4"]),
    ] {
        assert_eq!(
            numbers(&pms.get(&format!("/reservations{query}")).await.expect(200)),
            expected,
            "{query}"
        );
    }
    // Two of one date: the id decides, and a page begins where the last one ended, whatever was added meanwhile.
    let mut seen = Vec::new();
    let mut path = "/reservations?sort=-check_in&limit=2".to_owned();
    loop {
        let page = pms.get(&path).await.expect(200);
        seen.extend(numbers(&page));
        let Some(cursor) = page.body["pagination"]["next_cursor"].as_str() else {
            break;
        };
        path = format!("/reservations?sort=-check_in&limit=2&cursor={cursor}");
        let fields = json!({"check_in": "2026-03-24", "check_out": "2026-03-25", "nightly_rates": null});
        pms.post("/reservations", &with(request(&two), fields))
            .await
            .expect(201);
        pms.get(&format!("/reservations?sort=check_in&cursor={cursor}"))
            .await
            .expect(400);
    }
    assert_eq!(seen[..3], ["N1", "N4", "N2"]);
    let mut last = seen[3..].to_vec();
    last.sort();
    assert_eq!(last, ["N0", "N3"]);
    pms.stop().await;
}

async fn free_text_stays_out_of_events_and_values_out_of_refusals(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let guest = guest(&pms).await;
    let canary = "Canary-7 '; DROP TABLE reservations; --";
    let body = with(request(&guest), json!({"special_requests": [canary]}));
    let made = pms.post("/reservations", &body).await.expect(201);
    assert_eq!(made.body["special_requests"], json!([canary]));
    let event = pms.events(made.id()).await.remove(0);
    assert!(!event.to_string().contains("Canary"), "{event}");
    for field in [
        "room_id",
        "rate_plan",
        "meal_plan",
        "status",
        "check_in",
        "currency",
        "balance",
        "primary_guest_id",
        canary,
    ] {
        let refused = pms
            .post("/reservations", &with(request(&guest), json!({field: canary})))
            .await
            .expect(422);
        let messages: Vec<_> = refused.body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["message"].to_string())
            .collect();
        assert!(!messages.concat().contains("Canary"), "{field}");
    }
    pms.stop().await;
}
