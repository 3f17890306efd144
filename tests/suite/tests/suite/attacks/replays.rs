//! Rows R18 to R20 and R41: what was delivered once has no second effect, and the unsigned leave no trace in the cache.

use super::{NOW, genuine, signed};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, audited, guest_event, number};
use db::params;
use harness::signer::Delivery;
use serde_json::json;
use std::time::Duration;

pub fn cases() -> Vec<Case> {
    cases![
        r18_a_replay_hears_of_the_first_and_has_no_effect,
        r19_a_replay_after_the_window_is_refused_and_the_first_stands,
        r20_a_new_id_under_an_old_signature_is_refused,
        r41_the_unsigned_take_no_key,
    ]
}

/// The window of these receivers, and a second.
const PAST_THE_WINDOW: Duration = Duration::from_secs(1_801);

async fn r18_a_replay_hears_of_the_first_and_has_no_effect(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let first = receiver.send(&genuine()).await;
    assert_eq!(first.status, 202);
    receiver.settle(&ctx).await;
    for _ in 0..5 {
        let again = receiver.send(&genuine()).await;
        assert_eq!(
            (again.status, again.header("idempotency-replayed")),
            (200, Some("true"))
        );
        let repeated = json!({"status": "accepted", "event_id": first.json()["event_id"], "duplicate": true});
        assert_eq!(again.json(), repeated);
    }
    receiver.stop().await;
    // The same from another process, whose cache is empty, while the projector looks for work.
    let receiver = Receiver::start(&ctx).await;
    assert_eq!(receiver.send(&genuine()).await.json()["duplicate"], true);
    receiver.settle(&ctx).await;
    receiver.stop().await;
    let db = ctx.open().await;
    assert_eq!(number(&db, "SELECT COUNT(*) AS n FROM inbox", params![]).await, 1);
    assert_eq!(audited(&db, "applied").await, 1);
    let sql = "SELECT SUM(n) AS n FROM audit_counts WHERE kind = 'duplicate'";
    assert_eq!(number(&db, sql, params![]).await, 6);
}

async fn r19_a_replay_after_the_window_is_refused_and_the_first_stands(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let first = receiver.send(&genuine()).await;
    assert_eq!(first.status, 202);
    receiver.clock.advance(PAST_THE_WINDOW);
    assert_eq!(receiver.send(&genuine()).await.status, 401);
    // Signed afresh it is a repeat: the key is still taken.
    let afresh = receiver.take("evt_1", &guest_event("evt_1")).await;
    assert_eq!(afresh.status, 200);
    assert_eq!(afresh.json()["event_id"], first.json()["event_id"]);
    receiver.stop().await;
    let db = ctx.open().await;
    assert_eq!(number(&db, "SELECT COUNT(*) AS n FROM inbox", params![]).await, 1);
}

async fn r20_a_new_id_under_an_old_signature_is_refused(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    assert_eq!(receiver.send(&genuine()).await.status, 202);
    let renamed = guest_event("evt_2");
    for forged in [
        genuine().with("webhook-id", "evt_2"),
        genuine().with("webhook-id", "evt_2").with_body(renamed),
        genuine().with("webhook-timestamp", (NOW.seconds().0 + 1).to_string()),
    ] {
        assert_eq!(receiver.send(&forged).await.status, 401);
    }
    receiver.stop().await;
    let db = ctx.open().await;
    assert_eq!(number(&db, "SELECT COUNT(*) AS n FROM inbox", params![]).await, 1);
}

async fn r41_the_unsigned_take_no_key(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let body = guest_event("evt_1");
    let others = "another-long-secret".parse().unwrap();
    let unsigned = Delivery::signed("pms", "evt_1", &body, &others, NOW.seconds());
    for _ in 0..3 {
        assert_eq!(receiver.send(&unsigned).await.status, 401);
    }
    let taken = receiver.send(&genuine()).await;
    assert_eq!(
        (taken.status, taken.json()["duplicate"].clone()),
        (202, json!(false))
    );
    // That a key is known is not shown to the unsigned either.
    assert_eq!(receiver.send(&unsigned).await.status, 401);
    // Nor does an authentic key that was refused for its content hold its place.
    assert_eq!(receiver.send(&signed("evt_2", b"{}")).await.status, 422);
    assert_eq!(receiver.take("evt_2", &guest_event("evt_2")).await.status, 202);
    receiver.stop().await;
}
