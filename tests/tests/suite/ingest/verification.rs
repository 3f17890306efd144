//! Who is let in: every check in its order, one answer for every failure of authenticity, nothing kept of it.

use super::{NOW, Receiver, SECRET, config, execute, guest_event, number};
use crate::case::{Case, Ctx, cases};
use contract::{UnixSeconds, signature};
use crm_receiver::config::Config;
use e2e::signer::{Answer, Delivery};
use kit::params;
use serde_json::Value;

pub fn cases() -> Vec<Case> {
    cases![
        whatever_is_not_authentic_gets_one_answer_and_is_only_counted,
        f43_the_clock_may_be_off_by_the_limit_and_no_more,
        one_right_signature_is_enough_at_any_place,
        any_secret_of_the_list_may_have_signed,
        a_disabled_source_is_as_good_as_unknown,
        cheap_checks_come_first,
        other_methods_are_refused,
        nothing_is_learned_from_the_unsigned,
    ]
}

/// The limit of a body.
const BODY_LEN_MAX: usize = 256 * 1024;

/// What every refusal has in common: all of it but the path and the request's id.
fn shape(answer: &Answer) -> (u16, Value, Vec<String>) {
    let mut body = answer.json();
    for own in ["instance", "request_id"] {
        body[own] = Value::Null;
    }
    let names = answer.headers.iter().map(|(name, _)| name.clone());
    (answer.status, body, names.collect())
}

/// Deliveries that are not authentic, each for one reason, with the cause that is counted.
pub(super) fn forgeries(receiver: &Receiver) -> Vec<(&'static str, Delivery)> {
    let body = guest_event("evt_1");
    let whole = receiver.delivery("evt_1", &body);
    let signature = whole.header("webhook-signature");
    let tag = signature.strip_prefix("v1,").unwrap().to_owned();
    let signed_at = |at: &str| whole.clone().with("webhook-timestamp", at);
    let signed_by = |signature: &str| whole.clone().with("webhook-signature", signature);
    let mut forged: Vec<(&'static str, Delivery)> = Vec::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        forged.push(("missing_header", whole.clone().without(name)));
        forged.push(("repeated_header", whole.clone().and(name, whole.header(name))));
    }
    for at in [
        "+1763769600",
        "01763769600",
        "1763769600.0",
        "1e9",
        "0x691fb380",
        "9223372036854775807",
        "17637696001763769600",
        "1763769600000",
        "-763769600",
        "",
    ] {
        forged.push(("malformed_timestamp", signed_at(at)));
    }
    for id in ["", "a.b", "evt 1", &"x".repeat(65)] {
        forged.push(("malformed_id", whole.clone().with("webhook-id", id)));
    }
    let url_safe = signature.replace(['+', '/'], "_");
    let padded_off = signature.trim_end_matches('=').to_owned();
    let loose_bits = format!("v1,{}9=", &tag[..tag.len() - 2]);
    for broken in [
        "",
        "v1,",
        "v1",
        &signature[..signature.len() - 4],
        &padded_off,
        &loose_bits,
        &format!("v1,{}", "A".repeat(44)),
        &format!("v2,{tag}"),
        &format!("V1,{tag}"),
        &format!("v1a,{tag}"),
        &format!("v1,\t{tag}"),
        &format!("v1, {tag}"),
    ] {
        forged.push(("malformed_signature", signed_by(broken)));
    }
    if url_safe != signature {
        forged.push(("malformed_signature", signed_by(&url_safe)));
    }
    forged.push((
        "too_many_signatures",
        signed_by(&[signature.as_str(); 9].join(" ")),
    ));
    let other = Delivery::signed(
        "pms",
        "evt_1",
        &body,
        &"another-long-secret".parse().unwrap(),
        receiver.seconds(),
    );
    let text = String::from_utf8(body.clone()).unwrap();
    for tampered in [
        other,
        whole.clone().with_body(text.replace("Silva", "Silvb")),
        whole.clone().with_body(text.replace(":", ": ")),
        whole.clone().with_body(format!("\u{feff}{text}")),
        whole.clone().with_body(format!("{text}\n")),
        whole.clone().with_body(""),
        // The signature of one id, timestamp or body does not serve for another.
        whole.clone().with("webhook-id", "evt_2"),
        signed_at(&(receiver.seconds().0 + 1).to_string()),
    ] {
        forged.push(("signature_mismatch", tampered));
    }
    for path in [
        "/api/v1/webhooks/pmsx",
        "/api/v1/webhooks/PMS",
        "/api/v1/webhooks/a.b",
        "/api/v1/webhooks/p%6ds%20",
    ] {
        forged.push((
            "unknown_source",
            Delivery {
                path: path.to_owned(),
                ..whole.clone()
            },
        ));
    }
    forged
}

async fn whatever_is_not_authentic_gets_one_answer_and_is_only_counted(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let forgeries = forgeries(&receiver);
    let reference = shape(&receiver.send(&forgeries[0].1).await);
    assert_eq!(
        (reference.0, &reference.1["code"]),
        (401, &Value::from("unauthorized"))
    );
    for (cause, forged) in &forgeries[1..] {
        assert_eq!(
            shape(&receiver.send(forged).await),
            reference,
            "{cause}: {:?}",
            forged.headers
        );
    }
    receiver.stop().await;
    let db = ctx.open().await;
    for table in [
        "SELECT COUNT(*) AS n FROM inbox",
        "SELECT COUNT(*) AS n FROM audit_entries",
    ] {
        assert_eq!(number(&db, table, params![]).await, 0);
    }
    let mut causes: Vec<_> = forgeries.iter().map(|(cause, _)| *cause).collect();
    causes.sort_unstable();
    for of_one in causes.chunk_by(|one, other| one == other) {
        let sql = "SELECT COALESCE(SUM(n), 0) AS n FROM audit_counts WHERE kind = 'rejected' AND cause = ?";
        let counted = number(&db, sql, params![of_one[0]]).await;
        assert_eq!(counted, i64::try_from(of_one.len()).unwrap(), "{}", of_one[0]);
    }
}

async fn f43_the_clock_may_be_off_by_the_limit_and_no_more(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for (key, off, status) in [
        ("evt_1", -1_800, 202),
        ("evt_2", 1_800, 202),
        ("evt_3", -1_801, 401),
        ("evt_4", 1_801, 401),
        ("evt_5", 90_000, 401),
    ] {
        let at = UnixSeconds(receiver.seconds().0 + off);
        let delivery = Delivery::signed("pms", key, &guest_event(key), &receiver.secrets, at);
        assert_eq!(receiver.send(&delivery).await.status, status, "{off}");
    }
    // A replay after the window is refused, and the first stands.
    let replay = receiver.delivery("evt_1", &guest_event("evt_1"));
    receiver.clock.advance(std::time::Duration::from_secs(1_801));
    assert_eq!(receiver.send(&replay).await.status, 401);
    assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 200);
    receiver.stop().await;
    let db = ctx.open().await;
    for (cause, count) in [
        ("behind_under_2_hours", 2),
        ("ahead_under_2_hours", 1),
        ("ahead_under_2_days", 1),
    ] {
        let sql = "SELECT COALESCE(SUM(n), 0) AS n FROM audit_counts WHERE kind = 'skewed' AND cause = ?";
        assert_eq!(number(&db, sql, params![cause]).await, count, "{cause}");
    }
}

async fn one_right_signature_is_enough_at_any_place(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let wrong = format!("v1,{}=", "A".repeat(43));
    for place in 0..8 {
        let key = format!("evt_{place}");
        let delivery = receiver.delivery(&key, &guest_event(&key));
        let mut signatures = vec![wrong.clone(); 7];
        signatures.insert(place, delivery.header("webhook-signature"));
        let several = delivery.with("webhook-signature", signatures.join(" "));
        assert_eq!(receiver.send(&several).await.status, 202, "{place}");
    }
    let delivery = receiver.delivery("evt_8", &guest_event("evt_8"));
    let beside_unknown = format!("v1a,abc v9 {}", delivery.header("webhook-signature"));
    assert_eq!(
        receiver
            .send(&delivery.with("webhook-signature", beside_unknown))
            .await
            .status,
        202
    );
    receiver.stop().await;
}

async fn any_secret_of_the_list_may_have_signed(ctx: Ctx) {
    let (old, new) = (SECRET, "the-secret-after-the-rotation");
    let rotating = Config {
        secrets: format!("{new} {old}").parse().unwrap(),
        ..config(ctx.url())
    };
    let receiver = Receiver::start_with(rotating).await;
    let deliver = |key: &str, secret: &str, at: UnixSeconds| {
        Delivery::signed("pms", key, &guest_event(key), &secret.parse().unwrap(), at)
    };
    let at = receiver.seconds();
    for (key, secret, status) in [
        ("evt_1", old, 202),
        ("evt_2", new, 202),
        ("evt_3", "neither-of-the-two-secrets", 401),
    ] {
        assert_eq!(receiver.send(&deliver(key, secret, at)).await.status, status);
    }
    receiver.stop().await;
    let rotated = Receiver::start_with(Config {
        secrets: new.parse().unwrap(),
        ..config(ctx.url())
    })
    .await;
    assert_eq!(rotated.send(&deliver("evt_4", old, at)).await.status, 401);
    assert_eq!(rotated.send(&deliver("evt_4", new, at)).await.status, 202);
    rotated.stop().await;
}

async fn a_disabled_source_is_as_good_as_unknown(ctx: Ctx) {
    Receiver::start(&ctx).await.stop().await;
    let db = ctx.open().await;
    execute(&db, "UPDATE sources SET enabled = 0 WHERE id = 'pms'", params![]).await;
    let receiver = Receiver::start(&ctx).await;
    assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 401);
    receiver.stop().await;
    let sql = "SELECT SUM(n) AS n FROM audit_counts WHERE cause = 'unknown_source'";
    assert_eq!(number(&db, sql, params![]).await, 1);
}

async fn cheap_checks_come_first(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let whole = receiver.delivery("evt_1", &guest_event("evt_1"));
    let unsigned = whole.clone().with("webhook-signature", "v1,nonsense");
    for content_type in [
        "text/plain",
        "application/json; charset=latin1",
        "application/xml",
        "",
    ] {
        let refused = receiver
            .send(&unsigned.clone().with("content-type", content_type))
            .await;
        assert_eq!(refused.status, 415, "{content_type}");
    }
    assert_eq!(
        receiver.send(&whole.clone().without("content-type")).await.status,
        415
    );
    assert_eq!(
        receiver
            .send(&whole.clone().and("content-type", "application/json"))
            .await
            .status,
        415
    );
    for encoding in ["gzip", "br", "zstd", "gzip, gzip", "identity"] {
        assert_eq!(
            receiver
                .send(&whole.clone().and("content-encoding", encoding))
                .await
                .status,
            415,
            "{encoding}"
        );
    }
    // None of these waits for a body that never comes.
    assert_eq!(
        unsigned
            .send_head(receiver.address, BODY_LEN_MAX + 1)
            .await
            .unwrap()
            .status,
        413
    );
    assert_eq!(
        unsigned.send_head(receiver.address, 1_000).await.unwrap().status,
        401
    );
    let stale = whole.clone().with("webhook-timestamp", "1000000000");
    assert_eq!(
        stale.send_head(receiver.address, 1_000).await.unwrap().status,
        401
    );
    let unended = whole.clone().with_body(vec![b' '; BODY_LEN_MAX + 1]);
    assert_eq!(unended.send_unended(receiver.address).await.unwrap().status, 413);
    for content_type in [
        "application/json; charset=utf-8",
        "Application/JSON;charset=\"UTF-8\"",
    ] {
        let fine = whole.clone().with("content-type", content_type);
        assert!(
            matches!(receiver.send(&fine).await.status, 200 | 202),
            "{content_type}"
        );
    }
    let mut largest = guest_event("evt_2");
    largest.resize(BODY_LEN_MAX, b' ');
    assert_eq!(receiver.take("evt_2", &largest).await.status, 202);
    receiver.stop().await;
}

async fn other_methods_are_refused(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let whole = receiver.delivery("evt_1", &guest_event("evt_1"));
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let overriding = whole
            .clone()
            .and("x-http-method-override", "POST")
            .with_method(method);
        let refused = receiver.send(&overriding).await;
        assert_eq!(
            (refused.status, refused.header("allow")),
            (405, Some("POST")),
            "{method}"
        );
    }
    receiver.stop().await;
}

async fn nothing_is_learned_from_the_unsigned(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let body = guest_event("evt_1");
    let at = NOW.seconds();
    let unsigned = Delivery::signed("pms", "evt_1", &body, &"another-long-secret".parse().unwrap(), at);
    assert_eq!(receiver.send(&unsigned).await.status, 401);
    assert_eq!(
        receiver.take("evt_1", &body).await.status,
        202,
        "the key was not taken by the forgery"
    );
    // Nor does an authentic key that was refused for its content hold its place.
    assert_eq!(receiver.take("evt_2", b"{}").await.status, 422);
    assert_eq!(receiver.take("evt_2", &guest_event("evt_2")).await.status, 202);
    // A signature without the sender's dot cannot be shifted between id and body.
    let shifted = signature::sign(receiver.secrets.as_slice(), &"evt_3".parse().unwrap(), at, b"x");
    let moved = receiver
        .delivery("evt_3", b"y")
        .with("webhook-signature", shifted.as_str());
    assert_eq!(receiver.send(&moved).await.status, 401);
    receiver.stop().await;
}
