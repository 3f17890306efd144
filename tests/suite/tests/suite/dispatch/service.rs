//! The dispatcher as part of the service: woken, not held up, without a URL, stopped.

use std::sync::Arc;
use std::time::Duration;

use contract::Envelope;
use harness::client::Client;
use harness::engine::Engine;
use harness::receiver_double::{Answer, Gate};
use serde_json::json;
use tokio::sync::Semaphore;

use super::rig::{BEGIN, Rig, SECRETS, Setup, append, event};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    let mut all = both();
    all.extend(cases![only Engine::Mysql; what_was_in_mid_commit_when_a_url_appeared_is_delivered_too]);
    all
}

fn both() -> Vec<Case> {
    cases![
        a_guest_that_is_posted_ends_as_one_signed_request,
        is_woken_at_once_by_a_commit,
        a_slow_answer_holds_up_nobody_else,
        without_a_url_events_are_kept_and_delivered_once_there_is_one,
        f8_a_stop_finishes_what_is_in_progress_and_gives_the_rest_back,
        stopped_before_it_runs_it_claims_nothing,
    ]
}

async fn a_guest_that_is_posted_ends_as_one_signed_request(ctx: Ctx) {
    let rig = Rig::start(&ctx, Setup::default()).await;
    let client = Client::new(rig.base.as_str());
    let body = json!({"last_name": "Doe", "notes": "allergic to feathers"});
    let made = client.post("/guests", &body, "walk-in-1").await.unwrap();
    assert_eq!(made.status, 201);
    let request = rig.double.wait_for(1).await.remove(0);
    let verified = request
        .verify(&SECRETS.parse().unwrap(), BEGIN.seconds())
        .unwrap();
    let envelope = Envelope::parse(&verified).unwrap();
    assert_eq!(envelope.event_type, "guest.created");
    assert_eq!(envelope.idempotency_key.as_str(), request.id());
    let entity = envelope.entity.unwrap();
    assert_eq!(
        (entity.id.as_str(), entity.version),
        (made.body["id"].as_str().unwrap(), 1)
    );
    assert!(
        !String::from_utf8_lossy(&request.body).contains("feathers"),
        "free text stays out of events"
    );

    // A retry of the same request makes no second event.
    let again = client.post("/guests", &body, "walk-in-1").await.unwrap();
    assert_eq!(again.body["id"], made.body["id"]);
    rig.until_delivered(1).await;
    let status = client.get("/guests/webhook/status").await.unwrap().body;
    assert_eq!(
        (&status["pending"], &status["delivered"], &status["dead"]),
        (&json!(0), &json!(1), &json!(0))
    );
    let endpoint = &status["endpoints"][0];
    assert_eq!(
        (&endpoint["state"], &endpoint["breaker"]["state"]),
        (&json!("active"), &json!("closed"))
    );
    assert_eq!(endpoint["url"], rig.double.url());
    assert_eq!(
        (&endpoint["last_success_at"], &endpoint["last_error"]),
        (&json!(BEGIN), &json!(null))
    );
    let (double, _) = rig.stop().await;
    assert_eq!(double.received().len(), 1);
}

async fn is_woken_at_once_by_a_commit(ctx: Ctx) {
    // It never looks by itself.
    let rig = Rig::start(
        &ctx,
        Setup {
            look_every: Duration::from_secs(3_600),
            ..Setup::default()
        },
    )
    .await;
    for number in 0..20 {
        rig.emit(number..number + 1).await;
        rig.double.wait_for(usize::try_from(number).unwrap() + 1).await;
    }
    rig.until_delivered(20).await;
    rig.stop().await;
}

async fn a_slow_answer_holds_up_nobody_else(ctx: Ctx) {
    let rig = Rig::start(
        &ctx,
        Setup {
            concurrency: 4,
            ..Setup::default()
        },
    )
    .await;
    let gate = Gate::closed();
    rig.double.then([Answer::status(200).behind(&gate)]);
    rig.emit(0..250).await;
    let status = rig.until_delivered(249).await;
    assert_eq!((status.pending, rig.double.held()), (1, 1));
    gate.open(1);
    rig.until_delivered(250).await;
    rig.stop().await;
}

async fn without_a_url_events_are_kept_and_delivered_once_there_is_one(ctx: Ctx) {
    const KEPT: u32 = 1_203;
    let rig = Rig::start(
        &ctx,
        Setup {
            has_url: false,
            ..Setup::default()
        },
    )
    .await;
    rig.emit(0..KEPT).await;
    let status = rig.status().await;
    assert_eq!(
        (status.pending, status.url, status.subscribed),
        (0, None, false),
        "no delivery is made"
    );
    let (double, clock) = rig.stop().await;
    assert!(double.received().is_empty());

    let rig = Rig::start_with(&ctx, Setup::default(), double, clock).await;
    rig.emit(KEPT..KEPT + 1).await;
    rig.until_delivered(u64::from(KEPT) + 1).await;
    let (double, clock) = rig.stop().await;
    let received = double.received().len();
    assert_eq!(received, usize::try_from(KEPT).unwrap() + 1, "each once");

    // A start with the URL that it had queues nothing again.
    let rig = Rig::start_with(&ctx, Setup::default(), double, clock).await;
    rig.emit(KEPT + 1..KEPT + 2).await;
    rig.until_delivered(u64::from(KEPT) + 2).await;
    let (double, _) = rig.stop().await;
    assert_eq!(double.received().len(), received + 1);
}

async fn stopped_before_it_runs_it_claims_nothing(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    rig.emit(0..1).await;
    let (double, clock) = rig.stop().await;
    let stopped = Setup {
        is_stopped: true,
        ..Setup::default()
    };
    let rig = Rig::start_with(&ctx, stopped, double, clock).await;
    let (double, clock) = rig.stop().await;
    let without_url = Setup {
        has_url: false,
        ..Setup::default()
    };
    let rig = Rig::start_with(&ctx, without_url, double, clock).await;
    assert_eq!(rig.delivery(0).await.get::<i64>("epoch").unwrap(), 0);
    rig.stop().await;
}

/// On SQLite there is one writer, and so nobody in mid-commit beside the one who subscribes.
async fn what_was_in_mid_commit_when_a_url_appeared_is_delivered_too(ctx: Ctx) {
    let without_url = Setup {
        has_url: false,
        ..Setup::default()
    };
    let old = Rig::start(&ctx, without_url).await;
    let (written, goes_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (now, db) = (old.now(), old.store.db().clone());
    let late = {
        let (written, goes_on) = (written.clone(), goes_on.clone());
        tokio::spawn(async move {
            let transaction = db.transaction("late", move |tx| {
                let (written, goes_on) = (written.clone(), goes_on.clone());
                Box::pin(async move {
                    append(tx, &event(0, now)).await?;
                    written.add_permits(1);
                    let _passed = goes_on.acquire().await;
                    Ok(())
                })
            });
            transaction.await
        })
    };
    let _ = written.acquire().await.unwrap();
    // Its event is in nobody's sight, and its id is lower than those that are queued meanwhile.
    let new = Rig::start_with(&ctx, Setup::default(), old.double.clone(), old.clock.clone()).await;
    new.emit(1..3).await;
    new.until_delivered(2).await;
    goes_on.add_permits(1);
    late.await.unwrap().unwrap();
    new.until_delivered(3).await;
    old.stop().await;
    let (double, _) = new.stop().await;
    assert_eq!(double.received().len(), 3, "each once");
}

async fn f8_a_stop_finishes_what_is_in_progress_and_gives_the_rest_back(ctx: Ctx) {
    let rig = Rig::start(
        &ctx,
        Setup {
            concurrency: 1,
            ..Setup::default()
        },
    )
    .await;
    let gate = Gate::closed();
    rig.double.otherwise(Answer::status(200).behind(&gate));
    rig.emit(0..3).await;
    rig.double.wait_for_held(1).await;
    rig.lifecycle.stop();
    gate.open(1);
    let (double, clock) = rig.stop().await;
    assert_eq!(
        double.received().len(),
        1,
        "what is in progress is finished, and nothing more begins"
    );

    double.otherwise(Answer::status(200));
    let rig = Rig::start_with(&ctx, Setup::default(), double, clock).await;
    // No lease is waited for: the clock stands still.
    rig.until_delivered(3).await;
    let (double, _) = rig.stop().await;
    assert_eq!(double.received().len(), 3);
}
