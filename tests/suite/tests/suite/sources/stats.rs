//! What became of a source's deliveries, by hour, and which source has fallen silent.

use super::{ask, asked, other_event, rotated, sent, signed, source};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{NOW, Receiver, config, guest_event, number};
use crate::metrics;
use contract::{SecretList, SourceId, UnixMillis, UnixSeconds};
use crm_receiver::app::{Runtime, open_store};
use crm_receiver::ingest::Sources;
use crm_receiver::store::CountKind;
use db::params;
use harness::config::MASTER_KEY;
use harness::engine::Engine;
use harness::signer::Delivery;
use harness::waiting::until;
use serde_json::{Value, json};
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        a_source_shows_what_became_of_its_deliveries_by_hour,
        what_is_read_of_a_source_writes_nothing,
        nobody_makes_counts_under_a_name_of_no_source,
        what_was_counted_is_written_at_a_stop_and_old_counts_are_removed,
        a_source_that_falls_silent_is_shown_until_it_is_heard,
    ];
    all.extend(cases![only Engine::Mysql; replicas_count_together_and_hear_for_each_other]);
    all
}

const HOUR: Duration = Duration::from_secs(3600);

async fn stats(receiver: &Receiver, query: &str) -> Value {
    asked(receiver, "GET", &format!("/sources/spa/stats{query}"), None, 200).await
}

async fn a_source_shows_what_became_of_its_deliveries_by_hour(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    source(&receiver, "spa").await;
    let secret = rotated(&receiver, "spa", json!({})).await;
    let none = json!({
        "source": "spa", "period_days": 7, "last_seen_at": null, "silent_after_seconds": null, "silent": false,
        "accepted": 0, "duplicate": 0, "rejected": {}, "skew": {}, "hours": [],
    });
    assert_eq!(stats(&receiver, "").await, none);
    let secrets: SecretList = secret.parse().unwrap();
    let now = receiver.seconds();
    let at = |seconds: i64| {
        let at = UnixSeconds(now.0 + seconds);
        Delivery::signed("spa", "evt_9", &other_event("evt_9"), &secrets, at)
    };
    let genuine = signed(&receiver, "spa", "evt_1", &secret);
    let more = [other_event("evt_1"), b" ".to_vec()].concat();
    for (delivery, status) in [
        (genuine.clone(), 202),
        (signed(&receiver, "spa", "evt_2", &secret), 202),
        (genuine.clone(), 200),
        (Delivery::signed("spa", "evt_1", &more, &secrets, now), 422),
        (
            Delivery::signed("spa", "evt_3", &guest_event("evt_3"), &secrets, now),
            422,
        ),
        (genuine.clone().with_body("{}"), 401),
        (genuine.clone().without("webhook-id"), 401),
        (genuine.with("content-type", "text/plain"), 415),
        // Beyond its own skew, which shows only who can sign, and beyond that of every source.
        (at(1_000), 401),
        (at(-10_000), 401),
    ] {
        assert_eq!(
            receiver.send(&delivery).await.status,
            status,
            "{:?}",
            delivery.headers
        );
    }
    receiver.clock.advance(HOUR);
    assert_eq!(sent(&receiver, "spa", "evt_4", &secret).await, 202);
    let first = json!({
        "hour": "2025-11-22T00:00:00.000Z", "accepted": 2, "duplicate": 1,
        "rejected": {
            "idempotency_key_reused": 1, "missing_header": 1, "signature_mismatch": 1, "skew": 2,
            "unsupported_media_type": 1, "validation_failed": 1,
        },
        "skew": {"ahead_under_2_hours": 1, "behind_under_2_days": 1},
    });
    let second = json!({
        "hour": "2025-11-22T01:00:00.000Z", "accepted": 1, "duplicate": 0, "rejected": {}, "skew": {},
    });
    let shown = stats(&receiver, "?period_days=1").await;
    assert_eq!(shown["hours"], json!([first, second]));
    assert_eq!(shown["last_seen_at"], "2025-11-22T01:00:00.000Z");
    assert_eq!(
        (&shown["accepted"], &shown["rejected"]),
        (&json!(3), &first["rejected"])
    );
    // The first hour has left the day, and not the week.
    receiver.clock.advance(23 * HOUR);
    let day = stats(&receiver, "?period_days=1").await;
    assert_eq!((&day["hours"], &day["accepted"]), (&json!([second]), &json!(1)));
    assert_eq!(stats(&receiver, "").await["hours"], json!([first, second]));
    for bad in ["?period_days=0", "?period_days=31", "?period_days=x", "?days=1"] {
        asked(&receiver, "GET", &format!("/sources/spa/stats{bad}"), None, 400).await;
    }
    asked(&receiver, "DELETE", "/sources/spa", None, 204).await;
    asked(&receiver, "GET", "/sources/spa/stats", None, 404).await;
    let db = ctx.open().await;
    let left = "SELECT COUNT(*) AS n FROM source_counts WHERE source_id = 'spa'";
    assert_eq!(number(&db, left, params![]).await, 0);
    receiver.stop().await;
}

/// What the routes read is asked for here where nothing else writes.
async fn what_is_read_of_a_source_writes_nothing(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    source(&receiver, "spa").await;
    rotated(&receiver, "spa", json!({})).await;
    receiver.stop().await;
    let store = open_store(&ctx.url(), &Runtime::system(), false).await.unwrap();
    let runtime = Runtime::system();
    let (keys, clock) = (MASTER_KEY.parse().unwrap(), runtime.clock.clone());
    let sources = Sources::open(&store, keys, None, clock, runtime.entropy)
        .await
        .unwrap();
    let id: SourceId = "spa".parse().unwrap();
    let (hour, at) = (UnixMillis(3_600_000), UnixMillis(3_600_001));
    let count = |at| {
        sources
            .named("spa", || None)
            .counts()
            .add(CountKind::Accepted, "new", at);
    };
    let shown = async || {
        let (_, counts) = sources.counts_of(&id, hour).await.unwrap();
        counts.iter().map(|count| count.number).sum::<u64>()
    };
    let db = ctx.open().await;
    let written = async || {
        number(
            &db,
            "SELECT COALESCE(SUM(n), 0) AS n FROM source_counts",
            params![],
        )
        .await
    };
    count(at);
    count(UnixMillis(hour.0 - 1));
    assert_eq!((shown().await, written().await), (1, 0));
    sources.write_counts().await;
    assert_eq!((shown().await, written().await), (1, 2));
    count(at);
    assert_eq!((shown().await, written().await), (2, 2));
    store.close().await;
}

async fn nobody_makes_counts_under_a_name_of_no_source(ctx: Ctx) {
    let mut config = config(ctx.url());
    config.access.trusted_proxies = "127.0.0.1".parse().unwrap();
    let receiver = Receiver::start_with(config).await;
    let body = json!({"id": "spa", "name": "Spa", "property_ids": "*", "allowed_networks": ["10.0.0.0/8"]});
    asked(&receiver, "POST", "/sources", Some(body), 201).await;
    source(&receiver, "gym").await;
    let secret = rotated(&receiver, "spa", json!({})).await;
    let disabled = json!({"enabled": false});
    asked(&receiver, "PUT", "/sources/gym", Some(disabled), 200).await;
    for name in ["nobody", "x", "spa%20", "gym", "../spa"] {
        assert!(sent(&receiver, name, "evt_1", &secret).await >= 400);
    }
    let foreign = signed(&receiver, "spa", "evt_1", &secret).with("x-forwarded-for", "192.0.2.1");
    assert_eq!(receiver.send(&foreign).await.status, 401);
    let shown = stats(&receiver, "").await;
    assert_eq!(
        (&shown["rejected"], &shown["last_seen_at"]),
        (&json!({"foreign_network": 1}), &json!(null))
    );
    receiver.stop().await;
    let db = ctx.open().await;
    let rows = "SELECT COUNT(*) AS n FROM source_counts";
    assert_eq!(number(&db, rows, params![]).await, 1);
}

async fn what_was_counted_is_written_at_a_stop_and_old_counts_are_removed(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 202);
    receiver.stop().await;
    let db = ctx.open().await;
    let own = "SELECT n FROM source_counts WHERE source_id = 'pms' AND kind = 'accepted'";
    assert_eq!(number(&db, own, params![]).await, 1);
    let seen = "SELECT last_seen_at AS n FROM sources WHERE id = 'pms'";
    assert_eq!(number(&db, seen, params![]).await, NOW.0);
    // Thirty days and an hour later they are gone.
    let again = Receiver::start(&ctx).await;
    again.clock.advance(30 * 24 * HOUR - Duration::from_millis(1));
    assert_eq!(again.take("evt_2", &guest_event("evt_2")).await.status, 202);
    let shown = asked(&again, "GET", "/sources/pms/stats?period_days=30", None, 200).await;
    assert_eq!(shown["accepted"], 2);
    again.clock.advance(HOUR);
    let shown = asked(&again, "GET", "/sources/pms/stats?period_days=30", None, 200).await;
    assert_eq!(shown["accepted"], 1);
    again.clock.advance(HOUR);
    let (all, db) = ("SELECT COUNT(*) AS n FROM source_counts", &db);
    until("old counts are removed", || async {
        number(db, all, params![]).await == 1
    })
    .await;
    again.stop().await;
}

fn is_shown(silent: f64) -> impl Fn(&metrics::Page) -> bool {
    move |page| page.value("crm_receiver_silent_sources") == silent
}

async fn a_source_that_falls_silent_is_shown_until_it_is_heard(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for wrong in [json!(59), json!(31_536_001), json!("3600")] {
        let body = json!({"id": "spa", "name": "Spa", "property_ids": "*", "silent_after_seconds": wrong});
        let refused = ask(&receiver, "POST", "/sources", Some(&body)).await;
        assert_eq!(
            (refused.status, &refused.json()["errors"][0]["pointer"]),
            (422, &json!("/silent_after_seconds"))
        );
    }
    let body = json!({"id": "spa", "name": "Spa", "property_ids": "*", "silent_after_seconds": 3_600});
    asked(&receiver, "POST", "/sources", Some(body), 201).await;
    let secret = rotated(&receiver, "spa", json!({})).await;
    let silent = async || stats(&receiver, "").await["silent"].as_bool().unwrap();
    let shown = async |silent: f64| {
        metrics::until(receiver.metrics_address(), "silent sources", is_shown(silent)).await;
    };
    // It was never heard, so it counts from when it was made; exactly the time is within it.
    receiver.clock.advance(HOUR);
    assert!(!silent().await);
    receiver.clock.advance(Duration::from_millis(1));
    assert!(silent().await);
    shown(1.0).await;
    // What is not authentic is not the source.
    let forged = signed(&receiver, "spa", "evt_1", &secret).with_body("{}");
    assert_eq!(receiver.send(&forged).await.status, 401);
    assert!(silent().await);
    assert_eq!(sent(&receiver, "spa", "evt_1", &secret).await, 202);
    assert!(!silent().await);
    shown(0.0).await;
    receiver.clock.advance(HOUR + Duration::from_millis(1));
    assert!(silent().await);
    shown(1.0).await;
    // Nothing is expected of a disabled one, nor of one that may be silent for ever.
    for (member, other) in [
        (json!({"enabled": false}), json!({"enabled": true})),
        (
            json!({"silent_after_seconds": null}),
            json!({"silent_after_seconds": 3_600}),
        ),
    ] {
        asked(&receiver, "PUT", "/sources/spa", Some(member), 200).await;
        assert!(!silent().await);
        shown(0.0).await;
        asked(&receiver, "PUT", "/sources/spa", Some(other), 200).await;
        shown(1.0).await;
    }
    receiver.stop().await;
}

/// Two services on one database.
async fn replicas_count_together_and_hear_for_each_other(ctx: Ctx) {
    let (one, other) = (Receiver::start(&ctx).await, Receiver::start(&ctx).await);
    let body = json!({"id": "spa", "name": "Spa", "property_ids": "*", "silent_after_seconds": 3_600});
    asked(&one, "POST", "/sources", Some(body), 201).await;
    let secret = rotated(&one, "spa", json!({})).await;
    for receiver in [&one, &other] {
        receiver.clock.advance(HOUR + Duration::from_millis(1));
        metrics::until(receiver.metrics_address(), "silent", is_shown(1.0)).await;
    }
    assert_eq!(sent(&one, "spa", "evt_1", &secret).await, 202);
    metrics::until(other.metrics_address(), "heard", is_shown(0.0)).await;
    assert_eq!(sent(&other, "spa", "evt_2", &secret).await, 202);
    // Each has written what it counted when it is asked, or has stopped.
    one.stop().await;
    assert_eq!(stats(&other, "").await["accepted"], 2);
    other.stop().await;
}
