//! Rows 15 to 21 of docs/cases.md: HTTP as clients and proxies speak it, on both services.

use std::net::SocketAddr;
use std::time::Duration;

use db::params;
use harness::signer::Delivery;
use harness::wire::Wire;
use http::Method;
use serde_json::{Value, json};

use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, guest_event, number};
use crate::pms::Pms;

pub fn cases() -> Vec<Case> {
    cases![
        case15_a_content_type_is_taken_by_its_essence,
        case18_what_the_client_has_is_not_sent_again,
        case18_a_status_that_follows_from_the_date_is_sent_again,
        case19_a_quoted_key_and_a_bare_one_are_one,
        a_pointer_is_escaped_as_its_standard_says,
        case20_a_slash_after_a_webhooks_path_is_passed_over,
    ]
}

const TYPES: [(&str, bool); 14] = [
    ("application/json", true),
    ("application/json; charset=utf8", true),
    ("application/json; charset=\"UTF-8\"", true),
    ("APPLICATION/JSON;charset=utf_8;version=2", true),
    ("application/json; profile=\"a; charset=latin1\"", true),
    ("application/json; charset=us-ascii", true),
    ("application/json;", true),
    ("application/json; charset=", true),
    ("application/json; charset=iso-8859-1", false),
    ("application/json; charset=utf-16", false),
    ("application/json; charset=\"windows-1252\"", false),
    ("application/jsonp; charset=utf-8", false),
    ("text/plain", false),
    ("application/x-www-form-urlencoded", false),
];

async fn case15_a_content_type_is_taken_by_its_essence(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for (index, (content_type, taken)) in TYPES.into_iter().enumerate() {
        let key = format!("evt_{index}");
        let delivery = receiver
            .delivery(&key, &guest_event(&key))
            .with("content-type", content_type);
        let answer = receiver.send(&delivery).await;
        assert_eq!(answer.status, if taken { 202 } else { 415 }, "{content_type}");
        if !taken {
            assert_eq!(answer.header("accept"), Some("application/json"));
        }
    }
    receiver.stop().await;

    let other = ctx.servers.fresh(ctx.engine, "content_types").await.unwrap();
    let pms = Pms::start_through(&ctx, other.parsed()).await;
    let body = || json!({"last_name": "Silva"}).to_string().into_bytes();
    for (content_type, taken) in TYPES {
        let typed = [("content-type", content_type)];
        let answer = pms.send_raw(Method::POST, "/api/v1/guests", &typed, body()).await;
        assert_eq!(answer.status, if taken { 201 } else { 415 }, "{content_type}");
    }
    // RFC 7396 has a media type of its own, for what merges.
    let guest = pms
        .post("/guests", &json!({"last_name": "Silva", "title": "Dr"}))
        .await
        .expect(201);
    let path = format!("/api/v1/guests/{}", guest.id());
    let merge = [("content-type", "application/merge-patch+json; charset=utf8")];
    let patch = br#"{"title":null,"first_name":"Ana"}"#.to_vec();
    for method in [Method::PATCH, Method::PUT] {
        let answer = pms
            .send_raw(method, &path, &merge, patch.clone())
            .await
            .expect(200);
        assert_eq!(
            (&answer.body["title"], &answer.body["first_name"]),
            (&Value::Null, &json!("Ana"))
        );
    }
    assert_eq!(
        pms.send_raw(Method::POST, "/api/v1/guests", &merge, body())
            .await
            .status,
        415
    );
    let refused = pms
        .send_raw(Method::PATCH, &path, &[("content-type", "text/plain")], patch)
        .await
        .expect(415);
    assert!(
        refused
            .header("accept-patch")
            .contains("application/merge-patch+json")
    );
    pms.stop().await;
    other.remove().await.unwrap();
}

async fn case18_what_the_client_has_is_not_sent_again(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let guest = pms
        .post("/guests", &json!({"last_name": "Silva"}))
        .await
        .expect(201);
    let stay = json!({"primary_guest_id": guest.id(), "check_in": "2026-03-20", "check_out": "2026-03-22"});
    let stay = pms.post("/reservations", &stay).await.expect(201);
    for path in [
        format!("/guests/{}", guest.id()),
        format!("/reservations/{}", stay.id()),
        "/properties/MAIN".to_owned(),
    ] {
        let tag = pms.get(&path).await.expect(200).header("etag").to_owned();
        let asked = |sent: &str| [("if-none-match", sent.to_owned())];
        for (sent, status) in [
            (tag.clone(), 304),
            (format!("W/{tag}"), 304),
            (format!("\"other\", {tag}"), 304),
            ("*".to_owned(), 304),
            ("\"other\"".to_owned(), 200),
            (tag.trim_matches('"').to_owned(), 200),
        ] {
            let asked = asked(&sent);
            let asked: Vec<_> = asked
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let answer = pms.send(Method::GET, &path, &asked, None).await.expect(status);
            assert_eq!(answer.header("etag"), tag, "{path}");
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.body.is_null(), status == 304, "{path} {sent}");
            assert_eq!(answer.header("content-type").is_empty(), status == 304);
            let head = pms.send(Method::HEAD, &path, &asked, None).await.expect(status);
            assert_eq!(head.header("etag"), tag, "{path}");
        }
        // To a write it is what must not be there (RFC 9110, section 13.1.2).
        let exists = [("if-none-match", "*")];
        pms.send(Method::PUT, &path, &exists, Some(&json!({})))
            .await
            .expect(412);
        let unmet = [("if-match", "\"99\"")];
        pms.send(Method::GET, &path, &unmet, None).await.expect(412);
    }
    let changed = pms
        .put(&format!("/guests/{}", guest.id()), &json!({"first_name": "Ana"}))
        .await
        .expect(200);
    assert_eq!(changed.header("etag"), "\"2\"");
    let path = format!("/guests/{}", guest.id());
    pms.send(Method::GET, &path, &[("if-none-match", "\"1\"")], None)
        .await
        .expect(200);
    let gone = pms
        .send(Method::GET, "/guests/gst_none", &[("if-none-match", "*")], None)
        .await;
    assert_eq!(gone.status, 404);
    // Nothing follows the head, or the next request on this connection would begin inside of it.
    let request = format!(
        "GET /api/v1{path} HTTP/1.1\r\nhost: localhost\r\nif-none-match: \"2\"\r\n\r\n\
         GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    );
    let address: SocketAddr = pms.address().parse().unwrap();
    let wire = Wire::saying(address, request.as_bytes()).await.unwrap();
    let said = wire.ending(Duration::from_secs(20)).await.unwrap().said;
    assert!(said.starts_with("HTTP/1.1 304 "), "{said}");
    let rest = said.split_once("\r\n\r\n").unwrap().1;
    assert!(rest.starts_with("HTTP/1.1 200 "), "{said}");
    pms.stop().await;
}

async fn case18_a_status_that_follows_from_the_date_is_sent_again(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let guest = pms
        .post("/guests", &json!({"last_name": "Silva"}))
        .await
        .expect(201);
    let stay = json!({"primary_guest_id": guest.id(), "check_in": "2026-03-15", "check_out": "2026-03-17"});
    let stay = pms.post("/reservations", &stay).await.expect(201);
    let path = format!("/reservations/{}", stay.id());
    let before = pms.get(&path).await.expect(200);
    assert_eq!(
        (before.header("etag"), &before.body["computed_status"]),
        ("\"1\"", &json!("confirmed"))
    );
    pms.post("/properties/MAIN/night-audit", &json!({}))
        .await
        .expect(200);
    let has = [("if-none-match", "\"1\"")];
    let due = pms.send(Method::GET, &path, &has, None).await.expect(200);
    assert_eq!(due.body["computed_status"], "due_in");
    let tag = due.header("etag").to_owned();
    assert_ne!(tag, "\"1\"");
    pms.send(Method::GET, &path, &[("if-none-match", tag.as_str())], None)
        .await
        .expect(304);
    // To a write both are version 1.
    for (tag, status) in [("\"2\"", 412), (tag.as_str(), 200), ("\"2\"", 200)] {
        let change = json!({"adults": if tag == "\"2\"" { 3 } else { 2 }});
        let answer = pms
            .send(Method::PATCH, &path, &[("if-match", tag)], Some(&change))
            .await;
        assert_eq!(answer.status, status, "{tag}");
    }
    pms.stop().await;
}

async fn case19_a_quoted_key_and_a_bare_one_are_one(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for (index, (first, second)) in [
        ("\"k-1\"", "k-1"),
        ("k-2", "\"k-2\""),
        (r#""a\"b\\c""#, r#"a"b\c"#),
    ]
    .into_iter()
    .enumerate()
    {
        let guest = json!({"last_name": format!("Silva {index}")});
        let made = pms
            .send(
                Method::POST,
                "/guests",
                &[("idempotency-key", first)],
                Some(&guest),
            )
            .await
            .expect(201);
        let again = pms
            .send(
                Method::POST,
                "/guests",
                &[("idempotency-key", second)],
                Some(&guest),
            )
            .await
            .expect(201);
        assert_eq!(
            (again.id(), again.header("idempotency-replayed")),
            (made.id(), "true"),
            "{first} {second}"
        );
        let other = json!({"last_name": "Santos"});
        pms.send(
            Method::POST,
            "/guests",
            &[("idempotency-key", second)],
            Some(&other),
        )
        .await
        .expect(422);
    }
    for bad in [
        "\"",
        "\"\"",
        "\"k",
        r#""k\""#,
        r#""k\n""#,
        "\"a\"b\"",
        "\"a b\"",
        "\"k\" \"l\"",
    ] {
        let asked = [("idempotency-key", bad)];
        let refused = pms
            .send(Method::POST, "/guests", &asked, Some(&json!({"last_name": "X"})))
            .await
            .expect(400);
        assert_eq!(refused.body["code"], "invalid_idempotency_key", "{bad}");
    }
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM guests").await, 3);
    pms.stop().await;
}

/// RFC 6901, section 3: a name's `~` and `/` are no steps.
async fn a_pointer_is_escaped_as_its_standard_says(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    for (path, body) in [
        ("/guests", json!({"last_name": "Silva", "a/b~c": 1})),
        ("/properties/MAIN/night-audit", json!({"a/b~c": 1})),
    ] {
        let refused = pms.post(path, &body).await.expect(422);
        assert_eq!(refused.errors(), [("/a~1b~0c", "unknown_field")], "{path}");
    }
    pms.stop().await;
}

async fn case20_a_slash_after_a_webhooks_path_is_passed_over(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let at = |path: &str| Delivery {
        path: format!("/api/v1/webhooks/{path}"),
        ..receiver.delivery("evt_1", &guest_event("evt_1"))
    };
    for (path, status) in [
        ("pms/", 202),
        ("pms", 200),
        ("pms//", 404),
        ("", 404),
        ("/", 404),
        ("pms/x", 404),
    ] {
        assert_eq!(receiver.send(&at(path)).await.status, status, "{path}");
    }
    assert_eq!(receiver.send(&at("pms/").with_method("GET")).await.status, 405);
    receiver.stop().await;
    assert_eq!(
        number(&ctx.open().await, "SELECT COUNT(*) AS n FROM inbox", params![]).await,
        1
    );
}
