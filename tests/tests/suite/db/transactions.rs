//! What a transaction keeps, what it undoes, and that no caller can cut it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use e2e::engine::Engine;
use futures::future::join_all;
use kit::db::{Db, DbError, DbSettings, Dialect, params};
use tokio::sync::Barrier;

use super::{add, add_note, make_notes, notes};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    let mut cases = cases![
        a_commit_is_visible_once_it_is_answered,
        an_error_rolls_everything_back,
        abandoning_answers_and_rolls_back,
        a_duplicate_is_told_and_the_transaction_goes_on,
        a_read_refuses_to_write,
        a_panic_rolls_back_and_harms_no_neighbour,
        a_cancelled_caller_never_cuts_a_transaction,
        a_cancelled_query_never_answers_the_next_caller,
        a_late_answer_is_a_timeout_and_the_next_answers_are_right,
        an_operation_over_its_own_deadline_is_aborted,
        writers_in_opposite_order_all_take_effect_once,
    ];
    cases.extend(
        cases![only Engine::Mysql; a_deadlock_victim_runs_again_whole, a_lock_wait_is_surfaced_on_request],
    );
    cases.extend(cases![only Engine::Sqlite;
        a_failing_member_of_a_group_rolls_back_alone,
        a_refused_commit_fails_its_own_member_alone,
        a_member_that_ends_the_shared_transaction_fails_alone,
        awaiting_something_else_is_refused,
        a_full_queue_refuses_at_once,
        a_second_server_of_one_file_is_refused,
    ]);
    cases
}

/// A door inside of a transaction: it tells when a transaction stands before it, and holds it until it is opened.
///
/// It blocks its thread: on SQLite that is the writer, on MySQL one of the runtime's two.
struct Door {
    arrived: mpsc::SyncSender<()>,
    opened: std::sync::Mutex<mpsc::Receiver<()>>,
}

struct Doorkeeper {
    arrived: mpsc::Receiver<()>,
    open: mpsc::SyncSender<()>,
}

fn door() -> (Arc<Door>, Doorkeeper) {
    let ((arrived, arrivals), (open, opened)) = (mpsc::sync_channel(1), mpsc::sync_channel(1));
    let door = Door {
        arrived,
        opened: std::sync::Mutex::new(opened),
    };
    (
        Arc::new(door),
        Doorkeeper {
            arrived: arrivals,
            open,
        },
    )
}

impl Door {
    fn pass(&self) {
        self.arrived.send(()).expect("the keeper waits");
        self.opened.lock().unwrap().recv().expect("the keeper opens");
    }
}

impl Doorkeeper {
    fn wait(&self) {
        self.arrived
            .recv_timeout(Duration::from_secs(10))
            .expect("the transaction comes to the door");
    }

    fn open(&self) {
        self.open.send(()).expect("the transaction waits");
    }
}

/// A query that keeps the engine busy for a second or more, and answers one row.
fn slow_query(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Mysql => "SELECT SLEEP(1) AS n",
        Dialect::Sqlite => {
            "WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 8000000) \
             SELECT MAX(n) AS n FROM count"
        }
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

async fn a_commit_is_visible_once_it_is_answered(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    add_note(&db, "a").await.unwrap();
    let other = ctx.open().await;
    assert_eq!(notes(&other).await, ["a"]);
    db.close().await;
    other.close().await;
}

async fn an_error_rolls_everything_back(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let run = db.transaction("fails", |tx| {
        Box::pin(async move {
            add(tx, "a").await?;
            tx.execute("INSERT INTO nowhere (id) VALUES (?)", params![1])
                .await
        })
    });
    assert!(matches!(run.await, Err(DbError::Statement { .. })));
    assert!(notes(&db).await.is_empty());
}

async fn abandoning_answers_and_rolls_back(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let run = db.transaction("abandons", |tx| {
        Box::pin(async move {
            add(tx, "a").await?;
            tx.abandon();
            Ok("refused")
        })
    });
    assert_eq!(run.await, Ok("refused"));
    assert!(notes(&db).await.is_empty());
}

async fn a_duplicate_is_told_and_the_transaction_goes_on(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    add_note(&db, "a").await.unwrap();
    let run = db.transaction("goes_on", |tx| {
        Box::pin(async move {
            add(tx, "b").await?;
            let taken = add(tx, "a").await;
            add(tx, "c").await?;
            Ok(taken)
        })
    });
    assert_eq!(run.await, Ok(Err(DbError::Duplicate)));
    assert_eq!(notes(&db).await, ["a", "b", "c"]);
}

async fn a_read_refuses_to_write(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let run = db.read("writes", |tx| add(tx, "a"));
    assert!(matches!(run.await, Err(DbError::Statement { .. })));
    assert!(notes(&db).await.is_empty());
}

async fn a_panic_rolls_back_and_harms_no_neighbour(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let panics = db.transaction::<(), _>("panics", |tx| {
        Box::pin(async move {
            add(tx, "a").await?;
            panic!("a bug")
        })
    });
    let (panicked, added) = tokio::join!(panics, add_note(&db, "b"));
    assert_eq!((panicked, added), (Err(DbError::Panicked), Ok(())));
    assert_eq!(notes(&db).await, ["b"]);
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
    // Waits for the held transaction, on either engine, and finds what it wrote.
    assert_eq!(add_note(&db, "b").await, Err(DbError::Duplicate));
    assert_eq!(notes(&db).await, ["a", "b"]);
}

async fn a_cancelled_query_never_answers_the_next_caller(ctx: Ctx) {
    let settings = DbSettings {
        connections: 1,
        readers: 1,
        exclusive: false,
        ..DbSettings::default()
    };
    let db = ctx.open_with(settings).await;
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
        signal
            .recv_timeout(Duration::from_secs(10))
            .expect("the query begins");
        // The query is on its way when the wait for its answer has gone round the runtime a few times.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        caller.abort();
        answers_are_right(&db).await;
    }
}

async fn a_late_answer_is_a_timeout_and_the_next_answers_are_right(ctx: Ctx) {
    let settings = DbSettings {
        connections: 1,
        readers: 1,
        exclusive: false,
        ..DbSettings::default()
    };
    let db = ctx.open_with(settings).await;
    let hurried = db.with_deadlines(Duration::from_millis(50), Duration::from_secs(20));
    assert_eq!(run_slow_query(&hurried).await, Err(DbError::Timeout));
    assert_eq!(db.counts().timeouts.load(Ordering::Relaxed), 1);
    answers_are_right(&db).await;
}

async fn an_operation_over_its_own_deadline_is_aborted(ctx: Ctx) {
    let settings = DbSettings {
        connections: 1,
        readers: 1,
        exclusive: false,
        ..DbSettings::default()
    };
    let db = ctx.open_with(settings).await;
    let begun = tokio::time::Instant::now();
    let hurried = db.with_deadlines(Duration::from_millis(100), Duration::from_millis(100));
    assert_eq!(run_slow_query(&hurried).await, Err(DbError::Timeout));
    answers_are_right(&db).await;
    assert!(
        begun.elapsed() < Duration::from_millis(900),
        "the one connection was not held by the slow query"
    );
}

async fn writers_in_opposite_order_all_take_effect_once(ctx: Ctx) {
    const WRITERS: usize = 40;
    let db = ctx.open().await;
    make_counters(&db).await;
    let writers = (0..WRITERS).map(|writer| {
        let order = if writer % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
        db.transaction("both", move |tx| {
            Box::pin(async move {
                for id in order {
                    tx.execute("UPDATE counters SET n = n + 1 WHERE id = ?", params![id])
                        .await?;
                }
                Ok(())
            })
        })
    });
    assert!(join_all(writers).await.iter().all(Result::is_ok));
    assert_eq!(counters(&db).await, [WRITERS as i64; 2]);
}

async fn make_counters(db: &Db) {
    let run = db.transaction("make_counters", |tx| {
        Box::pin(async move {
            tx.execute(
                "CREATE TABLE counters (id VARCHAR(8) PRIMARY KEY, n BIGINT NOT NULL)",
                vec![],
            )
            .await?;
            tx.execute("INSERT INTO counters (id, n) VALUES ('a', 0), ('b', 0)", vec![])
                .await
        })
    });
    run.await.expect("the counters are made");
}

async fn counters(db: &Db) -> Vec<i64> {
    let read = db.read("counters", |tx| {
        Box::pin(async move {
            let rows = tx.query("SELECT n FROM counters ORDER BY id", vec![]).await?;
            rows.iter().map(|row| row.get("n")).collect()
        })
    });
    read.await.expect("the counters are read")
}

async fn a_deadlock_victim_runs_again_whole(ctx: Ctx) {
    let db = ctx.open().await;
    make_counters(&db).await;
    let (barrier, runs) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU32::new(0)));
    let crossing = |order: [&'static str; 2]| {
        let (barrier, runs) = (barrier.clone(), runs.clone());
        db.transaction("crossing", move |tx| {
            let (barrier, runs) = (barrier.clone(), runs.clone());
            Box::pin(async move {
                tx.execute("UPDATE counters SET n = n + 1 WHERE id = ?", params![order[0]])
                    .await?;
                // Both hold their first row before either asks for its second; the re-run comes alone.
                if runs.fetch_add(1, Ordering::SeqCst) < 2 {
                    barrier.wait().await;
                }
                tx.execute("UPDATE counters SET n = n + 1 WHERE id = ?", params![order[1]])
                    .await
            })
        })
    };
    let (one, two) = tokio::join!(crossing(["a", "b"]), crossing(["b", "a"]));
    assert_eq!((one, two), (Ok(1), Ok(1)));
    assert_eq!(counters(&db).await, [2, 2]);
    assert_eq!(runs.load(Ordering::SeqCst), 3);
    assert_eq!(db.counts().reruns.load(Ordering::Relaxed), 1);
}

async fn a_lock_wait_is_surfaced_on_request(ctx: Ctx) {
    let db = ctx.open().await;
    make_counters(&db).await;
    let (door, keeper) = door();
    let holder = tokio::spawn({
        let db = db.clone();
        async move {
            let run = db.transaction("holds", move |tx| {
                let door = door.clone();
                Box::pin(async move {
                    tx.execute("UPDATE counters SET n = n + 1 WHERE id = 'a'", vec![])
                        .await?;
                    door.pass();
                    Ok(())
                })
            });
            run.await
        }
    });
    keeper.wait();
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let waiting = db.surfacing_lock_timeouts();
    let waiting = waiting.transaction("waits", move |tx| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            tx.execute("UPDATE counters SET n = n + 1 WHERE id = 'a'", vec![])
                .await
        })
    });
    assert_eq!(waiting.await, Err(DbError::LockTimeout));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    keeper.open();
    assert_eq!(holder.await.unwrap(), Ok(()));
    assert_eq!(counters(&db).await, [1, 0]);
}

/// Holds the writer, so that what is queued meanwhile becomes one group; the keeper lets it go.
async fn hold_the_writer(db: &Db) -> Doorkeeper {
    let (door, keeper) = door();
    let db = db.clone();
    tokio::spawn(async move {
        let run = db.transaction("holds", move |_| {
            let door = door.clone();
            Box::pin(async move {
                door.pass();
                Ok(())
            })
        });
        run.await
    });
    keeper.wait();
    keeper
}

async fn a_failing_member_of_a_group_rolls_back_alone(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let keeper = hold_the_writer(&db).await;
    let fails = db.transaction::<(), _>("fails", |tx| {
        Box::pin(async move {
            add(tx, "lost").await?;
            Err(DbError::Duplicate)
        })
    });
    let opens = async move {
        tokio::task::yield_now().await;
        keeper.open();
    };
    let (a, failed, b, ()) = tokio::join!(add_note(&db, "a"), fails, add_note(&db, "b"), opens);
    assert_eq!((a, failed, b), (Ok(()), Err(DbError::Duplicate), Ok(())));
    assert_eq!(notes(&db).await, ["a", "b"]);
}

async fn a_refused_commit_fails_its_own_member_alone(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let run = db.transaction("make_strict", |tx| {
        let sql =
            "CREATE TABLE replies (note VARCHAR(64) REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED)";
        Box::pin(async move { tx.execute(sql, vec![]).await })
    });
    run.await.unwrap();
    let keeper = hold_the_writer(&db).await;
    let refused = db.transaction("refused", |tx| {
        Box::pin(async move {
            tx.execute("INSERT INTO replies (note) VALUES ('none')", vec![])
                .await
        })
    });
    let opens = async move {
        tokio::task::yield_now().await;
        keeper.open();
    };
    let (a, refused, b, ()) = tokio::join!(add_note(&db, "a"), refused, add_note(&db, "b"), opens);
    assert_eq!((a, b), (Ok(()), Ok(())));
    assert!(matches!(refused, Err(DbError::Statement { .. })), "{refused:?}");
    assert_eq!(notes(&db).await, ["a", "b"]);
}

async fn a_member_that_ends_the_shared_transaction_fails_alone(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let run = db.transaction("make_trigger", |tx| {
        let sql = "CREATE TRIGGER ends BEFORE INSERT ON notes WHEN NEW.id = 'bad' \
                   BEGIN SELECT RAISE(ROLLBACK, 'over'); END";
        Box::pin(async move { tx.execute(sql, vec![]).await })
    });
    run.await.unwrap();
    let keeper = hold_the_writer(&db).await;
    let stubborn = db.transaction("stubborn", |tx| {
        Box::pin(async move {
            let ended = add(tx, "bad").await;
            // Outside of any transaction this would be committed by itself.
            drop(add(tx, "stray").await);
            Ok(ended)
        })
    });
    let opens = async move {
        tokio::task::yield_now().await;
        keeper.open();
    };
    let (a, ended, b, ()) = tokio::join!(add_note(&db, "a"), stubborn, add_note(&db, "b"), opens);
    assert_eq!((a, b), (Ok(()), Ok(())));
    assert!(matches!(ended, Err(DbError::Statement { .. })), "{ended:?}");
    assert_eq!(notes(&db).await, ["a", "b"]);
}

async fn awaiting_something_else_is_refused(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let run = db.transaction("strays", |tx| {
        Box::pin(async move {
            add(tx, "a").await?;
            tokio::task::yield_now().await;
            Ok(())
        })
    });
    assert!(matches!(run.await, Err(DbError::Statement { .. })));
    assert!(notes(&db).await.is_empty());
}

async fn a_full_queue_refuses_at_once(ctx: Ctx) {
    let db = ctx
        .open_with(DbSettings {
            queue: 1,
            exclusive: false,
            ..DbSettings::default()
        })
        .await;
    make_notes(&db).await;
    let keeper = hold_the_writer(&db).await;
    let opens = async move {
        tokio::task::yield_now().await;
        keeper.open();
    };
    let (a, b, c, ()) = tokio::join!(add_note(&db, "a"), add_note(&db, "b"), add_note(&db, "c"), opens);
    let answers = [a, b, c];
    assert!(answers.contains(&Err(DbError::Unavailable)), "{answers:?}");
    assert!(answers.contains(&Ok(())), "{answers:?}");
    assert_eq!(
        notes(&db).await.len(),
        answers.iter().filter(|answer| answer.is_ok()).count()
    );
}

async fn a_second_server_of_one_file_is_refused(ctx: Ctx) {
    let db = Db::open(&ctx.url(), &DbSettings::default()).await.unwrap();
    let second = Db::open(&ctx.url(), &DbSettings::default()).await;
    assert!(matches!(second, Err(DbError::Open { reason }) if reason.contains("another process serves")));
    db.close().await;
    let third = Db::open(&ctx.url(), &DbSettings::default())
        .await
        .expect("the lock ends with its holder");
    third.close().await;
}
