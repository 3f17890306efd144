//! Which sources an API key sees and makes, and from where a source may send.

use super::{ask_with, asked, other_event, rotated, signed};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, config, number};
use contract::UnixSeconds;
use db::params;
use harness::signer::Delivery;
use serde_json::json;

pub fn cases() -> Vec<Case> {
    cases![
        a_key_makes_and_sees_sources_of_its_properties_alone,
        a_source_sends_from_its_networks_alone,
        r17_the_skew_of_a_source_is_no_answer_to_who_has_no_secret,
    ]
}

const ADMIN: &str = "an-admin-key-of-the-suite-that-is-long";

async fn a_key_makes_and_sees_sources_of_its_properties_alone(ctx: Ctx) {
    let mut config = config(ctx.url());
    config.access.admin_api_key = Some(ADMIN.parse().unwrap());
    let receiver = Receiver::start_with(config).await;
    let body = json!({"name": "Porto", "permissions": ["sources:admin"], "property_ids": ["OPO01"]});
    let made = ask_with(
        &receiver,
        &[("x-api-key", ADMIN)],
        "POST",
        "/api-keys",
        Some(&body),
    )
    .await;
    let porto = made.json()["key"].as_str().unwrap().to_owned();
    for (key, id, scope, status) in [
        (ADMIN, "lisbon", json!(["LIS01"]), 201),
        (&porto, "porto", json!(["OPO01"]), 201),
        (&porto, "wide", json!("*"), 403),
        (&porto, "both", json!(["LIS01", "OPO01"]), 403),
    ] {
        let body = json!({"id": id, "name": id, "property_ids": scope});
        let answer = ask_with(&receiver, &[("x-api-key", key)], "POST", "/sources", Some(&body)).await;
        assert_eq!(answer.status, status, "{id}: {}", answer.json());
    }
    let own = [("x-api-key", porto.as_str())];
    let list = ask_with(&receiver, &own, "GET", "/sources", None).await.json();
    assert_eq!(list["pagination"]["total"], 1);
    assert_eq!(list["data"][0]["id"], "porto");
    for (method, path, body) in [
        ("GET", "/sources/lisbon", None),
        ("PUT", "/sources/lisbon", Some(json!({"name": "x"}))),
        ("POST", "/sources/lisbon/rotate-secret", Some(json!({}))),
        ("GET", "/sources/pms/secrets", None),
        ("GET", "/sources/lisbon/stats", None),
        ("GET", "/sources/pms/stats", None),
        ("DELETE", "/sources/lisbon", None),
        ("DELETE", "/sources/lisbon/secrets/1", None),
    ] {
        let answer = ask_with(&receiver, &own, method, path, body.as_ref()).await;
        assert_eq!(answer.status, 404, "{method} {path}");
    }
    let wider = json!({"property_ids": "*"});
    let answer = ask_with(&receiver, &own, "PUT", "/sources/porto", Some(&wider)).await;
    assert_eq!(answer.status, 403);
    receiver.stop().await;
}

async fn a_source_sends_from_its_networks_alone(ctx: Ctx) {
    let mut config = config(ctx.url());
    config.access.trusted_proxies = "127.0.0.1".parse().unwrap();
    let receiver = Receiver::start_with(config).await;
    let body = json!({"id": "spa", "name": "Spa", "property_ids": "*", "allowed_networks": ["10.0.0.0/8"]});
    asked(&receiver, "POST", "/sources", Some(body), 201).await;
    let secret = rotated(&receiver, "spa", json!({})).await;
    let delivery = signed(&receiver, "spa", "evt_1", &secret);
    let unknown = receiver
        .send(&signed(&receiver, "nobody", "evt_1", &secret))
        .await;
    for (forwarded, status) in [(None, 401), (Some("192.0.2.1"), 401), (Some("10.1.2.3"), 202)] {
        let delivery = match forwarded {
            Some(client) => delivery.clone().with("x-forwarded-for", client),
            None => delivery.clone(),
        };
        let answer = receiver.send(&delivery).await;
        assert_eq!(answer.status, status, "{forwarded:?}");
        if status == 401 {
            let (mut one, mut other) = (answer.json(), unknown.json());
            for said in [&mut one, &mut other] {
                said["request_id"] = json!("");
                said["instance"] = json!("");
            }
            assert_eq!(one, other, "nothing says why");
        }
    }
    receiver.stop().await;
}

/// The widest skew is that of `pms`, half an hour. What is older than a narrower source takes is read to its end like any other,
/// so that the head's answer does not tell one source from another, or from none.
async fn r17_the_skew_of_a_source_is_no_answer_to_who_has_no_secret(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let body = json!({"id": "spa", "name": "Spa", "property_ids": "*", "max_skew_seconds": 60});
    asked(&receiver, "POST", "/sources", Some(body), 201).await;
    let secret = rotated(&receiver, "spa", json!({})).await;
    for (key, secret, age, status) in [
        ("evt_1", "a-secret-of-nobody-at-all", 400, 401),
        ("evt_2", secret.as_str(), 400, 401),
        ("evt_3", &secret, 60, 202),
    ] {
        let at = UnixSeconds(receiver.seconds().0 - age);
        let delivery = Delivery::signed("spa", key, &other_event(key), &secret.parse().unwrap(), at);
        assert_eq!(receiver.send(&delivery).await.status, status, "{key}");
    }
    receiver.stop().await;
    let db = ctx.open().await;
    for cause in ["signature_mismatch", "skew"] {
        let sql = "SELECT SUM(n) AS n FROM audit_counts WHERE cause = ?";
        assert_eq!(number(&db, sql, params![cause]).await, 1, "{cause}");
    }
}
