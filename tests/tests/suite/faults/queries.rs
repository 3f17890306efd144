//! Queries that take their time take no one else's: what comes in, and what goes out, goes on beside them.

use std::time::Duration;

use e2e::engine::Engine;
use futures::future::join_all;
use http::Method;
use mysql_async::{Conn, Opts, prelude::Queryable};
use serde_json::json;
use tokio::time::Instant;

use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, carry_out, guest_event};
use crate::pms::Pms;
use crate::reservations::booked;

pub fn cases() -> Vec<Case> {
    let mut all = cases![f16_slow_lists_leave_the_emitter_room_to_write];
    all.extend(cases![only Engine::Mysql; f16_slow_lists_leave_the_receiver_room_to_take_in]);
    all
}

/// Lists at once: more than there are connections.
const LISTS: usize = 48;
/// A write beside them, on a busy machine; were it behind them, it would be answered after 5 s.
const BESIDE_WITHIN: Duration = Duration::from_secs(2);
/// Writes beside the lists.
const WRITES: usize = 10;

/// Lets nobody else read a table until it is dropped.
async fn locked(ctx: &Ctx, table: &str) -> Conn {
    let mut conn = Conn::new(Opts::from_url(ctx.database.url()).unwrap())
        .await
        .unwrap();
    conn.query_drop(format!("LOCK TABLES {table} WRITE"))
        .await
        .unwrap();
    conn
}

/// Makes every look at the reservations take a second or two.
async fn slowed(ctx: &Ctx) {
    carry_out(ctx, "ALTER TABLE reservations RENAME TO kept_reservations").await;
    carry_out(
        ctx,
        "CREATE VIEW reservations AS SELECT * FROM kept_reservations WHERE
         (WITH RECURSIVE slow(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM slow WHERE n < 2000000)
          SELECT COUNT(*) FROM slow) > 0",
    )
    .await;
}

async fn f16_slow_lists_leave_the_emitter_room_to_write(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    booked(&pms).await;
    let conn = match ctx.engine {
        Engine::Mysql => Some(locked(&ctx, "reservations").await),
        Engine::Sqlite => {
            slowed(&ctx).await;
            None
        }
    };
    let listing = join_all((0..LISTS).map(|_| pms.get("/reservations")));
    let writing = async {
        for number in 0..WRITES {
            let (key, begun) = (format!("beside-{number}"), Instant::now());
            let headers = [("idempotency-key", key.as_str())];
            let guest = json!({"last_name": key});
            pms.send(Method::POST, "/guests", &headers, Some(&guest))
                .await
                .expect(201);
            assert!(begun.elapsed() < BESIDE_WITHIN, "{number}: {:?}", begun.elapsed());
        }
        if let Some(conn) = conn {
            conn.disconnect().await.unwrap();
        }
    };
    let (lists, ()) = tokio::join!(listing, writing);
    let refused: Vec<_> = lists.iter().filter(|reply| reply.status == 503).collect();
    assert!(
        refused.len() > LISTS / 2,
        "{} of {LISTS} were refused",
        refused.len()
    );
    assert!(refused.iter().all(|reply| reply.header("retry-after") == "1"));
    if ctx.engine == Engine::Mysql {
        pms.get("/reservations").await.expect(200);
    }
    pms.stop().await;
}

async fn f16_slow_lists_leave_the_receiver_room_to_take_in(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let conn = locked(&ctx, "profiles").await;
    let listing = join_all((0..LISTS).map(|_| receiver.get("/guest-profiles")));
    let taking = async {
        for number in 0..WRITES {
            let (key, begun) = (format!("evt_{number}"), Instant::now());
            assert_eq!(receiver.take(&key, &guest_event(&key)).await.status, 202);
            assert!(begun.elapsed() < BESIDE_WITHIN, "{number}: {:?}", begun.elapsed());
        }
        conn.disconnect().await.unwrap();
    };
    let (lists, ()) = tokio::join!(listing, taking);
    let refused: Vec<_> = lists.iter().filter(|answer| answer.status == 503).collect();
    assert!(
        refused.len() > LISTS / 2,
        "{} of {LISTS} were refused",
        refused.len()
    );
    assert!(
        refused
            .iter()
            .all(|answer| answer.header("retry-after") == Some("1"))
    );
    assert_eq!(receiver.get("/guest-profiles").await.status, 200);
    receiver.stop().await;
}
