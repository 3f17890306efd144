//! Jobs of other services, over real sockets: what their updates come to in any order, who registers and who sees them.

use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, config, execute, number, proxied, proxy_before};
use crate::programs;
use crm_receiver::config::Config;
use crm_receiver::store::{INTERMEDIATE_UPDATES_MAX, TERMINAL_UPDATES_MAX};
use db::params;
use futures::future::join_all;
use harness::config::{BASE_PATH, MASTER_KEY};
use harness::engine::Engine;
use harness::fault_proxy::Mode;
use harness::process::Process;
use harness::seeded::{DEFAULT_SEED, Purpose, SeededRng};
use harness::signer::Delivery;
use harness::waiting::until;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        a_job_is_followed_from_its_registration_to_its_end,
        updates_in_any_order_end_in_the_same_job,
        a_repeat_is_a_duplicate_and_what_comes_after_the_end_is_stale,
        an_earlier_end_that_comes_later_stands_for_ever,
        a_job_is_registered_once_before_its_updates_or_after_them,
        a_registration_that_is_sent_again_changes_nothing_and_is_no_conflict,
        what_is_no_update_is_refused_with_its_reasons,
        a_source_reports_its_own_jobs_alone,
        a_key_sees_and_registers_jobs_of_its_properties_alone,
        a_registration_is_refused_with_its_field,
        jobs_are_listed_by_what_is_asked_for,
        so_many_updates_of_a_job_are_kept_and_no_more,
        updates_are_counted_as_deliveries_of_their_source,
        the_script_of_a_service_that_reports_jobs_passes,
    ];
    all.extend(cases![only Engine::Mysql;
        two_replicas_take_the_updates_of_one_job_at_once,
        an_unknown_commit_of_an_update_is_looked_up_and_a_silent_database_is_not_waited_for,
    ]);
    all
}

const SECRET: &str = "the-secret-of-a-service-with-jobs";
const ADMIN: &str = "an-admin-key-of-the-suite-that-is-long";
/// Unix seconds of the first update of a job.
const BEGUN: i64 = 1_763_769_600;

/// The answer, which must have this status.
async fn asked(receiver: &Receiver, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
    let answer = receiver.ask(None, method, path, body.as_ref()).await;
    assert_eq!(
        answer.status,
        status,
        "{method} {path} {body:?}: {}",
        answer.json()
    );
    answer.json()
}

fn secret_of(source: &str) -> String {
    format!("{SECRET}-{source}")
}

/// A source of jobs, which shows [`secret_of`] it.
async fn source(receiver: &Receiver, key: Option<&str>, id: &str, properties: Value) {
    let body = json!({"id": id, "name": id, "scheme": "job-status", "property_ids": properties});
    let made = receiver.ask(key, "POST", "/sources", Some(&body)).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let secret = json!({"secret": secret_of(id)});
    let path = format!("/sources/{id}/rotate-secret");
    assert_eq!(receiver.ask(key, "POST", &path, Some(&secret)).await.status, 201);
}

async fn started(ctx: &Ctx) -> Receiver {
    let receiver = Receiver::start(ctx).await;
    source(&receiver, None, "images", json!("*")).await;
    receiver
}

fn delivery(source: &str, body: &impl ToString) -> Delivery {
    Delivery::bare("POST", format!("{BASE_PATH}/webhooks/{source}"))
        .with("content-type", "application/json")
        .with("x-webhook-secret", secret_of(source))
        .with_body(body.to_string())
}

async fn sent(receiver: &Receiver, update: &Value) -> Value {
    let answer = receiver.send(&delivery("images", update)).await;
    assert_eq!(answer.status, 200, "{update}: {}", answer.json());
    answer.json()
}

/// An update of a job, so many seconds after it has begun.
fn update(job: &str, status: &str, seconds: i64) -> Value {
    let mut update = json!({"job_id": job, "status": status, "timestamp": BEGUN + seconds});
    match status {
        "completed" => {
            update["data"] = json!({"images": [{"url": "u"}], "metadata": {"seed": 7}, "took": seconds});
        }
        "failed" => update["error_message"] = json!(format!("no memory at {seconds}")),
        _ => {}
    }
    update
}

async fn job(receiver: &Receiver, job: &str) -> Value {
    asked(receiver, "GET", &format!("/jobs/{job}"), None, 200).await
}

/// A job without what depends on when its updates came.
async fn job_without_receipts(receiver: &Receiver, id: &str) -> Value {
    let mut job = job(receiver, id).await;
    for name in ["job_id", "created_at", "updated_at"] {
        job.as_object_mut().unwrap().remove(name);
    }
    for entry in job["history"].as_array_mut().unwrap() {
        entry.as_object_mut().unwrap().remove("received_at");
    }
    job
}

async fn a_job_is_followed_from_its_registration_to_its_end(ctx: Ctx) {
    let receiver = started(&ctx).await;
    let asked_for = json!({"source": "images", "job_id": "job_1", "user_id": "ana", "prompt": "a hotel", "size": "1024x1024",
        "format": "png", "style": "photo", "quality": "high", "count": 2, "metadata": {"room": 7}});
    let answer = receiver.ask(None, "POST", "/jobs", Some(&asked_for)).await;
    assert_eq!(answer.status, 201);
    assert_eq!(
        answer.header("location"),
        Some("/api/v1/jobs/job_1?source=images")
    );
    let registered = answer.json();
    assert_eq!(job(&receiver, "job_1").await, registered);
    let registration = json!({"prompt": "a hotel", "size": "1024x1024", "format": "png", "style": "photo", "quality": "high",
        "count": 2, "metadata": {"room": 7}});
    assert_eq!(registered["registration"], registration);
    assert_eq!(
        (
            &registered["status"],
            &registered["progress"],
            &registered["user_id"]
        ),
        (&json!("pending"), &json!(0), &json!("ana"))
    );
    assert_eq!(
        (&registered["timestamp"], &registered["history"]),
        (&Value::Null, &json!([]))
    );
    for (seconds, status, progress) in [(1, "initializing", 10), (2, "generating", 50), (4, "saving", 90)] {
        let answer = sent(&receiver, &update("job_1", status, seconds)).await;
        let meant =
            json!({"status": "accepted", "job_id": "job_1", "job_status": status, "duplicate": false});
        assert_eq!(answer, meant);
        assert_eq!(job(&receiver, "job_1").await["progress"], progress);
    }
    let mut generating = update("job_1", "generating", 3);
    generating["data"] = json!({"progress": 66});
    assert_eq!(sent(&receiver, &generating).await["job_status"], "saving");
    sent(&receiver, &update("job_1", "completed", 5)).await;
    let job = job(&receiver, "job_1").await;
    assert_eq!(
        (&job["status"], &job["progress"]),
        (&json!("completed"), &json!(100))
    );
    assert_eq!(job["timestamp"], "2025-11-22T00:00:05.000Z");
    assert_eq!(
        (&job["images"], &job["metadata"]),
        (&json!([{"url": "u"}]), &json!({"seed": 7}))
    );
    assert_eq!((&job["data"], &job["error"]), (&json!({"took": 5}), &Value::Null));
    assert_eq!(job["registration"], registration);
    let history: Vec<_> = job["history"].as_array().unwrap().iter().collect();
    let shown: Vec<_> = history
        .iter()
        .map(|entry| (&entry["status"], &entry["progress"], &entry["outcome"]))
        .collect();
    let superseded = json!("superseded");
    assert_eq!(
        shown,
        [
            (&json!("initializing"), &json!(10), &superseded),
            (&json!("generating"), &json!(50), &superseded),
            (&json!("generating"), &json!(66), &superseded),
            (&json!("saving"), &json!(90), &superseded),
            (&json!("completed"), &json!(100), &json!("stands")),
        ]
    );
    let db = ctx.open().await;
    let none = "SELECT COUNT(*) AS n FROM inbox";
    assert_eq!(number(&db, none, params![]).await, 0, "an update is no event");
    let audited =
        "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'job_registered' AND entity_id = 'job_1'";
    assert_eq!(number(&db, audited, params![]).await, 1);
    receiver.stop().await;
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

async fn a_job_is_registered_once_before_its_updates_or_after_them(ctx: Ctx) {
    let receiver = started(&ctx).await;
    let updates = |job: &'static str| [update(job, "generating", 1), update(job, "completed", 3)];
    let registration = |job: &str| json!({"source": "images", "job_id": job, "property_id": "LIS01", "user_id": "ana", "count": 1});
    asked(&receiver, "POST", "/jobs", Some(registration("before")), 201).await;
    for update in updates("before") {
        sent(&receiver, &update).await;
    }
    let [first, last] = updates("between");
    sent(&receiver, &first).await;
    asked(&receiver, "POST", "/jobs", Some(registration("between")), 201).await;
    sent(&receiver, &last).await;
    for update in updates("after") {
        sent(&receiver, &update).await;
    }
    let answer = asked(&receiver, "POST", "/jobs", Some(registration("after")), 201).await;
    assert_eq!(
        (&answer["status"], &answer["user_id"]),
        (&json!("completed"), &json!("ana"))
    );
    let before = job_without_receipts(&receiver, "before").await;
    assert_eq!(before["property_id"], "LIS01");
    for other in ["between", "after"] {
        assert_eq!(job_without_receipts(&receiver, other).await, before, "{other}");
    }
    for again in ["before", "between", "after"] {
        let other = json!({"source": "images", "job_id": again, "user_id": "rui"});
        let refused = asked(&receiver, "POST", "/jobs", Some(other), 409).await;
        assert_eq!(refused["code"], "not_unique");
        assert_eq!(job(&receiver, again).await["user_id"], "ana");
    }
    receiver.stop().await;
}

async fn a_registration_that_is_sent_again_changes_nothing_and_is_no_conflict(ctx: Ctx) {
    let receiver = started(&ctx).await;
    let full = json!({"source": "images", "job_id": "full", "property_id": "LIS01", "user_id": "ana", "prompt": "a hotel",
        "count": 2, "metadata": {"room": 7, "floor": 1.50}});
    let bare = json!({"source": "images", "job_id": "bare"});
    for registration in [&full, &bare] {
        let first = asked(&receiver, "POST", "/jobs", Some(registration.clone()), 201).await;
        let again = receiver.ask(None, "POST", "/jobs", Some(registration)).await;
        assert_eq!(
            (again.status, again.header("idempotency-replayed")),
            (200, Some("true"))
        );
        assert_eq!(again.json(), first);
    }
    // By then the job is further, and its members come in another order.
    sent(&receiver, &update("full", "completed", 5)).await;
    let reordered = json!({"metadata": {"floor": 1.5, "room": 7}, "count": 2, "prompt": "a hotel", "user_id": "ana",
        "property_id": "LIS01", "job_id": "full", "source": "images", "style": null});
    let again = asked(&receiver, "POST", "/jobs", Some(reordered), 200).await;
    assert_eq!(
        (&again, &again["status"]),
        (&job(&receiver, "full").await, &json!("completed"))
    );
    for (name, other) in [
        ("property_id", json!("OPO01")),
        ("user_id", json!("rui")),
        ("user_id", json!(null)),
        ("prompt", json!("another hotel")),
        ("count", json!(null)),
        ("size", json!("1x1")),
        ("metadata", json!({"room": 7})),
    ] {
        let mut registration = full.clone();
        registration[name] = other;
        asked(&receiver, "POST", "/jobs", Some(registration), 409).await;
    }
    let same_of_another = json!({"source": "images", "job_id": "bare", "user_id": "ana"});
    asked(&receiver, "POST", "/jobs", Some(same_of_another), 409).await;
    let db = ctx.open().await;
    let audited = "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'job_registered'";
    assert_eq!(number(&db, audited, params![]).await, 2);
    let registered = "SELECT COUNT(*) AS n FROM job_registrations";
    assert_eq!(number(&db, registered, params![]).await, 2);
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

async fn a_source_reports_its_own_jobs_alone(ctx: Ctx) {
    let receiver = started(&ctx).await;
    source(&receiver, None, "videos", json!("*")).await;
    sent(&receiver, &update("j", "generating", 1)).await;
    let of_videos = receiver
        .send(&delivery("videos", &update("j", "failed", 0)))
        .await;
    assert_eq!(of_videos.json()["job_status"], "failed");
    let unclear = asked(&receiver, "GET", "/jobs/j", None, 400).await;
    assert_eq!(unclear["code"], "invalid_query");
    for (source, status) in [("images", "generating"), ("videos", "failed")] {
        let job = asked(&receiver, "GET", &format!("/jobs/j?source={source}"), None, 200).await;
        assert_eq!((&job["source"], &job["status"]), (&json!(source), &json!(status)));
    }
    asked(&receiver, "GET", "/jobs/j?source=nobody", None, 404).await;
    asked(&receiver, "GET", "/jobs/other", None, 404).await;
    receiver.stop().await;
}

async fn a_key_sees_and_registers_jobs_of_its_properties_alone(ctx: Ctx) {
    let mut config = config(ctx.url());
    config.access.admin_api_key = Some(ADMIN.parse().unwrap());
    let receiver = Receiver::start_with(config).await;
    for (id, properties) in [
        ("wide", json!("*")),
        ("porto", json!(["OPO01"])),
        ("both", json!(["LIS01", "OPO01"])),
    ] {
        source(&receiver, Some(ADMIN), id, properties).await;
    }
    let key = |name: &'static str, permissions: Value, properties: Value| json!({"name": name, "permissions": permissions, "property_ids": properties});
    let mut made = Vec::new();
    for body in [
        key("porto", json!(["jobs:write"]), json!(["OPO01"])),
        key("two", json!(["jobs:write"]), json!(["OPO01", "LIS01"])),
        key("reader", json!(["jobs:read"]), json!(["OPO01"])),
        key("stranger", json!(["events:admin"]), json!("*")),
    ] {
        let answer = receiver
            .ask(Some(ADMIN), "POST", "/api-keys", Some(&body))
            .await
            .json();
        made.push(answer["key"].as_str().unwrap().to_owned());
    }
    let [porto, two, reader, stranger] = made.try_into().unwrap();
    let registered = async |key: &str, source: &str, job: &str, property: Value| {
        let body = json!({"source": source, "job_id": job, "property_id": property});
        let answer = receiver.ask(Some(key), "POST", "/jobs", Some(&body)).await;
        let pointer = answer.json()["errors"][0]["pointer"].clone();
        (answer.status, pointer.as_str().map(str::to_owned))
    };
    let at = |name: &str| Some(format!("/{name}"));
    assert_eq!(registered(&porto, "porto", "p1", Value::Null).await, (201, None));
    assert_eq!(
        registered(&porto, "porto", "p2", json!("LIS01")).await,
        (422, at("property_id"))
    );
    assert_eq!(
        registered(&porto, "both", "b1", json!("OPO01")).await,
        (422, at("source"))
    );
    assert_eq!(
        registered(&porto, "wide", "w1", json!("OPO01")).await,
        (422, at("source"))
    );
    assert_eq!(
        registered(&two, "both", "b1", Value::Null).await,
        (422, at("property_id"))
    );
    assert_eq!(registered(&two, "both", "b1", json!("LIS01")).await, (201, None));
    assert_eq!(registered(ADMIN, "wide", "w1", json!("OPO01")).await, (201, None));
    assert_eq!(registered(ADMIN, "wide", "w2", Value::Null).await, (201, None));
    assert_eq!(registered(&reader, "porto", "p3", Value::Null).await.0, 403);
    // A job that nobody registered has its source's only property.
    let unregistered = receiver
        .send(&delivery("porto", &update("p4", "saving", 1)))
        .await;
    assert_eq!(unregistered.status, 200);

    let seen = async |key: &str| {
        let list = receiver
            .ask(Some(key), "GET", "/jobs?sort=created_at", None)
            .await
            .json();
        let list = list["data"].as_array().unwrap();
        let mut ids: Vec<_> = list
            .iter()
            .map(|job| job["job_id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        let mut shown = Vec::new();
        for id in ["b1", "p1", "p4", "w1", "w2"] {
            let answer = receiver.ask(Some(key), "GET", &format!("/jobs/{id}"), None).await;
            assert!([200, 404].contains(&answer.status));
            if answer.status == 200 {
                shown.push(id.to_owned());
            }
        }
        assert_eq!(ids, shown);
        ids
    };
    assert_eq!(seen(ADMIN).await, ["b1", "p1", "p4", "w1", "w2"]);
    assert_eq!(seen(&porto).await, ["p1", "p4", "w1"]);
    assert_eq!(seen(&reader).await, ["p1", "p4", "w1"]);
    assert_eq!(seen(&two).await, ["b1", "p1", "p4", "w1"]);
    // Of two jobs of one name, the one that is not seen is not there.
    assert_eq!(registered(ADMIN, "wide", "p1", json!("LIS01")).await, (201, None));
    assert_eq!(
        receiver.ask(Some(&porto), "GET", "/jobs/p1", None).await.status,
        200
    );
    assert_eq!(
        receiver.ask(Some(ADMIN), "GET", "/jobs/p1", None).await.status,
        400
    );
    assert_eq!(
        receiver.ask(Some(&stranger), "GET", "/jobs", None).await.status,
        403
    );
    assert_eq!(receiver.ask(None, "GET", "/jobs", None).await.status, 401);
    receiver.stop().await;
}

async fn a_registration_is_refused_with_its_field(ctx: Ctx) {
    let receiver = started(&ctx).await;
    let long = "x".repeat(10_001);
    for (name, value, code) in [
        ("source", json!("pms"), "invalid"),
        ("source", json!("nobody"), "invalid"),
        ("job_id", json!("a.b"), "invalid"),
        ("property_id", json!("lisbon"), "invalid"),
        ("user_id", json!(" ana"), "invalid"),
        ("prompt", json!(long), "length"),
        ("size", json!(""), "length"),
        ("count", json!(0), "range"),
        ("count", json!("2"), "wrong_type"),
        ("metadata", json!([]), "wrong_type"),
        ("metadata", json!({"a": "x".repeat(16 * 1024)}), "length"),
        ("colour", json!("red"), "unknown_field"),
    ] {
        let mut body = json!({"source": "images", "job_id": "j"});
        body[name] = value;
        let refused = asked(&receiver, "POST", "/jobs", Some(body), 422).await;
        assert_eq!(
            (&refused["errors"][0]["pointer"], &refused["errors"][0]["code"]),
            (&json!(format!("/{name}")), &json!(code)),
            "{name}: {refused}"
        );
    }
    asked(&receiver, "GET", "/jobs/j", None, 404).await;
    receiver.stop().await;
}

async fn jobs_are_listed_by_what_is_asked_for(ctx: Ctx) {
    let receiver = started(&ctx).await;
    source(&receiver, None, "videos", json!(["LIS01"])).await;
    for (source, job, user) in [
        ("images", "a", "ana"),
        ("images", "b", "rui"),
        ("videos", "c", "ana"),
    ] {
        let body = json!({"source": source, "job_id": job, "user_id": user});
        asked(&receiver, "POST", "/jobs", Some(body), 201).await;
    }
    sent(&receiver, &update("b", "completed", 1)).await;
    sent(&receiver, &update("d", "generating", 1)).await;
    for (query, meant) in [
        ("", "a b c d"),
        ("user_id=ana", "a c"),
        ("source=videos", "c"),
        ("property_id=LIS01", "c"),
        ("status=pending", "a c"),
        ("status=completed", "b"),
        ("status=completed&source=videos", ""),
        ("updated_since=2025-11-22T00:00:01Z", ""),
    ] {
        for sort in ["created_at", "-updated_at"] {
            let path = format!("/jobs?sort={sort}&{query}")
                .trim_end_matches('&')
                .to_owned();
            let list = asked(&receiver, "GET", &path, None, 200).await;
            let list = list["data"].as_array().unwrap();
            let mut ids: Vec<_> = list.iter().map(|job| job["job_id"].as_str().unwrap()).collect();
            ids.sort_unstable();
            assert_eq!(ids.join(" "), meant, "{path}");
        }
    }
    let first = asked(&receiver, "GET", "/jobs?limit=3", None, 200).await;
    let cursor = first["pagination"]["next_cursor"].as_str().unwrap();
    let rest = asked(
        &receiver,
        "GET",
        &format!("/jobs?limit=3&cursor={cursor}"),
        None,
        200,
    )
    .await;
    assert_eq!(
        first["data"].as_array().unwrap().len() + rest["data"].as_array().unwrap().len(),
        4
    );
    assert!(
        first["data"][0].get("history").is_none(),
        "a list shows no histories"
    );
    for bad in ["status=done", "source=a.b", "property_id=x", "job_id=a"] {
        asked(&receiver, "GET", &format!("/jobs?{bad}"), None, 400).await;
    }
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

async fn the_script_of_a_service_that_reports_jobs_passes(ctx: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("DATABASE_URL", ctx.database.url().to_owned()),
        ("APP_PORT", "0".to_owned()),
        ("ADMIN_API_KEY", ADMIN.to_owned()),
        ("MASTER_KEY", MASTER_KEY.to_owned()),
    ];
    let process = Process::start_logging_to(Stdio::null(), &programs::receiver(), folder.path(), &variables)
        .await
        .unwrap();
    let request = |path: &str, body: Value| {
        Delivery::bare("POST", format!("{BASE_PATH}{path}"))
            .with("content-type", "application/json")
            .with("x-api-key", ADMIN)
            .with_body(body.to_string())
    };
    let made = json!({"id": "images", "name": "Images", "scheme": "job-status", "property_ids": "*"});
    for (path, body) in [
        ("/sources", made),
        (
            "/sources/images/rotate-secret",
            json!({"secret": secret_of("images")}),
        ),
    ] {
        let answer = request(path, body).send(process.address()).await.unwrap();
        assert_eq!(answer.status, 201);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/job-status.sh");
    for (secret, passes) in [
        (secret_of("images"), true),
        ("a-secret-of-nobody-at-all".to_owned(), false),
    ] {
        let run = Command::new("bash")
            .arg(&script)
            .env("API", format!("http://{}/api/v1", process.address()))
            .env("SECRET", secret)
            .env("SOURCE", "images")
            .env("KEY", ADMIN)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert_eq!(run.status.success(), passes, "{said}");
        assert_eq!(said.contains("FAILED"), !passes, "{said}");
        assert!(said.lines().count() >= 18, "{said}");
    }
    assert!(process.stop().await.unwrap().success());
}
