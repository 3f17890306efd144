//! What is sent to endpoints: to whom it matches, by what the endpoint is when it is sent.

use std::time::Duration;

use harness::receiver_double::{Answer, Gate, Received};
use harness::waiting::{until, until_some};
use pms_emitter::store::{ClaimRequest, Claimed};
use serde_json::json;

use super::{double, guest, is_signed_with, lisbon, names, rename, subscribe, types, until_count};
use crate::case::{Case, Ctx, cases};
use crate::pms::{BEGIN, Pms};

pub fn cases() -> Vec<Case> {
    cases![
        each_endpoint_gets_what_it_is_subscribed_to_signed_for_it_alone,
        an_endpoint_begins_where_it_is_asked_to,
        a_paused_endpoint_is_queued_on_and_goes_on,
        e13_nothing_begins_at_an_address_that_was_changed,
        e13_claims_of_before_are_not_sent_behind_those_of_after,
        e13_what_waits_for_a_deleted_endpoint_is_cancelled,
        an_endpoint_has_its_own_schedule_and_its_own_final_answers,
        the_first_attempt_waits_as_the_schedule_says,
        one_that_answered_410_goes_on_once_it_is_enabled,
        one_whose_row_cannot_be_read_holds_up_nobody_else,
        an_endpoint_that_hangs_costs_the_others_nothing,
        an_endpoint_gets_so_many_attempts_a_minute,
        what_is_given_back_unsent_counts_for_no_limit,
    ]
}

async fn each_endpoint_gets_what_it_is_subscribed_to_signed_for_it_alone(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (all, created, there) = (double().await, double().await, double().await);
    let made = subscribe(&pms, &all, json!({"headers": {"X-Tenant": "all of them"}})).await;
    subscribe(
        &pms,
        &created,
        json!({"events": ["guest.created"], "secret": "a-secret-of-its-own"}),
    )
    .await;
    pms.post("/properties", &lisbon()).await.expect(201);
    subscribe(&pms, &there, json!({"property_ids": ["LIS01"]})).await;

    let id = guest(&pms, "Doe").await;
    rename(&pms, &id, "Roe").await;
    let lisboa = json!({"last_name": "Lisboa", "property_id": "LIS01"});
    pms.post("/guests", &lisboa).await.expect(201);

    let received = all.wait_for(3).await;
    let mut all_types = types(&received);
    all_types.sort_unstable();
    assert_eq!(all_types, ["guest.created", "guest.created", "guest.updated"]);
    assert!(received.iter().all(|one| one.header("x-tenant") == "all of them"));
    let secret = made.body["secret"].as_str().unwrap();
    assert!(
        received
            .iter()
            .all(|one| is_signed_with(one, secret, BEGIN.seconds()))
    );
    let received = created.wait_for(2).await;
    assert_eq!(types(&received), ["guest.created", "guest.created"]);
    assert!(is_signed_with(
        &received[0],
        "a-secret-of-its-own",
        BEGIN.seconds()
    ));
    assert!(!is_signed_with(&received[0], secret, BEGIN.seconds()));
    assert_eq!(names(&there.wait_for(1).await), ["Lisboa"]);
    let deliveries = "SELECT COUNT(*) AS n FROM deliveries";
    assert_eq!(
        pms.count(deliveries).await,
        6,
        "and the environment's gets none without a URL"
    );
    let shown = until_some("it is shown when it was last sent to", || async {
        let shown = pms.get(&format!("/webhooks/{}", made.id())).await;
        shown.body["last_triggered_at"].as_str().map(ToOwned::to_owned)
    });
    assert!(shown.await.starts_with("2026-03-14T09:26:53"));
    pms.stop().await;
}

async fn an_endpoint_begins_where_it_is_asked_to(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for name in ["First", "Second", "Third"] {
        guest(&pms, name).await;
        pms.clock.advance(Duration::from_secs(60));
    }
    until_count(
        &pms,
        "all have their places",
        "SELECT COUNT(*) AS n FROM events WHERE feed_seq IS NULL",
        0,
    )
    .await;
    let (beginning, second, now) = (double().await, double().await, double().await);
    subscribe(&pms, &beginning, json!({"start": "beginning"})).await;
    subscribe(&pms, &second, json!({"start": BEGIN.plus_millis(60_000)})).await;
    subscribe(&pms, &now, json!({"start": "now"})).await;
    guest(&pms, "Fourth").await;
    let all = |received: Vec<Received>| {
        let mut names = names(&received);
        names.sort_unstable();
        names
    };
    assert_eq!(
        all(beginning.wait_for(4).await),
        ["First", "Fourth", "Second", "Third"]
    );
    assert_eq!(all(second.wait_for(3).await), ["Fourth", "Second", "Third"]);
    assert_eq!(all(now.wait_for(1).await), ["Fourth"]);
    pms.stop().await;
}

async fn a_paused_endpoint_is_queued_on_and_goes_on(ctx: Ctx) {
    let (pms, paused, other) = (Pms::start(&ctx).await, double().await, double().await);
    let path = format!("/webhooks/{}", subscribe(&pms, &paused, json!({})).await.id());
    subscribe(&pms, &other, json!({})).await;
    pms.post(&format!("{path}/pause"), &json!({})).await.expect(200);
    pms.post(&format!("{path}/pause"), &json!({})).await.expect(200);
    assert_eq!(pms.get(&path).await.body["state"], "paused");
    guest(&pms, "Doe").await;
    other.wait_for(1).await;
    assert_eq!(paused.received().len(), 0);
    pms.put(&path, &json!({"active": true})).await.expect(200);
    assert_eq!(names(&paused.wait_for(1).await), ["Doe"]);
    pms.stop().await;
}

async fn e13_nothing_begins_at_an_address_that_was_changed(ctx: Ctx) {
    let (pms, before, after) = (Pms::start(&ctx).await, double().await, double().await);
    let gate = Gate::closed();
    before.otherwise(Answer::status(503).behind(&gate));
    let made = subscribe(
        &pms,
        &before,
        json!({"max_concurrency": 1, "retry_schedule": [0, 0]}),
    )
    .await;
    let path = format!("/webhooks/{}", made.id());
    for number in 0..5 {
        guest(&pms, &format!("Guest {number}")).await;
    }
    // One attempt is open, and the others are claimed and wait for it.
    before.wait_for_held(1).await;
    let body = json!({"url": after.url()});
    pms.put(&path, &body).await.expect(200);
    pms.post(
        &format!("{path}/rotate-secret"),
        &json!({"secret": "the-secret-after-it", "overlap_seconds": 0}),
    )
    .await
    .expect(201);
    gate.open(10);
    let received = after.wait_for(5).await;
    assert_eq!(before.received().len(), 1, "nothing more goes to the old address");
    let old = made.body["secret"].as_str().unwrap();
    assert!(received.iter().all(|one| {
        is_signed_with(one, "the-secret-after-it", BEGIN.seconds())
            && !is_signed_with(one, old, BEGIN.seconds())
    }));
    pms.stop().await;
}

async fn e13_claims_of_before_are_not_sent_behind_those_of_after(ctx: Ctx) {
    let (pms, before, after) = (Pms::start(&ctx).await, double().await, double().await);
    let gate = Gate::closed();
    before.otherwise(Answer::status(200).behind(&gate));
    let made = subscribe(&pms, &before, json!({"max_concurrency": 4})).await;
    let path = format!("/webhooks/{}", made.id());
    for number in 0..20 {
        guest(&pms, &format!("Guest {number}")).await;
    }
    before.wait_for_held(4).await;
    until("more are claimed", || async {
        pms.count("SELECT COUNT(*) AS n FROM deliveries WHERE owner IS NOT NULL")
            .await
            > 4
    })
    .await;
    pms.put(&path, &json!({"url": after.url()})).await.expect(200);
    // What is claimed from now on is of the new version, behind what was claimed before.
    for number in 20..30 {
        guest(&pms, &format!("Guest {number}")).await;
    }
    gate.open(100);
    after.wait_for(26).await;
    assert_eq!((before.received().len(), after.received().len()), (4, 26));
    pms.stop().await;
}

async fn e13_what_waits_for_a_deleted_endpoint_is_cancelled(ctx: Ctx) {
    let (pms, gone, other) = (Pms::start(&ctx).await, double().await, double().await);
    let gate = Gate::closed();
    gone.otherwise(Answer::status(200).behind(&gate));
    let path = format!(
        "/webhooks/{}",
        subscribe(&pms, &gone, json!({"max_concurrency": 1})).await.id()
    );
    subscribe(&pms, &other, json!({})).await;
    for number in 0..5 {
        guest(&pms, &format!("Guest {number}")).await;
    }
    gone.wait_for_held(1).await;
    // All are queued for both by then.
    other.wait_for(5).await;
    pms.delete(&path).await.expect(204);
    let ended = "SELECT COUNT(*) AS n FROM deliveries WHERE status IN ('cancelled', 'delivered')";
    until_count(&pms, "what waits is cancelled", ended, 10).await;
    gate.open(10);
    guest(&pms, "Later").await;
    other.wait_for(6).await;
    until_count(
        &pms,
        "all is settled",
        "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'pending'",
        0,
    )
    .await;
    assert_eq!(gone.received().len(), 1);
    let cancelled = "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'cancelled'";
    assert_eq!(
        pms.count(cancelled).await,
        5,
        "the attempt that was open settles nothing"
    );
    assert_eq!(
        pms.count("SELECT COUNT(*) AS n FROM endpoints WHERE cancelling = 1")
            .await,
        0
    );
    pms.stop().await;
}

async fn an_endpoint_has_its_own_schedule_and_its_own_final_answers(ctx: Ctx) {
    let (pms, twice, once) = (Pms::start(&ctx).await, double().await, double().await);
    twice.otherwise(Answer::status(404));
    once.otherwise(Answer::status(404));
    subscribe(
        &pms,
        &twice,
        json!({"retry_schedule": [0, 0, 0, 0], "retry_count": 2}),
    )
    .await;
    subscribe(
        &pms,
        &once,
        json!({"retry_schedule": [0, 0, 0, 0], "retry_4xx": false}),
    )
    .await;
    guest(&pms, "Doe").await;
    until_count(
        &pms,
        "both are dead",
        "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'dead'",
        2,
    )
    .await;
    assert_eq!((twice.received().len(), once.received().len()), (2, 1));
    pms.stop().await;
}

async fn the_first_attempt_waits_as_the_schedule_says(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (now, second, minute) = (double().await, double().await, double().await);
    subscribe(&pms, &now, json!({})).await;
    subscribe(&pms, &second, json!({"scheme": "powalyze"})).await;
    let made = subscribe(&pms, &minute, json!({"retry_schedule": [60, 60]})).await;
    guest(&pms, "Doe").await;
    now.wait_for(1).await;
    let delivered = "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'delivered'";
    until_count(&pms, "delivered", delivered, 1).await;
    assert_eq!((second.received().len(), minute.received().len()), (0, 0));
    pms.clock.advance(Duration::from_secs(1));
    second.wait_for(1).await;
    until_count(&pms, "delivered", delivered, 2).await;
    assert_eq!(minute.received().len(), 0);
    pms.clock.advance(Duration::from_secs(59));
    minute.wait_for(1).await;
    until_count(&pms, "delivered", delivered, 3).await;

    let path = format!("/webhooks/{}", made.id());
    let body = json!({"name": "CRM", "url": minute.url(), "events": ["*"], "retry_schedule": null});
    pms.put(&path, &body).await.expect(200);
    guest(&pms, "Roe").await;
    minute.wait_for(2).await;
    pms.stop().await;
}

async fn one_that_answered_410_goes_on_once_it_is_enabled(ctx: Ctx) {
    let (pms, gone) = (Pms::start(&ctx).await, double().await);
    gone.then([Answer::status(410)]);
    let path = format!("/webhooks/{}", subscribe(&pms, &gone, json!({})).await.id());
    guest(&pms, "Doe").await;
    until("it is disabled", || async {
        pms.get(&path).await.body["state"] == "disabled"
    })
    .await;
    assert_eq!(pms.get(&path).await.body["disabled_reason"], "gone");
    pms.post(&format!("{path}/enable"), &json!({})).await.expect(200);
    assert_eq!(names(&gone.wait_for(2).await), ["Doe", "Doe"]);
    assert_eq!(pms.get(&path).await.body["state"], "active");
    pms.stop().await;
}

async fn one_whose_row_cannot_be_read_holds_up_nobody_else(ctx: Ctx) {
    let (pms, broken, other) = (Pms::start(&ctx).await, double().await, double().await);
    let ruined = subscribe(&pms, &broken, json!({})).await;
    let id = ruined.id().to_owned();
    subscribe(&pms, &other, json!({})).await;
    for sql in [
        "UPDATE endpoints SET settings = '{', version = version + 1 WHERE id = ?",
        "UPDATE endpoints SET property_ids = 'a b', version = version + 1 WHERE id = ?",
    ] {
        let id = id.clone();
        let written = pms.db.transaction("ruin", move |tx| {
            let id = id.clone();
            Box::pin(async move { tx.execute(sql, db::params![id]).await })
        });
        assert_eq!(written.await.unwrap(), 1);
        let before = other.received().len();
        guest(&pms, "Doe").await;
        other.wait_for(before + 1).await;
    }
    assert_eq!(broken.received().len(), 0);
    pms.stop().await;
}

async fn an_endpoint_that_hangs_costs_the_others_nothing(ctx: Ctx) {
    let (pms, hangs, other) = (Pms::start(&ctx).await, double().await, double().await);
    let gate = Gate::closed();
    hangs.otherwise(Answer::status(200).behind(&gate));
    for _ in 0..20 {
        subscribe(&pms, &hangs, json!({"max_concurrency": 64})).await;
    }
    subscribe(&pms, &other, json!({})).await;
    for number in 0..40 {
        guest(&pms, &format!("Guest {number}")).await;
    }
    other.wait_for(40).await;
    gate.open(20 * 40);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM endpoints").await, 22);
    pms.stop().await;
}

async fn an_endpoint_gets_so_many_attempts_a_minute(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (limited, free) = (double().await, double().await);
    let made = subscribe(&pms, &limited, json!({"rate_limit": 3})).await;
    assert_eq!(made.body["rate_limit"], 3);
    subscribe(&pms, &free, json!({})).await;
    for number in 0..8 {
        guest(&pms, &format!("Guest {number}")).await;
    }
    free.wait_for(8).await;
    for received in [3, 6] {
        limited.wait_for(received).await;
        pms.clock.advance(Duration::from_millis(59_999));
        let id = made.body["id"].as_str().unwrap().parse().unwrap();
        let request = ClaimRequest {
            endpoint: id,
            token: format!("other_{received}"),
            now: contract::Clock::now(pms.clock.as_ref()),
            lease: Duration::from_secs(30),
            limit: 1,
            turn: 0,
        };
        let claimed = pms.store.claim(request).await.unwrap();
        assert!(
            matches!(claimed, Claimed::NotBefore(_)),
            "none more in this minute"
        );
        assert_eq!(limited.received().len(), received);
        pms.clock.advance(Duration::from_millis(1));
    }
    limited.wait_for(8).await;
    // Without a limit there is none for what comes now.
    pms.put(&format!("/webhooks/{}", made.id()), &json!({"rate_limit": null}))
        .await
        .expect(200);
    for number in 8..14 {
        guest(&pms, &format!("Guest {number}")).await;
    }
    limited.wait_for(14).await;
}

async fn what_is_given_back_unsent_counts_for_no_limit(ctx: Ctx) {
    let (pms, double, gate) = (Pms::start(&ctx).await, double().await, Gate::closed());
    let slow = json!({"rate_limit": 5, "max_concurrency": 1, "active": false});
    let path = format!("/webhooks/{}", subscribe(&pms, &double, slow).await.id());
    for number in 0..5 {
        guest(&pms, &format!("Guest {number}")).await;
    }
    until("all wait", || async {
        let status = pms.get(&format!("{path}/status")).await.expect(200);
        status.body["pending"] == 5
    })
    .await;
    double.otherwise(Answer::status(200).behind(&gate));
    pms.post(&format!("{path}/resume"), &json!({})).await.expect(200);
    double.wait_for_held(1).await;
    // Four are claimed and have not begun; by another version they are given back.
    pms.put(&path, &json!({"name": "Renamed"})).await.expect(200);
    let used = "SELECT MAX(rate_used) AS n FROM endpoints";
    gate.open(1);
    double.wait_for(2).await;
    until_count(&pms, "what has begun counts, and nothing else", used, 2).await;
    gate.open(4);
    double.wait_for(5).await;
    pms.stop().await;
}
