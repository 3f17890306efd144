//! What is sent, and what becomes of a delivery by its answer.

use std::time::Duration;

use contract::{SecretList, UnixMillis};
use harness::client::Client;
use harness::receiver_double::Answer;
use pms_emitter::Runtime;
use pms_emitter::app::retry_dead;
use std::sync::Arc;

use super::rig::{BEGIN, Rig, SECRETS, Setup, TRACEPARENT, event, event_id};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        is_delivered_once_and_signed_with_every_secret,
        f27_f28_every_answer_has_its_outcome,
        f25_retry_after_pauses_the_whole_endpoint,
        what_a_receiver_answered_is_kept_and_not_shown,
        f26_a_410_disables_the_endpoint_and_keeps_its_queue,
        f24_is_dead_after_its_schedule_and_can_be_retried_by_hand,
    ]
}

async fn is_delivered_once_and_signed_with_every_secret(ctx: Ctx) {
    let rig = Rig::start(&ctx, Setup::default()).await;
    rig.emit(0..2).await;
    let received = rig.double.wait_for(2).await;
    rig.until_delivered(2).await;
    for request in &received {
        let number = request.id().strip_prefix("evt_").unwrap().parse().unwrap();
        assert_eq!(
            request.body,
            event(number, BEGIN).envelope.to_bytes(),
            "the bytes are those of the commit"
        );
        assert_eq!(request.path, "/hook");
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(
            request.header("user-agent"),
            concat!("pms-emitter/", env!("CARGO_PKG_VERSION"))
        );
        assert_eq!(request.header("webhook-timestamp"), BEGIN.seconds().0.to_string());
        assert_eq!(request.header("webhook-attempt"), "1");
        let traced = request
            .headers
            .get("traceparent")
            .map(|value| value.to_str().unwrap());
        assert_eq!(traced, (number % 2 == 1).then_some(TRACEPARENT));
        for secret in SECRETS.split(' ') {
            let one: SecretList = secret.parse().unwrap();
            request
                .verify(&one, BEGIN.seconds())
                .expect("each secret of a rotation verifies alone");
        }
        let other: SecretList = "some-other-secret".parse().unwrap();
        assert!(request.verify(&other, BEGIN.seconds()).is_err());
        assert_eq!(rig.audited(number).await, ["delivered"]);
    }
    let status = rig.status().await;
    assert_eq!((status.pending, status.delivered, status.dead), (0, 2, 0));
    assert_eq!((status.last_success_at, status.last_error), (Some(BEGIN), None));
    let (double, _) = rig.stop().await;
    assert_eq!(double.received().len(), 2, "nothing is sent twice");
}

async fn f27_f28_every_answer_has_its_outcome(ctx: Ctx) {
    const RETRIED: [u16; 14] = [
        301, 302, 304, 401, 403, 404, 408, 409, 425, 429, 500, 502, 503, 504,
    ];
    let answers: Vec<(Answer, &str, Option<u16>)> = [200, 201, 202, 204]
        .map(|status| (Answer::status(status), "delivered", Some(status)))
        .into_iter()
        .chain([400, 413, 415, 422].map(|status| (Answer::status(status), "dead", Some(status))))
        .chain(RETRIED.into_iter().flat_map(|status| {
            let retried = Answer::status(status).with_body("<b>no</b>");
            // Between successes, or the breaker would open.
            let delivered = || (Answer::status(200), "delivered", Some(200));
            [(retried, "pending", Some(status)), delivered(), delivered()]
        }))
        .chain([(Answer::reset(), "pending", None)])
        .collect();
    // One after the other, so that each event meets the answer meant for it.
    let rig = Rig::start(
        &ctx,
        Setup {
            concurrency: 1,
            ..Setup::default()
        },
    )
    .await;
    rig.double.then(answers.iter().map(|(answer, ..)| answer.clone()));
    let events = u32::try_from(answers.len()).unwrap();
    for number in 0..events {
        rig.emit(number..number + 1).await;
        rig.until_attempts(number, 1).await;
    }
    let counts = rig.status().await;
    let expected = |outcome: &str| answers.iter().filter(|(_, one, _)| *one == outcome).count() as u64;
    assert_eq!(
        (counts.pending, counts.delivered, counts.dead),
        (expected("pending"), expected("delivered"), 4)
    );
    for (number, (_, outcome, status)) in (0..events).zip(&answers) {
        let row = rig.delivery(number).await;
        assert_eq!(row.get::<String>("status").unwrap(), *outcome, "{status:?}");
        assert_eq!(
            row.get::<Option<i64>>("last_status").unwrap(),
            status.map(i64::from)
        );
        assert_eq!(row.get::<i64>("attempts").unwrap(), 1);
        let (due_at, owner) = (
            row.get::<UnixMillis>("due_at").unwrap(),
            row.get::<Option<String>>("owner").unwrap(),
        );
        let error: Option<String> = row.get("last_error").unwrap();
        match *outcome {
            "delivered" => assert_eq!(error, None),
            "dead" => assert_eq!(rig.audited(number).await, ["dead"]),
            _ => {
                let wait = due_at.0 - BEGIN.0;
                assert!(
                    (8_000..=12_000).contains(&wait),
                    "10 s and a fifth either way, not {wait}"
                );
                assert_eq!(owner, None);
                assert!(rig.audited(number).await.is_empty(), "a retry is no effect");
                let error = error.unwrap();
                assert!(!error.contains('<'), "{error}");
                assert_eq!(error.starts_with("status "), status.is_some(), "{error}");
            }
        }
    }
    rig.stop().await;
}

async fn what_a_receiver_answered_is_kept_and_not_shown(ctx: Ctx) {
    let rig = Rig::start(&ctx, Setup::default()).await;
    let quoting = Answer::status(500).with_body("no guest <b>Canaria</b> canary@example.com");
    rig.double.then([quoting]);
    rig.emit(0..1).await;
    rig.until_attempts(0, 1).await;
    let kept: String = rig.delivery(0).await.get("last_error").unwrap();
    assert!(
        kept.contains("canary@example.com") && !kept.contains('<'),
        "{kept}"
    );
    let client = Client::new(rig.base.as_str());
    let shown = client.get("/guests/webhook/status").await.unwrap().body;
    assert_eq!(shown["endpoints"][0]["last_error"], "status 500");
    assert!(!shown.to_string().to_lowercase().contains("canar"), "{shown}");
    rig.stop().await;
}

async fn f25_retry_after_pauses_the_whole_endpoint(ctx: Ctx) {
    let rig = Rig::start(&ctx, Setup::default()).await;
    rig.double
        .then([Answer::status(429).with_header("retry-after", "3600")]);
    rig.emit(0..1).await;
    rig.double.wait_for(1).await;
    let paused = rig.until("paused", |status| status.paused_until > BEGIN).await;
    assert_eq!(paused.paused_until, BEGIN.plus_millis(3_600_000));
    let due_at: UnixMillis = rig.delivery(0).await.get("due_at").unwrap();
    assert_eq!(
        due_at, paused.paused_until,
        "what was asked for is more than the schedule's 10 s"
    );
    rig.emit(1..3).await;
    rig.clock.advance(Duration::from_secs(3_599));
    // Woken by the commits and by this one, it finds the endpoint paused.
    rig.emit(3..4).await;
    let (double, clock) = rig.stop().await;
    assert_eq!(double.received().len(), 1, "other events wait too");
    // A restart without the operator's change of mind would be impolite, so the pause is in the table; starting again
    // is that change of mind.
    let rig = Rig::start_with(&ctx, Setup::default(), double, clock).await;
    rig.double.wait_for(4).await;
    rig.clock.advance(Duration::from_secs(2));
    rig.until_delivered(4).await;
    let attempts: Vec<String> = rig
        .double
        .received()
        .iter()
        .map(|request| request.header("webhook-attempt").to_owned())
        .collect();
    assert_eq!(attempts.iter().filter(|attempt| *attempt == "2").count(), 1);
    rig.stop().await;
}

async fn f26_a_410_disables_the_endpoint_and_keeps_its_queue(ctx: Ctx) {
    let rig = Rig::start(&ctx, Setup::default()).await;
    rig.double.then([Answer::status(410)]);
    rig.emit(0..1).await;
    rig.until("disabled", |status| {
        status.disabled_reason.as_deref() == Some("gone")
    })
    .await;
    rig.emit(1..3).await;
    let status = rig.status().await;
    assert_eq!((status.pending, status.dead), (3, 0), "events go on being queued");
    let audited = rig
        .rows(
            "SELECT source FROM audit_entries WHERE action = ?",
            "endpoint_disabled".to_owned(),
        )
        .await;
    assert_eq!(audited.len(), 1);
    let (double, clock) = rig.stop().await;
    assert_eq!(double.received().len(), 1);
    let rig = Rig::start_with(&ctx, Setup::default(), double, clock).await;
    rig.until_delivered(3).await;
    assert_eq!(rig.status().await.disabled_reason, None);
    let row = rig.delivery(0).await;
    assert_eq!(
        (row.get("attempts"), row.get("attempts_before")),
        (Ok(2_i64), Ok(1_i64)),
        "the 410 cost no attempt"
    );
    rig.stop().await;
}

async fn f24_is_dead_after_its_schedule_and_can_be_retried_by_hand(ctx: Ctx) {
    let rig = Rig::start(&ctx, Setup::default()).await;
    rig.double.otherwise(Answer::status(500).with_body("no room"));
    rig.emit(0..1).await;
    for (requests, wait) in [(1, 13), (2, 25)] {
        rig.double.wait_for(requests).await;
        rig.until_attempts(0, i64::try_from(requests).unwrap()).await;
        rig.clock.advance(Duration::from_secs(wait));
    }
    // The numbers of a status are read one after the other: both are waited for.
    rig.until("dead", |status| (status.pending, status.dead) == (0, 1))
        .await;
    assert_eq!(rig.double.received().len(), 3);
    assert_eq!(rig.audited(0).await, ["dead"]);
    let died_at = rig.now();

    rig.double.otherwise(Answer::status(200));
    let runtime = Runtime {
        clock: rig.clock.clone(),
        entropy: Arc::new(kit::random::SystemEntropy),
    };
    let later = died_at.plus_millis(1);
    assert_eq!(
        retry_dead(&rig.store, &runtime, later).await.unwrap(),
        0,
        "only those that died since"
    );
    // What dies after a run began is none of its business, or it would retry the same one without end.
    rig.clock.advance(Duration::from_secs(60));
    let before = died_at.plus_millis(-1);
    let retried = rig.store.retry_dead(UnixMillis(0)..=before, rig.now());
    assert_eq!(retried.await.unwrap().count, 0, "only those that died until then");
    assert_eq!(retry_dead(&rig.store, &runtime, died_at).await.unwrap(), 1);
    rig.until_delivered(1).await;
    let numbers: Vec<String> = rig
        .double
        .received()
        .iter()
        .map(|request| request.header("webhook-attempt").to_owned())
        .collect();
    assert_eq!(numbers, ["1", "2", "3", "4"]);
    assert_eq!(rig.audited(0).await, ["dead", "dead_retried", "delivered"]);
    let sql = "SELECT number, status, answer FROM delivery_attempts WHERE event_id = ? ORDER BY number";
    let attempts = rig.rows(sql, event_id(0)).await;
    let statuses: Vec<i64> = attempts.iter().map(|row| row.get("status").unwrap()).collect();
    assert_eq!(statuses, [500, 500, 500, 200]);
    assert_eq!(attempts[0].get::<String>("answer").unwrap(), "no room");
    rig.stop().await;
}
