//! Deliveries that a person makes due again, how a webhook stands, and what its attempts were.

use std::sync::Arc;
use std::time::Duration;

use contract::Clock;
use db::{Statement, params};
use harness::receiver_double::{Answer, Gate};
use harness::waiting::{until, until_some};
use http::Method;
use pms_emitter::store::counted_up_to;
use serde_json::{Value, json};

use super::{double, guest, lisbon, rename, subscribe, subscribe_to};
use crate::access::{ADMIN, guarded, key, with_key};
use crate::case::{Case, Ctx, cases};
use crate::pms::{BEGIN, Pms};

pub fn cases() -> Vec<Case> {
    cases![
        a_delivery_is_made_due_again_whatever_it_was,
        what_cannot_be_sent_again_is_refused,
        a_webhook_shows_how_it_stands,
        a_status_of_many_webhooks_counts_so_much_in_all,
        attempts_are_counted_by_hour_and_type,
        a_caller_gets_the_statistics_of_what_it_sees,
    ]
}

/// The delivery of the only event to a webhook, once it stands so.
async fn stands(pms: &Pms, id: &str, status: &str, attempts: u64) -> Value {
    let what = format!("it is {status} after {attempts}");
    let found = until_some(&what, || async {
        let listed = pms.get(&format!("/webhooks/{id}/deliveries")).await.expect(200);
        let one = listed.body["data"][0].clone();
        (one["status"] == status && one["attempts"] == attempts).then_some(one)
    });
    found.await
}

async fn a_delivery_is_made_due_again_whatever_it_was(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    double.then([500, 500, 200, 500, 200].map(Answer::status));
    let schedule = json!({"retry_schedule": [0, 3_600]});
    let id = subscribe(&pms, &double, schedule).await.id().to_owned();
    guest(&pms, "Doe").await;
    let one = stands(&pms, &id, "pending", 1).await;
    let path = format!("/webhooks/{id}/deliveries/{}", one["event_id"].as_str().unwrap());
    let retry = format!("{path}/retry");

    // One that waits is due at once, and its schedule begins again.
    let due = pms.post(&retry, &json!({})).await.expect(202);
    assert_eq!(
        (&due.body["status"], &due.body["next_attempt_at"]),
        (&json!("pending"), &json!(BEGIN))
    );
    double.wait_for(2).await;
    stands(&pms, &id, "pending", 2).await;
    pms.post(&retry, &json!({})).await.expect(202);
    stands(&pms, &id, "delivered", 3).await;

    // One that was delivered is sent again, the same bytes; and it has the whole schedule before it.
    let due = pms.post(&retry, &json!({})).await.expect(202);
    assert_eq!(
        (&due.body["status"], &due.body["settled_at"]),
        (&json!("pending"), &Value::Null)
    );
    stands(&pms, &id, "pending", 4).await;
    pms.clock.advance(Duration::from_secs(2 * 3_600));
    stands(&pms, &id, "delivered", 5).await;
    let received = double.received();
    assert!(
        received
            .iter()
            .all(|one| one.body == received[0].body && one.id() == received[0].id())
    );
    let numbers: Vec<_> = received
        .iter()
        .map(|one| one.header("webhook-attempt").to_owned())
        .collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5"]);
    let shown = pms.get(&path).await.expect(200);
    assert_eq!(shown.body["attempts_made"].as_array().unwrap().len(), 5);

    // One that is dead.
    double.then([Answer::status(422)]);
    pms.post(&retry, &json!({})).await.expect(202);
    stands(&pms, &id, "dead", 6).await;
    pms.post(&retry, &json!({})).await.expect(202);
    stands(&pms, &id, "delivered", 7).await;
    for (was, times) in [("was pending", 2), ("was delivered", 2), ("was dead", 1)] {
        let counted = match was {
            "was pending" => pms.count(
                "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'delivery_retried' AND outcome = 'was pending'",
            ),
            "was delivered" => pms.count(
                "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'delivery_retried' AND outcome = 'was delivered'",
            ),
            _ => pms.count(
                "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'delivery_retried' AND outcome = 'was dead'",
            ),
        };
        assert_eq!(counted.await, times, "{was}");
    }
    pms.stop().await;
}

async fn what_cannot_be_sent_again_is_refused(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let id = subscribe(&pms, &double, json!({})).await.id().to_owned();
    guest(&pms, "Doe").await;
    let one = stands(&pms, &id, "delivered", 1).await;
    let event = one["event_id"].as_str().unwrap();
    let retry = format!("/webhooks/{id}/deliveries/{event}/retry");
    for missing in [
        format!("/webhooks/{id}/deliveries/evt_none/retry"),
        format!("/webhooks/ep_none/deliveries/{event}/retry"),
    ] {
        pms.post(&missing, &json!({})).await.expect(404);
    }
    let erase = pms.db.transaction("erase", |tx| {
        Box::pin(async move {
            tx.execute("UPDATE event_bodies SET body = NULL", Vec::new())
                .await
        })
    });
    erase.await.unwrap();
    let gone = pms.post(&retry, &json!({})).await.expect(409);
    assert_eq!(gone.body["code"], "body_gone");
    pms.delete(&format!("/webhooks/{id}")).await.expect(204);
    let deleted = pms.post(&retry, &json!({})).await.expect(409);
    assert_eq!(deleted.body["code"], "webhook_deleted");
    assert_eq!(double.received().len(), 1);
    pms.stop().await;
}

async fn a_webhook_shows_how_it_stands(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let gate = Gate::closed();
    double.then([Answer::status(422)]);
    double.otherwise(Answer::status(200).behind(&gate));
    let id = subscribe(&pms, &double, json!({"max_concurrency": 1}))
        .await
        .id()
        .to_owned();
    guest(&pms, "Dead").await;
    stands(&pms, &id, "dead", 1).await;
    pms.clock.advance(Duration::from_secs(60));
    guest(&pms, "In flight").await;
    double.wait_for_held(1).await;
    let path = format!("/webhooks/{id}/status");
    pms.clock.advance(Duration::from_secs(20));
    let shown = pms.get(&path).await.expect(200);
    for (name, value) in [
        ("id", json!(id)),
        ("state", json!("active")),
        ("paused", json!(false)),
        ("disabled_reason", Value::Null),
        ("in_flight", json!(1)),
        ("pending", json!(1)),
        ("dead", json!(1)),
        ("delivered", json!(0)),
        (
            "last_error",
            json!("the receiver refused the event's content (422)"),
        ),
    ] {
        assert_eq!(shown.body[name], value, "{name}");
    }
    let oldest = &shown.body["oldest_pending"];
    assert_eq!(
        (&oldest["committed_at"], &oldest["age_seconds"]),
        (&json!(BEGIN.plus_millis(60_000)), &json!(20))
    );
    assert_eq!(shown.body["breaker"]["state"], "closed");
    assert_eq!(shown.body["breaker"]["history"], json!([]));
    pms.post(&format!("/webhooks/{id}/pause"), &json!({}))
        .await
        .expect(200);
    let paused = pms.get(&path).await.expect(200);
    assert_eq!(
        (&paused.body["state"], &paused.body["paused"]),
        (&json!("paused"), &json!(true))
    );
    pms.post(&format!("/webhooks/{id}/resume"), &json!({}))
        .await
        .expect(200);
    gate.open(10);
    let delivered = until_some("nothing waits", || async {
        let shown = pms.get(&path).await.expect(200).body;
        (shown["pending"] == 0 && shown["delivered"] == 1).then_some(shown)
    });
    let delivered = delivered.await;
    assert_eq!(
        (
            &delivered["in_flight"],
            &delivered["oldest_pending"],
            &delivered["delivered"]
        ),
        (&json!(0), &Value::Null, &json!(1))
    );
    double.otherwise(Answer::status(410));
    guest(&pms, "Gone").await;
    until("it is stopped", || async {
        let shown = pms.get(&path).await.expect(200).body;
        shown["disabled_reason"] == "gone" && shown["state"] == "disabled"
    })
    .await;
    pms.get("/webhooks/ep_none/status").await.expect(404);
    pms.stop().await;
}

async fn a_status_of_many_webhooks_counts_so_much_in_all(ctx: Ctx) {
    const WEBHOOKS: usize = 500;
    const ONE: &str = "ep_7";
    let pms = Pms::start(&ctx).await;
    let most = counted_up_to(WEBHOOKS);
    // The environment's is one of them. Nothing goes to the others, which have no URL.
    let webhooks = (1..WEBHOOKS).flat_map(|number| params![format!("ep_{number}"), 0, BEGIN, BEGIN, BEGIN]);
    let deliveries = ["pending", "dead"].into_iter().flat_map(|status| {
        let one = move |number| params![ONE, format!("evt_{status}_{number}"), status, BEGIN];
        (0..=most).flat_map(one)
    });
    let changes = (1..=3).flat_map(|number| {
        let id = format!("change_{number}");
        params![ONE, BEGIN.plus_millis(number), id, "closed", "open", "why"]
    });
    let rows: Arc<[Statement]> = [
        (
            "endpoints",
            &["id", "subscribed", "breaker_since", "created_at", "updated_at"][..],
            webhooks.collect(),
        ),
        (
            "deliveries",
            &["endpoint_id", "event_id", "status", "due_at"],
            deliveries.collect(),
        ),
        (
            "breaker_history",
            &["endpoint_id", "at", "id", "from_state", "to_state", "reason"],
            changes.collect(),
        ),
    ]
    .into_iter()
    .filter_map(|(table, columns, values)| Statement::rows(table, columns, "", values))
    .collect();
    let written = pms.db.transaction("many", move |tx| {
        let rows = Arc::clone(&rows);
        Box::pin(async move { tx.run(&rows).await.all() })
    });
    written.await.unwrap();
    let shown = pms.get("/guests/webhook/status").await.expect(200).body;
    assert_eq!((most, &shown["counted_up_to"]), (200, &json!(200)));
    assert_eq!((&shown["pending"], &shown["dead"]), (&json!(200), &json!(200)));
    let all = shown["endpoints"].as_array().unwrap();
    assert_eq!(all.len(), WEBHOOKS);
    let one = all.iter().find(|one| one["id"] == ONE).unwrap();
    let times = |one: &Value| -> Vec<Value> {
        let history = one["breaker"]["history"].as_array().unwrap();
        history.iter().map(|change| change["at"].clone()).collect()
    };
    assert_eq!((&one["pending"], &one["dead"]), (&json!(200), &json!(200)));
    assert_eq!(times(one), [3, 2].map(|number| json!(BEGIN.plus_millis(number))));
    // One of them alone says more.
    let alone = pms.get(&format!("/webhooks/{ONE}/status")).await.expect(200).body;
    assert_eq!((&alone["pending"], &alone["dead"]), (&json!(201), &json!(201)));
    assert_eq!(times(&alone).len(), 3);
    pms.stop().await;
}

async fn attempts_are_counted_by_hour_and_type(ctx: Ctx) {
    let (pms, double, other) = (Pms::start(&ctx).await, double().await, double().await);
    double.then([500, 200, 200].map(Answer::status));
    let id = subscribe(&pms, &double, json!({"retry_schedule": [0, 0]}))
        .await
        .id()
        .to_owned();
    subscribe(&pms, &other, json!({"events": ["guest.updated"]})).await;
    let doe = guest(&pms, "Doe").await;
    stands(&pms, &id, "delivered", 2).await;
    pms.clock.advance(Duration::from_secs(3_600));
    rename(&pms, &doe, "Roe").await;
    double.wait_for(3).await;
    other.wait_for(1).await;
    let of = |shown: &Value| {
        let number = |name: &str| shown[name].as_u64().unwrap();
        (
            number("total_triggers"),
            number("successful_triggers"),
            number("failed_triggers"),
        )
    };
    let stats = until_some("all are counted", || async {
        let shown = pms.get("/stats").await.expect(200).body;
        (of(&shown).0 == 4).then_some(shown)
    });
    let all = stats.await;
    assert_eq!(of(&all), (4, 3, 1));
    let one = pms
        .get(&format!("/webhooks/{id}/stats?period_days=1"))
        .await
        .expect(200)
        .body;
    assert_eq!(of(&one), (3, 2, 1));
    assert_eq!(
        (&one["period_days"], &all["period_days"]),
        (&json!(1), &json!(30))
    );
    assert_eq!(one["success_rate"], 66.67);
    assert!(
        one["avg_duration_ms"].is_u64() && one["p95_duration_ms"].is_u64(),
        "{one}"
    );
    let named = |list: &Value, name: &str| {
        let list = list.as_array().unwrap().iter();
        list.map(|of_one| (of_one[name].as_str().unwrap().to_owned(), of(of_one)))
            .collect::<Vec<_>>()
    };
    let hour =
        |hours: i64| contract::UnixMillis(BEGIN.0 - BEGIN.0 % 3_600_000 + hours * 3_600_000).to_rfc3339();
    assert_eq!(
        named(&one["by_hour"], "hour"),
        [(hour(0), (2, 1, 1)), (hour(1), (1, 1, 0))]
    );
    assert_eq!(
        named(&one["by_type"], "type"),
        [
            ("guest.created".to_owned(), (2, 1, 1)),
            ("guest.updated".to_owned(), (1, 1, 0))
        ]
    );
    let recent = one["recent_logs"].as_array().unwrap();
    let shown: Vec<_> = recent
        .iter()
        .map(|log| (&log["type"], &log["attempts"], log["duration_ms"].is_u64()))
        .collect();
    assert_eq!(
        shown,
        [
            (&json!("guest.updated"), &json!(1), true),
            (&json!("guest.created"), &json!(2), true)
        ]
    );
    // What is older than the period is not in it.
    pms.clock.advance(Duration::from_secs(24 * 3_600 - 3_600));
    let later = pms
        .get(&format!("/webhooks/{id}/stats?period_days=1"))
        .await
        .expect(200)
        .body;
    assert_eq!(of(&later), (1, 1, 0));
    let none = pms.get("/webhooks/env/stats").await.expect(200).body;
    assert_eq!(of(&none), (0, 0, 0));
    for name in ["success_rate", "avg_duration_ms", "p95_duration_ms"] {
        assert_eq!(none[name], Value::Null, "{name}");
    }
    for refused in ["?period_days=0", "?period_days=401", "?days=1"] {
        pms.get(&format!("/stats{refused}")).await.expect(400);
    }
    assert!(pms.clock.now() > BEGIN);
    pms.stop().await;
}

async fn a_caller_gets_the_statistics_of_what_it_sees(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let double = double().await;
    let reader = key(&pms, &["webhooks:read"], json!(["LIS01"])).await;
    with_key(&pms, ADMIN, Method::POST, "/properties", Some(&lisbon()))
        .await
        .expect(201);
    let ids = [
        subscribe_to(&pms, &double, json!(["LIS01"])).await,
        subscribe_to(&pms, &double, json!(["MAIN"])).await,
    ];
    for property in ["LIS01", "MAIN", "MAIN"] {
        let there = json!({"last_name": "Doe", "property_id": property});
        with_key(&pms, ADMIN, Method::POST, "/guests", Some(&there))
            .await
            .expect(201);
    }
    until("all are counted", || async {
        let shown = with_key(&pms, ADMIN, Method::GET, "/stats", None)
            .await
            .expect(200)
            .body;
        shown["total_triggers"] == 3
    })
    .await;
    let seen = with_key(&pms, &reader, Method::GET, "/stats", None)
        .await
        .expect(200)
        .body;
    assert_eq!(seen["total_triggers"], 1);
    assert_eq!(seen["recent_logs"].as_array().unwrap().len(), 1);
    for (id, status) in [(&ids[0], 200), (&ids[1], 404)] {
        for what in ["status", "stats"] {
            with_key(
                &pms,
                &reader,
                Method::GET,
                &format!("/webhooks/{id}/{what}"),
                None,
            )
            .await
            .expect(status);
        }
    }
    let retry = format!("/webhooks/{}/deliveries/evt_1/retry", ids[0]);
    with_key(&pms, &reader, Method::POST, &retry, None)
        .await
        .expect(403);
    pms.stop().await;
}
