//! What was sent to whom, as it is listed: every delivery once, whatever the pages are, and every attempt at one.

use std::time::Duration;

use api::{ListSpec, SortField, list::CursorKey};
use contract::Scope;
use harness::receiver_double::Answer;
use http::Method;
use pms_emitter::store::DeliveryFilter;
use serde_json::{Value, json};

use super::{double, guest, lisbon, subscribe, subscribe_to, until_count, until_pending};
use crate::access::{ADMIN, guarded, key, with_key};
use crate::case::{Case, Ctx, cases};
use crate::pms::{BEGIN, Pms};

pub fn cases() -> Vec<Case> {
    cases![
        deliveries_are_listed_from_the_newest_event_on_each_once,
        deliveries_are_found_by_what_they_are,
        e18_an_attempt_keeps_two_kibibytes_of_an_answer_escaped,
        a_caller_sees_the_deliveries_of_the_webhooks_that_it_sees,
        deliveries_of_a_deleted_webhook_stay_to_be_read,
    ]
}

/// The pages of a list, whose rows are shown as event and webhook.
async fn pages(pms: &Pms, path: &str) -> Vec<Vec<(String, String)>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    let separator = if path.contains('?') { '&' } else { '?' };
    loop {
        let page = pms
            .get(&format!("{path}{separator}limit=3{cursor}"))
            .await
            .expect(200);
        let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        let rows = page.body["data"].as_array().unwrap().iter();
        pages.push(
            rows.map(|row| (text(row, "event_id"), text(row, "webhook_id")))
                .collect(),
        );
        match page.body["pagination"]["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return pages,
        }
        assert!(pages.len() < 1_000, "it has an end");
    }
}

async fn all(pms: &Pms, path: &str) -> Vec<(String, String)> {
    pages(pms, path).await.concat()
}

/// All pages, each of which looks at so few rows.
async fn walk(
    pms: &Pms,
    looked_at: usize,
    endpoint: Option<&String>,
    status: Option<&str>,
) -> Vec<(String, String)> {
    const LIST: ListSpec = ListSpec {
        name: "deliveries",
        filters: &[],
        sorts: &[SortField::int("feed_seq")],
        descending_by_default: true,
        updated_since: false,
    };
    let store = pms.store.with_rows_looked_at(looked_at);
    let mut query = LIST.parse("limit=3", &CursorKey::default()).unwrap();
    let mut found = Vec::new();
    loop {
        let filter = DeliveryFilter {
            endpoint: endpoint.map(|id| id.parse().unwrap()),
            status: status.map(|status| status.parse().unwrap()),
            event_type: None,
            code: None,
            from: None,
            to: None,
            attempted: false,
            scope: Scope::All,
        };
        let page = store.deliveries(filter, &query).await.unwrap();
        assert!(page.rows.len() <= 3);
        found.extend(
            page.rows
                .iter()
                .map(|row| (row.event.id.to_string(), row.endpoint.to_string())),
        );
        let Some(next) = page.next_page_after else {
            return found;
        };
        assert_ne!(
            query.after.as_ref(),
            Some(&next),
            "a page that goes on looked at something"
        );
        query.after = Some(next);
    }
}

async fn deliveries_are_listed_from_the_newest_event_on_each_once(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let mut ids = Vec::new();
    for events in [json!(["*"]), json!(["guest.created"]), json!(["guest.updated"])] {
        ids.push(
            subscribe(&pms, &double, json!({"events": events}))
                .await
                .id()
                .to_owned(),
        );
    }
    for number in 0..5 {
        let id = guest(&pms, &format!("Guest {number}")).await;
        let renamed = json!({"last_name": "Roe"});
        pms.put(&format!("/guests/{id}"), &renamed).await.expect(200);
    }
    double.wait_for(20).await;
    until_pending(&pms, 0).await;
    let feed = pms.get("/events").await.expect(200);
    let mut newest_first = Vec::new();
    for event in feed.body["data"].as_array().unwrap().iter().rev() {
        let is_new = event["type"] == "guest.created";
        let mut to = vec![ids[0].clone(), ids[if is_new { 1 } else { 2 }].clone()];
        to.sort_by(|one, other| other.cmp(one));
        let id = event["event_id"].as_str().unwrap();
        newest_first.extend(to.into_iter().map(|to| (id.to_owned(), to)));
    }
    assert_eq!(newest_first.len(), 20);
    assert_eq!(all(&pms, "/deliveries").await, newest_first);
    for id in &ids {
        let of_one: Vec<_> = newest_first.iter().filter(|(_, to)| to == id).cloned().collect();
        assert_eq!(all(&pms, &format!("/webhooks/{id}/deliveries")).await, of_one);
        let few = all(&pms, &format!("/webhooks/{id}/deliveries?status=delivered")).await;
        assert_eq!(few, of_one);
    }
    for looked_at in [1, 2, 3, 7, 50] {
        for (endpoint, status) in [(None, None), (None, Some("delivered")), (Some(&ids[1]), None)] {
            let found = walk(&pms, looked_at, endpoint, status).await;
            let mut expected = newest_first.clone();
            expected.retain(|(_, to)| endpoint.is_none_or(|one| one == to));
            assert_eq!(found, expected, "{looked_at} {endpoint:?} {status:?}");
        }
        assert_eq!(walk(&pms, looked_at, None, Some("dead")).await, []);
    }
    let refused = pms.get("/deliveries?sort=feed_seq").await.expect(400);
    assert_eq!(refused.body["code"], "invalid_query");
    pms.stop().await;
}

async fn deliveries_are_found_by_what_they_are(ctx: Ctx) {
    let (pms, good, refusing) = (Pms::start(&ctx).await, double().await, double().await);
    refusing.then([Answer::status(422)]);
    refusing.otherwise(Answer::status(500));
    let fine = subscribe(&pms, &good, json!({})).await.id().to_owned();
    let failing = json!({"retry_schedule": [0, 60]});
    let bad = subscribe(&pms, &refusing, failing).await.id().to_owned();
    let first = guest(&pms, "Dead").await;
    until_pending(&pms, 0).await;
    pms.clock.advance(Duration::from_secs(3_600));
    guest(&pms, "Waits").await;
    good.wait_for(2).await;
    refusing.wait_for(2).await;
    until_pending(&pms, 1).await;
    until_count(
        &pms,
        "its attempt is settled",
        "SELECT COUNT(*) AS n FROM delivery_attempts",
        4,
    )
    .await;
    let instant = |after: i64| BEGIN.plus_millis(3_600_000 + after).to_rfc3339();
    let later = instant(0);
    for (query, found) in [
        ("", 4),
        ("?status=delivered", 2),
        ("?status=dead", 1),
        ("?status=pending", 1),
        ("?status=cancelled", 0),
        ("?code=422", 1),
        ("?code=500", 1),
        ("?code=500&status=dead", 0),
        ("?type=guest.*", 4),
        ("?type=guest.created&status=dead", 1),
        ("?type=reservation.*", 0),
        (&format!("?from={later}"), 2),
        (&format!("?to={later}"), 2),
        (&format!("?from={later}&status=dead"), 0),
        (&format!("?from={later}&to={}", instant(1)), 2),
    ] {
        assert_eq!(
            all(&pms, &format!("/deliveries{query}")).await.len(),
            found,
            "{query}"
        );
    }
    let dead = pms
        .get(&format!("/webhooks/{bad}/deliveries?status=dead"))
        .await
        .expect(200);
    let dead = &dead.body["data"][0];
    for (name, value) in [
        ("webhook_id", json!(bad)),
        ("type", json!("guest.created")),
        ("property_id", json!("MAIN")),
        ("entity", json!({"kind": "guest", "id": first, "version": 1})),
        ("attempts", json!(1)),
        ("last_status", json!(422)),
        (
            "last_error",
            json!("the receiver refused the event's content (422)"),
        ),
        ("committed_at", json!(BEGIN)),
        ("settled_at", json!(BEGIN)),
        ("next_attempt_at", Value::Null),
    ] {
        assert_eq!(dead[name], value, "{name}");
    }
    let waits = pms.get("/deliveries?status=pending").await.expect(200);
    let next = waits.body["data"][0]["next_attempt_at"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(next.as_str() > later.as_str(), "{next}");
    assert_eq!(
        all(&pms, &format!("/webhooks/{fine}/deliveries?status=dead")).await,
        []
    );
    for malformed in ["?status=gone", "?code=abc", "?from=yesterday", "?type=Guest"] {
        pms.get(&format!("/deliveries{malformed}")).await.expect(400);
    }
    pms.stop().await;
}

async fn e18_an_attempt_keeps_two_kibibytes_of_an_answer_escaped(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let page = format!("<script>alert(1)</script>{}", "x".repeat(10_000)).leak();
    double.then([Answer::status(500).with_body(page)]);
    let id = subscribe(&pms, &double, json!({"retry_schedule": [0, 0]}))
        .await
        .id()
        .to_owned();
    guest(&pms, "Doe").await;
    double.wait_for(2).await;
    until_pending(&pms, 0).await;
    let listed = pms.get(&format!("/webhooks/{id}/deliveries")).await.expect(200);
    let event = listed.body["data"][0]["event_id"].as_str().unwrap().to_owned();
    let shown = pms
        .get(&format!("/webhooks/{id}/deliveries/{event}"))
        .await
        .expect(200);
    assert_eq!(
        (&shown.body["status"], &shown.body["attempts"]),
        (&json!("delivered"), &json!(2))
    );
    let attempts = shown.body["attempts_made"].as_array().unwrap();
    let facts: Vec<_> = attempts
        .iter()
        .map(|one| (&one["number"], &one["status"], &one["error"]))
        .collect();
    let none = &Value::Null;
    assert_eq!(
        facts,
        [(&json!(1), &json!(500), none), (&json!(2), &json!(202), none)]
    );
    assert_eq!(attempts[0]["at"], json!(BEGIN));
    assert!(attempts[0]["duration_ms"].is_u64());
    let answer = attempts[0]["answer"].as_str().unwrap();
    assert!(answer.starts_with(r"\u{3c}script\u{3e}alert(1)"), "{answer}");
    assert_eq!(answer.chars().count(), 2_048);
    assert_eq!(attempts[1]["answer"], Value::Null);
    for missing in ["evt_none", "not.an.id"] {
        pms.get(&format!("/webhooks/{id}/deliveries/{missing}"))
            .await
            .expect(404);
    }
    pms.get(&format!("/webhooks/env/deliveries/{event}"))
        .await
        .expect(404);
    pms.stop().await;
}

async fn a_caller_sees_the_deliveries_of_the_webhooks_that_it_sees(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let double = double().await;
    let reader = key(&pms, &["webhooks:read"], json!(["LIS01"])).await;
    with_key(&pms, ADMIN, Method::POST, "/properties", Some(&lisbon()))
        .await
        .expect(201);
    let ids = [
        subscribe_to(&pms, &double, json!(["LIS01"])).await,
        subscribe_to(&pms, &double, json!("*")).await,
    ];
    let there = json!({"last_name": "Lisboa", "property_id": "LIS01"});
    with_key(&pms, ADMIN, Method::POST, "/guests", Some(&there))
        .await
        .expect(201);
    double.wait_for(2).await;
    until_pending(&pms, 0).await;
    let seen = async |key: &str, query: &str| {
        let listed = with_key(&pms, key, Method::GET, &format!("/deliveries{query}"), None)
            .await
            .expect(200);
        let rows = listed.body["data"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["webhook_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(ADMIN, "").await.len(), 2);
    assert_eq!(seen(&reader, "").await, [ids[0].clone()]);
    assert_eq!(seen(&reader, "?status=delivered").await, [ids[0].clone()]);
    with_key(
        &pms,
        &reader,
        Method::GET,
        &format!("/webhooks/{}/deliveries", ids[0]),
        None,
    )
    .await
    .expect(200);
    for others in [&ids[1], "env", "ep_none"] {
        with_key(
            &pms,
            &reader,
            Method::GET,
            &format!("/webhooks/{others}/deliveries"),
            None,
        )
        .await
        .expect(404);
        let one = format!("/webhooks/{others}/deliveries/evt_1");
        with_key(&pms, &reader, Method::GET, &one, None).await.expect(404);
    }
    pms.stop().await;
}

async fn deliveries_of_a_deleted_webhook_stay_to_be_read(ctx: Ctx) {
    let (pms, double) = (Pms::start(&ctx).await, double().await);
    let id = subscribe(&pms, &double, json!({"active": false}))
        .await
        .id()
        .to_owned();
    guest(&pms, "Doe").await;
    until_pending(&pms, 1).await;
    pms.delete(&format!("/webhooks/{id}")).await.expect(204);
    until_pending(&pms, 0).await;
    for path in [
        "/deliveries?status=cancelled".to_owned(),
        format!("/webhooks/{id}/deliveries"),
    ] {
        let listed = all(&pms, &path).await;
        assert_eq!(listed.len(), 1, "{path}");
        let one = pms
            .get(&format!("/webhooks/{id}/deliveries/{}", listed[0].0))
            .await
            .expect(200);
        assert_eq!(
            (&one.body["status"], &one.body["attempts_made"]),
            (&json!("cancelled"), &json!([]))
        );
    }
    pms.stop().await;
}
