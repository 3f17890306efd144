//! Rows R12 and R32 to R35: what is authentic is parsed once and strictly, in bounded time, and its answer says why not.

use super::signed;
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, event, guest_event, number};
use db::params;
use harness::signer::Answer;
use harness::waiting::in_time;
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    cases![
        r12_a_body_that_is_no_utf_8_is_refused_after_its_signature,
        r32_json_that_overflows_is_refused_in_bounded_time,
        r33_a_key_that_stands_twice_is_refused,
        r34_the_bodys_id_is_the_headers,
        r35_what_is_not_known_is_kept,
    ]
}

/// Pointer and code of each reason of a 422.
fn reasons(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.status, 422, "{}", answer.json());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
    let errors = errors.iter();
    errors
        .map(|error| (text(&error["pointer"]), text(&error["code"])))
        .collect()
}

/// Each body, signed as it should be, is refused as no JSON at all, and nothing of it is kept or said again.
async fn all_unreadable(ctx: &Ctx, bodies: Vec<Vec<u8>>) {
    let receiver = Receiver::start(ctx).await;
    for body in bodies {
        let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let sending = receiver.take("evt_1", &body);
        let answer = in_time(&start, sending).await;
        assert_eq!(
            reasons(&answer),
            [(String::new(), "invalid_json".to_owned())],
            "{start}"
        );
        assert!(
            !String::from_utf8_lossy(&answer.body).contains("canary"),
            "{start}"
        );
    }
    // It still takes what is in order, under the same key.
    assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 202);
    receiver.stop().await;
    let db = ctx.open().await;
    assert_eq!(number(&db, "SELECT COUNT(*) AS n FROM inbox", params![]).await, 1);
}

/// The creation of a guest with one more member in its payload.
fn with_member(member: &str) -> Vec<u8> {
    let text = String::from_utf8(guest_event("evt_1")).unwrap();
    text.replace(r#""last_name""#, &format!(r#"{member},"last_name""#))
        .into_bytes()
}

async fn r12_a_body_that_is_no_utf_8_is_refused_after_its_signature(ctx: Ctx) {
    let bodies = [
        &b"\xff\xfe"[..],
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xc0\xaf",
        b"\xf4\x90\x80\x80",
    ];
    let inside = |bytes: &[u8]| {
        let whole = with_member(r#""a":"canary?""#);
        let place = whole.iter().position(|byte| *byte == b'?').unwrap();
        [&whole[..place], bytes, &whole[place + 1..]].concat()
    };
    let mut all: Vec<_> = bodies.iter().map(|bytes| inside(bytes)).collect();
    all.extend(bodies.iter().map(|bytes| bytes.to_vec()));
    all.push(
        "{}".encode_utf16()
            .flat_map(u16::to_le_bytes)
            .chain([0xff])
            .collect(),
    );
    all_unreadable(&ctx, all).await;
    // Without a signature it is not even looked at.
    let receiver = Receiver::start(&ctx).await;
    let unsigned = signed("evt_2", b"\xff\xfe").with("webhook-timestamp", "1763769601");
    assert_eq!(receiver.send(&unsigned).await.status, 401);
    receiver.stop().await;
}

async fn r32_json_that_overflows_is_refused_in_bounded_time(ctx: Ctx) {
    let deep = |open: &str, close: &str, depth: usize| [open.repeat(depth), close.repeat(depth)].concat();
    let mut bodies: Vec<Vec<u8>> = [
        deep("[", "]", 100_000),
        "[".repeat(250_000),
        deep(r#"{"a":"#, "}", 40_000),
        r#"{"a":"#.repeat(40_000),
        String::from_utf8(with_member(&format!(r#""a":{}"#, deep("[", "]", 80)))).unwrap(),
    ]
    .map(String::into_bytes)
    .into();
    for number in [
        "1e400",
        "-1e400",
        "1e999999999",
        "9007199254740993",
        "-9007199254740993",
        "9223372036854775808",
        "18446744073709551616",
        "-9223372036854775809",
        &"9".repeat(100_000),
        "NaN",
        "Infinity",
        "0x10",
        "01",
        "1.",
    ] {
        bodies.push(with_member(&format!(r#""a":{number}"#)));
    }
    for text in [
        r#""\ud800""#,
        r#""\udfff\ud800""#,
        r#""\ud83d\u0041""#,
        r#""\u12""#,
        "\"\u{0}\"",
        r#""\x""#,
    ] {
        bodies.push(with_member(&format!(r#""a":{text}"#)));
    }
    all_unreadable(&ctx, bodies).await;

    // As many keys as a body may hold are many, but not wrong.
    let receiver = Receiver::start(&ctx).await;
    for (keys, status) in [(22_000, 422), (19_900, 202)] {
        let members: Vec<_> = (0..keys).map(|number| format!(r#""{number:x}":1"#)).collect();
        let wide = String::from_utf8(guest_event("evt_2")).unwrap();
        let wide = wide.replace(r#""last_name""#, &format!(r#"{},"last_name""#, members.join(",")));
        assert!(wide.len() <= 256 * 1024);
        let answer = in_time("many keys", receiver.take("evt_2", wide.as_bytes()));
        assert_eq!(answer.await.status, status, "{keys}");
    }
    receiver.settle(&ctx).await;
    assert_eq!(receiver.event("evt_2").await["status"], "applied");
    // A million are too large, and refused before the first is read.
    let million = signed("evt_3", b"")
        .send_head(receiver.address, 10_000_000)
        .await
        .unwrap();
    assert_eq!(million.status, 413);
    receiver.stop().await;
}

async fn r33_a_key_that_stands_twice_is_refused(ctx: Ctx) {
    let text = String::from_utf8(guest_event("evt_1")).unwrap();
    let twice = [
        text.replace(
            r#""schema_version""#,
            r#""idempotency_key":"evt_1","schema_version""#,
        ),
        text.replace(
            r#""schema_version""#,
            r#""\u0069dempotency_key":"evt_2","schema_version""#,
        ),
        text.replace(r#""schema_version""#, r#""x":1,"\u0078":2,"schema_version""#),
        text.replace(r#""last_name""#, r#""\u006cast_name":"canary","last_name""#),
        text.replace(r#""last_name""#, r#""a":[{"b":{"c":1,"\u0063":1}}],"last_name""#),
        text.replace(r#""version""#, r#""\u0076ersion":9,"version""#),
        text.replace(r#""last_name""#, r#""":1,"":2,"last_name""#),
    ];
    all_unreadable(&ctx, twice.map(String::into_bytes).into()).await;
}

async fn r34_the_bodys_id_is_the_headers(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for named in ["evt_1", "EVT_2", "evt_2x"] {
        let differs = reasons(&receiver.take("evt_2", &guest_event(named)).await);
        assert_eq!(differs, [("/idempotency_key".to_owned(), "differs".to_owned())]);
    }
    for malformed in ["evt_2 ", "evt.2", "", "evt_2\\u0000"] {
        let body = String::from_utf8(guest_event("evt_2")).unwrap();
        let body = body.replace(
            r#""idempotency_key":"evt_2""#,
            &format!(r#""idempotency_key":"{malformed}""#),
        );
        let refused = reasons(&receiver.take("evt_2", body.as_bytes()).await);
        assert_eq!(
            refused,
            [("/idempotency_key".to_owned(), "invalid".to_owned())],
            "{malformed}"
        );
    }
    assert_eq!(receiver.get("/events").await.json()["data"], json!([]));
    receiver.stop().await;
}

async fn r35_what_is_not_known_is_kept(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let newer = String::from_utf8(guest_event("evt_2")).unwrap();
    let newer = newer
        .replace(r#""schema_version":1"#, r#""schema_version":2"#)
        .into_bytes();
    let extra = json!({"last_name": "Silva", "shoe_size": {"eu": 43}, "__proto__": {"admin": true}});
    for (key, body, status) in [
        (
            "evt_1",
            event("evt_1", "payment.failed", &json!({"amount": 1})),
            "ignored",
        ),
        ("evt_2", newer, "ignored"),
        (
            "evt_3",
            br#"{"type":"ping","idempotency_key":"evt_3","timestamp":1763769600000,"schema_version":1}"#
                .to_vec(),
            "ignored",
        ),
        ("evt_4", event("evt_4", "guest.created", &extra), "applied"),
    ] {
        assert_eq!(receiver.take(key, &body).await.status, 202, "{key}");
        receiver.settle(&ctx).await;
        assert_eq!(receiver.event(key).await["status"], status, "{key}");
    }
    receiver.stop().await;
    // Kept as it came, byte by byte.
    let sql = "SELECT COUNT(*) AS n FROM inbox_bodies WHERE LENGTH(body) > 0";
    assert_eq!(number(&ctx.open().await, sql, params![]).await, 4);
}
