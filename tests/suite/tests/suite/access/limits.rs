//! Limits: how often a key may ask, over all replicas together, and how often somebody without one may try.

use super::{ADMIN, guarded, key, make, with_key};
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
        a6_a_client_of_unknown_address_is_refused_as_any_other,
        a6_a_trusted_proxy_says_from_which_network_a_key_comes,
        a6_looks_that_fail_are_counted_and_what_is_no_key_is_not_looked_up,
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

async fn a6_a_client_of_unknown_address_is_refused_as_any_other(ctx: Ctx) {
    let pms = Pms::start_set(&ctx, |config| {
        config.access.admin_api_key = Some(ADMIN.parse().unwrap());
        config.access.trusted_proxies = "127.0.0.1".parse().unwrap();
    })
    .await;
    let good = key(&pms, &["read"], json!("*")).await;
    let unknown = ("x-forwarded-for", "nobody");
    for _ in 0..FAILURES_MAX {
        pms.send(Method::GET, "/guests", &[unknown], None)
            .await
            .expect(401);
    }
    let good = ("x-api-key", good.as_str());
    pms.send(Method::GET, "/guests", &[unknown, good], None)
        .await
        .expect(429);
    let known = ("x-forwarded-for", "192.0.2.1");
    pms.send(Method::GET, "/guests", &[known, good], None)
        .await
        .expect(200);
    pms.stop().await;
}

async fn a6_a_trusted_proxy_says_from_which_network_a_key_comes(ctx: Ctx) {
    for (trusted, inside, outside) in [("127.0.0.1", 200, 401), ("", 401, 401)] {
        let pms = Pms::start_set(&ctx, |config| {
            config.access.admin_api_key = Some(ADMIN.parse().unwrap());
            config.access.trusted_proxies = trusted.parse().unwrap();
        })
        .await;
        let body = json!({"name": "vpn", "permissions": ["read"], "property_ids": "*", "allowed_networks": ["192.0.2.0/24"]});
        let made = make(&pms, body).await.expect(201);
        let text = made.body["key"].as_str().unwrap();
        for (forwarded, status) in [
            ("192.0.2.7", inside),
            ("198.51.100.1, 192.0.2.7", inside),
            ("192.0.2.7, 198.51.100.1", outside),
            ("nobody", outside),
        ] {
            let headers = [("x-api-key", text), ("x-forwarded-for", forwarded)];
            let answer = pms.send(Method::GET, "/guests", &headers, None).await;
            assert_eq!(answer.status, status, "{forwarded} by {trusted:?}");
        }
        with_key(&pms, text, Method::GET, "/guests", None)
            .await
            .expect(401);
        pms.stop().await;
    }
}

async fn a6_looks_that_fail_are_counted_and_what_is_no_key_is_not_looked_up(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    change_table(&pms, "ALTER TABLE api_keys RENAME TO hidden").await;
    // It is too short to be a key, so nobody asks the table that is not there.
    with_key(
        &pms,
        &format!("gw_{}", "a".repeat(39)),
        Method::GET,
        "/guests",
        None,
    )
    .await
    .expect(401);
    let unknown = format!("gw_{}", "a".repeat(43));
    let mut failed = 0;
    loop {
        let answer = with_key(&pms, &unknown, Method::GET, "/guests", None).await;
        if answer.status == 429 || failed > FAILURES_MAX {
            break;
        }
        assert!(answer.status >= 500, "{}", answer.status);
        failed += 1;
    }
    // One was counted above.
    assert_eq!(failed, FAILURES_MAX - 1);
    change_table(&pms, "ALTER TABLE hidden RENAME TO api_keys").await;
    pms.stop().await;
}

async fn change_table(pms: &Pms, sql: &'static str) {
    let changed = pms.db.transaction("change_table", move |tx| {
        Box::pin(async move { tx.execute(sql, db::Params::new()).await.map(drop) })
    });
    changed.await.unwrap();
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
