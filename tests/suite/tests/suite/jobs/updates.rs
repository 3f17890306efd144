//! What the updates of a job come to, in any order and on any replica, and which are refused.

use super::{BEGUN, asked, delivery, job, job_without_receipts, sent, source, started, update};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, config, execute, number, proxied, proxy_before};
use crm_receiver::config::Config;
use crm_receiver::store::{INTERMEDIATE_UPDATES_MAX, TERMINAL_UPDATES_MAX};
use db::params;
use futures::future::join_all;
use harness::engine::Engine;
use harness::fault_proxy::Mode;
use harness::seeded::{DEFAULT_SEED, Purpose, SeededRng};
use harness::waiting::until;
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        updates_in_any_order_end_in_the_same_job,
        a_repeat_is_a_duplicate_and_what_comes_after_the_end_is_stale,
        an_earlier_end_that_comes_later_stands_for_ever,
        what_is_no_update_is_refused_with_its_reasons,
        so_many_updates_of_a_job_are_kept_and_no_more,
        updates_are_counted_as_deliveries_of_their_source,
    ];
    all.extend(cases![only Engine::Mysql;
        two_replicas_take_the_updates_of_one_job_at_once,
        an_unknown_commit_of_an_update_is_looked_up_and_a_silent_database_is_not_waited_for,
    ]);
    all
}

async fn updates_in_any_order_end_in_the_same_job(ctx: Ctx) {
    let receiver = started(&ctx).await;
    // No two ends are of the same time: which of these stands is decided by a key of the source and the whole body, in which the
    // jobs here differ.
    let statuses = [
        ("pending", 0),
        ("generating", 2),
        ("saving", 2),
        ("failed", 5),
        ("completed", 4),
        ("failed", 6),
        ("generating", 7),
    ];
    let mut rng = SeededRng::new(DEFAULT_SEED, Purpose::Person, 9);
    let mut jobs = Vec::new();
    for round in 0..8 {
        let id = format!("round_{round}");
        let mut updates: Vec<_> = statuses
            .map(|(status, seconds)| update(&id, status, seconds))
            .into();
        updates.extend(updates.clone());
        while !updates.is_empty() {
            let next = rng.below(updates.len());
            sent(&receiver, &updates.swap_remove(next)).await;
        }
        jobs.push(job_without_receipts(&receiver, &id).await);
    }
    assert!(jobs.iter().all(|job| *job == jobs[0]), "{jobs:#?}");
    assert_eq!(
        (&jobs[0]["status"], &jobs[0]["data"]),
        (&json!("completed"), &json!({"took": 4}))
    );
    let history = jobs[0]["history"].as_array().unwrap();
    let outcomes: Vec<_> = history
        .iter()
        .map(|entry| entry["outcome"].as_str().unwrap())
        .collect();
    let meant = [
        "superseded",
        "superseded",
        "superseded",
        "stands",
        "stale",
        "stale",
        "stale",
    ];
    assert_eq!(outcomes, meant);
    receiver.stop().await;
}

async fn a_repeat_is_a_duplicate_and_what_comes_after_the_end_is_stale(ctx: Ctx) {
    let receiver = started(&ctx).await;
    let completed = update("j", "completed", 5);
    let first = receiver.send(&delivery("images", &completed)).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None));
    let before = job(&receiver, "j").await;
    let again = receiver.send(&delivery("images", &completed)).await;
    assert_eq!(
        (again.status, again.header("idempotency-replayed")),
        (200, Some("true"))
    );
    let meant = json!({"status": "accepted", "job_id": "j", "job_status": "completed", "duplicate": true});
    assert_eq!(again.json(), meant);
    assert_eq!(job(&receiver, "j").await, before, "a repeat changes nothing");
    for late in [
        update("j", "saving", 4),
        update("j", "saving", 6),
        update("j", "failed", 6),
        update("j", "completed", 7),
    ] {
        for duplicate in [false, true] {
            let meant =
                json!({"status": "stale", "job_id": "j", "job_status": "completed", "duplicate": duplicate});
            assert_eq!(sent(&receiver, &late).await, meant, "{late}");
        }
    }
    let after = job(&receiver, "j").await;
    assert_eq!(
        (&after["data"], &after["timestamp"]),
        (&before["data"], &before["timestamp"])
    );
    let outcomes = after["history"].as_array().unwrap().iter();
    let outcomes: Vec<_> = outcomes.map(|entry| entry["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["superseded", "stands", "stale", "stale", "stale"]);
    receiver.stop().await;
}

async fn an_earlier_end_that_comes_later_stands_for_ever(ctx: Ctx) {
    let receiver = started(&ctx).await;
    for (end, status) in [
        (update("j", "failed", 9), "failed"),
        (update("j", "completed", 8), "completed"),
        (update("j", "failed", 7), "failed"),
    ] {
        let answer = sent(&receiver, &end).await;
        assert_eq!(
            (&answer["status"], &answer["job_status"]),
            (&json!("accepted"), &json!(status))
        );
    }
    let job = job(&receiver, "j").await;
    assert_eq!(
        (&job["error"], &job["progress"], &job["images"], &job["data"]),
        (&json!("no memory at 7"), &Value::Null, &Value::Null, &Value::Null)
    );
    let db = ctx.open().await;
    let results = "SELECT COUNT(*) AS n FROM job_results";
    assert_eq!(
        number(&db, results, params![]).await,
        0,
        "what lost stands never again"
    );
    receiver.stop().await;
}

async fn what_is_no_update_is_refused_with_its_reasons(ctx: Ctx) {
    let receiver = started(&ctx).await;
    for (body, pointer, code) in [
        (update("a b", "pending", 0).to_string(), "/job_id", "invalid"),
        (update("j", "done", 0).to_string(), "/status", "unknown_value"),
        (
            json!({"job_id": "j", "status": "pending"}).to_string(),
            "/timestamp",
            "required",
        ),
        (
            json!({"job_id": "j", "status": "completed", "timestamp": BEGUN}).to_string(),
            "/data",
            "required",
        ),
        (
            json!({"job_id": "j", "status": "failed", "timestamp": BEGUN}).to_string(),
            "/error_message",
            "required",
        ),
        ("[]".to_owned(), "", "wrong_type"),
        ("{".to_owned(), "", "invalid_json"),
    ] {
        let refused = receiver.send(&delivery("images", &body)).await;
        let answer = refused.json();
        assert_eq!(
            (refused.status, &answer["code"]),
            (400, &json!("invalid_job_status")),
            "{body}"
        );
        assert_eq!(
            (&answer["errors"][0]["pointer"], &answer["errors"][0]["code"]),
            (&json!(pointer), &json!(code)),
            "{body}"
        );
    }
    let good = delivery("images", &update("j", "pending", 0));
    let forged = receiver
        .send(&good.clone().with("x-webhook-secret", "another-secret-of-nobody"))
        .await;
    assert_eq!(forged.status, 401);
    let rejections = asked(&receiver, "GET", "/jobs", None, 200).await;
    assert_eq!(rejections["data"], json!([]), "nothing of these is kept");
    assert_eq!(receiver.send(&good).await.status, 200);
    receiver.stop().await;
}

async fn so_many_updates_of_a_job_are_kept_and_no_more(ctx: Ctx) {
    let receiver = started(&ctx).await;
    let db = ctx.open().await;
    sent(&receiver, &update("j", "generating", 0)).await;
    let full = "UPDATE jobs SET intermediate_updates = ?, terminal_updates = ?";
    execute(
        &db,
        full,
        params![INTERMEDIATE_UPDATES_MAX - 1, TERMINAL_UPDATES_MAX - 1],
    )
    .await;
    sent(&receiver, &update("j", "saving", 1)).await;
    let refused = async |update: &Value| {
        let answer = receiver.send(&delivery("images", update)).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (400, &json!("too_many_updates"))
        );
    };
    refused(&update("j", "saving", 2)).await;
    // What is kept is a repeat all the same, and a job ends however much was said before.
    assert_eq!(
        sent(&receiver, &update("j", "saving", 1)).await["duplicate"],
        true
    );
    sent(&receiver, &update("j", "completed", 3)).await;
    refused(&update("j", "failed", 2)).await;
    let job = job(&receiver, "j").await;
    assert_eq!(
        (&job["status"], job["history"].as_array().unwrap().len()),
        (&json!("completed"), 3)
    );
    receiver.stop().await;
}

async fn updates_are_counted_as_deliveries_of_their_source(ctx: Ctx) {
    let receiver = started(&ctx).await;
    for body in [
        update("j", "saving", 1),
        update("j", "saving", 1),
        update("j", "completed", 2),
        update("j", "done", 3),
    ] {
        receiver.send(&delivery("images", &body)).await;
    }
    let stats = asked(&receiver, "GET", "/sources/images/stats", None, 200).await;
    assert_eq!((&stats["accepted"], &stats["duplicate"]), (&json!(2), &json!(1)));
    assert_eq!(stats["rejected"], json!({"invalid_job_status": 1}));
    let page = receiver.metrics().await;
    let accepts = |answer: &str| {
        page.value(&format!(
            "crm_receiver_ingest_accepts_total{{answer=\"{answer}\"}}"
        ))
    };
    assert_eq!((accepts("new"), accepts("duplicate")), (2.0, 1.0));
    let rejects = "crm_receiver_ingest_rejects_total{cause=\"invalid_job_status\"}";
    assert_eq!(page.value(rejects), 1.0);
    // As often as its rate, and no more.
    let rate = json!({"rate_limit": 1});
    asked(&receiver, "PUT", "/sources/images", Some(rate), 200).await;
    receiver.clock.advance(std::time::Duration::from_secs(60));
    sent(&receiver, &update("k", "saving", 1)).await;
    let refused = receiver
        .send(&delivery("images", &update("k", "completed", 2)))
        .await;
    assert_eq!(refused.status, 429);
    receiver.stop().await;
}

/// Two services on one database, as replicas are.
async fn two_replicas_take_the_updates_of_one_job_at_once(ctx: Ctx) {
    let one = started(&ctx).await;
    let other = Receiver::start_with(Config { ..config(ctx.url()) }).await;
    const ROUNDS: i64 = 12;
    let updates: Vec<_> = (0..ROUNDS)
        .flat_map(|seconds| {
            let ends = [
                update("j", "completed", 50 - seconds),
                update("j", "failed", 50 - seconds),
            ];
            [update("j", "generating", seconds)].into_iter().chain(ends)
        })
        .collect();
    let answers = join_all(updates.iter().flat_map(|update| {
        [&one, &other].map(|receiver| async move { receiver.send(&delivery("images", update)).await })
    }))
    .await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let repeated = answers.iter().filter(|answer| answer.json()["duplicate"] == true);
    assert_eq!(repeated.count(), updates.len(), "each is new once");
    let seen = job(&one, "j").await;
    assert_eq!(seen, job(&other, "j").await);
    assert_eq!(seen["timestamp"], "2025-11-22T00:00:39.000Z", "the earliest end");
    assert_eq!(seen["history"].as_array().unwrap().len(), updates.len());
    let db = ctx.open().await;
    let counted = "SELECT intermediate_updates * 1000 + terminal_updates AS n FROM jobs";
    assert_eq!(number(&db, counted, params![]).await, 1_000 * ROUNDS + 2 * ROUNDS);
    one.stop().await;
    other.stop().await;
}

async fn an_unknown_commit_of_an_update_is_looked_up_and_a_silent_database_is_not_waited_for(ctx: Ctx) {
    let proxy = proxy_before(&ctx).await;
    let receiver = Receiver::start_with(config(proxied(&ctx, &proxy))).await;
    source(&receiver, None, "images", json!("*")).await;
    for (seconds, mode) in [(1, Mode::CutAfterCommit), (2, Mode::CutBeforeCommit)] {
        proxy.set(mode);
        let update = update("j", "saving", seconds);
        for duplicate in [false, true] {
            let answer = sent(&receiver, &update).await;
            assert_eq!(answer["duplicate"], json!(duplicate), "{mode:?}");
        }
    }
    proxy.set(Mode::BlackHole);
    // The first wait for their deadline, and find out for all others.
    let end = delivery("images", &update("j", "completed", 3));
    let first = join_all((0..4).map(|_| receiver.send(&end))).await;
    assert!(first.iter().all(|answer| answer.status == 503), "{first:?}");
    let reading = receiver.get("/jobs/j");
    let refusing = async {
        for _ in 0..10 {
            let refused = receiver.send(&end).await;
            assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
        }
    };
    tokio::select! {
        biased;
        answer = reading => panic!("updates wait for the database, as this did: {answer:?}"),
        () = refusing => {}
    }
    proxy.set(Mode::Forward);
    proxy.cut_now();
    until("it is taken", || async {
        receiver.send(&end).await.status == 200
    })
    .await;
    assert_eq!(
        sent(&receiver, &update("j", "completed", 3)).await["duplicate"],
        true
    );
    receiver.stop().await;
}
