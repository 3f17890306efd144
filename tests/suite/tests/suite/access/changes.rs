//! Changes of keys: what a caller may change, what counts as a change, and who may have changed meanwhile.

use super::slow_body::SlowBody;
use super::{ADMIN, guarded, key, make, with_key};
use crate::case::{Case, Ctx, cases};
use crate::pms::Pms;
use contract::{Clock, UnixMillis};
use futures::future::join_all;
use harness::waiting::until;
use http::Method;
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    cases![
        a4_a_key_that_ends_is_bound_or_limited_makes_none_that_is_less,
        a4_a_key_that_ended_after_its_head_changes_nothing,
        a6_anyone_makes_the_first_key_alone,
        a6_of_those_who_make_the_first_key_at_once_one_does,
        a_patch_names_fields_and_writes_what_differs,
        no_change_sets_an_end_in_the_past,
        a_change_of_a_key_keeps_what_was_drawn,
        a_key_is_changed_only_in_the_version_that_is_expected,
        what_was_answered_after_a_stop_is_counted,
    ]
}

async fn a4_a_key_that_ends_is_bound_or_limited_makes_none_that_is_less(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let end = UnixMillis(pms.clock.now().0 + 3_600_000);
    let later = UnixMillis(end.0 + 1);
    let own = json!({
        "name": "bound", "permissions": ["admin"], "property_ids": "*", "expires_at": end,
        "allowed_networks": ["127.0.0.0/8"], "rate_limit": 1_000, "rate_window": 60,
    });
    let own = make(&pms, own).await.expect(201);
    let text = own.body["key"].as_str().unwrap().to_owned();
    let own_path = format!("/api-keys/{}", own.id());
    let like_own = json!({
        "name": "made", "permissions": ["read"], "property_ids": "*", "expires_at": end,
        "allowed_networks": ["127.0.0.1/32"], "rate_limit": 16, "rate_window": 1,
    });
    let made = with_key(&pms, &text, Method::POST, "/api-keys", Some(&like_own)).await;
    let made_path = format!("/api-keys/{}", made.expect(201).id());
    for (field, value) in [
        ("expires_at", json!(null)),
        ("expires_at", json!(later)),
        ("allowed_networks", json!([])),
        ("allowed_networks", json!(["127.0.0.1/32", "10.0.0.0/8"])),
        ("allowed_networks", json!(["0.0.0.0/0"])),
        ("rate_limit", json!(17)),
    ] {
        let mut body = like_own.clone();
        body[field] = value.clone();
        let refused = with_key(&pms, &text, Method::POST, "/api-keys", Some(&body)).await;
        assert_eq!(refused.expect(403).body["code"], "forbidden");
        let patch = json!({field: if field == "rate_limit" { json!(1_001) } else { value.clone() }});
        for path in [&own_path, &made_path] {
            let refused = with_key(&pms, &text, Method::PATCH, path, Some(&patch)).await;
            assert_eq!(refused.expect(403).body["code"], "forbidden", "{path} {patch}");
        }
        // A key that is less bound is not there for it.
        let less = make(&pms, body).await.expect(201);
        let less = format!("/api-keys/{}", less.id());
        for method in [Method::GET, Method::DELETE] {
            with_key(&pms, &text, method, &less, None).await.expect(404);
        }
    }
    with_key(
        &pms,
        &text,
        Method::PATCH,
        &own_path,
        Some(&json!({"rate_limit": 999})),
    )
    .await
    .expect(200);
    with_key(&pms, &text, Method::GET, &own_path, None)
        .await
        .expect(200);
    pms.stop().await;
}

async fn a4_a_key_that_ended_after_its_head_changes_nothing(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let own = json!({"name": "ends", "permissions": ["admin"], "property_ids": "*"});
    let own = make(&pms, own).await.expect(201);
    let text = own.body["key"].as_str().unwrap();
    let other = make(
        &pms,
        json!({"name": "other", "permissions": ["read"], "property_ids": "*"}),
    )
    .await;
    let other_path = format!("/api-keys/{}", other.expect(201).id());
    let body = json!({"name": "late", "permissions": ["read"], "property_ids": "*"});
    let creating = SlowBody::begin(pms.address(), ("POST", "/api-keys"), Some(text), &body).await;
    let changing = SlowBody::begin(
        pms.address(),
        ("PATCH", &other_path),
        Some(text),
        &json!({"name": "late"}),
    )
    .await;
    let deactivate = format!("/api-keys/{}/deactivate", own.id());
    with_key(&pms, ADMIN, Method::POST, &deactivate, None)
        .await
        .expect(200);
    assert_eq!((creating.finish().await, changing.finish().await), (401, 401));
    let late = "SELECT COUNT(*) AS n FROM api_keys WHERE name = 'late'";
    assert_eq!(pms.count(late).await, 0);
    pms.stop().await;
}

async fn a6_anyone_makes_the_first_key_alone(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let body = json!({"name": "first", "permissions": ["admin"], "property_ids": "*"});
    let late = SlowBody::begin(pms.address(), ("POST", "/api-keys"), None, &body).await;
    let first = pms.post("/api-keys", &body).await.expect(201);
    assert_eq!(late.finish().await, 401);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM api_keys").await, 1);
    assert_eq!(first.body["created_by"], "anyone (anyone)");
    pms.stop().await;
}

async fn a6_of_those_who_make_the_first_key_at_once_one_does(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let body = json!({"name": "first", "permissions": ["admin"], "property_ids": "*"});
    let all = join_all((0..8).map(|_| pms.post("/api-keys", &body))).await;
    let mut made: Vec<u16> = all.iter().map(|answer| answer.status).collect();
    made.sort_unstable();
    assert_eq!(made, [201, 401, 401, 401, 401, 401, 401, 401]);
    pms.stop().await;
}

/// The fields of each change of keys, in its order, as the audit log has them.
async fn changes(pms: &Pms) -> Vec<Value> {
    let rows = pms.db.read("changes", |tx| {
        Box::pin(async {
            let sql = "SELECT changed FROM audit_entries WHERE action = 'api_key_changed' ORDER BY id";
            tx.query(sql, db::Params::new()).await
        })
    });
    let rows = rows.await.unwrap();
    rows.iter()
        .map(|row| serde_json::from_str(&row.get::<String>("changed").unwrap()).unwrap())
        .collect()
}

async fn a_patch_names_fields_and_writes_what_differs(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let made = make(
        &pms,
        json!({"name": "k", "permissions": ["read"], "property_ids": "*"}),
    )
    .await;
    let made = made.expect(201).body;
    let path = format!("/api-keys/{}", made["id"].as_str().unwrap());
    let patch = async |patch: Value| with_key(&pms, ADMIN, Method::PATCH, &path, Some(&patch)).await;
    for (unknown, pointer) in [
        ("a text of\nthe client", "/a text of\nthe client"),
        ("scope", "/scope"),
        ("a/b", "/a~1b"),
    ] {
        for value in [json!(null), json!(1)] {
            let refused = patch(json!({unknown: value})).await.expect(422);
            assert_eq!(refused.errors(), [(pointer, "unknown_field")]);
        }
    }
    let same = patch(json!({"name": "k", "expires_at": null, "rate_limit": 1_000}))
        .await
        .expect(200);
    assert_eq!(same.body["updated_at"], made["updated_at"]);
    assert_eq!(changes(&pms).await, Vec::<Value>::new());
    patch(json!({"name": "other", "rate_limit": 1_000, "rate_window": 60}))
        .await
        .expect(200);
    assert_eq!(changes(&pms).await, [json!(["name", "rate_window"])]);
    pms.stop().await;
}

async fn no_change_sets_an_end_in_the_past(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let end = UnixMillis(pms.clock.now().0 + 1_000);
    let made = json!({"name": "k", "permissions": ["read"], "property_ids": "*", "expires_at": end});
    let path = format!("/api-keys/{}", make(&pms, made).await.expect(201).id());
    let patch = async |patch: Value| with_key(&pms, ADMIN, Method::PATCH, &path, Some(&patch)).await;
    let past = patch(json!({"expires_at": "2020-01-01T00:00:00Z"}))
        .await
        .expect(422);
    assert_eq!(past.errors(), [("/expires_at", "in_the_past")]);
    // What has ended may still be named.
    pms.clock.advance(std::time::Duration::from_secs(2));
    patch(json!({"name": "ended", "expires_at": end}))
        .await
        .expect(200);
    pms.stop().await;
}

async fn a_change_of_a_key_keeps_what_was_drawn(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let made = json!({"name": "k", "permissions": ["read"], "property_ids": "*", "rate_limit": 100});
    let made = make(&pms, made).await.expect(201);
    let text = made.body["key"].as_str().unwrap();
    let path = format!("/api-keys/{}", made.id());
    for number in 0..3 {
        with_key(&pms, text, Method::GET, "/guests", None)
            .await
            .expect(200);
        let patch = json!({"name": format!("k{number}")});
        with_key(&pms, ADMIN, Method::PATCH, &path, Some(&patch))
            .await
            .expect(200);
    }
    assert_eq!(pms.count("SELECT drawn AS n FROM api_key_windows").await, 5);
    pms.stop().await;
}

async fn a_key_is_changed_only_in_the_version_that_is_expected(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let made = make(
        &pms,
        json!({"name": "k", "permissions": ["read"], "property_ids": "*"}),
    )
    .await;
    let made = made.expect(201);
    let path = format!("/api-keys/{}", made.id());
    let send = async |method: Method, path: &str, name: &str, tag: &str| {
        let body = (method == Method::PATCH).then(|| json!({"rate_limit": 10}));
        let headers = [("x-api-key", ADMIN), (name, tag)];
        pms.send(method, path, &headers, body.as_ref()).await
    };
    let (first, deactivate) = (made.header("etag").to_owned(), format!("{path}/deactivate"));
    send(Method::GET, &path, "if-none-match", &first)
        .await
        .expect(304);
    // What it was used for is shown with it, and is another tag of the same version.
    let text = made.body["key"].as_str().unwrap();
    with_key(&pms, text, Method::GET, "/guests", None)
        .await
        .expect(200);
    until("it is counted", || async {
        send(Method::GET, &path, "if-none-match", &first).await.status == 200
    })
    .await;
    let changed = send(Method::PATCH, &path, "if-match", &first).await.expect(200);
    let second = changed.header("etag").to_owned();
    for (method, path) in [
        (Method::PATCH, &path),
        (Method::POST, &deactivate),
        (Method::DELETE, &path),
    ] {
        let refused = send(method.clone(), path, "if-match", &first).await.expect(412);
        assert_eq!(refused.body["code"], "precondition_failed", "{method}");
        let malformed = send(method, path, "if-match", "second").await.expect(400);
        assert_eq!(malformed.body["code"], "invalid_if_match");
    }
    let shown = send(Method::GET, &path, "accept", "*/*").await.expect(200);
    assert_eq!(
        (&shown.body["active"], shown.header("etag")),
        (&json!(true), second.as_str())
    );
    let ended = send(Method::POST, &deactivate, "if-match", &second)
        .await
        .expect(200);
    let third = ended.header("etag").to_owned();
    send(Method::DELETE, &path, "if-match", &second).await.expect(412);
    send(Method::DELETE, &path, "if-match", &third).await.expect(204);
    send(Method::DELETE, &path, "if-match", "*").await.expect(404);
    pms.stop().await;
}

async fn what_was_answered_after_a_stop_is_counted(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let text = key(&pms, &["write"], json!("*")).await;
    let guest = json!({"first_name": "Ana", "last_name": "Silva"});
    let late = SlowBody::begin(pms.address(), ("POST", "/guests"), Some(&text), &guest).await;
    let (address, db) = (pms.address().to_owned(), ctx.open().await);
    let finish = async {
        // It has heard of the stop once it takes no connection.
        until("it takes no connection", || async {
            tokio::net::TcpStream::connect(&address).await.is_err()
        })
        .await;
        late.finish().await
    };
    let (status, ()) = tokio::join!(finish, pms.stop());
    assert_eq!(status, 201);
    let count = db.read("count", |tx| {
        Box::pin(tx.query_one("SELECT SUM(usage_count) AS n FROM api_keys", db::Params::new()))
    });
    let row = count.await.unwrap().unwrap();
    assert_eq!(row.get::<i64>("n").unwrap(), 1);
    db.close().await;
}
