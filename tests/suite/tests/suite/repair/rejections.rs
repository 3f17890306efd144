//! `GET /rejections`: a bounded sample of who was refused, and why, without anything that was sent.

use super::{ADMIN, ask, asked};
use crate::attacks::forgeries::one_for_each_cause;
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, config, event, guest_event, number};
use contract::{SecretList, UnixSeconds};
use crm_receiver::{config::Config, ingest::rejections::ROWS_EACH_MAX};
use db::params;
use harness::signer::Delivery;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

pub fn cases() -> Vec<Case> {
    cases![
        each_cause_is_listed_with_its_source_and_nothing_of_the_delivery,
        a_flood_leaves_ten_for_each_source_cause_and_minute,
        filters_and_pages_find_them,
        a1_a_key_of_some_properties_sees_none,
    ]
}

/// What a receiver has kept, once it has stopped; then another one serves.
async fn kept(receiver: Receiver, config: Config) -> (Receiver, Vec<Value>) {
    receiver.stop().await;
    let receiver = Receiver::start_with(config).await;
    let list = asked(&receiver, "GET", "/rejections?limit=200", None, 200).await;
    (receiver, list["data"].as_array().unwrap().clone())
}

async fn each_cause_is_listed_with_its_source_and_nothing_of_the_delivery(ctx: Ctx) {
    let mut config = config(ctx.url());
    config.access.trusted_proxies = "127.0.0.1".parse().unwrap();
    let receiver = Receiver::start_with(config.clone()).await;
    let taken = guest_event("evt_1");
    assert_eq!(receiver.take("evt_1", &taken).await.status, 202);
    assert_eq!(receiver.take("evt_1", &taken).await.status, 200);
    let late = UnixSeconds(receiver.seconds().0 - 1_801);
    let canary = event("evt_2", "guest.created", &json!({"last_name": ""}));
    let broken = [
        (
            "unsupported_media_type",
            receiver
                .delivery("evt_2", &taken)
                .with("content-type", "text/plain"),
        ),
        (
            "payload_too_large",
            receiver.delivery("evt_2", &vec![b' '; 257 * 1024]),
        ),
        ("validation_failed", receiver.delivery("evt_2", &canary)),
        (
            "skew",
            Delivery::signed("pms", "evt_2", &taken, &receiver.secrets, late),
        ),
    ];
    let mut meant = BTreeMap::new();
    for (cause, delivery) in one_for_each_cause().into_iter().chain(broken) {
        let delivery = delivery.with("x-forwarded-for", "2001:db8:1:2:3::4");
        assert!(receiver.send(&delivery).await.status >= 400, "{cause}");
        let source = if cause == "unknown_source" {
            "unknown"
        } else {
            "pms"
        };
        let skew = (cause == "skew").then_some(-1_801);
        meant.insert(
            cause.to_owned(),
            json!({
                "at": "2025-11-22T00:00:00.000Z", "source": source, "cause": cause, "skew_seconds": skew,
                "address": "2001:db8:1::/48",
            }),
        );
    }
    let (receiver, rows) = kept(receiver, config).await;
    let rows: BTreeMap<String, Value> = rows
        .into_iter()
        .map(|row| (row["cause"].as_str().unwrap().to_owned(), row))
        .collect();
    assert_eq!(rows, meant);
    receiver.stop().await;
}

async fn a_flood_leaves_ten_for_each_source_cause_and_minute(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let wrong: SecretList = "a-secret-that-is-not-known-here".parse().unwrap();
    let flood = async |source: &str| {
        for _ in 0..ROWS_EACH_MAX + 5 {
            let body = guest_event("evt_1");
            let delivery = Delivery::signed(source, "evt_1", &body, &wrong, receiver.seconds());
            assert_eq!(receiver.send(&delivery).await.status, 401);
        }
    };
    flood("pms").await;
    flood("nobody").await;
    flood("nobody_else").await;
    receiver.clock.advance(Duration::from_secs(60));
    flood("pms").await;
    let (receiver, rows) = kept(receiver, config(ctx.url())).await;
    let count = |source: &str| rows.iter().filter(|row| row["source"] == source).count();
    assert_eq!((count("pms"), count("unknown"), rows.len()), (20, 10, 30));
    // All of them are counted.
    let db = ctx.open().await;
    let sql = "SELECT MAX(n) AS n FROM audit_counts WHERE kind = 'rejected' AND cause = 'unknown_source'";
    assert_eq!(
        number(&db, sql, params![]).await,
        i64::from(2 * (ROWS_EACH_MAX + 5))
    );
    receiver.stop().await;
}

async fn filters_and_pages_find_them(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for _ in 0..2 {
        for (_, delivery) in one_for_each_cause() {
            receiver.send(&delivery).await;
        }
        receiver.clock.advance(Duration::from_secs(1));
    }
    let (receiver, rows) = kept(receiver, config(ctx.url())).await;
    assert_eq!(rows.len(), 16);
    for (query, found) in [
        ("source=unknown", 2),
        ("source=pms", 14),
        ("source=spa", 0),
        ("cause=malformed_id", 2),
        ("source=unknown&cause=malformed_id", 0),
        ("from=2025-11-22T00:00:01Z", 8),
        ("to=2025-11-22T00:00:01Z&source=pms", 7),
    ] {
        let list = asked(&receiver, "GET", &format!("/rejections?{query}"), None, 200).await;
        assert_eq!(list["data"].as_array().map(Vec::len), Some(found), "{query}");
    }
    // Newest first, page by page.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = asked(
            &receiver,
            "GET",
            &format!("/rejections?limit=5{cursor}"),
            None,
            200,
        )
        .await;
        seen.extend(page["data"].as_array().unwrap().clone());
        match page["pagination"]["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, rows);
    assert!(seen.is_sorted_by(|one, next| one["at"].as_str() >= next["at"].as_str()));
    for query in [
        "source=a.b",
        "cause=%C3%A9",
        "from=yesterday",
        "skew=1",
        "sort=cause",
    ] {
        asked(&receiver, "GET", &format!("/rejections?{query}"), None, 400).await;
    }
    receiver.stop().await;
}

async fn a1_a_key_of_some_properties_sees_none(ctx: Ctx) {
    let mut config = config(ctx.url());
    config.access.admin_api_key = Some(ADMIN.parse().unwrap());
    let receiver = Receiver::start_with(config.clone()).await;
    for (_, delivery) in one_for_each_cause() {
        receiver.send(&delivery).await;
    }
    receiver.stop().await;
    let receiver = Receiver::start_with(config).await;
    let some = receiver.key(ADMIN, json!(["LIS01"])).await;
    for (key, found) in [(ADMIN, 8), (some.as_str(), 0)] {
        let list = ask(&receiver, Some(key), "GET", "/rejections", None).await.json();
        assert_eq!(list["data"].as_array().map(Vec::len), Some(found), "{list}");
        assert_eq!(list["pagination"]["has_more"], false);
    }
    receiver.stop().await;
}
