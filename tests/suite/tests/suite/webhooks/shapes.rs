//! What of an event an endpoint gets: by a filter over its payload, reduced, under another scheme; and tests of an endpoint.

use bytes::Bytes;
use contract::scheme::{Choice, Preset};
use futures::future::{join, join_all};
use harness::receiver_double::{Answer, Gate};
use harness::waiting::until;
use http::Method;
use pms_emitter::http::TESTS_OF_ONE_MAX;
use serde_json::{Value, json};

use super::{body, double, guest, names, subscribe};
use crate::access::{guarded, key, with_key};
use crate::case::{Case, Ctx, cases};
use crate::pms::{BEGIN, Pms};

pub fn cases() -> Vec<Case> {
    cases![
        a_filter_decides_by_the_payload_also_of_what_was_before,
        a_reduced_payload_is_the_same_at_every_attempt,
        a_foreign_receiver_verifies_what_it_is_sent,
        a_test_is_sent_now_and_stands_in_no_feed,
        tests_of_one_key_leave_places_to_the_others,
        types_that_nobody_can_publish_are_refused,
    ]
}

async fn a_filter_decides_by_the_payload_also_of_what_was_before(ctx: Ctx) {
    let (pms, does, others) = (Pms::start(&ctx).await, double().await, double().await);
    guest(&pms, "Doe").await;
    guest(&pms, "Roe").await;
    let is_doe = json!({"path": "/last_name", "op": "=", "value": "Doe"});
    subscribe(&pms, &does, json!({"filter": is_doe, "start": "beginning"})).await;
    let not_doe = json!({"not": is_doe});
    let made = subscribe(&pms, &others, json!({"filter": not_doe, "start": "beginning"})).await;
    assert_eq!(made.body["filter"], not_doe);
    guest(&pms, "Doe").await;
    guest(&pms, "Poe").await;
    assert_eq!(names(&does.wait_for(2).await), ["Doe", "Doe"]);
    let mut seen = names(&others.wait_for(2).await);
    seen.sort_unstable();
    assert_eq!(seen, ["Poe", "Roe"]);
    let path = format!("/webhooks/{}", made.id());
    pms.put(&path, &json!({"filter": null})).await.expect(200);
    guest(&pms, "Doe").await;
    others.wait_for(3).await;
    does.wait_for(3).await;
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM deliveries").await, 6);
    pms.stop().await;
}

async fn a_reduced_payload_is_the_same_at_every_attempt(ctx: Ctx) {
    let (pms, reduced, thin) = (Pms::start(&ctx).await, double().await, double().await);
    reduced.then([Answer::status(500)]);
    subscribe(
        &pms,
        &reduced,
        json!({"payload": ["/last_name"], "retry_schedule": [0, 0]}),
    )
    .await;
    subscribe(&pms, &thin, json!({"payload": "thin"})).await;
    let made = pms
        .post(
            "/guests",
            &json!({"last_name": "Doe", "email": "doe@example.com"}),
        )
        .await;
    let id = made.expect(201).id().to_owned();
    let received = reduced.wait_for(2).await;
    assert_eq!(received[0].body, received[1].body);
    assert_eq!(body(&received[0])["payload"], json!({"last_name": "Doe"}));
    let thin = body(&thin.wait_for(1).await[0]);
    assert_eq!(
        (&thin["payload"], &thin["entity"]["id"]),
        (&json!({}), &json!(id))
    );
    pms.stop().await;
}

async fn a_foreign_receiver_verifies_what_it_is_sent(ctx: Ctx) {
    let (pms, lokroom) = (Pms::start(&ctx).await, double().await);
    lokroom.then([Answer::status(500)]);
    let with = json!({"scheme": "lokroom", "retry_schedule": [0, 0]});
    let made = subscribe(&pms, &lokroom, with).await;
    assert_eq!(made.body["timeout_seconds"], 10, "as the scheme has it");
    let secret = made.body["secret"].as_str().unwrap().to_owned();
    assert_eq!(secret.len(), 64);
    guest(&pms, "Doe").await;
    let received = lokroom.wait_for(2).await;
    assert_eq!(received[0].body, received[1].body);
    assert_eq!(body(&received[0])["event"], "guest.created");
    let scheme = Choice::Preset(Preset::Lokroom).scheme();
    let key = scheme.key(&secret).unwrap();
    for one in &received {
        let verifies = |body: Bytes| {
            let headers = one.headers.iter();
            let lines = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
            let timely = scheme.read(lines).unwrap().within(BEGIN.seconds(), 1).unwrap();
            timely.verify(body, std::slice::from_ref(&key)).is_ok()
        };
        assert!(verifies(one.body.clone()));
        assert!(!verifies(Bytes::from_static(b"{}")));
    }
    let path = format!("/webhooks/{}", made.id());
    let refused = pms.put(&path, &json!({"scheme": "stripe"})).await.expect(422);
    assert_eq!(refused.errors(), [("/scheme", "immutable")]);
    let short = json!({"secret": "short"});
    pms.post(&format!("{path}/rotate-secret"), &short)
        .await
        .expect(422);
    pms.stop().await;
}

async fn a_test_is_sent_now_and_stands_in_no_feed(ctx: Ctx) {
    let (pms, receiver) = (Pms::start(&ctx).await, double().await);
    let made = subscribe(
        &pms,
        &receiver,
        json!({"events": ["reservation.*", "booking.created"]}),
    )
    .await;
    let path = format!("/webhooks/{}", made.id());
    pms.post(&format!("{path}/pause"), &json!({})).await.expect(200);
    let test = format!("{path}/test");
    let passed = pms.post(&test, &json!({})).await.expect(200);
    assert_eq!(passed.body["status_class"], "2xx");
    assert!(passed.body["duration_ms"].is_u64());
    receiver.then([Answer::status(503).with_body("<b>canary</b>")]);
    let failed = pms
        .post(&test, &json!({"event": "reservation.checked_in"}))
        .await
        .expect(200);
    assert_eq!(failed.body["status_class"], "5xx");
    assert!(
        !failed.body.to_string().contains("canary"),
        "what it answered is nobody's"
    );
    let received = receiver.received();
    let types: Vec<_> = received.iter().map(|one| body(one)["type"].clone()).collect();
    assert_eq!(types, ["booking.created", "reservation.checked_in"]);
    assert!(received.iter().all(|one| body(one)["test"] == true));
    let secret = made.body["secret"].as_str().unwrap();
    assert!(super::is_signed_with(&received[0], secret, BEGIN.seconds()));
    pms.post(&test, &json!({"event": "no.such_type"}))
        .await
        .expect(422);
    pms.post(&test, &json!({"events": ["ping"]})).await.expect(422);
    let env = pms.post("/webhooks/env/test", &json!({})).await.expect(409);
    assert_eq!(env.body["code"], "unsendable", "it has no URL here");
    for sql in [
        "SELECT COUNT(*) AS n FROM events",
        "SELECT COUNT(*) AS n FROM deliveries",
    ] {
        assert_eq!(pms.count(sql).await, 0);
    }
    drop(receiver);
    until("nothing listens", || async {
        pms.post(&test, &json!({})).await.expect(200).body["status_class"] == "none"
    })
    .await;
    pms.stop().await;
}

async fn tests_of_one_key_leave_places_to_the_others(ctx: Ctx) {
    let (pms, receiver) = (guarded(&ctx).await, double().await);
    let gate = Gate::closed();
    receiver.otherwise(Answer::status(200).behind(&gate));
    let (own, other) = (
        key(&pms, &["webhooks:admin"], json!("*")).await,
        key(&pms, &["webhooks:write"], json!("*")).await,
    );
    let webhook = json!({"name": "CRM", "url": receiver.url(), "events": ["*"]});
    let made = with_key(&pms, &own, Method::POST, "/webhooks", Some(&webhook)).await;
    let path = format!("/webhooks/{}/test", made.expect(201).id());
    let test = async |key: &str| with_key(&pms, key, Method::POST, &path, None).await;
    let one_more = async {
        receiver.wait_for(TESTS_OF_ONE_MAX).await;
        let refused = test(&own).await.expect(503);
        assert_eq!(refused.body["code"], "overloaded");
        let beside = async {
            receiver.wait_for(TESTS_OF_ONE_MAX + 1).await;
            gate.open(TESTS_OF_ONE_MAX + 1);
        };
        join(test(&other), beside).await.0
    };
    let (of_own, of_other) = join(join_all((0..TESTS_OF_ONE_MAX).map(|_| test(&own))), one_more).await;
    for answer in of_own.into_iter().chain([of_other]) {
        assert_eq!(answer.expect(200).body["status_class"], "2xx");
    }
    gate.open(1);
    test(&own).await.expect(200);
    pms.stop().await;
}

async fn types_that_nobody_can_publish_are_refused(ctx: Ctx) {
    let (pms, receiver) = (Pms::start(&ctx).await, double().await);
    let with = |events: Value| json!({"name": "CRM", "url": receiver.url(), "events": events});
    let refused = pms
        .post("/webhooks", &with(json!(["guest.created", "guest.craeted"])))
        .await
        .expect(422);
    assert_eq!(refused.errors(), [("/events/1", "unknown_type")]);
    let own = json!({"type": "spa.booked"});
    pms.post("/event-types", &own).await.expect(201);
    let made = pms
        .post("/webhooks", &with(json!(["spa.booked", "minibar.*"])))
        .await
        .expect(201);
    // What it names already stays, also when nobody can publish it any more.
    pms.delete("/event-types/spa.booked").await.expect(204);
    let path = format!("/webhooks/{}", made.id());
    pms.put(&path, &json!({"name": "Spa"})).await.expect(200);
    pms.put(&path, &json!({"events": ["spa.cancelled"]}))
        .await
        .expect(422);
    pms.stop().await;
}
