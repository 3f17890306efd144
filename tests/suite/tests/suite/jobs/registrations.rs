//! Who registers a job, how often, and who sees it.

use super::{ADMIN, asked, delivery, job, job_without_receipts, sent, source, started, update};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, config, number};
use db::params;
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    cases![
        a_job_is_registered_once_before_its_updates_or_after_them,
        a_registration_that_is_sent_again_changes_nothing_and_is_no_conflict,
        a_key_sees_and_registers_jobs_of_its_properties_alone,
        a_registration_is_refused_with_its_field,
    ]
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
