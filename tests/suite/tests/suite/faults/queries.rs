//! Queries that take their time take no one else's: what comes in, and what goes out, goes on beside them.

use std::pin::pin;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use harness::engine::Engine;
use harness::waiting::in_time;
use http::Method;
use mysql_async::{Conn, Opts, prelude::Queryable};
use serde_json::json;

use crate::case::{Case, Ctx, cases};
use crate::ingest::{Receiver, carry_out, guest_event};
use crate::pms::Pms;
use crate::reservations::booked;

pub fn cases() -> Vec<Case> {
    cases![
        f16_slow_lists_leave_the_emitter_room_to_write,
        f16_slow_lists_leave_the_receiver_room_to_take_in,
    ]
}

/// Lists at once: more than there are connections.
const LISTS: usize = 48;
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

/// Makes every look at a column take a second or so, and every write to it fail: the text that is looked for differs from
/// each place of the other in its last character.
async fn slowed(ctx: &Ctx, table: &str, column: &str) {
    carry_out(
        ctx,
        &format!("ALTER TABLE {table} RENAME COLUMN {column} TO kept_{column}"),
    )
    .await;
    let slow = "replace(printf('%.300000c', 'a'), printf('%.150000c', 'a') || 'b', '') IS NULL";
    let computed = format!("CASE WHEN {slow} THEN NULL ELSE kept_{column} END");
    let add =
        format!("ALTER TABLE {table} ADD COLUMN {column} TEXT GENERATED ALWAYS AS ({computed}) VIRTUAL");
    carry_out(ctx, &add).await;
}

/// Keeps those who list a table, and read this column of it, waiting until what it answers is dropped, or for good.
async fn kept_waiting(ctx: &Ctx, table: &str, column: &str) -> Option<Conn> {
    match ctx.engine {
        Engine::Mysql => Some(locked(ctx, table).await),
        Engine::Sqlite => {
            slowed(ctx, table, column).await;
            None
        }
    }
}

/// Asks for lists, so many at once and again for each that is answered, until more than half as many were refused and what goes
/// on beside them has come to its end. So it comes to its end although the lists never do: behind them it would be refused
/// after its own deadline, or never have its turn. Answers the lists that are still to come.
async fn beside_lists<L: Future<Output = (u16, bool)>>(
    list: impl Fn() -> L,
    beside: impl Future<Output = ()>,
) -> FuturesUnordered<L> {
    let mut lists: FuturesUnordered<_> = (0..LISTS).map(|_| list()).collect();
    let (mut beside, mut goes_on, mut refused) = (pin!(beside), true, 0);
    while goes_on || refused <= LISTS / 2 {
        tokio::select! {
            () = &mut beside, if goes_on => goes_on = false,
            Some((status, says_when)) = lists.next() => {
                refused += usize::from(status == 503);
                assert!(status == 200 || (status == 503 && says_when), "{status}");
                lists.push(list());
            }
        }
    }
    lists
}

async fn f16_slow_lists_leave_the_emitter_room_to_write(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    booked(&pms).await;
    let conn = kept_waiting(&ctx, "reservations", "body").await;
    let list = || async {
        let reply = pms.get("/reservations").await;
        (reply.status, reply.header("retry-after") == "1")
    };
    let writing = async {
        for number in 0..WRITES {
            let key = format!("beside-{number}");
            let headers = [("idempotency-key", key.as_str())];
            let guest = json!({"last_name": key});
            pms.send(Method::POST, "/guests", &headers, Some(&guest))
                .await
                .expect(201);
        }
    };
    let lists = in_time("lists and writes are answered", beside_lists(list, writing)).await;
    if let Some(conn) = conn {
        conn.disconnect().await.unwrap();
    }
    // Those that ran go on, as far as their callers still wait.
    lists.collect::<Vec<_>>().await;
    if ctx.engine == Engine::Mysql {
        pms.get("/reservations").await.expect(200);
    }
    pms.stop().await;
}

async fn f16_slow_lists_leave_the_receiver_room_to_take_in(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    // A list of nobody would not be slow.
    assert_eq!(receiver.take("evt", &guest_event("evt")).await.status, 202);
    receiver.settle(&ctx).await;
    let conn = kept_waiting(&ctx, "profiles", "summary").await;
    let list = || async {
        let answer = receiver.get("/guest-profiles").await;
        (answer.status, answer.header("retry-after") == Some("1"))
    };
    let taking = async {
        for number in 0..WRITES {
            let key = format!("evt_{number}");
            assert_eq!(receiver.take(&key, &guest_event(&key)).await.status, 202);
        }
    };
    let lists = in_time("lists and events are answered", beside_lists(list, taking)).await;
    let page = receiver.metrics().await;
    let counted = page.value(r#"crm_receiver_db_errors_total{kind="unavailable"}"#);
    assert!(
        counted >= LISTS as f64 / 4.0,
        "who is refused is counted: {counted}"
    );
    if let Some(conn) = conn {
        conn.disconnect().await.unwrap();
    }
    lists.collect::<Vec<_>>().await;
    if ctx.engine == Engine::Mysql {
        assert_eq!(receiver.get("/guest-profiles").await.status, 200);
    }
    receiver.stop().await;
}
