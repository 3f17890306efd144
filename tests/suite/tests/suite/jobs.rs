//! Jobs of other services, over real sockets: from their registration to their end, and as they are listed.

mod registrations;
mod updates;

use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, number};
use crate::programs;
use db::params;
use harness::config::{BASE_PATH, MASTER_KEY};
use harness::process::Process;
use harness::signer::Delivery;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

pub fn cases() -> Vec<Case> {
    let own = cases![
        a_job_is_followed_from_its_registration_to_its_end,
        a_source_reports_its_own_jobs_alone,
        jobs_are_listed_by_what_is_asked_for,
        the_script_of_a_service_that_reports_jobs_passes,
    ];
    let modules = [own, registrations::cases(), updates::cases()];
    modules.into_iter().flatten().collect()
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
