//! Keys themselves: when one is asked for, what ends one, what it grants, and where its text is.

use super::{ADMIN, guarded, key, make, with_key};
use crate::case::{Case, Ctx, cases};
use crate::pms::Pms;
use crate::settings::{BOTH, Start};
use contract::{Clock, Ids, UnixMillis};
use db::Params;
use harness::waiting::until;
use http::Method;
use kit::access::{
    KeyMaker, KeyPrefix,
    command::{self, KeysCommand},
};
use kit::random::SystemEntropy;
use pms_emitter::http::KEY_TERMS;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};

pub fn cases() -> Vec<Case> {
    let mut cases = cases![
        a6_an_ended_key_or_one_in_the_query_is_401,
        a5_a_key_is_shown_once_and_kept_as_its_digest,
        a6_without_a_key_this_machine_alone_is_served_until_the_first_key,
        a4_a_key_grants_no_more_than_it_has,
        a9_an_idempotency_key_belongs_to_its_api_key,
        a_demonstration_only_reads,
        what_a_key_was_used_for_is_reported,
        keys_are_listed_by_pages_and_by_cursor,
        what_is_no_key_is_refused_with_its_field,
        the_command_line_makes_lists_and_ends_keys_of_a_running_service,
    ];
    cases.extend(cases![free; a15_an_open_address_needs_a_key]);
    cases
}

async fn a6_an_ended_key_or_one_in_the_query_is_401(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let refused = async |headers: &[(&str, &str)], path: &str| {
        let answer = pms.send(Method::GET, path, headers, None).await;
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, "Bearer"),
            "{headers:?} {path}"
        );
        assert_eq!(answer.body["code"], "key_required");
    };
    let good = key(&pms, &["read"], json!("*")).await;
    with_key(&pms, &good, Method::GET, "/guests", None)
        .await
        .expect(200);
    let bearer = format!("bearer {good}");
    pms.send(Method::GET, "/guests", &[("authorization", &bearer)], None)
        .await
        .expect(200);
    refused(&[], "/guests").await;
    refused(&[("x-api-key", "gw_unknown")], "/guests").await;
    refused(&[("x-api-key", &good), ("authorization", &bearer)], "/guests").await;
    refused(&[("x-api-key", &good), ("x-api-key", &good)], "/guests").await;
    refused(&[], &format!("/guests?api_key={good}")).await;
    refused(&[("x-api-key", &good)], &format!("/guests?access_token={good}")).await;
    // Each way in which a key ends.
    let soon = UnixMillis(pms.clock.now().0 + 1_000);
    let ended = json!({"name": "soon", "permissions": ["read"], "property_ids": "*", "expires_at": soon});
    let ended = make(&pms, ended).await.expect(201);
    let text = ended.body["key"].as_str().unwrap();
    with_key(&pms, text, Method::GET, "/guests", None)
        .await
        .expect(200);
    pms.clock.advance(Duration::from_millis(1_001));
    refused(&[("x-api-key", text)], "/guests").await;
    for end in ["deactivate", "delete"] {
        let made = make(
            &pms,
            json!({"name": end, "permissions": ["read"], "property_ids": "*"}),
        )
        .await;
        let (id, text) = (
            made.id().to_owned(),
            made.body["key"].as_str().unwrap().to_owned(),
        );
        with_key(&pms, &text, Method::GET, "/guests", None)
            .await
            .expect(200);
        let path = format!("/api-keys/{id}");
        match end {
            "delete" => with_key(&pms, ADMIN, Method::DELETE, &path, None)
                .await
                .expect(204),
            _ => with_key(&pms, ADMIN, Method::POST, &format!("{path}/deactivate"), None)
                .await
                .expect(200),
        };
        refused(&[("x-api-key", &text)], "/guests").await;
    }
    let elsewhere = json!({"name": "vpn", "permissions": ["read"], "property_ids": "*", "allowed_networks": ["10.0.0.0/8"]});
    let elsewhere = make(&pms, elsewhere).await.expect(201);
    refused(
        &[("x-api-key", elsewhere.body["key"].as_str().unwrap())],
        "/guests",
    )
    .await;
    pms.stop().await;
}

async fn a5_a_key_is_shown_once_and_kept_as_its_digest(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let made = make(
        &pms,
        json!({"name": "once", "permissions": ["read"], "property_ids": "*"}),
    )
    .await
    .expect(201);
    let text = made.body["key"].as_str().unwrap().to_owned();
    assert!(text.starts_with("gw_") && text.len() == 46, "{text}");
    with_key(&pms, &text, Method::GET, "/guests", None)
        .await
        .expect(200);
    let shown = with_key(
        &pms,
        ADMIN,
        Method::GET,
        &format!("/api-keys/{}", made.id()),
        None,
    )
    .await;
    let listed = with_key(&pms, ADMIN, Method::GET, "/api-keys", None).await;
    for answer in [shown.body, listed.body] {
        assert!(!answer.to_string().contains(&text[7..]), "{answer}");
    }
    let rows = pms.db.read("rows", |tx| {
        Box::pin(async {
            tx.query(
                "SELECT digest, name FROM api_keys WHERE deleted_at IS NULL",
                Params::new(),
            )
            .await
        })
    });
    let row = &rows.await.unwrap()[0];
    assert_eq!(
        row.get::<Vec<u8>>("digest").unwrap(),
        Sha256::digest(&text).to_vec()
    );
    pms.stop().await;
}

async fn a6_without_a_key_this_machine_alone_is_served_until_the_first_key(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    pms.get("/guests").await.expect(200);
    for (name, value) in [
        ("forwarded", "for=192.0.2.1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("via", "1.1 proxy"),
    ] {
        pms.send(Method::GET, "/guests", &[(name, value)], None)
            .await
            .expect(401);
    }
    let body = json!({"name": "first", "permissions": ["admin"], "property_ids": "*"});
    let first = pms.post("/api-keys", &body).await.expect(201);
    let text = first.body["key"].as_str().unwrap();
    pms.get("/guests").await.expect(401);
    // The last key that ends opens nothing.
    let path = format!("/api-keys/{}", first.id());
    with_key(&pms, text, Method::DELETE, &path, None)
        .await
        .expect(204);
    pms.get("/guests").await.expect(401);
    pms.stop().await;
    let again = Pms::start(&ctx).await;
    again.get("/guests").await.expect(401);
    again.stop().await;
}

async fn a4_a_key_grants_no_more_than_it_has(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let manager = key(
        &pms,
        &["api-keys:admin", "guests:write"],
        json!(["LIS01", "OPO01"]),
    )
    .await;
    let ask = async |permissions: Value, scope: Value| {
        let body = json!({"name": "made", "permissions": permissions, "property_ids": scope});
        with_key(&pms, &manager, Method::POST, "/api-keys", Some(&body)).await
    };
    for (permissions, scope) in [
        (json!(["admin"]), json!(["LIS01"])),
        (json!(["read"]), json!(["LIS01"])),
        (json!(["guests:admin"]), json!(["LIS01"])),
        (json!(["guests:read"]), json!("*")),
        (json!(["guests:read"]), json!(["LIS01", "FAO01"])),
    ] {
        let answer = ask(permissions, scope).await.expect(403);
        assert_eq!(answer.body["code"], "forbidden");
    }
    let made = ask(json!(["guests:read"]), json!(["LIS01"])).await.expect(201);
    let path = format!("/api-keys/{}", made.id());
    for widened in [json!({"permissions": ["admin"]}), json!({"property_ids": "*"})] {
        with_key(&pms, &manager, Method::PATCH, &path, Some(&widened))
            .await
            .expect(403);
    }
    // A wider key is not there for it, and so it neither reads nor ends it.
    let wider = make(
        &pms,
        json!({"name": "wider", "permissions": ["read"], "property_ids": "*"}),
    )
    .await
    .expect(201);
    let path = format!("/api-keys/{}", wider.id());
    for method in [Method::GET, Method::DELETE] {
        with_key(&pms, &manager, method, &path, None).await.expect(404);
    }
    let listed = with_key(&pms, &manager, Method::GET, "/api-keys", None)
        .await
        .expect(200);
    assert!(!listed.body.to_string().contains(wider.id()), "{}", listed.body);
    pms.stop().await;
}

async fn a9_an_idempotency_key_belongs_to_its_api_key(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let (one, other) = (
        key(&pms, &["write"], json!("*")).await,
        key(&pms, &["write"], json!("*")).await,
    );
    let book = async |key: &str, name: &str| {
        let body = json!({"first_name": name, "last_name": "Silva"});
        let headers = [("x-api-key", key), ("idempotency-key", "k-1")];
        pms.send(Method::POST, "/guests", &headers, Some(&body)).await
    };
    let first = book(&one, "Ana").await.expect(201);
    assert_eq!(book(&one, "Ana").await.expect(201).id(), first.id());
    book(&one, "Rui").await.expect(422);
    assert_ne!(book(&other, "Rui").await.expect(201).id(), first.id());
    pms.stop().await;
}

async fn a_demonstration_only_reads(ctx: Ctx) {
    let pms = Pms::start_set(&ctx, |config| {
        config.access.demo_mode = true;
        config.access.admin_api_key = Some(ADMIN.parse().unwrap());
    })
    .await;
    with_key(&pms, ADMIN, Method::GET, "/guests", None)
        .await
        .expect(200);
    for (method, path) in [
        (Method::POST, "/guests"),
        (Method::DELETE, "/guests/x"),
        (Method::GET, "/api-keys"),
        (Method::POST, "/api-keys"),
    ] {
        let answer = with_key(&pms, ADMIN, method, path, None).await.expect(403);
        assert_eq!(answer.body["code"], "demo_mode");
    }
    pms.stop().await;
    // Without a key, and with one of the tables, which lacks what it lacks before that.
    let pms = Pms::start_set(&ctx, |config| config.access.demo_mode = true).await;
    pms.get("/guests").await.expect(200);
    let answer = pms.post("/guests", &json!({})).await.expect(403);
    assert_eq!(answer.body["code"], "demo_mode");
    let maker = maker(&pms);
    let create = |permission: &str| KeysCommand::Create {
        name: permission.to_owned(),
        permissions: vec![permission.to_owned()],
        scope: Vec::new(),
        expires_at: None,
        rate_limit: None,
    };
    for (permission, code) in [("read", "forbidden"), ("write", "demo_mode")] {
        let text = command::run(create(permission), &pms.db, &maker, KEY_TERMS).await;
        let text = text.unwrap();
        let own = with_key(&pms, &text, Method::GET, "/api-keys/self", None).await;
        assert_eq!(own.expect(200).body["level_max"], "read");
        with_key(&pms, &text, Method::GET, "/guests", None)
            .await
            .expect(200);
        let refused = with_key(&pms, &text, Method::POST, "/guests", Some(&json!({}))).await;
        assert_eq!(refused.expect(403).body["code"], code);
    }
    pms.stop().await;
}

async fn what_a_key_was_used_for_is_reported(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let made = make(
        &pms,
        json!({"name": "used", "permissions": ["read"], "property_ids": "*"}),
    )
    .await
    .expect(201);
    let text = made.body["key"].as_str().unwrap();
    for _ in 0..3 {
        with_key(&pms, text, Method::GET, "/guests", None)
            .await
            .expect(200);
    }
    with_key(&pms, text, Method::POST, "/guests", Some(&json!({})))
        .await
        .expect(403);
    let own = with_key(&pms, text, Method::GET, "/api-keys/self", None)
        .await
        .expect(200);
    assert_eq!(
        (own.id(), &own.body["permissions"], &own.body["property_ids"]),
        (made.id(), &json!(["read"]), &json!("*"))
    );
    let path = format!("/api-keys/{}/usage", made.id());
    let mut report = with_key(&pms, ADMIN, Method::GET, &path, None)
        .await
        .expect(200)
        .body;
    report["avg_duration_ms"] = json!(0.0);
    let meant = json!({
        "total_requests": 5, "successful_requests": 4, "failed_requests": 1, "success_rate": 80.0, "avg_duration_ms": 0.0,
        "top_endpoints": [
            {"endpoint": "GET /api/v1/guests", "requests": 3},
            {"endpoint": "GET /api/v1/api-keys/self", "requests": 1},
            {"endpoint": "POST /api/v1/guests", "requests": 1},
        ],
        "period_days": 30,
    });
    assert_eq!(report, meant);
    let own = format!("/api-keys/{}", made.id());
    until("the key's own count is written", || async {
        let shown = with_key(&pms, ADMIN, Method::GET, &own, None).await.expect(200);
        shown.body["usage_count"] == 5 && shown.body["last_used_at"].is_string()
    })
    .await;
    for bad in ["period_days=0", "period_days=31", "period_days=x", "days=3"] {
        with_key(&pms, ADMIN, Method::GET, &format!("{path}?{bad}"), None)
            .await
            .expect(400);
    }
    pms.stop().await;
}

async fn keys_are_listed_by_pages_and_by_cursor(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let mut made = Vec::new();
    for number in 0..5 {
        let body = json!({"name": format!("key {number}"), "permissions": ["read"], "property_ids": "*"});
        made.push(make(&pms, body).await.expect(201).id().to_owned());
    }
    made.reverse();
    let list =
        async |query: &str| with_key(&pms, ADMIN, Method::GET, &format!("/api-keys{query}"), None).await;
    let ids = |page: &Value| -> Vec<String> {
        let rows = page["data"].as_array().unwrap().iter();
        rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    let mut seen = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = list(&query).await.expect(200).body;
        assert_eq!(page["pagination"]["total"], 5);
        seen.extend(ids(&page));
        match page["pagination"]["next_cursor"].as_str() {
            Some(cursor) => query = format!("?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
    let first = list("?limit=2").await.expect(200).body;
    let cursor = first["pagination"]["next_cursor"].as_str().unwrap();
    list(&format!("?page=2&cursor={cursor}")).await.expect(400);
    let third = list("?page=3&page_size=2").await.expect(200).body;
    assert_eq!(ids(&third), made[4..]);
    let pagination =
        json!({"limit": 2, "next_cursor": null, "has_more": false, "total": 5, "page": 3, "page_size": 2});
    assert_eq!(third["pagination"], pagination);
    assert_eq!(
        ids(&list("?page=9&page_size=2").await.expect(200).body),
        Vec::<String>::new()
    );
    for bad in ["?page=0", "?page_size=201", "?page=x", "?page=1&limit=0"] {
        list(bad).await.expect(400);
    }
    pms.stop().await;
}

async fn what_is_no_key_is_refused_with_its_field(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let good = json!({"name": "k", "permissions": ["read"], "property_ids": "*"});
    for (field, value, pointer) in [
        ("name", json!(""), "/name"),
        ("name", json!("a\nb"), "/name"),
        ("permissions", json!(["root"]), "/permissions"),
        ("permissions", json!(["rooms:read"]), "/permissions"),
        ("property_ids", json!([]), "/property_ids"),
        ("property_ids", json!("LIS01"), "/property_ids"),
        ("property_ids", json!(["lis01"]), "/property_ids"),
        ("property_ids", json!(["LIS01", "L"]), "/property_ids"),
        ("property_ids", json!(["prop_1"]), "/property_ids"),
        ("scope", json!("*"), "/scope"),
        ("expires_at", json!("2020-01-01T00:00:00Z"), "/expires_at"),
        ("rate_limit", json!(0), "/rate_limit"),
        ("rate_window", json!(86_401), "/rate_window"),
        ("allowed_networks", json!(["everywhere"]), "/allowed_networks/0"),
        ("key", json!("gw_mine"), "/key"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let answer = make(&pms, body).await.expect(422);
        assert_eq!(answer.errors()[0].0, pointer, "{}", answer.body);
    }
    let path = format!("/api-keys/{}", make(&pms, good).await.expect(201).id());
    let patch = async |patch: Value| with_key(&pms, ADMIN, Method::PATCH, &path, Some(&patch)).await;
    let refused = patch(json!({"property_ids": ["lis01"]})).await.expect(422);
    assert_eq!(refused.errors(), [("/property_ids", "invalid")]);
    // A key that a program before this rule has taken can still be named and ended, and its scope be mended.
    let old = "UPDATE api_keys SET scope = '[\"lis01\"]' WHERE name = 'k'";
    let written = pms.db.transaction("old", move |tx| {
        Box::pin(async move { tx.execute(old, db::params![]).await })
    });
    assert_eq!(written.await.unwrap(), 1);
    patch(json!({"name": "old"})).await.expect(200);
    patch(json!({"property_ids": ["lis01", "LIS02"]}))
        .await
        .expect(422);
    patch(json!({"property_ids": ["LIS01"]})).await.expect(200);
    pms.stop().await;
}

/// Makes keys as the command line does, at the time of a service.
fn maker(pms: &Pms) -> KeyMaker {
    let (clock, entropy) = (pms.clock.clone(), Arc::new(SystemEntropy));
    KeyMaker {
        prefix: KeyPrefix::default(),
        ids: Ids::new(clock.clone(), entropy.clone()),
        entropy,
        clock,
    }
}

async fn the_command_line_makes_lists_and_ends_keys_of_a_running_service(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let maker = maker(&pms);
    let create = |name: &str, permission: &str, scope: &str| KeysCommand::Create {
        name: name.to_owned(),
        permissions: vec![permission.to_owned()],
        scope: vec![scope.to_owned()],
        expires_at: None,
        rate_limit: Some(1_000_000),
    };
    let run = async |asked: KeysCommand| command::run(asked, &pms.db, &maker, KEY_TERMS).await;
    for (refused, named) in [
        (create("k", "root", "LIS01"), "--permission: "),
        (create("k", "rooms:read", "LIS01"), "--permission: "),
        (create("k", "read", "a b"), "--scope: "),
        (create("k", "read", "lis01"), "--scope: "),
        (create("", "read", "LIS01"), "name: "),
    ] {
        let said = run(refused).await.unwrap_err().to_string();
        assert!(said.starts_with(named), "{said}");
    }
    pms.get("/guests").await.expect(200);
    let text = run(create("first", "guests:read", "LIS01")).await.unwrap();
    let own = with_key(&pms, &text, Method::GET, "/api-keys/self", None)
        .await
        .expect(200);
    assert_eq!(
        (&own.body["permissions"], &own.body["property_ids"]),
        (&json!(["guests:read"]), &json!(["LIS01"]))
    );
    // The service reads the table again by itself.
    let hears = |headers: Vec<(&'static str, String)>| {
        let pms = &pms;
        let refuses = move || {
            let headers = headers.clone();
            async move {
                let headers: Vec<_> = headers
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                pms.send(Method::GET, "/guests", &headers, None).await.status == 401
            }
        };
        until("the service reads its keys", refuses)
    };
    hears(Vec::new()).await;
    let listed = run(KeysCommand::List).await.unwrap();
    assert_eq!(
        listed,
        format!("{} {}... active guests:read first", own.id(), &text[..7])
    );
    let id = own.id().parse().unwrap();
    let said = run(KeysCommand::Deactivate { id }).await.unwrap();
    assert_eq!(said, format!("{} is not taken any more", own.id()));
    hears(vec![("x-api-key", text.clone())]).await;
    assert!(run(KeysCommand::List).await.unwrap().contains(" inactive "));
    let mut ends = create("ends", "read", "LIS01");
    if let KeysCommand::Create { expires_at, .. } = &mut ends {
        *expires_at = Some(UnixMillis(pms.clock.now().0 + 1_000));
    }
    run(ends.clone()).await.unwrap();
    assert!(!run(KeysCommand::List).await.unwrap().contains(" ended "));
    pms.clock.advance(Duration::from_secs(1));
    assert!(run(KeysCommand::List).await.unwrap().contains(" ended "));
    let said = run(ends).await.unwrap_err().to_string();
    assert!(said.starts_with("--expires-at: "), "{said}");
    pms.stop().await;
}

async fn a15_an_open_address_needs_a_key(_: Ctx) {
    for program in BOTH {
        let open = Start::new().with("APP_HOST", "0.0.0.0");
        let said = open.refused(program).await;
        assert!(
            said.starts_with("error: APP_HOST: ") && said.contains("ADMIN_API_KEY"),
            "{said}"
        );
        let short = Start::new().with("ADMIN_API_KEY", "too-short-to-be-one");
        let said = short.refused(program).await;
        assert!(
            said.starts_with("error: ADMIN_API_KEY: ") && !said.contains("too-short"),
            "{said}"
        );
        let guarded = Start::new()
            .with("APP_HOST", "0.0.0.0")
            .with("ADMIN_API_KEY", ADMIN);
        guarded.served(program).await.ended().await;
    }
}
