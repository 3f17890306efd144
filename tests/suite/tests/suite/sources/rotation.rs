//! Rows R14 to R16: whose secret signs, from when to when, and on which replica.

use super::{ask, asked, assert_made, rotated, sent, source};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, SECRET, number};
use db::params;
use harness::engine::Engine;
use harness::waiting::{ten_times, until};
use serde_json::{Value, json};
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        r14_the_secret_of_another_source_is_401_on_this_path,
        r15_a_rotated_secret_is_taken_through_the_overlap_and_not_after,
        r15_a_secret_that_is_ended_is_taken_no_more,
        r16_a_weak_secret_is_refused_and_the_senders_own_is_taken,
        four_secrets_are_valid_at_once_and_no_more,
        a_secret_is_safe_to_retire_once_the_next_is_in_use,
    ];
    all.extend(cases![only Engine::Mysql; r15_a_rotation_is_heard_by_the_other_replica]);
    all
}

/// A change holds on every replica after so long.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// One of a sender's own.
const OWN: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs=";

async fn r14_the_secret_of_another_source_is_401_on_this_path(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    source(&receiver, "spa").await;
    source(&receiver, "shop").await;
    source(&receiver, "silent").await;
    let (spa, shop) = (
        rotated(&receiver, "spa", json!({})).await,
        rotated(&receiver, "shop", json!({})).await,
    );
    for (path, secret, status) in [
        ("spa", spa.as_str(), 202),
        ("shop", &shop, 202),
        ("spa", &shop, 401),
        ("shop", &spa, 401),
        ("pms", &spa, 401),
        ("spa", SECRET, 401),
        ("silent", &spa, 401),
        ("nobody", &spa, 401),
    ] {
        let key = format!("evt_{path}_{}", secret.len());
        assert_eq!(sent(&receiver, path, &key, secret).await, status, "{path}");
    }
    // So no two may have one.
    for taken in [spa.as_str(), SECRET] {
        let body = json!({"secret": taken});
        let refused = asked(&receiver, "POST", "/sources/shop/rotate-secret", Some(body), 422).await;
        assert_eq!(refused["errors"][0]["pointer"], "/secret");
        assert_eq!(refused["errors"][0]["code"], "not_unique");
    }
    receiver.stop().await;
}

async fn r15_a_rotated_secret_is_taken_through_the_overlap_and_not_after(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    source(&receiver, "spa").await;
    let old = rotated(&receiver, "spa", json!({})).await;
    assert_made(&old);
    assert_eq!(sent(&receiver, "spa", "evt_1", &old).await, 202);
    let new = rotated(&receiver, "spa", json!({})).await;
    assert_ne!(old, new);
    receiver.clock.advance(DAY - Duration::from_millis(1));
    for (key, secret) in [("evt_2", &old), ("evt_3", &new)] {
        assert_eq!(sent(&receiver, "spa", key, secret).await, 202, "in the overlap");
    }
    receiver.clock.advance(Duration::from_millis(1));
    assert_eq!(sent(&receiver, "spa", "evt_4", &old).await, 401, "after it");
    assert_eq!(sent(&receiver, "spa", "evt_4", &new).await, 202);
    // Without an overlap the new one replaces the old one at once.
    let last = rotated(&receiver, "spa", json!({"overlap_seconds": 0})).await;
    assert_eq!(sent(&receiver, "spa", "evt_5", &new).await, 401);
    assert_eq!(sent(&receiver, "spa", "evt_5", &last).await, 202);
    receiver.stop().await;
    let again = Receiver::start(&ctx).await;
    again.clock.advance(DAY);
    assert_eq!(sent(&again, "spa", "evt_6", &new).await, 401);
    assert_eq!(sent(&again, "spa", "evt_6", &last).await, 202);
    again.stop().await;
}

async fn r15_a_secret_that_is_ended_is_taken_no_more(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    source(&receiver, "spa").await;
    let (old, new) = (
        rotated(&receiver, "spa", json!({})).await,
        rotated(&receiver, "spa", json!({})).await,
    );
    asked(&receiver, "DELETE", "/sources/spa/secrets/1", None, 204).await;
    assert_eq!(sent(&receiver, "spa", "evt_1", &old).await, 401);
    assert_eq!(sent(&receiver, "spa", "evt_1", &new).await, 202);
    for gone in ["1", "3", "x", "-1"] {
        let path = format!("/sources/spa/secrets/{gone}");
        asked(&receiver, "DELETE", &path, None, 404).await;
    }
    // A number is not given again, even of the last one that has ended.
    asked(&receiver, "DELETE", "/sources/spa/secrets/2", None, 204).await;
    assert_eq!(sent(&receiver, "spa", "evt_2", &new).await, 401);
    let made = asked(
        &receiver,
        "POST",
        "/sources/spa/rotate-secret",
        Some(json!({})),
        201,
    )
    .await;
    assert_eq!(made["n"], 3);
    let db = ctx.open().await;
    let sql = "SELECT COUNT(*) AS n FROM source_secrets";
    assert_eq!(number(&db, sql, params![]).await, 1, "what has ended is removed");
    receiver.stop().await;
}

async fn r16_a_weak_secret_is_refused_and_the_senders_own_is_taken(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    source(&receiver, "spa").await;
    let path = "/sources/spa/rotate-secret";
    for weak in [
        "",
        "canary",
        "fifteen-bytes--",
        "whsec_",
        "whsec_canary",
        "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5h",
        " a-canary-with-a-space-before-it-whsec_x",
    ] {
        let answer = ask(&receiver, "POST", path, Some(&json!({"secret": weak}))).await;
        let said = answer.json();
        assert_eq!(answer.status, 422, "{weak:?}: {said}");
        assert_eq!(said["errors"][0]["pointer"], "/secret");
        assert!(!said.to_string().contains("canary"), "{said}");
    }
    let made = asked(&receiver, "POST", path, Some(json!({"secret": OWN})), 201).await;
    assert!(made.get("secret").is_none(), "its sender knows it: {made}");
    assert_eq!(sent(&receiver, "spa", "evt_1", OWN).await, 202);
    receiver.stop().await;
}

async fn four_secrets_are_valid_at_once_and_no_more(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    source(&receiver, "spa").await;
    let mut secrets = Vec::new();
    for _ in 0..4 {
        secrets.push(rotated(&receiver, "spa", json!({})).await);
    }
    for (n, secret) in secrets.iter().enumerate() {
        assert_eq!(sent(&receiver, "spa", &format!("evt_{n}"), secret).await, 202);
    }
    let path = "/sources/spa/rotate-secret";
    let refused = asked(&receiver, "POST", path, Some(json!({})), 409).await;
    assert_eq!(refused["code"], "too_many_secrets");
    // What was refused has changed nothing: not even how long the others last.
    let list = asked(&receiver, "GET", "/sources/spa/secrets", None, 200).await;
    assert_eq!(
        (&list["data"][0]["n"], &list["data"][0]["until"]),
        (&json!(4), &json!(null))
    );
    receiver.clock.advance(DAY);
    assert_eq!(sent(&receiver, "spa", "evt_5", &secrets[3]).await, 202);
    let made = asked(&receiver, "POST", path, Some(json!({})), 201).await;
    assert_eq!(made["n"], 5);
    receiver.stop().await;
}

async fn a_secret_is_safe_to_retire_once_the_next_is_in_use(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    source(&receiver, "spa").await;
    let (old, new) = (
        rotated(&receiver, "spa", json!({})).await,
        rotated(&receiver, "spa", json!({})).await,
    );
    let list = async || {
        let list = asked(&receiver, "GET", "/sources/spa/secrets", None, 200).await;
        assert_eq!(list["pagination"]["total"], 2);
        list["data"].as_array().unwrap().clone()
    };
    let safe = |list: &[Value]| -> Vec<bool> {
        let safe = list
            .iter()
            .map(|secret| secret["safe_to_retire"].as_bool().unwrap());
        safe.collect()
    };
    assert_eq!(sent(&receiver, "spa", "evt_1", &old).await, 202);
    let first = list().await;
    let meant = json!({
        "n": 1, "since": "2025-11-22T00:00:00.000Z", "until": "2025-11-23T00:00:00.000Z",
        "last_used_at": "2025-11-22T00:00:00.000Z", "safe_to_retire": false,
    });
    assert_eq!(first[1], meant);
    assert_eq!(
        (&first[0]["n"], &first[0]["last_used_at"]),
        (&json!(2), &json!(null))
    );
    assert_eq!(sent(&receiver, "spa", "evt_2", &new).await, 202);
    assert_eq!(
        safe(&list().await),
        [false, false],
        "the old one has just been used"
    );
    receiver.clock.advance(Duration::from_secs(3600));
    assert_eq!(safe(&list().await), [false, true]);
    // Their texts are shown nowhere.
    let shown = json!(list().await).to_string();
    assert!(!shown.contains(&old[6..]) && !shown.contains("sealed"), "{shown}");
    receiver.stop().await;
}

async fn r15_a_rotation_is_heard_by_the_other_replica(ctx: Ctx) {
    let (one, other) = (Receiver::start(&ctx).await, Receiver::start(&ctx).await);
    source(&one, "spa").await;
    let old = rotated(&one, "spa", json!({})).await;
    let taken = async |key: &str, secret: &str, status: u16| {
        let so = || async { sent(&other, "spa", key, secret).await == status };
        ten_times(HEARD_WITHIN, key, until(key, so)).await;
    };
    taken("evt_1", &old, 202).await;
    let new = rotated(&one, "spa", json!({"overlap_seconds": 0})).await;
    taken("evt_2", &new, 202).await;
    assert_eq!(sent(&other, "spa", "evt_3", &old).await, 401);
    asked(&one, "DELETE", "/sources/spa", None, 204).await;
    taken("evt_4", &new, 401).await;
    // Both note what they used, in one row.
    one.stop().await;
    other.stop().await;
}
