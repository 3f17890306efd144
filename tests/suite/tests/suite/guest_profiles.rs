//! `GET /guest-profiles` over real HTTP: found by what people type, page by page, and whole.

use contract::UnixMillis;
use crm_receiver::app::{App, Runtime};
use harness::client::Client;
use harness::clock::HandClock;
use harness::config::{BASE_PATH, fresh_secret};
use kit::lifecycle::{Ended, Lifecycle};
use kit::random::SystemEntropy;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};
use tokio::task::JoinHandle;
use url::form_urlencoded::byte_serialize;

use crate::case::{Case, Ctx, cases};
use crate::inbox::{Inbox, START, SentEvent, sent_event, settle, stay};

pub fn cases() -> Vec<Case> {
    cases![
        guests_are_found_by_what_people_type,
        a_profile_is_shown_whole,
        pages_follow_each_other_in_both_orders,
        merged_and_deleted_guests_are_listed_by_status_alone,
        what_is_malformed_is_refused,
        sql_in_a_filter_is_only_text,
    ]
}

/// A receiver that answers over the inbox's tables.
struct Receiver {
    client: Client,
    lifecycle: Lifecycle,
    task: JoinHandle<Ended>,
}

impl Receiver {
    /// Projects the events and starts the service over the result.
    async fn over(ctx: &Ctx, events: &[SentEvent]) -> Self {
        let inbox = Inbox::open(ctx).await;
        inbox.accept(0, events).await;
        settle(&inbox.projector().await).await;
        let config = harness::config::receiver(ctx.url(), fresh_secret().parse().unwrap());
        let runtime = Runtime {
            clock: Arc::new(HandClock::at(START)),
            entropy: Arc::new(SystemEntropy),
        };
        let app = App::build(config, runtime).await.unwrap();
        let client = Client::new(format!("http://{}{BASE_PATH}", app.address()));
        let lifecycle = Lifecycle::new();
        let task = tokio::spawn(app.run_until_stopped(lifecycle.clone()));
        Self {
            client,
            lifecycle,
            task,
        }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.client.get(path).await.unwrap();
        (answer.status.as_u16(), answer.body)
    }

    /// The list for one filter.
    async fn found(&self, filter: &str, value: &str) -> Vec<String> {
        let value: String = byte_serialize(value.as_bytes()).collect();
        let (status, body) = self
            .get(&format!("/guest-profiles?{filter}={value}&sort=name"))
            .await;
        assert_eq!(status, 200, "{body}");
        names(&body)
    }

    async fn stop(self) {
        self.lifecycle.stop();
        assert_eq!(self.task.await.unwrap(), Ended::Finished);
    }
}

fn names(list: &Value) -> Vec<String> {
    let rows = list["data"].as_array().unwrap().iter();
    rows.map(|row| row["display_name"].as_str().unwrap_or("?").to_owned())
        .collect()
}

fn person(id: &str, at: i64, first: &str, last: &str, rest: &Value) -> SentEvent {
    let mut payload = json!({"first_name": first, "last_name": last});
    for (name, value) in rest.as_object().unwrap() {
        payload[name] = value.clone();
    }
    sent_event("guest.updated", id, 1, at, payload)
}

fn people() -> Vec<SentEvent> {
    vec![
        person(
            "g1",
            1,
            "José",
            "Ångström",
            &json!({"email": "Jose@Example.com", "phone": "+351 21 000 0001",
            "address": {"country": "PT"}}),
        ),
        person(
            "g2",
            2,
            "Anna",
            "Straße",
            &json!({"email": "anna@example.com", "nationality": "DE"}),
        ),
        person(
            "g3",
            3,
            "Ana",
            "Silva",
            &json!({"phone": "+351210000003", "address": {"country": "PT"}}),
        ),
        stay("r1", 1, 4, "g3"),
        stay("r2", 1, 5, "unknown"),
    ]
}

async fn guests_are_found_by_what_people_type(ctx: Ctx) {
    let receiver = Receiver::over(&ctx, &people()).await;
    for (filter, value, expected) in [
        ("name", "jose", vec!["José Ångström"]),
        ("name", "ANGSTR", vec!["José Ångström"]),
        ("name", "José  ang", vec!["José Ångström"]),
        ("name", "strasse", vec!["Anna Straße"]),
        ("name", "an", vec!["José Ångström", "Ana Silva", "Anna Straße"]),
        ("name", "ilva", vec![]),
        ("email", "JOSE@example.com", vec!["José Ångström"]),
        ("email", "jose@example", vec![]),
        ("phone", "00351 210000001", vec!["José Ångström"]),
        ("phone", "+351210000003", vec!["Ana Silva"]),
        ("country", "pt", vec!["José Ångström", "Ana Silva"]),
        ("country", "DE", vec!["Anna Straße"]),
        (
            "property_id",
            "MAIN",
            vec!["?", "José Ångström", "Ana Silva", "Anna Straße"],
        ),
        ("property_id", "OTHER", vec![]),
        ("status", "stub", vec!["?"]),
    ] {
        assert_eq!(receiver.found(filter, value).await, expected, "{filter}={value}");
    }
    let (_, both) = receiver.get("/guest-profiles?country=PT&name=ana").await;
    assert_eq!(names(&both), ["Ana Silva"], "all filters count");
    let since = UnixMillis(START.0 + 3).to_rfc3339();
    let (_, changed) = receiver
        .get(&format!("/guest-profiles?updated_since={since}&sort=updated_at"))
        .await;
    assert_eq!(names(&changed), ["Ana Silva", "?"], "a stay is news of its guest");
    receiver.stop().await;
}

async fn a_profile_is_shown_whole(ctx: Ctx) {
    let mut events = people();
    let ahead = json!({"status": "confirmed", "check_in": "2026-09-01", "check_out": "2026-09-03", "primary_guest_id": "g3"});
    events.push(sent_event("reservation.confirmed", "r9", 1, 9, ahead));
    let receiver = Receiver::over(&ctx, &events).await;
    let (_, list) = receiver.get("/guest-profiles?name=silva").await;
    let row = &list["data"][0];
    assert!(
        row.get("reservations").is_none() && row.get("timeline").is_none(),
        "lists are short"
    );
    assert_eq!(row["metrics"]["stays"], 1);
    let id = row["profile_id"].as_str().unwrap();
    let (status, whole) = receiver
        .get(&format!("/guest-profiles/{id}?as_of=2026-01-02"))
        .await;
    assert_eq!(status, 200);
    assert_eq!(
        (&whole["first_name"], &whole["status"]),
        (&json!("Ana"), &json!("active"))
    );
    assert_eq!(whole["records"][0]["rule"], "own_record");
    assert_eq!(whole["contact_points"][0]["guest_id"], "g3");
    assert_eq!(whole["reservations"].as_array().unwrap().len(), 2);
    assert_eq!(whole["timeline"][0]["type"], "reservation.confirmed");
    assert_eq!(whole["metrics"]["revenue"][0]["adr"], "90.00");
    assert_eq!(whole["metrics"]["in_house"], true);
    assert_eq!(whole["metrics"]["next_stay"]["reservation_id"], "r9");
    assert!(!whole.to_string().contains("evt_"), "nothing of arrival");
    let (_, today) = receiver.get(&format!("/guest-profiles/{id}")).await;
    assert_eq!(today["metrics"]["as_of"], "2026-02-02", "the clock's own day");
    assert_eq!(today["metrics"]["in_house"], false);
    receiver.stop().await;
}

async fn pages_follow_each_other_in_both_orders(ctx: Ctx) {
    let events: Vec<SentEvent> = (0..23)
        .map(|n| {
            person(
                &format!("g{n}"),
                n / 4,
                "Ana",
                &format!("Same{}", n % 3),
                &json!({}),
            )
        })
        .collect();
    let receiver = Receiver::over(&ctx, &events).await;
    for sort in ["updated_at", "-updated_at", "name", "-name"] {
        let (mut seen, mut keys) = (BTreeSet::new(), Vec::new());
        let mut next = format!("/guest-profiles?limit=5&sort={sort}");
        loop {
            let (status, page) = receiver.get(&next).await;
            assert_eq!(status, 200, "{page}");
            for row in page["data"].as_array().unwrap() {
                assert!(
                    seen.insert(row["profile_id"].as_str().unwrap().to_owned()),
                    "twice"
                );
                let field = if sort.ends_with("name") {
                    "last_name"
                } else {
                    "updated_at"
                };
                keys.push(row[field].as_str().unwrap().to_owned());
            }
            let Some(cursor) = page["pagination"]["next_cursor"].as_str() else {
                assert_eq!(page["pagination"]["has_more"], false);
                break;
            };
            next = format!("/guest-profiles?limit=5&sort={sort}&cursor={cursor}");
        }
        assert_eq!(seen.len(), 23, "{sort}");
        let mut sorted = keys.clone();
        sorted.sort();
        if sort.starts_with('-') {
            sorted.reverse();
        }
        assert_eq!(keys, sorted, "{sort}");
    }
    receiver.stop().await;
}

async fn merged_and_deleted_guests_are_listed_by_status_alone(ctx: Ctx) {
    let mut events = people();
    events.push(sent_event(
        "guest.merged",
        "g1",
        2,
        20,
        json!({"last_name": "Ångström", "merged_into": "g2"}),
    ));
    events.push(sent_event(
        "guest.deleted",
        "g3",
        2,
        20,
        json!({"last_name": "Silva"}),
    ));
    events.push(sent_event(
        "guest.deleted",
        "g2",
        2,
        20,
        json!({"last_name": "Straße"}),
    ));
    let receiver = Receiver::over(&ctx, &events).await;
    let (_, all) = receiver.get("/guest-profiles").await;
    assert_eq!(names(&all), ["?"], "the stub alone");
    assert_eq!(receiver.found("status", "merged").await, ["Ångström"]);
    assert_eq!(
        receiver.found("status", "deleted").await,
        ["Silva"],
        "who has stays"
    );
    let (_, merged) = receiver.get("/guest-profiles?status=merged").await;
    let target = merged["data"][0]["merged_into"].as_str().unwrap();
    assert_eq!(
        receiver.get(&format!("/guest-profiles/{target}")).await.0,
        404,
        "deleted, without stays"
    );
    receiver.stop().await;
}

async fn what_is_malformed_is_refused(ctx: Ctx) {
    let receiver = Receiver::over(&ctx, &people()).await;
    for (path, status, code) in [
        ("/guest-profiles?nome=x", 400, "invalid_query"),
        ("/guest-profiles?name=%CC%81", 400, "invalid_query"),
        ("/guest-profiles?phone=none", 400, "invalid_query"),
        ("/guest-profiles?property_id=main", 400, "invalid_query"),
        ("/guest-profiles?status=gone", 400, "invalid_query"),
        ("/guest-profiles?limit=201", 400, "invalid_query"),
        ("/guest-profiles?sort=email", 400, "invalid_query"),
        ("/guest-profiles?cursor=AAAA", 400, "invalid_cursor"),
        ("/guest-profiles/prf_nobody", 404, "not_found"),
        ("/guest-profiles/a%20b", 404, "not_found"),
        ("/guest-profiles/prf_nobody?as_of=tomorrow", 400, "invalid_query"),
        ("/guest-profiles/prf_nobody?limit=5", 400, "invalid_query"),
    ] {
        let (answered, problem) = receiver.get(path).await;
        assert_eq!(
            (answered, problem["code"].as_str()),
            (status, Some(code)),
            "{path}"
        );
    }
    let (_, page) = receiver.get("/guest-profiles?limit=1").await;
    let cursor = page["pagination"]["next_cursor"].as_str().unwrap();
    let (status, _) = receiver
        .get(&format!("/guest-profiles?limit=1&country=PT&cursor={cursor}"))
        .await;
    assert_eq!(status, 400, "a cursor is bound to its filter");
    receiver.stop().await;
}

async fn sql_in_a_filter_is_only_text(ctx: Ctx) {
    let receiver = Receiver::over(&ctx, &people()).await;
    for value in [
        "' OR '1'='1",
        "x'; DROP TABLE profiles; --",
        "%",
        "_ngstrom",
        "\\",
        "an%",
    ] {
        assert!(receiver.found("name", value).await.is_empty(), "{value}");
        assert!(receiver.found("email", value).await.is_empty(), "{value}");
    }
    assert_eq!(receiver.found("name", "ana").await, ["Ana Silva"]);
    receiver.stop().await;
}
