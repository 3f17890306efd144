//! Rows R28 and R29: connections that say nothing, or half of something, are few, cheap, and soon gone.
//!
//! Here the cap is low; the product's own, with its memory, is measured by `flood`, and docs/security.md says what came of
//! it. Each limit in time stands beside `kit::http::serve`, shortened; here are those of a receiver as it is.

use crate::case::{Case, Ctx, cases};
use crate::ingest::{NOW, Receiver, config, guest_event};
use crm_receiver::config::Config;
use e2e::{
    flood::{Attack, Flood},
    wire::Wire,
};
use kit::config::{ByteSize, HttpArgs};
use kit::http::body::READING_BYTES;
use std::time::Duration;
use tokio::time::sleep;

pub fn cases() -> Vec<Case> {
    cases![free;
        r28_idle_connections_and_slow_heads_are_closed_within_ten_seconds,
        r29_beyond_the_cap_everyone_is_told_to_come_back,
        r29_bodies_that_never_come_share_one_budget,
    ]
}

/// Connections at once.
const CAP: u32 = 200;
/// How many come beyond it: more than are refused with care.
const BEYOND: usize = 300;

/// A receiver with a low cap, and room for so many bodies on their way.
async fn receiver(ctx: &Ctx, bodies: usize) -> Receiver {
    let usual = config(ctx.url());
    let http = HttpArgs {
        http_connections: CAP,
        http_body_bytes: ByteSize(bodies * (READING_BYTES + 4096)),
        ..usual.http.clone()
    };
    Receiver::start_with(Config { http, ..usual }).await
}

async fn r28_idle_connections_and_slow_heads_are_closed_within_ten_seconds(ctx: Ctx) {
    const LIMIT: Duration = Duration::from_secs(10);
    /// For a busy machine.
    const SLACK: Duration = Duration::from_secs(5);
    let receiver = Receiver::start(&ctx).await;
    let open = |words: &'static [u8]| Wire::saying(receiver.address, words);
    let silent = open(b"").await.unwrap();
    let half = open(b"POST /api/v1/webhooks/pms HTTP/1.1\r\nhost: c")
        .await
        .unwrap();
    let mut kept = open(b"GET /health HTTP/1.1\r\nhost: crm\r\n\r\n").await.unwrap();
    assert!(kept.head(LIMIT).await.unwrap().starts_with("HTTP/1.1 200"));
    let mut slow = open(b"POST /api/v1/webhooks/pms HTTP/1.1\r\n").await.unwrap();
    let slowly = async {
        // A line a second would last for as long as there are headers.
        while slow.say(b"x: y\r\n").await.is_ok() {
            sleep(Duration::from_millis(500)).await;
        }
        slow.ending(SLACK).await
    };
    let most = LIMIT + SLACK;
    let endings = tokio::join!(silent.ending(most), half.ending(most), kept.ending(most), slowly);
    for ending in [endings.0, endings.1, endings.2, endings.3] {
        let ending = ending.unwrap();
        assert!(ending.after < most, "{ending:?}");
        assert!(!ending.said.starts_with("HTTP/1.1 2"), "{ending:?}");
    }
    receiver.stop().await;
}

async fn r29_beyond_the_cap_everyone_is_told_to_come_back(ctx: Ctx) {
    let cap = usize::try_from(CAP).unwrap();
    for attack in [Attack::Idle, Attack::HalfHeads, Attack::LongHeads] {
        let receiver = receiver(&ctx, cap).await;
        let flood = Flood::open(receiver.address, attack, cap + BEYOND, NOW.seconds())
            .await
            .unwrap();
        // Whoever comes next is told as well, so all before have been looked at.
        let last = Wire::open(receiver.address)
            .await
            .unwrap()
            .ending(Duration::from_secs(20))
            .await
            .unwrap();
        assert!(
            last.said.starts_with("HTTP/1.1 503") && last.said.contains("retry-after: 1"),
            "{last:?}"
        );
        let tally = flood.tally().await;
        assert_eq!(tally.waiting, cap, "{attack:?}: {tally:?}");
        if attack == Attack::Idle {
            assert_eq!((tally.told, tally.closed), (BEYOND, 0), "{attack:?}: {tally:?}");
        }
        drop(flood);
        takes_again(receiver).await;
    }
}

async fn r29_bodies_that_never_come_share_one_budget(ctx: Ctx) {
    const ROOM: usize = 50;
    let receiver = receiver(&ctx, ROOM).await;
    let flood = Flood::open(receiver.address, Attack::HalfBodies, 150, NOW.seconds())
        .await
        .unwrap();
    // As soon as all is taken a good delivery is refused at once, and told why.
    let full = loop {
        let answer = receiver.take("evt_1", &guest_event("evt_1")).await;
        if !matches!(answer.status, 200 | 202) {
            break answer;
        }
    };
    assert_eq!(
        (full.status, full.json()["code"].as_str()),
        (503, Some("overloaded"))
    );
    assert_eq!(full.header("retry-after"), Some("1"));
    let tally = flood.tally().await;
    assert!((ROOM..ROOM + 20).contains(&tally.waiting), "{tally:?}");
    assert!(tally.told >= 150 - ROOM - 20, "{tally:?}");
    drop(flood);
    takes_again(receiver).await;
}

/// As soon as the flood is gone there is room again.
async fn takes_again(receiver: Receiver) {
    let body = guest_event("evt_after");
    let delivery = receiver.delivery("evt_after", &body);
    // Until then it may be refused, also by a reset.
    while !matches!(delivery.send(receiver.address).await, Ok(answer) if matches!(answer.status, 200 | 202)) {
    }
    receiver.stop().await;
}
