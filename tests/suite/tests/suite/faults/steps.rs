//! Services as processes that die at a named step, and what the next one makes of what they left.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use contract::SecretList;
use db::params;
use harness::clock::HandClock;
use harness::database::{Database, EVENTS_ACCEPTED, SETTLED_WITHIN};
use harness::process::Process;
use harness::receiver_double::{Answer, Gate, ReceiverDouble};
use harness::signer::{self, Delivery};
use kit::random::SystemClock;
use serde_json::json;

use super::processes::{emitter, receiver};
use crate::case::{Case, Ctx, cases};
use crate::dispatch::rig::{Rig, SECRETS, Setup};
use crate::ingest::{SECRET, guest_event, number};

pub fn cases() -> Vec<Case> {
    cases![
        f1_a_post_whose_emitter_dies_around_its_commit_makes_one_event,
        f2_f3_f4_a_delivery_whose_dispatcher_dies_is_taken_over_and_settled_once,
        f6_f7_an_event_whose_receiver_dies_has_one_effect,
    ]
}

/// What a takeover waits for is far behind it.
const MUCH_LATER: Duration = Duration::from_secs(3_600);
/// SIGABRT, by which a step ends its process.
const ABORTED: i32 = 6;
/// Arms a process with a step, at its first passage.
fn armed(step: &str) -> (&'static str, String) {
    ("FAILPOINT", format!("{step}:1"))
}

/// Waits until it has died at its step.
async fn died(mut process: Process, step: &str) {
    let status = process.ended().await.unwrap();
    assert_eq!(status.signal(), Some(ABORTED), "{step}: {status:?}");
}

/// Posts a guest under a key; none when nothing answers.
async fn post_guest(process: &Process, key: &str) -> Option<signer::Answer> {
    let lines = [("content-type", "application/json"), ("idempotency-key", key)];
    let post = Delivery {
        method: "POST".to_owned(),
        path: "/api/v1/guests".to_owned(),
        headers: lines
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .to_vec(),
        body: json!({"last_name": key}).to_string().into_bytes(),
    };
    post.send(process.address()).await.ok()
}

async fn f1_a_post_whose_emitter_dies_around_its_commit_makes_one_event(ctx: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    let steps = [
        ("write.begin", false),
        ("write.inside", false),
        ("write.committed", true),
    ];
    for (nth, (step, written)) in (1..).zip(steps) {
        let process = emitter(ctx.database.url(), folder.path(), &[armed(step)]).await;
        assert!(
            post_guest(&process, step).await.is_none(),
            "{step}: nothing was confirmed"
        );
        died(process, step).await;
        let next = emitter(ctx.database.url(), folder.path(), &[]).await;
        let retried = post_guest(&next, step).await.unwrap();
        assert_eq!(retried.status, 201, "{step}");
        assert_eq!(
            retried.header("idempotency-replayed").is_some(),
            written,
            "{step}"
        );
        next.kill().await.unwrap();
        let mut database = Database::open(ctx.database.url()).await.unwrap();
        for sql in [
            "SELECT COUNT(*) AS n FROM guests",
            "SELECT COUNT(*) AS n FROM events",
            "SELECT COUNT(*) AS n FROM event_bodies",
        ] {
            assert_eq!(database.count(sql).await.unwrap(), nth, "{step}: {sql}");
        }
    }
}

async fn f2_f3_f4_a_delivery_whose_dispatcher_dies_is_taken_over_and_settled_once(ctx: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    let double = Arc::new(ReceiverDouble::start().await.unwrap());
    let later =
        contract::Clock::now(&SystemClock).plus_millis(i64::try_from(MUCH_LATER.as_millis()).unwrap());
    let clock = Arc::new(HandClock::at(later));
    // Where it dies, and how often the event has been sent by its end. `held` dies by SIGKILL with the answer outstanding.
    let steps = [
        ("fanout.inside", 1),
        ("fanout.committed", 1),
        ("claim.committed", 1),
        ("held", 2),
        ("attempt.answered", 2),
        ("settle.inside", 2),
        ("settle.committed", 1),
    ];
    let mut settled = 0;
    for (step, sent) in steps {
        let before = double.received().len();
        let gate = Gate::closed();
        double.otherwise(Answer::status(200).behind(&gate));
        if step != "held" {
            gate.open(10);
        }
        let mut variables = vec![
            ("CRM_WEBHOOK_URL", double.url()),
            ("CRM_WEBHOOK_SECRET", SECRETS.to_owned()),
        ];
        variables.extend((step != "held").then(|| armed(step)));
        let process = emitter(ctx.database.url(), folder.path(), &variables).await;
        // It may die before it answers: the event is committed all the same.
        post_guest(&process, step).await;
        if step == "held" {
            double.wait_for_held(1).await;
            process.kill().await.unwrap();
            gate.open(10);
        } else {
            died(process, step).await;
        }
        settled += 1;
        let rig = Rig::start_with(&ctx, Setup::default(), double.clone(), clock.clone()).await;
        rig.until_delivered(settled).await;
        rig.stop().await;
        let received = double.received().split_off(before);
        assert_eq!(received.len(), sent, "{step}");
        let same = |one: &harness::receiver_double::Received| (one.id().to_owned(), one.body.clone());
        assert!(
            received.iter().all(|other| same(other) == same(&received[0])),
            "{step}"
        );
    }
    let db = ctx.open().await;
    let audited = "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'delivered'";
    assert_eq!(
        number(&db, audited, params![]).await,
        i64::try_from(settled).unwrap()
    );
    db.close().await;
}

async fn f6_f7_an_event_whose_receiver_dies_has_one_effect(ctx: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    let secrets: SecretList = SECRET.parse().unwrap();
    // Where it dies, and what the retry hears.
    let steps = [
        ("delivery.unverified", 202),
        ("accept.begin", 202),
        ("accept.inside", 202),
        ("accept.committed", 200),
        ("project.inside", 200),
        ("project.between", 200),
    ];
    let send = async |process: &Process, key: &str| {
        let now = contract::Clock::now(&SystemClock).seconds();
        let signed = Delivery::signed("pms", key, &guest_event(key), &secrets, now);
        signed
            .send(process.address())
            .await
            .ok()
            .map(|answer| answer.status)
    };
    for (nth, (step, retried)) in (1..).zip(steps) {
        let key = format!("evt_{nth}");
        let process = receiver(ctx.database.url(), folder.path(), &[armed(step)]).await;
        let first = send(&process, &key).await;
        // From the commit on it may be confirmed, and only then.
        assert!(
            first.is_none() || (retried == 200 && first == Some(202)),
            "{step}: {first:?}"
        );
        died(process, step).await;
        let next = receiver(ctx.database.url(), folder.path(), &[]).await;
        assert_eq!(send(&next, &key).await, Some(retried), "{step}");
        let mut database = Database::open(ctx.database.url()).await.unwrap();
        let left = database.drained(EVENTS_ACCEPTED, SETTLED_WITHIN).await.unwrap();
        assert_eq!(left, 0, "{step}: events still wait");
        for sql in [
            "SELECT COUNT(*) AS n FROM inbox WHERE status = 'applied'",
            "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'applied'",
            "SELECT COUNT(*) AS n FROM profiles",
        ] {
            assert_eq!(database.count(sql).await.unwrap(), nth, "{step}: {sql}");
        }
        next.kill().await.unwrap();
    }
}
