//! Rows R27, R30, R31 and R40: heads, bodies and protocols that are too much are refused as soon as that is known.
//!
//! R28 and R29, time and memory, are `floods`.

use super::{genuine, signed};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, config, guest_event, number};
use api::ServeSettings;
use crm_receiver::config::Config;
use db::params;
use harness::{
    signer::{Answer, Delivery},
    wire::Wire,
};
use kit::access::FAILURES_MAX;
use std::{fmt::Write, net::SocketAddr, time::Duration};

pub fn cases() -> Vec<Case> {
    cases![
        r27_too_many_or_too_long_headers_are_431_and_closed,
        r30_a_body_is_413_as_soon_as_it_crosses_the_limit,
        r31_http_2_has_no_way_in,
        r40_the_unsigned_are_refused_at_their_head,
        r40_who_fails_too_often_is_429_before_the_body_and_others_are_heard,
        r40_a_proxy_that_is_not_trusted_names_no_client,
    ]
}

/// The limit of a webhook's body.
const BODY_LEN_MAX: usize = 256 * 1024;
/// A server that has not answered or closed by then does neither.
const WITHIN: Duration = Duration::from_secs(20);

/// The head of a delivery as it goes over the wire, the framing left to the caller.
fn head(delivery: &Delivery, framing: &str) -> String {
    let mut head = format!("POST {} HTTP/1.1\r\nhost: crm\r\n{framing}", delivery.path);
    for (name, value) in &delivery.headers {
        write!(head, "{name}: {}\r\n", String::from_utf8_lossy(value)).unwrap();
    }
    head + "\r\n"
}

/// What is said to these bytes before the connection is closed.
async fn said_to(address: SocketAddr, bytes: &[u8]) -> String {
    let mut wire = Wire::open(address).await.unwrap();
    // It may be refused before all of it is taken.
    let _ = wire.say(bytes).await;
    wire.ending(WITHIN).await.unwrap().said
}

async fn r27_too_many_or_too_long_headers_are_431_and_closed(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let address = receiver.address;
    let more = |lines: usize| {
        let framing: String = (0..lines)
            .map(|number| format!("x-{number}: {number}\r\n"))
            .collect();
        head(
            &genuine(),
            &format!("{framing}connection: close\r\ncontent-length: 0\r\n"),
        )
    };
    // Four of the delivery's own, and three that every request has.
    let own = genuine().headers.len() + 3;
    let most = ServeSettings::default().headers_max;
    assert!(
        said_to(address, more(most - own).as_bytes())
            .await
            .starts_with("HTTP/1.1 401")
    );
    assert!(
        said_to(address, more(most - own + 1).as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
    for framing in [
        format!("x-long: {}\r\n", "x".repeat(500_000)),
        format!("x-{}: 1\r\n", "x".repeat(500_000)),
        "x: 1\r\n".repeat(100_000),
    ] {
        let said = said_to(address, head(&genuine(), &framing).as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    }
    let path = format!("POST /{} HTTP/1.1\r\n\r\n", "x".repeat(500_000));
    let said = said_to(address, path.as_bytes()).await;
    assert!(
        said.starts_with("HTTP/1.1 414") || said.starts_with("HTTP/1.1 431"),
        "{said}"
    );
    assert_eq!(receiver.send(&genuine()).await.status, 202);
    receiver.stop().await;
}

async fn r30_a_body_is_413_as_soon_as_it_crosses_the_limit(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    // Declared: at once, though nothing of it ever comes, and whatever the signature.
    for declared in [BODY_LEN_MAX + 1, 10_000_000, usize::MAX / 2] {
        let answer = genuine().send_head(receiver.address, declared).await.unwrap();
        assert_eq!(answer.status, 413, "{declared}");
        assert_eq!(answer.json()["code"], "payload_too_large");
    }
    // Chunked: at the byte that crosses it, though the chunks never end.
    let over = genuine().with_body(vec![b' '; BODY_LEN_MAX + 1]);
    assert_eq!(over.send_unended(receiver.address).await.unwrap().status, 413);
    let endless = head(&genuine(), "transfer-encoding: chunked\r\n") + "1000\r\n";
    let chunk = "x".repeat(0x1000) + "\r\n1000\r\n";
    let said = said_to(receiver.address, (endless + &chunk.repeat(70)).as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 413"), "{said}");
    // Two framings at once, or one that makes no sense, are how requests are smuggled.
    for framing in [
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: -1\r\n",
        "content-length: 1e3\r\n",
        "content-length: 99999999999999999999999\r\n",
        "transfer-encoding: xchunked\r\n",
    ] {
        let said = said_to(receiver.address, head(&genuine(), framing).as_bytes()).await;
        assert!(
            said.starts_with("HTTP/1.1 400") || said.starts_with("HTTP/1.1 413"),
            "{framing}: {said}"
        );
    }
    let smuggled = head(
        &genuine(),
        "content-length: 4\r\ntransfer-encoding: chunked\r\nconnection: close\r\n",
    ) + "0\r\n\r\nGET /api/v1/events HTTP/1.1\r\nhost: crm\r\n\r\n";
    let said = said_to(receiver.address, smuggled.as_bytes()).await;
    assert_eq!(
        said.matches("HTTP/1.1 ").count(),
        1,
        "one request, one answer: {said}"
    );
    // Exactly the limit is inside.
    let mut largest = guest_event("evt_2");
    largest.resize(BODY_LEN_MAX, b' ');
    assert_eq!(receiver.take("evt_2", &largest).await.status, 202);
    receiver.stop().await;
}

async fn r31_http_2_has_no_way_in(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let said = said_to(
        receiver.address,
        &[&preface[..], &settings.repeat(1_000)].concat(),
    )
    .await;
    // No frame of that protocol comes back: at most a refusal in our own.
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    let upgrade = "connection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\ncontent-length: 0\r\n";
    let said = said_to(receiver.address, head(&genuine(), upgrade).as_bytes()).await;
    assert!(
        said.starts_with("HTTP/1.1 401"),
        "it is a request like any other: {said}"
    );
    assert_eq!(receiver.send(&genuine()).await.status, 202);
    receiver.stop().await;
}

async fn r40_the_unsigned_are_refused_at_their_head(ctx: Ctx) {
    /// What such a flood sends with each request, and what is never asked for here.
    const DECLARED: usize = 20_000;
    let receiver = Receiver::start(&ctx).await;
    let unsigned = [
        genuine().without("webhook-signature"),
        genuine().with("webhook-signature", "v1,nonsense"),
        genuine().with("webhook-signature", format!("sha256={}", "0".repeat(64))),
        genuine().with("webhook-timestamp", "1000000000"),
        genuine().with("webhook-id", "a.b"),
        genuine().and("webhook-id", "evt_1"),
    ];
    for round in 0..10 {
        for delivery in &unsigned {
            let answer = delivery.send_head(receiver.address, DECLARED).await.unwrap();
            assert_eq!(answer.status, 401, "{round}: {:?}", delivery.headers);
        }
    }
    // Between them the signed are taken as ever.
    for number in 0..10 {
        let key = format!("evt_{number}");
        assert_eq!(receiver.send(&signed(&key, &guest_event(&key))).await.status, 202);
    }
    receiver.stop().await;
    let db = ctx.open().await;
    let sql = "SELECT SUM(n) AS n FROM audit_counts WHERE kind = 'rejected'";
    assert_eq!(number(&db, sql, params![]).await, 60);
    assert_eq!(
        number(
            &db,
            "SELECT COUNT(*) AS n FROM audit_counts WHERE kind = 'rejected'",
            params![]
        )
        .await,
        5,
        "one row for each cause"
    );
}

/// As a proxy passes a client's delivery on.
fn of_client(delivery: &Delivery, address: &str) -> Delivery {
    delivery.clone().with("x-forwarded-for", address)
}

async fn behind_a_proxy(ctx: &Ctx) -> Receiver {
    let mut config: Config = config(ctx.url());
    config.access.trusted_proxies = "127.0.0.1".parse().unwrap();
    Receiver::start_with(config).await
}

/// Fails so often, in every way that 401 answers, the unknown source and what is signed wrongly included.
async fn fail(receiver: &Receiver, client: &str, times: u32) {
    let failing = [
        genuine().without("webhook-signature"),
        genuine().with_body("{}"),
        genuine().with("webhook-timestamp", "1000000000"),
        Delivery {
            path: "/api/v1/webhooks/nobody".to_owned(),
            ..genuine()
        },
    ];
    for delivery in failing.iter().cycle().take(times as usize) {
        let answer = receiver.send(&of_client(delivery, client)).await;
        assert_eq!(answer.status, 401, "{:?}", delivery.headers);
    }
}

fn assert_too_often(answer: &Answer) {
    assert_eq!(answer.status, 429);
    assert_eq!(answer.json()["code"], "too_many_requests");
    let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

async fn r40_who_fails_too_often_is_429_before_the_body_and_others_are_heard(ctx: Ctx) {
    const BAD: &str = "198.51.100.1";
    let receiver = behind_a_proxy(&ctx).await;
    let take = async |key: &str, client: &str| {
        let delivery = signed(key, &guest_event(key));
        receiver.send(&of_client(&delivery, client)).await
    };
    fail(&receiver, BAD, FAILURES_MAX - 1).await;
    // What is authentic counts as nothing, and neither does what only breaks another rule.
    for key in ["evt_1", "evt_2"] {
        assert_eq!(take(key, BAD).await.status, 202);
    }
    let plain = genuine().with("content-type", "text/plain");
    assert_eq!(receiver.send(&of_client(&plain, BAD)).await.status, 415);
    fail(&receiver, BAD, 1).await;
    // None of its body comes, and what is there is in order.
    let delivery = of_client(&signed("evt_3", &guest_event("evt_3")), BAD);
    let declared = delivery.body.len();
    assert_too_often(&delivery.send_head(receiver.address, declared).await.unwrap());
    assert_too_often(&receiver.send(&delivery).await);
    assert_too_often(&receiver.send(&of_client(&plain, BAD)).await);
    // The sender is heard at any other address, and so is who fails there.
    assert_eq!(take("evt_3", "198.51.100.2").await.status, 202);
    assert_eq!(take("evt_4", "2001:db8::1").await.status, 202);
    fail(&receiver, "198.51.100.2", 1).await;
    // One network of IPv6 is one.
    fail(&receiver, "2001:db8::1", FAILURES_MAX).await;
    assert_too_often(&take("evt_5", "2001:db8::ffff").await);
    assert_eq!(take("evt_5", "2001:db8:0:1::1").await.status, 202);
    let sample = "crm_receiver_ingest_rejects_total{cause=\"failed_too_often\"}";
    assert_eq!(receiver.metrics().await.value(sample), 4.0);
    receiver.stop().await;
    let db = ctx.open().await;
    let sql = "SELECT n FROM audit_counts WHERE cause = 'failed_too_often'";
    assert_eq!(number(&db, sql, params![]).await, 4);
}

async fn r40_a_proxy_that_is_not_trusted_names_no_client(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    for number in 0..FAILURES_MAX {
        let client = format!("198.51.100.{}", number % 250);
        fail(&receiver, &client, 1).await;
    }
    let delivery = signed("evt_1", &guest_event("evt_1"));
    assert_too_often(&receiver.send(&of_client(&delivery, "203.0.113.1")).await);
    assert_too_often(&receiver.send(&delivery).await);
    receiver.stop().await;
}
