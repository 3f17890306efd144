//! The rate of a source: what is authentic counts against it, over all replicas together, and nothing else does.

use super::{asked, rotated, sent, signed, source};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{NOW, Receiver, execute, guest_event, number};
use db::params;
use harness::engine::Engine;
use harness::waiting::until;
use serde_json::json;
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        a_source_is_taken_as_often_as_its_rate_and_again_in_the_next_minute,
        r40_nobody_else_uses_up_the_rate_of_a_source,
        a_rate_that_cannot_be_drawn_from_is_503,
        a_window_that_is_drawn_from_after_its_source_is_deleted_is_removed,
    ];
    all.extend(cases![only Engine::Mysql; two_replicas_share_the_rate_of_a_source]);
    all
}

const RATE: usize = 7;

/// A source of that rate, with its secret.
async fn limited(receiver: &Receiver, rate: usize) -> String {
    let body = json!({"id": "spa", "name": "Spa", "property_ids": "*", "rate_limit": rate});
    asked(receiver, "POST", "/sources", Some(body), 201).await;
    rotated(receiver, "spa", json!({})).await
}

async fn change(receiver: &Receiver, change: serde_json::Value) {
    asked(receiver, "PUT", "/sources/spa", Some(change), 200).await;
}

async fn a_source_is_taken_as_often_as_its_rate_and_again_in_the_next_minute(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let secret = limited(&receiver, RATE).await;
    for minute in 0..2 {
        for n in 0..RATE {
            let key = format!("evt_{minute}_{n}");
            assert_eq!(sent(&receiver, "spa", &key, &secret).await, 202, "{key}");
        }
        // A repeat is a request too.
        let repeat = signed(&receiver, "spa", &format!("evt_{minute}_0"), &secret);
        let refused = receiver.send(&repeat).await;
        assert_eq!(refused.status, 429);
        assert_eq!(refused.json()["code"], "too_many_requests");
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        // Other sources go on.
        let key = format!("evt_of_pms_{minute}");
        assert_eq!(receiver.take(&key, &guest_event(&key)).await.status, 202);
        // To the end of the minute, as the answer says.
        receiver.clock.advance(Duration::from_secs(wait));
    }
    for n in 0..RATE {
        assert_eq!(sent(&receiver, "spa", &format!("evt_2_{n}"), &secret).await, 202);
    }
    assert_eq!(sent(&receiver, "spa", "evt_3", &secret).await, 429);
    // Another rate holds at once, and none is none.
    change(&receiver, json!({"rate_limit": RATE + 1})).await;
    assert_eq!(sent(&receiver, "spa", "evt_3", &secret).await, 202);
    assert_eq!(sent(&receiver, "spa", "evt_4", &secret).await, 429);
    change(&receiver, json!({"rate_limit": null})).await;
    for n in 0..2 * RATE {
        assert_eq!(sent(&receiver, "spa", &format!("evt_5_{n}"), &secret).await, 202);
    }
    let sample = "crm_receiver_ingest_rejects_total{cause=\"over_rate\"}";
    assert_eq!(receiver.metrics().await.value(sample), 4.0);
    receiver.stop().await;
}

async fn r40_nobody_else_uses_up_the_rate_of_a_source(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let secret = limited(&receiver, RATE).await;
    source(&receiver, "gym").await;
    let other = rotated(&receiver, "gym", json!({})).await;
    for n in 0..3 * RATE {
        let genuine = signed(&receiver, "spa", &format!("evt_{n}"), &secret);
        for forged in [
            signed(&receiver, "spa", "evt_0", &other),
            genuine.clone().without("webhook-signature"),
            genuine.with_body("{}"),
        ] {
            assert_eq!(receiver.send(&forged).await.status, 401);
        }
        let of_other = sent(&receiver, "gym", &format!("evt_{n}"), &other).await;
        assert_eq!(of_other, 202);
    }
    for n in 0..RATE {
        assert_eq!(sent(&receiver, "spa", &format!("evt_{n}"), &secret).await, 202);
    }
    // What its sender alone can sign counts, also where its content is refused.
    assert_eq!(sent(&receiver, "spa", "evt_more", &secret).await, 429);
    receiver.stop().await;
}

async fn a_rate_that_cannot_be_drawn_from_is_503(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    // Two are drawn at once.
    let secret = limited(&receiver, 40).await;
    assert_eq!(sent(&receiver, "spa", "evt_1", &secret).await, 202);
    let db = ctx.open().await;
    execute(&db, "ALTER TABLE source_windows RENAME TO hidden", params![]).await;
    assert_eq!(
        sent(&receiver, "spa", "evt_2", &secret).await,
        202,
        "it was drawn"
    );
    let failed = receiver.send(&signed(&receiver, "spa", "evt_3", &secret)).await;
    assert_eq!((failed.status, failed.header("retry-after")), (503, Some("1")));
    execute(&db, "ALTER TABLE hidden RENAME TO source_windows", params![]).await;
    receiver.stop().await;
}

async fn a_window_that_is_drawn_from_after_its_source_is_deleted_is_removed(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let secret = limited(&receiver, RATE).await;
    assert_eq!(sent(&receiver, "spa", "evt_1", &secret).await, 202);
    let db = &ctx.open().await;
    let windows = async || number(db, "SELECT COUNT(*) AS n FROM source_windows", params![]).await;
    assert_eq!(windows().await, 1);
    asked(&receiver, "DELETE", "/sources/spa", None, 204).await;
    assert_eq!(windows().await, 0);
    // As a replica does that has not heard of it.
    let draw = "INSERT INTO source_windows (source_id, began_at, drawn) VALUES ('spa', ?, 1)";
    execute(db, draw, params![NOW.0]).await;
    receiver.clock.advance(Duration::from_secs(2 * 3600));
    until("the window is removed", || async { windows().await == 0 }).await;
    receiver.stop().await;
}

/// Two services on one database, as replicas are.
async fn two_replicas_share_the_rate_of_a_source(ctx: Ctx) {
    const LIMIT: usize = 100;
    let one = Receiver::start(&ctx).await;
    let secret = limited(&one, LIMIT).await;
    let other = Receiver::start(&ctx).await;
    let mut taken = 0;
    for n in 0..LIMIT {
        let (here, there) = (format!("evt_{n}"), format!("evt_other_{n}"));
        let (here, there) = tokio::join!(
            sent(&one, "spa", &here, &secret),
            sent(&other, "spa", &there, &secret)
        );
        taken += [here, there].iter().filter(|status| **status == 202).count();
    }
    assert_eq!(
        taken, LIMIT,
        "never more, and no less: both have asked until nothing was left"
    );
    one.stop().await;
    other.stop().await;
}
