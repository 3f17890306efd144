//! Rows R23 to R25: what is no plain JSON, and what is no POST, is refused before anything of it is read.

use super::{genuine, signed};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, guest_event, number};
use db::params;
use harness::signer::Delivery;

pub fn cases() -> Vec<Case> {
    cases![
        r23_only_json_in_utf_8_is_taken,
        r24_no_encoded_body_is_taken,
        r25_other_methods_are_refused_whatever_overrides_them,
    ]
}

/// Declared, and never sent.
const DECLARED: usize = 1_000;

async fn r23_only_json_in_utf_8_is_taken(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let typed = |content_type: &str| genuine().with("content-type", content_type);
    let mut refused: Vec<Delivery> = [
        "text/plain",
        "",
        "application/xml",
        "application/jsonp",
        "application/*",
        "application/json, text/plain",
        "application/json; charset=latin1",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=utf-7",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ]
    .map(typed)
    .into();
    refused.push(genuine().without("content-type"));
    refused.push(genuine().and("content-type", "application/json"));
    for delivery in refused {
        let answer = delivery.send_head(receiver.address, DECLARED).await.unwrap();
        assert_eq!(answer.status, 415, "{:?}", delivery.headers);
        assert_eq!(answer.json()["code"], "unsupported_media_type");
    }
    for (key, content_type) in [
        ("evt_2", "application/json"),
        ("evt_3", "application/json; charset=utf-8"),
        ("evt_4", "Application/JSON;charset=\"UTF-8\""),
    ] {
        let fine = signed(key, &guest_event(key)).with("content-type", content_type);
        assert_eq!(receiver.send(&fine).await.status, 202, "{content_type}");
    }
    receiver.stop().await;
    let kept = number(&ctx.open().await, "SELECT COUNT(*) AS n FROM inbox", params![]).await;
    assert_eq!(kept, 3);
}

async fn r24_no_encoded_body_is_taken(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for encoding in [
        "gzip",
        "x-gzip",
        "deflate",
        "br",
        "zstd",
        "gzip, gzip",
        "identity",
        "",
        "GZIP",
    ] {
        let encoded = genuine().and("content-encoding", encoding);
        let answer = encoded.send_head(receiver.address, DECLARED).await.unwrap();
        assert_eq!(answer.status, 415, "{encoding}");
    }
    // Nor is one unpacked that does not say that it is packed: its bytes are what they are.
    let packed = signed("evt_1", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03");
    assert_eq!(receiver.send(&packed).await.status, 422);
    receiver.stop().await;
}

async fn r25_other_methods_are_refused_whatever_overrides_them(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for method in [
        "GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "post",
    ] {
        let overriding = genuine()
            .and("x-http-method-override", "POST")
            .and("x-method-override", "POST")
            .with_method(method);
        let refused = receiver.send(&overriding).await;
        let allow = refused.header("allow");
        assert_eq!((refused.status, allow), (405, Some("POST")), "{method}");
        assert!(
            !String::from_utf8_lossy(&refused.body).contains("v1,"),
            "nothing is echoed"
        );
    }
    for target in ["crm.example:443", "127.0.0.1:1"] {
        let tunnel = Delivery {
            path: target.to_owned(),
            ..genuine().with_method("CONNECT")
        };
        let refused = receiver.send(&tunnel).await;
        assert_eq!(refused.status, 405, "{target}");
        assert!(refused.header("allow").unwrap().contains("POST"));
    }
    receiver.stop().await;
    let kept = number(&ctx.open().await, "SELECT COUNT(*) AS n FROM inbox", params![]).await;
    assert_eq!(kept, 0);
}
