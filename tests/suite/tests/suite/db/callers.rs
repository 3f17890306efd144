//! No caller can cut an operation, and none gets the answer of another.

use std::sync::mpsc;
use std::time::Duration;

use db::{Db, DbError, DbSettings, Dialect, params};
use harness::engine::Engine;
use harness::waiting::HANGS_AFTER;

use super::door::door;
use super::{add, add_note, make_notes, notes};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    let mut cases = cases![
        a_cancelled_caller_never_cuts_a_transaction,
        a_cancelled_query_never_answers_the_next_caller,
        a_late_answer_is_a_timeout_and_the_next_answers_are_right,
        an_operation_over_its_own_deadline_is_aborted,
    ];
    cases.extend(cases![only Engine::Mysql; the_server_itself_ends_what_takes_too_long]);
    cases
}

/// A query that keeps the engine busy for a good while, and answers one row.
fn slow_query(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Mysql => "SELECT SLEEP(1) AS n",
        Dialect::Sqlite => {
            "WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 1000000) \
             SELECT MAX(n) AS n FROM count"
        }
    }
}

/// A query that does not end by itself.
const ENDLESS: &str = "WITH RECURSIVE one(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM one WHERE n < 900) \
    SELECT COUNT(*) AS n FROM one a, one b, one c, one d WHERE a.n + b.n + c.n + d.n = 0";
/// Far beyond what a right answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection and one reader: whatever is left on it meets the next caller.
fn one_connection() -> DbSettings {
    DbSettings {
        connections: 1,
        readers: 1,
        answer_within: PATIENCE,
        abort_after: PATIENCE,
        exclusive: false,
        ..DbSettings::default()
    }
}

async fn run_slow_query(db: &Db) -> Result<(), DbError> {
    db.read("slow", |tx| {
        Box::pin(async move { tx.query(slow_query(tx.dialect()), vec![]).await.map(drop) })
    })
    .await
}

/// Asks for a number and expects the same back, often enough to meet every connection.
async fn answers_are_right(db: &Db) {
    for number in 0..20_i64 {
        let echo = db.read("echo", move |tx| {
            Box::pin(async move {
                let row = tx.query_one("SELECT ? + 0 AS n", params![number]).await?;
                row.expect("a row").get::<i64>("n")
            })
        });
        assert_eq!(echo.await, Ok(number));
    }
}

async fn a_cancelled_caller_never_cuts_a_transaction(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let (door, keeper) = door();
    let caller = tokio::spawn({
        let (db, door) = (db.clone(), door.clone());
        async move {
            let run = db.transaction("held", move |tx| {
                let door = door.clone();
                Box::pin(async move {
                    add(tx, "a").await?;
                    door.pass();
                    add(tx, "b").await
                })
            });
            run.await
        }
    });
    keeper.wait();
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    keeper.open();
    // Waits for the held transaction, which has written this already, on either engine.
    assert_eq!(add_note(&db, "a").await, Err(DbError::Duplicate));
    assert_eq!(notes(&db).await, ["a", "b"]);
}

async fn a_cancelled_query_never_answers_the_next_caller(ctx: Ctx) {
    let db = ctx.open_with(one_connection()).await;
    for _ in 0..3 {
        let (begun, signal) = mpsc::sync_channel(8);
        let caller = tokio::spawn({
            let db = db.clone();
            async move {
                let run = db.read("slow", move |tx| {
                    let begun = begun.clone();
                    Box::pin(async move {
                        begun.send(()).expect("the case waits");
                        tx.query(slow_query(tx.dialect()), vec![]).await.map(drop)
                    })
                });
                run.await
            }
        });
        signal.recv_timeout(HANGS_AFTER).expect("the query begins");
        // The query is on its way when the wait for its answer has gone round the runtime a few times.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        caller.abort();
        answers_are_right(&db).await;
    }
}

async fn a_late_answer_is_a_timeout_and_the_next_answers_are_right(ctx: Ctx) {
    let db = ctx.open_with(one_connection()).await;
    let hurried = db.with_deadlines(Duration::from_millis(50), Duration::from_secs(20));
    assert_eq!(run_slow_query(&hurried).await, Err(DbError::Timeout));
    assert_eq!(db.counts().timeouts.get(), 1);
    answers_are_right(&db).await;
}

async fn an_operation_over_its_own_deadline_is_aborted(ctx: Ctx) {
    let db = ctx.open_with(one_connection()).await;
    let limit = Duration::from_millis(100);
    let hurried = db.with_deadlines(PATIENCE, limit);
    let endless = hurried.read("endless", |tx| Box::pin(tx.query(ENDLESS, vec![])));
    assert_eq!(endless.await.err(), Some(DbError::Timeout));
    answers_are_right(&db).await;
}

/// MySQL: the session's own limit, when the operation's deadline is far away. SQLite has but the operation's.
async fn the_server_itself_ends_what_takes_too_long(ctx: Ctx) {
    let settings = DbSettings {
        abort_after: Duration::from_secs(1),
        ..one_connection()
    };
    let db = ctx.open_with(settings).await.with_deadline(PATIENCE);
    let endless = db.read("endless", |tx| Box::pin(tx.query(ENDLESS, vec![])));
    assert_eq!(endless.await.err(), Some(DbError::Timeout));
    assert_eq!(db.counts().timeouts.get(), 0, "it was answered, not given up");
    answers_are_right(&db).await;
}
