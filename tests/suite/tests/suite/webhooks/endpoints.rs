//! What a person can choose for an endpoint, and who sees and changes it.

use futures::future::join_all;
use harness::receiver_double::ReceiverDouble;
use http::Method;
use pms_emitter::config::EndpointConfig;
use pms_emitter::store::ENDPOINTS_OF_PROPERTY_MAX;
use serde_json::{Value, json};

use super::subscribe;
use crate::access::{ADMIN, guarded, key, with_key};
use crate::case::{Case, Ctx, cases};
use crate::pms::{BEGIN, Pms, Reply};

pub fn cases() -> Vec<Case> {
    cases![
        a_webhook_is_made_shown_changed_listed_and_deleted,
        what_breaks_a_rule_is_refused_and_makes_none,
        only_the_version_that_is_expected_is_changed,
        a_property_has_a_hundred_webhooks_exactly_however_many_are_made_at_once,
        a_caller_sees_and_makes_only_what_its_key_sees,
        the_query_of_an_address_is_shown_to_those_alone_who_may_change_it,
        the_environments_is_seen_and_paused_and_stays_what_it_is,
        no_secret_and_no_header_stands_in_a_table_or_an_answer,
    ]
}

fn body(name: &str) -> Value {
    json!({"name": name, "url": "http://127.0.0.1:9/hook", "events": ["guest.*"], "property_ids": ["MAIN"]})
}

async fn a_webhook_is_made_shown_changed_listed_and_deleted(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let sent = json!({
        "name": "CRM", "url": "HTTP://127.0.0.1:9/hook", "events": ["reservation.*", "guest.created"],
        "retry_schedule": [0, 60, 300], "retry_count": 2, "retry_4xx": false, "timeout_seconds": 10,
        "max_concurrency": 4, "headers": {"X-Tenant": "lis"}, "start": "beginning",
    });
    let made = pms.post("/webhooks", &sent).await.expect(201);
    let (id, path) = (made.id().to_owned(), made.header("location").to_owned());
    assert!(
        id.starts_with("ep_") && path.ends_with(&format!("/webhooks/{id}")),
        "{path}"
    );
    assert!(made.body["secret"].as_str().unwrap().starts_with("whsec_"));
    let path = format!("/webhooks/{id}");
    let shown = pms.get(&path).await.expect(200);
    let mut first = made.body.clone();
    first.as_object_mut().unwrap().remove("secret");
    assert_eq!(shown.body, first, "all of it but the secret");
    assert_eq!(shown.header("etag"), "\"1\"");
    for (name, value) in [
        ("url", json!("http://127.0.0.1:9/hook")),
        ("property_ids", json!("*")),
        ("retry_schedule", json!([0, 60, 300])),
        ("retry_count", json!(2)),
        ("active", json!(true)),
        ("header_names", json!(["x-tenant"])),
        ("state", json!("active")),
        ("managed_by", json!("api")),
        ("last_triggered_at", Value::Null),
    ] {
        assert_eq!(shown.body[name], value, "{name}");
    }

    let patch = json!({"events": ["*"], "retry_schedule": null, "headers": null});
    let changed = pms.put(&path, &patch).await.expect(200);
    assert_eq!(changed.header("etag"), "\"2\"");
    assert_eq!(
        (
            &changed.body["events"],
            &changed.body["retry_schedule"],
            &changed.body["header_names"]
        ),
        (&json!(["*"]), &Value::Null, &json!([]))
    );
    assert_eq!(changed.body["timeout_seconds"], 10, "what is not named stays");
    let same = pms.put(&path, &json!({"events": ["*"]})).await.expect(200);
    assert_eq!(same.header("etag"), "\"2\"", "nothing differs");

    let other = pms
        .post("/webhooks", &body("other"))
        .await
        .expect(201)
        .id()
        .to_owned();
    let listed = pms.get("/webhooks").await.expect(200);
    let ids: Vec<_> = listed.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids.len(), 3, "the environment's too: {ids:?}");
    assert!(ids.contains(&&json!(id)) && ids.contains(&&json!(other)));

    pms.delete(&path).await.expect(204);
    for gone in [
        pms.get(&path).await,
        pms.put(&path, &patch).await,
        pms.delete(&path).await,
        pms.post(&format!("{path}/pause"), &json!({})).await,
        pms.post(&format!("{path}/rotate-secret"), &json!({})).await,
        pms.get(&format!("{path}/secrets")).await,
    ] {
        gone.expect(404);
    }
    let actions = "SELECT COUNT(*) AS n FROM audit_entries
        WHERE action IN ('endpoint_created', 'endpoint_changed', 'endpoint_deleted') AND entity_kind = 'webhook'";
    assert_eq!(pms.count(actions).await, 4);
    pms.stop().await;
}

async fn what_breaks_a_rule_is_refused_and_makes_none(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for (name, value, pointer) in [
        ("url", json!("ftp://crm.example/x"), "/url"),
        ("url", json!("http://a:b@crm.example/x"), "/url"),
        ("events", json!([]), "/events"),
        ("events", json!(["guest*"]), "/events/0"),
        ("property_ids", json!(["no such code"]), "/property_ids"),
        ("timeout_seconds", json!(0), "/timeout_seconds"),
        ("max_concurrency", json!(65), "/max_concurrency"),
        ("headers", json!({"Host": "elsewhere"}), "/headers/Host"),
        ("headers", json!({"webhook-id": "1"}), "/headers/webhook-id"),
        ("headers", json!({"x-a": "1\r\nx-b: 2"}), "/headers/x-a"),
        ("secret", json!("short"), "/secret"),
        ("start", json!("yesterday"), "/start"),
        ("id", json!("ep_mine"), "/id"),
    ] {
        let mut body = body("refused");
        body[name] = value.clone();
        let refused = pms.post("/webhooks", &body).await.expect(422);
        let pointers: Vec<_> = refused.errors().into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(pointers, [pointer], "{name} {value}");
    }
    assert_eq!(
        pms.count("SELECT COUNT(*) AS n FROM endpoints WHERE id <> 'env'")
            .await,
        0
    );
    pms.stop().await;
}

async fn only_the_version_that_is_expected_is_changed(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let made = pms.post("/webhooks", &body("CRM")).await.expect(201);
    let path = format!("/webhooks/{}", made.id());
    let put = async |expected: &str, name: &str| {
        let headers = [("if-match", expected)];
        pms.send(Method::PUT, &path, &headers, Some(&json!({"name": name})))
            .await
    };
    put("\"1\"", "first").await.expect(200);
    put("\"1\"", "second").await.expect(412);
    put("*", "third").await.expect(200);
    let delete = pms.send(Method::DELETE, &path, &[("if-match", "\"2\"")], None);
    delete.await.expect(412);
    assert_eq!(pms.get(&path).await.body["name"], "third");
    pms.stop().await;
}

async fn a_property_has_a_hundred_webhooks_exactly_however_many_are_made_at_once(ctx: Ctx) {
    const AT_ONCE: usize = 50;
    let pms = Pms::start(&ctx).await;
    let several = async |count: usize| {
        let body = body("one of many");
        let made = join_all((0..count).map(|_| pms.post("/webhooks", &body))).await;
        made.iter().filter(|reply| reply.status == 201).count()
    };
    assert_eq!(several(AT_ONCE).await, AT_ONCE);
    assert_eq!(several(ENDPOINTS_OF_PROPERTY_MAX - 25 - AT_ONCE).await, 25);
    let one_more = body("one more");
    let last: Vec<Reply> = join_all((0..AT_ONCE).map(|_| pms.post("/webhooks", &one_more))).await;
    let made = last.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(made, 25);
    let refused = last.iter().find(|reply| reply.status != 201).unwrap();
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (409, &json!("too_many_webhooks"))
    );

    // One for all properties is one of none of them, and one that is deleted makes room. None gives up a property that it had.
    let mut all = body("all");
    all["property_ids"] = json!("*");
    let all = pms.post("/webhooks", &all).await.expect(201);
    let narrowed = json!({"property_ids": ["MAIN"]});
    let narrowed = pms.put(&format!("/webhooks/{}", all.id()), &narrowed).await;
    assert_eq!(narrowed.expect(422).errors(), [("/property_ids", "narrowed")]);
    let one = last.iter().find(|reply| reply.status == 201).unwrap();
    pms.delete(&format!("/webhooks/{}", one.id())).await.expect(204);
    pms.post("/webhooks", &one_more).await.expect(201);
    pms.post("/webhooks", &one_more).await.expect(409);
    pms.stop().await;
}

async fn a_caller_sees_and_makes_only_what_its_key_sees(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let lisbon = key(&pms, &["webhooks:admin"], json!(["LIS01"])).await;
    let reader = key(&pms, &["webhooks:read"], json!("*")).await;

    let beyond = with_key(&pms, &lisbon, Method::POST, "/webhooks", Some(&body("beyond")))
        .await
        .expect(422);
    assert_eq!(beyond.errors(), [("/property_ids", "beyond_scope")]);
    let mut own = body("own");
    own.as_object_mut().unwrap().remove("property_ids");
    let made = with_key(&pms, &lisbon, Method::POST, "/webhooks", Some(&own))
        .await
        .expect(201);
    assert_eq!(made.body["property_ids"], json!(["LIS01"]), "what its maker sees");
    assert_eq!(made.body["created_by"].as_str().map(str::is_empty), Some(false));
    let path = format!("/webhooks/{}", made.id());
    let wider = json!({"property_ids": "*"});
    with_key(&pms, &lisbon, Method::PUT, &path, Some(&wider))
        .await
        .expect(422);

    let main = with_key(&pms, ADMIN, Method::POST, "/webhooks", Some(&body("main")))
        .await
        .expect(201);
    let others = format!("/webhooks/{}", main.id());
    with_key(&pms, &lisbon, Method::GET, &others, None)
        .await
        .expect(404);
    with_key(&pms, &lisbon, Method::DELETE, &others, None)
        .await
        .expect(404);
    with_key(&pms, &lisbon, Method::GET, "/webhooks/env", None)
        .await
        .expect(404);
    let seen = with_key(&pms, &lisbon, Method::GET, "/webhooks", None)
        .await
        .expect(200);
    assert_eq!(seen.body["data"].as_array().unwrap().len(), 1);
    let seen = with_key(&pms, &reader, Method::GET, "/webhooks", None)
        .await
        .expect(200);
    assert_eq!(seen.body["data"].as_array().unwrap().len(), 3);
    with_key(&pms, &reader, Method::POST, &format!("{others}/pause"), None)
        .await
        .expect(403);
    with_key(&pms, &reader, Method::POST, "/webhooks", Some(&body("no")))
        .await
        .expect(403);
    pms.stop().await;
}

async fn the_query_of_an_address_is_shown_to_those_alone_who_may_change_it(ctx: Ctx) {
    let pms = guarded(&ctx).await;
    let (admin, writer, reader) = (
        key(&pms, &["webhooks:admin"], json!("*")).await,
        key(&pms, &["webhooks:write"], json!("*")).await,
        key(&pms, &["webhooks:read"], json!("*")).await,
    );
    let (whole, shortened) = (
        "http://127.0.0.1:9/hook?token=canary",
        "http://127.0.0.1:9/hook?...",
    );
    let mut sent = body("CRM");
    sent["url"] = json!(whole);
    let made = with_key(&pms, &admin, Method::POST, "/webhooks", Some(&sent)).await;
    let made = made.expect(201);
    let path = format!("/webhooks/{}", made.id());
    let renamed = json!({"name": "the CRM"});
    let renamed = with_key(&pms, &admin, Method::PUT, &path, Some(&renamed)).await;
    let shown = with_key(&pms, &admin, Method::GET, &path, None).await;
    for answer in [made, renamed.expect(200), shown.expect(200)] {
        assert_eq!(answer.body["url"], json!(whole));
    }
    let (pause, resume, enable) = (
        format!("{path}/pause"),
        format!("{path}/resume"),
        format!("{path}/enable"),
    );
    for (key, method, path) in [
        (&reader, Method::GET, path.as_str()),
        (&writer, Method::GET, &path),
        (&writer, Method::POST, &pause),
        (&writer, Method::POST, &resume),
        (&writer, Method::POST, &enable),
    ] {
        let answer = with_key(&pms, key, method, path, None).await.expect(200);
        assert_eq!(answer.body["url"], json!(shortened), "{path}");
    }
    for list in ["/webhooks", "/guests/webhook/status", &format!("{path}/status")] {
        let answer = with_key(&pms, &reader, Method::GET, list, None).await.expect(200);
        let text = answer.body.to_string();
        assert!(
            text.contains(shortened) && !text.contains("canary"),
            "{list} {text}"
        );
    }
    let listed = with_key(&pms, &admin, Method::GET, "/webhooks", None).await;
    assert!(listed.expect(200).body.to_string().contains(whole));
    pms.stop().await;
}

async fn the_environments_is_seen_and_paused_and_stays_what_it_is(ctx: Ctx) {
    let double = ReceiverDouble::start().await.unwrap();
    let endpoint = EndpointConfig {
        url: format!("{}?token=canary", double.url()).parse().unwrap(),
        secrets: "a-secret-of-the-environment".parse().unwrap(),
    };
    let pms = Pms::start_with(&ctx, BEGIN, Some(endpoint)).await;
    let shown = pms.get("/webhooks/env").await.expect(200);
    assert_eq!(
        (&shown.body["managed_by"], &shown.body["state"]),
        (&json!("environment"), &json!("active"))
    );
    assert_eq!(
        shown.body["url"],
        json!(format!("{}?...", double.url())),
        "its query may be a secret"
    );
    for refused in [
        pms.put("/webhooks/env", &json!({"name": "mine"})).await,
        pms.delete("/webhooks/env").await,
        pms.post("/webhooks/env/rotate-secret", &json!({})).await,
    ] {
        assert_eq!(
            (refused.status, &refused.body["code"]),
            (409, &json!("managed_by_environment"))
        );
    }
    let paused = pms.post("/webhooks/env/pause", &json!({})).await.expect(200);
    assert_eq!(
        (&paused.body["state"], &paused.body["active"]),
        (&json!("paused"), &json!(false))
    );
    super::guest(&pms, "Waits").await;
    // Another endpoint is sent what came at the same time, so the environment's would have been.
    let other = ReceiverDouble::start().await.unwrap();
    subscribe(&pms, &other, json!({"start": "beginning"})).await;
    other.wait_for(1).await;
    assert_eq!(double.received().len(), 0);
    pms.post("/webhooks/env/resume", &json!({})).await.expect(200);
    double.wait_for(1).await;
    pms.stop().await;
}

async fn no_secret_and_no_header_stands_in_a_table_or_an_answer(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let mut sent = body("CRM");
    sent["secret"] = json!("the-canary-of-secrets");
    sent["headers"] = json!({"authorization": "Bearer the-canary-of-headers"});
    let made = pms.post("/webhooks", &sent).await.expect(201);
    assert!(!made.body.to_string().contains("canary"), "given, so not shown");
    let path = format!("/webhooks/{}", made.id());
    let rotation = json!({"secret": "the-next-canary-of-secrets"});
    let rotated = pms
        .post(&format!("{path}/rotate-secret"), &rotation)
        .await
        .expect(201);
    for answer in [
        rotated,
        pms.get(&path).await,
        pms.get("/webhooks").await,
        pms.get(&format!("{path}/secrets")).await,
        pms.get("/guests/webhook/status").await,
    ] {
        assert!(!answer.body.to_string().contains("canary"), "{}", answer.body);
    }
    for sql in [
        "SELECT COUNT(*) AS n FROM endpoint_secrets WHERE INSTR(sealed, 'canary') > 0",
        "SELECT COUNT(*) AS n FROM endpoint_headers WHERE INSTR(sealed, 'canary') > 0",
        "SELECT COUNT(*) AS n FROM endpoints WHERE INSTR(settings, 'canary') > 0",
    ] {
        assert_eq!(pms.count(sql).await, 0, "{sql}");
    }
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM endpoint_secrets").await, 2);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM endpoint_headers").await, 1);
    pms.delete(&path).await.expect(204);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM endpoint_secrets").await, 0);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM endpoint_headers").await, 0);
    pms.stop().await;
}
