//! The audit view: events by filter and page, one with its history, dead letters requeued.

use super::{Receiver, audited, event, execute, guest_event, number};
use crate::case::{Case, Ctx, cases};
use contract::EventId;
use crm_receiver::app::{Runtime, open_store, requeue_all};
use crm_receiver::store::RequeueCreation;
use db::params;
use harness::waiting::until;
use serde_json::{Value, json};
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    cases![
        an_event_is_shown_with_every_field,
        an_event_is_shown_whatever_its_row_says_of_its_entity,
        filters_find_what_they_name,
        pages_follow_each_other_without_gaps,
        a_list_by_entity_holds_what_waits_and_what_is_decided,
        what_a_query_does_not_know_is_refused,
        dead_letters_go_back_once,
    ]
}

async fn an_event_is_shown_with_every_field(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let body = event("evt_1", "ping", &json!({}));
    assert_eq!(receiver.take("evt_1", &body).await.status, 202);
    let mut shown = receiver.event("evt_1").await;
    let id = shown["event_id"].take();
    assert!(id.as_str().unwrap().starts_with("evt_0"), "{id}");
    let expected = json!({
        "event_id": null, "idempotency_key": "evt_1", "source": "pms", "type": "ping", "status": "ignored",
        "property_id": "LIS01", "entity": {"kind": "ping", "id": "x_evt_1", "version": 1},
        "occurred_at": "2025-11-21T12:00:00.000Z", "received_at": "2025-11-22T00:00:00.000Z", "applied_at": null,
        "attempts": 0, "last_error": null, "correlation_id": "req_of_the_change", "history": [],
    });
    assert_eq!(shown, expected);
    for missing in ["/events/evt_1", "/events/evt_nobody", "/events/a.b"] {
        assert_eq!(receiver.get(missing).await.status, 404, "{missing}");
    }
    receiver.stop().await;
}

async fn an_event_is_shown_whatever_its_row_says_of_its_entity(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let body = event("evt_1", "ping", &json!({}));
    assert_eq!(receiver.take("evt_1", &body).await.status, 202);
    let change = "UPDATE inbox SET entity_kind = 'room', entity_id = 'no id', entity_version = -1";
    assert_eq!(execute(&ctx.open().await, change, params![]).await, 1);
    let shown = receiver.event("evt_1").await;
    assert_eq!(
        shown["entity"],
        json!({"kind": "room", "id": "no id", "version": -1})
    );
    receiver.stop().await;
}

/// The keys of a list, in its order.
fn keys(list: &Value) -> Vec<String> {
    let key = |event: &Value| event["idempotency_key"].as_str().unwrap().to_owned();
    list["data"]
        .as_array()
        .unwrap_or_else(|| panic!("{list}"))
        .iter()
        .map(key)
        .collect()
}

/// The keys of a list on all of its pages.
async fn walk(receiver: &Receiver, query: &str) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = receiver.get(&format!("/events?{query}{cursor}")).await.json();
        seen.extend(keys(&page));
        let Some(next) = page["pagination"]["next_cursor"].as_str() else {
            return seen;
        };
        cursor = format!("&cursor={next}");
    }
}

async fn filters_find_what_they_name(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for key in ["evt_1", "evt_2", "evt_3"] {
        let event_type = if key == "evt_3" {
            "payment.failed"
        } else {
            "message.received"
        };
        let text = String::from_utf8(event(key, event_type, &json!({}))).unwrap();
        let text = text.replace("req_of_the_change", &format!("req_{key}"));
        let body = if key == "evt_2" {
            text.replace("LIS01", "OPO01")
        } else {
            text
        };
        assert_eq!(receiver.take(key, body.as_bytes()).await.status, 202);
        receiver.clock.advance(Duration::from_secs(60));
    }
    for (query, found) in [
        ("", &["evt_3", "evt_2", "evt_1"][..]),
        ("?sort=received_at", &["evt_1", "evt_2", "evt_3"]),
        ("?source=pms&status=ignored", &["evt_3", "evt_2", "evt_1"]),
        ("?source=other", &[]),
        ("?idempotency_key=evt_2", &["evt_2"]),
        ("?idempotency_key=EVT_2", &[]),
        ("?type=payment.failed", &["evt_3"]),
        ("?status=applied", &[]),
        ("?property_id=OPO01", &["evt_2"]),
        ("?entity_id=x_evt_1", &["evt_1"]),
        ("?correlation_id=req_evt_3", &["evt_3"]),
        ("?from=2025-11-22T00:01:00Z", &["evt_3", "evt_2"]),
        ("?to=2025-11-22T00:01:00Z", &["evt_1"]),
        (
            "?from=2025-11-22T00:01:00Z&to=2025-11-22T00:02:00Z&property_id=OPO01",
            &["evt_2"],
        ),
        ("?type=%27%20OR%201%3D1%20--", &[]),
    ] {
        assert_eq!(
            keys(&receiver.get(&format!("/events{query}")).await.json()),
            found,
            "{query}"
        );
    }
    receiver.stop().await;
}

async fn pages_follow_each_other_without_gaps(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let all: Vec<_> = (0..25).map(|number| format!("evt_{number:02}")).collect();
    for (number, key) in all.iter().enumerate() {
        assert_eq!(
            receiver.take(key, &event(key, "ping", &json!({}))).await.status,
            202
        );
        // Several share an instant: the order is total all the same.
        if number % 4 == 0 {
            receiver.clock.advance(Duration::from_millis(1));
        }
    }
    for (sort, reversed) in [("-received_at", true), ("received_at", false)] {
        let mut seen = walk(&receiver, &format!("limit=7&sort={sort}")).await;
        if reversed {
            seen.reverse();
        }
        assert_eq!(seen, all, "{sort}");
    }
    receiver.stop().await;
}

async fn a_list_by_entity_holds_what_waits_and_what_is_decided(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let all: Vec<_> = (0..8).map(|number| format!("evt_{number}")).collect();
    for key in &all {
        let text = String::from_utf8(event(key, "message.received", &json!({}))).unwrap();
        let body = text.replace(&format!("x_{key}"), "x_same");
        assert_eq!(receiver.take(key, body.as_bytes()).await.status, 202);
        receiver.clock.advance(Duration::from_millis(1));
    }
    let other = event("evt_other", "message.received", &json!({}));
    assert_eq!(receiver.take("evt_other", &other).await.status, 202);
    let wait = "UPDATE inbox SET status = 'accepted', attempts = 1, due_at = due_at + 3600000 \
                WHERE idempotency_key IN ('evt_1', 'evt_2', 'evt_5')";
    receiver.stop().await;
    let db = ctx.open().await;
    assert_eq!(execute(&db, wait, params![]).await, 3);
    db.close().await;
    let receiver = Receiver::start(&ctx).await;
    for (query, found) in [
        ("", &[0, 1, 2, 3, 4, 5, 6, 7][..]),
        ("&status=accepted", &[1, 2, 5]),
        ("&status=ignored", &[0, 3, 4, 6, 7]),
        ("&status=applied", &[]),
    ] {
        let mut expected: Vec<_> = found.iter().map(|number| all[*number].clone()).collect();
        for sort in ["received_at", "-received_at"] {
            let query = format!("limit=3&entity_id=x_same&sort={sort}{query}");
            assert_eq!(walk(&receiver, &query).await, expected, "{query}");
            expected.reverse();
        }
    }
    receiver.stop().await;
}

async fn what_a_query_does_not_know_is_refused(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for (query, code) in [
        ("?colour=red", "invalid_query"),
        ("?status=lost", "invalid_query"),
        ("?status=applied&status=stale", "invalid_query"),
        ("?from=yesterday", "invalid_query"),
        ("?property_id=lis01", "invalid_query"),
        ("?source=a.b", "invalid_query"),
        // No id, type or correlation id has such a letter: on MySQL it cannot even be compared with one.
        ("?type=%C3%A9", "invalid_query"),
        ("?entity_id=%C3%A9", "invalid_query"),
        ("?correlation_id=%C3%A9", "invalid_query"),
        ("?limit=0", "invalid_query"),
        ("?limit=201", "invalid_query"),
        ("?sort=type", "invalid_query"),
        ("?cursor=forged", "invalid_cursor"),
    ] {
        let refused = receiver.get(&format!("/events{query}")).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (400, &Value::from(code)),
            "{query}"
        );
    }
    receiver.stop().await;
}

async fn dead_letters_go_back_once(ctx: Ctx) {
    let runtime = Runtime::system();
    let store = open_store(&ctx.url(), &runtime, false).await.unwrap();
    let receiver = Receiver::start(&ctx).await;
    let keys: Vec<_> = (0..150).map(|number| format!("evt_{number}")).collect();
    for key in &keys {
        // Ignored ones: no projector touches them before they are dead letters.
        assert_eq!(
            receiver.take(key, &event(key, "ping", &json!({}))).await.status,
            202
        );
    }
    assert_eq!(
        receiver.take("evt_fine", &guest_event("evt_fine")).await.status,
        202
    );
    let one: EventId = receiver.event("evt_0").await["event_id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    receiver.stop().await;

    let db = &ctx.open().await;
    let kill =
        "UPDATE inbox SET status = 'dead_letter', attempts = 8, last_error = 'planted' WHERE type = 'ping'";
    assert_eq!(execute(db, kill, params![]).await, 150);
    execute(
        db,
        "DELETE FROM inbox_bodies WHERE event_id = (SELECT MAX(event_id) FROM inbox WHERE type = 'ping')",
        params![],
    )
    .await;
    let now = runtime.clock.now();
    for meant in [true, false] {
        assert_eq!(store.requeue_one(&one, now).await.unwrap(), meant);
    }
    assert!(
        !store
            .requeue_one(&"evt_nobody".parse().unwrap(), now)
            .await
            .unwrap()
    );
    let sql = "SELECT COUNT(*) AS n FROM inbox WHERE status = 'accepted' AND attempts = 0 AND last_error IS NULL \
               AND type = 'ping'";
    assert_eq!(number(db, sql, params![]).await, 1);
    // A run over all waits for a receiver that serves.
    let (run, begun) = requeue_all(&store, &runtime).await.unwrap();
    assert_eq!(begun, RequeueCreation::Begun);
    assert_eq!(number(db, sql, params![]).await, 1);
    store.close().await;
    let receiver = Receiver::start(&ctx).await;
    let path = format!("/requeues/{run}");
    until("the run has ended", || async {
        receiver.get(&path).await.json()["status"] == "finished"
    })
    .await;
    let shown = receiver.get(&path).await.json();
    assert_eq!(
        (&shown["requeued"], &shown["skipped"], &shown["created_by"]),
        (&json!(148), &json!(1), &json!("operator")),
        "all but the one and the one without a body"
    );
    assert_eq!(audited(db, "requeued").await, 149);
    receiver.stop().await;
}
