//! `POST /events/batch` over HTTP.

use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};

use super::{booking, named, open_lisbon, status_of_declared, versions};
use crate::case::{Case, Ctx, cases};
use crate::pms::{Pms, Reply};

pub fn cases() -> Vec<Case> {
    cases![
        each_event_of_a_batch_has_its_own_result_in_order,
        a_batch_that_is_sent_again_is_all_duplicates,
        batches_of_the_same_entities_at_once_make_no_gaps,
        what_a_batch_may_not_be,
        the_largest_batch_is_one_transaction,
    ]
}

fn batch(events: &[Value]) -> Value {
    json!({"events": events})
}

/// The statuses of a batch's events, in their order.
fn statuses(answer: &Reply) -> Vec<u64> {
    let data = answer.body["data"].as_array().unwrap();
    data.iter().map(|one| one["status"].as_u64().unwrap()).collect()
}

async fn each_event_of_a_batch_has_its_own_result_in_order(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    open_lisbon(&pms).await;
    pms.post(
        "/event-types",
        &json!({"type": "spa.booked", "schema": {"required": ["at"]}}),
    )
    .await
    .expect(201);
    pms.post("/events", &named("evt_there", booking("b-1", "MAIN")))
        .await
        .expect(202);
    pms.post("/events", &named("evt_other", booking("b-9", "MAIN")))
        .await
        .expect(202);
    let answer = pms
        .post(
            "/events/batch",
            &batch(&[
                booking("b-1", "LIS01"),
                named("evt_z", booking("b-1", "MAIN")),
                named("evt_there", booking("b-1", "MAIN")),
                named("evt_other", booking("b-1", "MAIN")),
                json!({"type": "spa.booked", "payload": {"at": "noon"}}),
                json!({"type": "spa.booked", "payload": {}}),
                json!({"type": "guest.created"}),
                json!("no object"),
                named("evt_z", booking("b-1", "MAIN")),
                named("evt_z", booking("b-2", "MAIN")),
                // Its first one was refused: it is one of its own.
                named("evt_late", json!({"type": "spa.booked"})),
                named("evt_late", booking("b-2", "MAIN")),
                named("evt_a", booking("b-1", "MAIN")),
                named("evt_other", booking("b-9", "MAIN")),
            ]),
        )
        .await
        .expect(202);
    assert_eq!(
        statuses(&answer),
        [
            202, 202, 200, 422, 202, 422, 422, 422, 200, 422, 422, 202, 202, 200
        ]
    );
    let data = answer.body["data"].as_array().unwrap();
    assert_eq!(
        (&data[2]["id"], &data[2]["duplicate"]),
        (&json!("evt_there"), &json!(true))
    );
    assert_eq!(
        data[1],
        json!({"status": 202, "id": "evt_z", "type": "booking.created", "property_id": "MAIN", "duplicate": false})
    );
    for (place, code, pointer) in [
        (3, "idempotency_key_reused", None),
        (5, "validation_failed", Some("/payload")),
        (6, "validation_failed", Some("/type")),
        (7, "validation_failed", Some("")),
        (9, "idempotency_key_reused", None),
    ] {
        assert_eq!(data[place]["code"], code);
        assert_eq!(data[place]["errors"][0]["pointer"].as_str(), pointer, "{place}");
    }
    // Versions are in the order of the batch, whatever the ids.
    assert_eq!(
        pms.events("b-1")
            .await
            .iter()
            .filter(|event| event["property_id"] == "MAIN")
            .map(|event| (
                event["idempotency_key"].as_str().unwrap().to_owned(),
                event["entity"]["version"].as_u64().unwrap()
            ))
            .collect::<Vec<_>>(),
        [
            ("evt_there".to_owned(), 1),
            ("evt_z".to_owned(), 2),
            ("evt_a".to_owned(), 3)
        ]
    );
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM events").await, 7);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM event_bodies").await, 7);
    pms.stop().await;
}

async fn a_batch_that_is_sent_again_is_all_duplicates(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let events: Vec<Value> = (0..150)
        .map(|nth| named(&format!("evt_{nth}"), booking(&format!("b-{}", nth % 7), "MAIN")))
        .collect();
    let first = pms
        .post("/events/batch", &batch(&events[..100]))
        .await
        .expect(202);
    assert!(statuses(&first).iter().all(|status| *status == 202));
    let again = pms
        .post("/events/batch", &batch(&events[..100]))
        .await
        .expect(200);
    assert!(statuses(&again).iter().all(|status| *status == 200));
    let more = pms.post("/events/batch", &batch(&events[50..])).await.expect(202);
    assert_eq!(statuses(&more), [vec![200; 50], vec![202; 50]].concat());
    let refused = pms
        .post("/events/batch", &batch(&[json!({"type": "ping"})]))
        .await
        .expect(200);
    assert_eq!(statuses(&refused), [422]);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM events").await, 150);
    assert_eq!(versions(&pms, "b-0").await, (1..=22).collect::<Vec<_>>());
    pms.stop().await;
}

/// In opposite orders, with ids in common, so that each waits for rows of the others.
async fn batches_of_the_same_entities_at_once_make_no_gaps(ctx: Ctx) {
    const BATCHES: usize = 8;
    const EVENTS: usize = 40;
    let pms = Pms::start(&ctx).await;
    let posts = (0..BATCHES).map(|number| {
        let pms = &pms;
        async move {
            let mut events: Vec<Value> = (0..EVENTS)
                .map(|nth| {
                    let shared = nth % 4 == 0;
                    let id = if shared {
                        format!("evt_shared_{nth}")
                    } else {
                        format!("evt_{number}_{nth}")
                    };
                    named(&id, booking(&format!("b-{}", nth % 5), "MAIN"))
                })
                .collect();
            if number % 2 == 1 {
                events.reverse();
            }
            let answer = pms.post("/events/batch", &batch(&events)).await;
            let single = pms.post("/events", &booking("b-0", "MAIN")).await.expect(202);
            drop(single);
            (answer.status, statuses(&answer))
        }
    });
    let answers = join_all(posts).await;
    let count = |wanted: u64| {
        answers
            .iter()
            .flat_map(|(_, all)| all)
            .filter(|one| **one == wanted)
            .count()
    };
    let shared = EVENTS / 4;
    assert_eq!(
        (count(202), count(200)),
        (BATCHES * (EVENTS - shared) + shared, (BATCHES - 1) * shared)
    );
    let mut all = 0;
    for entity in 0..5 {
        let versions = versions(&pms, &format!("b-{entity}")).await;
        let expected: Vec<u64> = (1..=versions.len() as u64).collect();
        assert_eq!(versions, expected, "b-{entity}");
        all += versions.len();
    }
    assert_eq!(all, BATCHES * (EVENTS - shared) + shared + BATCHES);
    pms.stop().await;
}

async fn what_a_batch_may_not_be(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for (body, pointer, code) in [
        (json!({}), "/events", "required"),
        (json!({"events": {}}), "/events", "wrong_type"),
        (json!({"events": []}), "/events", "out_of_range"),
        (batch(&vec![json!({}); 1_001]), "/events", "out_of_range"),
        (json!([]), "", "wrong_type"),
        (
            json!({"events": [booking("b-1", "MAIN")], "atomic": true}),
            "/atomic",
            "unknown_field",
        ),
    ] {
        let refused = pms.post("/events/batch", &body).await.expect(422);
        assert_eq!(refused.errors(), [(pointer, code)]);
    }
    let too_many =
        batch(&[json!({"type": "booking.created", "payload": {"id": "1", "list": vec![0; 200_000]}})]);
    assert_eq!(
        pms.post("/events/batch", &too_many).await.expect(422).body["code"],
        "too_many_values"
    );
    assert_eq!(
        status_of_declared(&pms, "/events/batch", 4 * 1024 * 1024 + 1).await,
        "HTTP/1.1 413"
    );
    let key = [("idempotency-key", "k-1")];
    let one = batch(&[booking("b-1", "MAIN")]);
    let refused = pms
        .send(Method::POST, "/events/batch", &key, Some(&one))
        .await
        .expect(400);
    assert_eq!(refused.body["code"], "invalid_idempotency_key");
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM events").await, 0);
    pms.stop().await;
}

/// 1,000 events, and nearly 4 MiB.
async fn the_largest_batch_is_one_transaction(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let note = "ä\"".repeat(1_000);
    let events = (0..1_000).map(|nth| {
        let mut event = named(&format!("evt_{nth:04}"), booking(&format!("b-{nth}"), "MAIN"));
        event["payload"]["note"] = json!(note);
        event
    });
    let body = batch(&events.collect::<Vec<_>>());
    assert!(
        (3_500_000..4 * 1024 * 1024).contains(&body.to_string().len()),
        "{}",
        body.to_string().len()
    );
    let answer = pms.post("/events/batch", &body).await.expect(202);
    assert!(statuses(&answer).iter().all(|status| *status == 202));
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM events").await, 1_000);
    assert_eq!(pms.events("b-999").await[0]["payload"]["note"], note);
    pms.stop().await;
}
