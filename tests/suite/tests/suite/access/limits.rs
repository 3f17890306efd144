//! Limits: how often a key may ask, over all replicas together, and how often somebody without one may try.

use super::{ADMIN, guarded, make, with_key};
use crate::case::{Case, Ctx, cases};
use crate::pms::Pms;
use harness::engine::Engine;
use harness::waiting::ten_times;
use http::Method;
use kit::access::FAILURES_MAX;
use serde_json::json;
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    let mut cases = cases![
        a_key_asks_as_often_as_its_limit_and_again_in_the_next_window,
        a6_who_fails_too_often_is_not_looked_up_and_keys_go_on,
    ];
    cases.extend(cases![only Engine::Mysql; two_replicas_share_a_limit_and_a_deactivation]);
    cases
}

async fn a_key_asks_as_often_as_its_limit_and_again_in_the_next_window(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let body = json!({"name": "few", "permissions": ["read"], "property_ids": "*", "rate_limit": 7, "rate_window": 60});
    let made = make(&pms, body).await.expect(201);
    let text = made.body["key"].as_str().unwrap();
    let ask = async || with_key(&pms, text, Method::GET, "/guests", None).await;
    for window in 0..2 {
        for left in (0..7).rev() {
            let answer = ask().await.expect(200);
            assert_eq!(answer.header("x-ratelimit-limit"), "7");
            assert_eq!(
                answer.header("x-ratelimit-remaining"),
                left.to_string(),
                "{window}"
            );
            assert_eq!(answer.header("ratelimit-policy"), "\"key\";q=7;w=60");
        }
        let refused = ask().await.expect(429);
        assert_eq!(refused.body["code"], "too_many_requests");
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        // To the end of the window, as the answer says.
        pms.clock.advance(Duration::from_secs(wait));
    }
    // A limit that is raised holds at once.
    let path = format!("/api-keys/{}", made.id());
    for _ in 0..7 {
        ask().await.expect(200);
    }
    ask().await.expect(429);
    with_key(&pms, ADMIN, Method::PATCH, &path, Some(&json!({"rate_limit": 9})))
        .await
        .expect(200);
    for _ in 0..2 {
        ask().await.expect(200);
    }
    ask().await.expect(429);
    pms.stop().await;
}

async fn a6_who_fails_too_often_is_not_looked_up_and_keys_go_on(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let body = json!({"name": "good", "permissions": ["read"], "property_ids": "*"});
    let made = make(&pms, body).await.expect(201);
    let good = made.body["key"].as_str().unwrap();
    with_key(&pms, good, Method::GET, "/guests", None)
        .await
        .expect(200);
    for _ in 0..FAILURES_MAX {
        pms.get("/guests").await.expect(401);
    }
    let refused = pms.get("/guests").await.expect(429);
    assert!(refused.header("retry-after").parse::<u32>().unwrap() <= 60);
    with_key(&pms, good, Method::GET, "/guests", None)
        .await
        .expect(200);
    with_key(&pms, ADMIN, Method::GET, "/guests", None)
        .await
        .expect(200);
    pms.stop().await;
}

/// Two services on one database, as replicas are.
async fn two_replicas_share_a_limit_and_a_deactivation(ctx: Ctx) {
    const LIMIT: usize = 100;
    let (one, other) = (guarded(&ctx).await, guarded(&ctx).await);
    let body = json!({
        "name": "shared", "permissions": ["read"], "property_ids": "*", "rate_limit": LIMIT, "rate_window": 3_600,
    });
    let made = make(&one, body).await.expect(201);
    let text = made.body["key"].as_str().unwrap();
    let ask = async |pms: &Pms| with_key(pms, text, Method::GET, "/guests", None).await.status;
    let mut let_through = 0;
    for _ in 0..LIMIT {
        let (here, there) = tokio::join!(ask(&one), ask(&other));
        let_through += [here, there].iter().filter(|status| **status == 200).count();
    }
    assert_eq!(
        let_through, LIMIT,
        "never more, and no less: both have asked until nothing was left"
    );
    // The limit is raised on one replica; the other reads the key again within a second.
    let path = format!("/api-keys/{}", made.id());
    with_key(
        &one,
        ADMIN,
        Method::PATCH,
        &path,
        Some(&json!({"rate_limit": 1_000_000})),
    )
    .await
    .expect(200);
    let hears = |status: u16| {
        let (ask, other) = (&ask, &other);
        ten_times(
            Duration::from_secs(1),
            "the other replica reads the key",
            async move {
                while ask(other).await != status {
                    tokio::task::yield_now().await;
                }
            },
        )
    };
    hears(200).await;
    with_key(&one, ADMIN, Method::POST, &format!("{path}/deactivate"), None)
        .await
        .expect(200);
    assert_eq!(ask(&one).await, 401);
    hears(401).await;
    one.stop().await;
    other.stop().await;
}
