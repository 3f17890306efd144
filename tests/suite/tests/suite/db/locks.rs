//! Writers that meet: each takes effect once, and anyone who loses runs again whole.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use db::{Db, DbError, DbSettings, params};
use futures::future::join_all;
use harness::engine::Engine;
use tokio::sync::Barrier;

use super::door::door;
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    let mut cases = cases![writers_in_opposite_order_all_take_effect_once];
    cases.extend(cases![only Engine::Mysql;
        f13_a_deadlock_victim_runs_again_whole,
        f13_a_lock_wait_is_surfaced_on_request,
        f40_what_a_stopped_process_has_locked_is_free_again,
    ]);
    cases
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

async fn writers_in_opposite_order_all_take_effect_once(ctx: Ctx) {
    const WRITERS: usize = 16;
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

async fn f13_a_deadlock_victim_runs_again_whole(ctx: Ctx) {
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
    assert_eq!(db.counts().reruns.get(), 1);
}

async fn f13_a_lock_wait_is_surfaced_on_request(ctx: Ctx) {
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
    let waiting = db.failing_on_lock_timeout();
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

/// MariaDB ends a transaction whose client stands still, and both end its session.
async fn f40_what_a_stopped_process_has_locked_is_free_again(ctx: Ctx) {
    let settings = DbSettings {
        answer_within: Duration::from_millis(500),
        abort_after: Duration::from_secs(1),
        silence_max: Duration::from_secs(2),
        ..DbSettings::default()
    };
    let (db, stopped) = (ctx.open().await, ctx.open_with(settings).await);
    make_counters(&db).await;
    let (holding, held) = tokio::sync::oneshot::channel();
    let (go_on, waiting) = mpsc::channel::<()>();
    let (holding, waiting) = (Mutex::new(Some(holding)), Arc::new(Mutex::new(waiting)));
    let holding = Arc::new(holding);
    let standing = stopped.transaction("stopped", move |tx| {
        let (holding, waiting) = (Arc::clone(&holding), Arc::clone(&waiting));
        Box::pin(async move {
            tx.execute("UPDATE counters SET n = n + 10 WHERE id = 'a'", vec![])
                .await?;
            if let Some(holding) = holding.lock().unwrap().take() {
                holding.send(()).unwrap();
                // The thread stands still, and so does every deadline of this task.
                let _ = waiting.lock().unwrap().recv();
            }
            tx.execute("UPDATE counters SET n = n + 10 WHERE id = 'b'", vec![])
                .await
        })
    });
    let others = async {
        held.await.unwrap();
        // A lock wait ends after a second, and runs again once.
        let tries = (0..5).map(|_| {
            db.transaction("other", |tx| {
                Box::pin(async move {
                    tx.execute("UPDATE counters SET n = n + 1 WHERE id = 'a'", vec![])
                        .await
                })
            })
        });
        let mut written = Err(DbError::LockTimeout);
        for attempt in tries {
            written = attempt.await;
            if written.is_ok() {
                break;
            }
        }
        drop(go_on);
        written
    };
    let (standing, written) = tokio::join!(standing, others);
    written.expect("the lock is free again");
    assert!(standing.is_err(), "what it had begun is gone");
    assert_eq!(counters(&db).await, [1, 0]);
    db.close().await;
    stopped.close().await;
}
