//! Sources and their secrets, over real sockets: what is taken from which source, and when a secret begins and ends.

mod access;
mod libraries;
mod limits;
mod master_keys;
mod pages;
mod queue_share;
mod rotation;
mod schemes;
mod stats;

use crate::case::{Case, Ctx, cases};
use crate::ingest::{NOW, Receiver, SECRET, config, event, execute, guest_event, number};
use contract::{Secret, SecretList};
use crm_receiver::config::Config;
use db::{Db, DbSettings, MigrationSet, migrate, params};
use harness::clock::HandClock;
use harness::config::BASE_PATH;
use harness::signer::{Answer, Delivery};
use kit::random::SystemEntropy;
use serde_json::{Value, json};
use std::sync::Arc;

pub fn cases() -> Vec<Case> {
    let own = cases![
        a_source_is_made_shown_changed_and_deleted,
        a_source_is_changed_only_in_the_version_that_is_expected,
        sources_are_listed_by_pages,
        what_is_no_source_is_refused_with_its_field,
        only_a_source_that_folds_brings_guests_and_each_its_own_properties,
        pms_is_the_environments_while_it_has_its_secret,
        a_source_of_the_version_before_goes_on,
    ];
    let modules = [
        own,
        rotation::cases(),
        schemes::cases(),
        pages::cases(),
        libraries::cases(),
        master_keys::cases(),
        access::cases(),
        limits::cases(),
        queue_share::cases(),
        stats::cases(),
    ];
    modules.into_iter().flatten().collect()
}

/// Sends a request of the API, without a key: from this machine, and while there is none.
async fn ask(receiver: &Receiver, method: &str, path: &str, body: Option<&Value>) -> Answer {
    ask_with(receiver, &[], method, path, body).await
}

async fn ask_with(
    receiver: &Receiver,
    headers: &[(&str, &str)],
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    let mut request = Delivery::bare(method, format!("{BASE_PATH}{path}"));
    for (name, value) in headers {
        request = request.and(name, value);
    }
    if let Some(body) = body {
        request = request
            .with("content-type", "application/json")
            .with_body(body.to_string());
    }
    receiver.send(&request).await
}

/// The answer, which must have this status.
async fn asked(receiver: &Receiver, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
    let answer = ask(receiver, method, path, body.as_ref()).await;
    let json = answer.json();
    assert_eq!(answer.status, status, "{method} {path} {body:?}: {json}");
    json
}

/// A source of that id, which brings no guests.
async fn source(receiver: &Receiver, id: &str) {
    let body = json!({"id": id, "name": id, "property_ids": "*"});
    asked(receiver, "POST", "/sources", Some(body), 201).await;
}

/// A new secret of a source, made there.
async fn rotated(receiver: &Receiver, id: &str, body: Value) -> String {
    let path = format!("/sources/{id}/rotate-secret");
    let made = asked(receiver, "POST", &path, Some(body), 201).await;
    made["secret"].as_str().unwrap().to_owned()
}

/// An event that becomes no record.
fn other_event(key: &str) -> Vec<u8> {
    event(key, "spa.booked", &json!({}))
}

/// A delivery of a source, signed with a secret.
fn signed(receiver: &Receiver, source: &str, key: &str, secret: &str) -> Delivery {
    let secrets: SecretList = secret.parse().unwrap();
    Delivery::signed(source, key, &other_event(key), &secrets, receiver.seconds())
}

/// The status that a delivery is answered with.
async fn sent(receiver: &Receiver, source: &str, key: &str, secret: &str) -> u16 {
    receiver.send(&signed(receiver, source, key, secret)).await.status
}

fn without_pms(ctx: &Ctx) -> Config {
    Config {
        secrets: None,
        ..config(ctx.url())
    }
}

async fn a_source_is_changed_only_in_the_version_that_is_expected(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let body = json!({"id": "spa", "name": "Spa", "property_ids": "*"});
    let made = ask(&receiver, "POST", "/sources", Some(&body)).await;
    let send = async |method: &str, name: &str, tag: &str, body: Option<&Value>| {
        ask_with(&receiver, &[(name, tag)], method, "/sources/spa", body).await
    };
    let first = made.header("etag").unwrap();
    assert_eq!(send("GET", "if-none-match", first, None).await.status, 304);
    let change = json!({"folds": true});
    let changed = send("PUT", "if-match", first, Some(&change)).await;
    let second = changed.header("etag").unwrap();
    assert_eq!((changed.status, &changed.json()["folds"]), (200, &json!(true)));
    let late = json!({"folds": false});
    for (method, body) in [("PUT", Some(&late)), ("DELETE", None)] {
        let refused = send(method, "if-match", first, body).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (412, &json!("precondition_failed"))
        );
        assert_eq!(send(method, "if-match", "first", body).await.status, 400);
    }
    let shown = send("GET", "if-none-match", first, None).await;
    assert_eq!((shown.status, shown.header("etag")), (200, Some(second)));
    assert_eq!(shown.json()["folds"], true);
    assert_eq!(send("DELETE", "if-match", second, None).await.status, 204);
    receiver.stop().await;
    // What the environment changes at a start is another version too.
    let mut config = config(ctx.url());
    let mut tags = Vec::new();
    for skew in [60, 60, 61] {
        config.max_skew_seconds = skew;
        let receiver = Receiver::start_with(config.clone()).await;
        let pms = ask(&receiver, "GET", "/sources/pms", None).await;
        tags.push(pms.header("etag").unwrap().to_owned());
        receiver.stop().await;
    }
    assert!(tags[0] == tags[1] && tags[1] != tags[2], "{tags:?}");
}

async fn a_source_is_made_shown_changed_and_deleted(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let body = json!({"id": "spa", "name": "Spa", "property_ids": ["LIS01"]});
    let made = ask(&receiver, "POST", "/sources", Some(&body)).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.header("location"), Some("/api/v1/sources/spa"));
    let meant = json!({
        "id": "spa", "name": "Spa", "scheme": "standard-webhooks", "max_skew_seconds": 300, "on_invalid": "reject",
        "folds": false, "property_ids": ["LIS01"], "rate_limit": null, "allowed_networks": [],
        "silent_after_seconds": null, "enabled": true, "created_at": "2025-11-22T00:00:00.000Z", "updated_at": "2025-11-22T00:00:00.000Z",
    });
    assert_eq!(made.json(), meant);
    assert_eq!(asked(&receiver, "GET", "/sources/spa", None, 200).await, meant);
    let change = json!({"id": "spa", "max_skew_seconds": 60, "on_invalid": "quarantine", "name": "The spa"});
    let changed = asked(&receiver, "PUT", "/sources/spa", Some(change), 200).await;
    assert_eq!(
        (
            &changed["max_skew_seconds"],
            &changed["on_invalid"],
            &changed["property_ids"]
        ),
        (&json!(60), &json!("quarantine"), &json!(["LIS01"]))
    );
    let secret = rotated(&receiver, "spa", json!({})).await;
    assert_eq!(sent(&receiver, "spa", "evt_1", &secret).await, 202);
    let disabled = json!({"enabled": false});
    asked(&receiver, "PUT", "/sources/spa", Some(disabled), 200).await;
    assert_eq!(sent(&receiver, "spa", "evt_2", &secret).await, 401);
    let enabled = json!({"enabled": true});
    asked(&receiver, "PUT", "/sources/spa", Some(enabled), 200).await;
    assert_eq!(sent(&receiver, "spa", "evt_2", &secret).await, 202);

    asked(&receiver, "DELETE", "/sources/spa", None, 204).await;
    assert_eq!(sent(&receiver, "spa", "evt_3", &secret).await, 401);
    for (method, path) in [
        ("GET", "/sources/spa"),
        ("DELETE", "/sources/spa"),
        ("GET", "/sources/spa/secrets"),
    ] {
        asked(&receiver, method, path, None, 404).await;
    }
    // Records and keys hang on the id, so nobody is given it again.
    let again = asked(&receiver, "POST", "/sources", Some(body), 409).await;
    assert_eq!(again["code"], "not_unique");
    let db = ctx.open().await;
    let sql = "SELECT COUNT(*) AS n FROM audit_entries WHERE actor = 'anyone (anyone)' AND entity_kind = 'source' AND entity_id = 'spa'";
    assert_eq!(number(&db, sql, params![]).await, 6);
    let sql = "SELECT COUNT(*) AS n FROM source_secrets";
    assert_eq!(number(&db, sql, params![]).await, 0);
    receiver.stop().await;
}

async fn sources_are_listed_by_pages(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for id in ["a", "b", "c"] {
        source(&receiver, id).await;
    }
    let list = asked(&receiver, "GET", "/sources?page=2&page_size=3", None, 200).await;
    assert_eq!(list["pagination"]["total"], 4);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    for bad in ["?page=0", "?status=deleted", "?page=x"] {
        asked(&receiver, "GET", &format!("/sources{bad}"), None, 400).await;
    }
    receiver.stop().await;
}

async fn what_is_no_source_is_refused_with_its_field(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    source(&receiver, "spa").await;
    let good = json!({"id": "new", "name": "New", "property_ids": "*"});
    let networks: Vec<_> = (0..33).map(|n| format!("10.0.{n}.0/24")).collect();
    for (field, value) in [
        ("id", json!("a.b")),
        ("id", json!(null)),
        ("id", json!(7)),
        ("id", json!("unknown")),
        ("name", json!("")),
        ("name", json!("a\nb")),
        ("scheme", json!("git")),
        ("max_skew_seconds", json!(0)),
        ("max_skew_seconds", json!(86_401)),
        ("max_skew_seconds", json!("300")),
        ("on_invalid", json!("ignore")),
        ("folds", json!("yes")),
        ("property_ids", json!([])),
        ("property_ids", json!("LIS01")),
        ("allowed_networks", json!(["10.0.0.0/33"])),
        ("allowed_networks", json!(networks)),
        ("enabled", json!(1)),
        ("rate_limit", json!(0)),
        ("rate_limit", json!("10")),
        ("rate_limit", json!(1_000_000_001)),
        ("rate_window", json!(60)),
        ("secret", json!(SECRET)),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let refused = asked(&receiver, "POST", "/sources", Some(body), 422).await;
        let pointer = refused["errors"][0]["pointer"].as_str().unwrap();
        assert!(
            pointer.starts_with(&format!("/{field}")),
            "{field} {value}: {refused}"
        );
        if field != "id" && !value.is_null() {
            let change = json!({field: value});
            asked(&receiver, "PUT", "/sources/spa", Some(change), 422).await;
        }
    }
    let moved = asked(
        &receiver,
        "PUT",
        "/sources/spa",
        Some(json!({"id": "other"})),
        422,
    )
    .await;
    assert_eq!(moved["errors"][0]["code"], "immutable");
    for missing in ["id", "name", "property_ids"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(missing);
        let refused = asked(&receiver, "POST", "/sources", Some(body), 422).await;
        assert_eq!(refused["errors"][0]["pointer"], format!("/{missing}"));
    }
    for body in [
        json!({"overlap_seconds": -1}),
        json!({"overlap_seconds": 604_801}),
        json!({"overlap": 1}),
        json!({"secret": 7}),
    ] {
        asked(&receiver, "POST", "/sources/spa/rotate-secret", Some(body), 422).await;
    }
    receiver.stop().await;
}

async fn only_a_source_that_folds_brings_guests_and_each_its_own_properties(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let bodies = [
        json!({"id": "spa", "name": "Spa", "property_ids": ["LIS01"], "on_invalid": "quarantine"}),
        json!({"id": "lisbon", "name": "Lisbon", "property_ids": ["LIS01"], "folds": true}),
        json!({"id": "porto", "name": "Porto", "property_ids": ["OPO01"], "folds": true}),
    ];
    let mut secrets = Vec::new();
    for body in bodies {
        let id = body["id"].as_str().unwrap().to_owned();
        asked(&receiver, "POST", "/sources", Some(body), 201).await;
        secrets.push(rotated(&receiver, &id, json!({})).await);
    }
    let mut without: Value = serde_json::from_slice(&guest_event("evt_6")).unwrap();
    without.as_object_mut().unwrap().remove("property_id");
    let unknown = event("evt_7", "guest.renamed", &json!({}));
    for (source, place, key, body, answer) in [
        (
            "spa",
            0,
            "evt_1",
            guest_event("evt_1"),
            Err(("/type", "source_does_not_fold")),
        ),
        ("spa", 0, "evt_7", unknown, Err(("/type", "source_does_not_fold"))),
        ("spa", 0, "evt_2", other_event("evt_2"), Ok(())),
        ("lisbon", 1, "evt_3", guest_event("evt_3"), Ok(())),
        (
            "porto",
            2,
            "evt_4",
            guest_event("evt_4"),
            Err(("/property_id", "not_of_this_source")),
        ),
        (
            "porto",
            2,
            "evt_5",
            other_event("evt_5"),
            Err(("/property_id", "not_of_this_source")),
        ),
        (
            "lisbon",
            1,
            "evt_6",
            without.to_string().into_bytes(),
            Err(("/property_id", "required")),
        ),
    ] {
        let own: SecretList = secrets[place].parse().unwrap();
        let delivery = Delivery::signed(source, key, &body, &own, receiver.seconds());
        let answered = receiver.send(&delivery).await;
        let error = &answered.json()["errors"][0];
        match answer {
            Ok(()) => assert_eq!(answered.status, 202, "{source} {key}: {error}"),
            Err((pointer, code)) => {
                assert_eq!(answered.status, 422, "{source} {key}");
                assert_eq!(
                    (&error["pointer"], &error["code"]),
                    (&json!(pointer), &json!(code))
                );
            }
        }
    }
    // Who cannot sign learns nothing of it.
    let forged: SecretList = secrets[1].parse().unwrap();
    let forged = Delivery::signed("spa", "evt_8", &guest_event("evt_8"), &forged, receiver.seconds());
    assert_eq!(receiver.send(&forged).await.status, 401);
    receiver.settle(&ctx).await;
    let db = ctx.open().await;
    for (sql, count) in [
        ("SELECT COUNT(*) AS n FROM inbox WHERE status = 'applied'", 1),
        ("SELECT COUNT(*) AS n FROM inbox WHERE status = 'ignored'", 1),
        ("SELECT COUNT(*) AS n FROM inbox", 2),
    ] {
        assert_eq!(number(&db, sql, params![]).await, count, "{sql}");
    }
    receiver.stop().await;
}

async fn pms_is_the_environments_while_it_has_its_secret(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let shown = asked(&receiver, "GET", "/sources/pms", None, 200).await;
    assert_eq!(
        (
            &shown["folds"],
            &shown["property_ids"],
            &shown["max_skew_seconds"]
        ),
        (&json!(true), &json!("*"), &json!(1_800))
    );
    for (method, path, body) in [
        ("PUT", "/sources/pms", Some(json!({"enabled": false}))),
        ("DELETE", "/sources/pms", None),
        ("POST", "/sources/pms/rotate-secret", Some(json!({}))),
        ("DELETE", "/sources/pms/secrets/1", None),
    ] {
        let refused = asked(&receiver, method, path, body, 409).await;
        assert_eq!(refused["code"], "managed_by_environment", "{method} {path}");
    }
    assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 202);
    receiver.stop().await;
    // Without the variable it is a source like any other, and has no secret yet.
    let receiver = Receiver::start_with(without_pms(&ctx)).await;
    assert_eq!(sent(&receiver, "pms", "evt_2", SECRET).await, 401);
    let secret = rotated(&receiver, "pms", json!({})).await;
    assert_eq!(sent(&receiver, "pms", "evt_2", &secret).await, 202);
    let narrow = json!({
        "folds": false, "property_ids": ["OPO01"], "allowed_networks": ["10.0.0.0/8"], "rate_limit": 1,
        "silent_after_seconds": 60,
    });
    asked(&receiver, "PUT", "/sources/pms", Some(narrow), 200).await;
    asked(&receiver, "DELETE", "/sources/pms", None, 204).await;
    assert_eq!(sent(&receiver, "pms", "evt_3", &secret).await, 401);
    receiver.stop().await;
    // With it again, it is the same sender as ever; neither the secret nor the limits of the tables count.
    let receiver = Receiver::start(&ctx).await;
    assert_eq!(sent(&receiver, "pms", "evt_3", &secret).await, 401);
    assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 200);
    assert_eq!(receiver.take("evt_3", &guest_event("evt_3")).await.status, 202);
    receiver.stop().await;
    let fresh = ctx.servers.fresh(ctx.engine, "no_pms").await.unwrap();
    let receiver = Receiver::start_with(Config {
        secrets: None,
        ..config(fresh.parsed())
    })
    .await;
    assert_eq!(sent(&receiver, "pms", "evt_1", SECRET).await, 401);
    asked(&receiver, "GET", "/sources/pms", None, 404).await;
    receiver.stop().await;
}

async fn a_source_of_the_version_before_goes_on(ctx: Ctx) {
    let settings = DbSettings::default();
    let db = Db::open(&ctx.url(), &settings, Arc::new(SystemEntropy))
        .await
        .unwrap();
    let before = MigrationSet {
        migrations: &crm_receiver::store::MIGRATIONS.migrations[..4],
        ..crm_receiver::store::MIGRATIONS
    };
    let clock = HandClock::at(NOW);
    migrate(&db, &[kit::tables::MIGRATIONS, before], &clock, "before")
        .await
        .unwrap();
    let insert = "INSERT INTO sources (id, scheme, max_skew_seconds, on_invalid, enabled) \
                  VALUES ('pms', 'standard-webhooks', 60, 'quarantine', 1)";
    execute(&db, insert, params![]).await;
    db.close().await;
    let receiver = Receiver::start(&ctx).await;
    let shown = asked(&receiver, "GET", "/sources/pms", None, 200).await;
    assert_eq!(
        (
            &shown["folds"],
            &shown["property_ids"],
            &shown["on_invalid"],
            &shown["name"]
        ),
        (&json!(true), &json!("*"), &json!("quarantine"), &json!("PMS"))
    );
    assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 202);
    receiver.settle(&ctx).await;
    assert_eq!(receiver.event("evt_1").await["status"], "applied");
    receiver.stop().await;
}

/// A secret as it is made here: whsec_ and the base64 of 32 bytes.
fn assert_made(secret: &str) {
    assert!(
        secret.starts_with("whsec_") && secret.len() == 50,
        "{}",
        secret.len()
    );
    assert!(secret.parse::<Secret>().is_ok());
}
