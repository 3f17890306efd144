//! Rows R28 and R29: connections that say nothing, or half of something, are few, cheap, and soon gone.
//!
//! Here the cap is low; the product's own, with its memory, is measured by `cargo load -- --flood`, and docs/security.md has the figures of
//! it. Each limit in time stands beside `api::serve`, shortened; here are those of a receiver as it is.

use crate::case::{Case, Ctx, cases};
use crate::ingest::{NOW, Receiver, config, event, guest_event};
use api::body::{BYTES_IN_ALL, READING_BYTES};
use crm_receiver::config::Config;
use harness::waiting::{HANGS_AFTER, in_time, ten_times, until};
use harness::wire::Wire;
use kit::config::{ByteSize, HttpArgs};
use load::{
    attack::FloodKind,
    flood::{Flood, HALF_BODY_LEN},
};
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

pub fn cases() -> Vec<Case> {
    cases![free;
        r28_idle_connections_and_slow_heads_are_closed_before_a_slow_body,
        r29_beyond_the_cap_everyone_is_asked_to_come_back,
        r29_bodies_that_never_come_are_evicted_and_whole_ones_are_taken,
    ]
}

/// Connections at once.
const CAP: u32 = 200;
/// How many come beyond it: more than are refused with care.
const BEYOND: usize = 300;

/// A receiver with a low cap.
async fn receiver(ctx: &Ctx, http_connections: u32, http_body_bytes: ByteSize) -> Receiver {
    let usual = config(ctx.url());
    let http = HttpArgs {
        http_connections,
        http_body_bytes,
        ..usual.http.clone()
    };
    Receiver::start_with(Config { http, ..usual }).await
}

async fn r28_idle_connections_and_slow_heads_are_closed_before_a_slow_body(ctx: Ctx) {
    /// The rule. A slow body may take three times as long.
    const LIMIT: Duration = Duration::from_secs(10);
    /// Between two lines of a slow head: it would last for as long as there are headers.
    const LINE_EVERY: Duration = Duration::from_millis(500);
    let receiver = Receiver::start(&ctx).await;
    let body = guest_event("evt_1");
    let words = receiver.delivery("evt_1", &body).bytes(receiver.address);
    let slow_body = Wire::saying(receiver.address, &words[..words.len() - 1])
        .await
        .unwrap();
    let open = |words: &'static [u8]| Wire::saying(receiver.address, words);
    let silent = open(b"").await.unwrap();
    let half = open(b"POST /api/v1/webhooks/pms HTTP/1.1\r\nhost: c")
        .await
        .unwrap();
    let mut kept = open(b"GET /health HTTP/1.1\r\nhost: crm\r\n\r\n").await.unwrap();
    assert!(kept.head(LIMIT).await.unwrap().starts_with("HTTP/1.1 200"));
    let mut slow = open(b"POST /api/v1/webhooks/pms HTTP/1.1\r\n").await.unwrap();
    let slowly = async {
        while slow.say(b"x: y\r\n").await.is_ok() {
            sleep(LINE_EVERY).await;
        }
        slow.ending(HANGS_AFTER).await
    };
    let bound = 10 * LIMIT;
    let endings = async {
        tokio::join!(
            silent.ending(bound),
            half.ending(bound),
            kept.ending(bound),
            slowly
        )
    };
    let (silent, half, kept, slow) = tokio::select! {
        endings = ten_times(LIMIT, "all are closed", endings) => endings,
        ending = slow_body.ending(bound) => panic!("the slow body was first: {ending:?}"),
    };
    for ending in [silent, half, kept, slow] {
        let ending = ending.unwrap();
        assert!(!ending.said.starts_with("HTTP/1.1 2"), "{ending:?}");
    }
    receiver.stop().await;
}

async fn r29_beyond_the_cap_everyone_is_asked_to_come_back(ctx: Ctx) {
    let cap = usize::try_from(CAP).unwrap();
    for kind in [FloodKind::Idle, FloodKind::HalfHeads, FloodKind::LongHeads] {
        let receiver = receiver(&ctx, CAP, ByteSize(BYTES_IN_ALL)).await;
        let flood = Flood::open(receiver.address, kind, cap + BEYOND, NOW.seconds())
            .await
            .unwrap();
        // Anyone who comes next is answered as well, so all before have been looked at.
        let last = Wire::open(receiver.address)
            .await
            .unwrap()
            .ending(HANGS_AFTER)
            .await
            .unwrap();
        assert!(
            last.said.starts_with("HTTP/1.1 503") && last.said.contains("retry-after: 1"),
            "{last:?}"
        );
        let tally = flood.tally().await;
        assert_eq!(tally.waiting, cap, "{kind:?}: {tally:?}");
        if kind == FloodKind::Idle {
            assert_eq!((tally.refused, tally.closed), (BEYOND, 0), "{kind:?}: {tally:?}");
        }
        drop(flood);
        takes_again(receiver).await;
    }
}

async fn r29_bodies_that_never_come_are_evicted_and_whole_ones_are_taken(ctx: Ctx) {
    /// Slow bodies for which there is room.
    const ROOM: usize = 1_200;
    /// More of them than would fill the whole budget.
    const COME: usize = 2_600;
    let budget = ByteSize(2 * ROOM * (READING_BYTES + HALF_BODY_LEN));
    // Twice: both ends are this process's.
    let cap = u32::try_from(2 * COME).unwrap();
    let receiver = receiver(&ctx, cap, budget).await;
    let flood = Flood::open(receiver.address, FloodKind::HalfBodies, COME, NOW.seconds())
        .await
        .unwrap();
    for (nth, body) in [guest_event("evt_0"), large_event("evt_1")].iter().enumerate() {
        let taking = format!("evt_{nth}");
        let answer = in_time("a whole body is taken", receiver.take(&taking, body)).await;
        assert_eq!(answer.status, 202, "{nth}: {answer:?}");
    }
    // They were taken while as many of the flood as there is room for still stood.
    let tally = flood.tally().await;
    assert!((ROOM - 20..=ROOM).contains(&tally.waiting), "{tally:?}");
    assert_eq!(tally.refused, COME - tally.waiting, "{tally:?}");
    drop(flood);
    takes_again(receiver).await;
}

/// An event that takes many reads.
fn large_event(key: &str) -> Vec<u8> {
    let payload = json!({"last_name": "Silva", "more": "x".repeat(200 * 1024)});
    event(key, "guest.created", &payload)
}

/// As soon as the flood is gone there is room again.
async fn takes_again(receiver: Receiver) {
    let body = guest_event("evt_after");
    let delivery = receiver.delivery("evt_after", &body);
    // Until then it may be refused, also by a reset.
    until("it takes again", || async {
        matches!(delivery.send(receiver.address).await, Ok(answer) if matches!(answer.status, 200 | 202))
    })
    .await;
    receiver.stop().await;
}
