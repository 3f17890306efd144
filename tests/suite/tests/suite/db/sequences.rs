//! Places of rows: given after the commit, without gaps, each once, by one process at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contract::UnixMillis;
use db::{Db, DbError, migrate, params};
use futures::future::join_all;
use harness::clock::HandClock;
use harness::engine::Engine;
use harness::waiting::until;
use kit::random::SystemClock;
use kit::sequencer::{Given, LEASE_LENGTH, PlainRows, STEP_ROWS_MAX, Sequence, Sequencer, Step};
use tokio::sync::Semaphore;

use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    let mut all = both();
    all.extend(cases![only Engine::Mysql; no_place_is_given_while_another_transaction_decides_by_the_last]);
    all
}

fn both() -> Vec<Case> {
    cases![
        a_row_that_is_committed_late_gets_a_later_place,
        a_reader_misses_nothing_while_many_write_and_two_give_places,
        a_process_that_was_away_for_too_long_gives_no_places,
        more_rows_than_one_step_takes_get_places_in_order,
        who_knows_of_a_commit_looks_for_nothing_first,
    ]
}

/// The audit rows have what a sequence needs.
const AUDIT: PlainRows = PlainRows {
    sequence: Sequence { name: "suite" },
    table: "audit_entries",
};

/// So many rows got places, and there are no more.
fn gave(rows: usize) -> Step {
    Step::Worked(Given {
        rows,
        has_more: false,
    })
}

async fn migrated(ctx: &Ctx) -> Db {
    let db = ctx.open().await;
    migrate(&db, &[kit::tables::MIGRATIONS], &SystemClock, "suite")
        .await
        .unwrap();
    db
}

fn sequencer(db: &Db, clock: &Arc<HandClock>, owner: &str) -> Sequencer {
    Sequencer::new(db, clock.clone(), owner.to_owned(), AUDIT)
}

fn clock() -> Arc<HandClock> {
    Arc::new(HandClock::at(UnixMillis(1_763_769_600_000)))
}

/// Commits rows under these ids.
async fn commit(db: &Db, ids: &[i64]) {
    let ids = ids.to_vec();
    let committing = db.transaction("commit", move |tx| {
        let ids = ids.clone();
        Box::pin(async move {
            for id in ids {
                let sql = "INSERT INTO audit_entries (id, at, action) VALUES (?, 0, 'row')";
                tx.execute(sql, params![id]).await?;
            }
            Ok(())
        })
    });
    committing.await.unwrap();
}

/// Commits or rolls back a row under the database's next id.
async fn write(db: &Db, is_kept: bool) {
    let writing = db.transaction("write", move |tx| {
        Box::pin(async move {
            let sql = "INSERT INTO audit_entries (at, action) VALUES (0, 'row')";
            tx.execute(sql, vec![]).await?;
            if !is_kept {
                tx.abandon();
            }
            Ok(())
        })
    });
    writing.await.unwrap();
}

/// Places and ids of what stands behind a place, in their order.
async fn behind(db: &Db, place: i64) -> Vec<(i64, i64)> {
    let reading = db.read("behind", move |tx| {
        Box::pin(async move {
            let sql = "SELECT seq, id FROM audit_entries WHERE seq > ? ORDER BY seq";
            let rows = tx.query(sql, params![place]).await?;
            rows.iter()
                .map(|row| Ok((row.get("seq")?, row.get("id")?)))
                .collect()
        })
    });
    reading.await.unwrap()
}

async fn a_row_that_is_committed_late_gets_a_later_place(ctx: Ctx) {
    let db = migrated(&ctx).await;
    let mut sequencer = sequencer(&db, &clock(), "one");
    let given = sequencer.given();
    let statements = || db.counts().statements.get();
    let before = statements();
    assert_eq!(sequencer.step().await.unwrap(), Step::Idle);
    assert_eq!(statements() - before, 1, "where nothing waits");
    commit(&db, &[5, 6]).await;
    assert_eq!(sequencer.step().await.unwrap(), gave(2));
    assert_eq!(behind(&db, 0).await, [(1, 5), (2, 6)]);
    commit(&db, &[2]).await;
    assert_eq!(sequencer.step().await.unwrap(), gave(1));
    assert_eq!(behind(&db, 2).await, [(3, 2)], "what was read stays as it was");
    assert_eq!(*given.borrow(), 3);
    assert_eq!(sequencer.step().await.unwrap(), Step::Idle);
    let last = db.read("last", |tx| {
        Box::pin(async move { AUDIT.sequence.last_place(tx).await })
    });
    assert_eq!(last.await.unwrap(), 3);
}

const WRITERS: usize = 4;
const WRITES: usize = 40;

async fn a_reader_misses_nothing_while_many_write_and_two_give_places(ctx: Ctx) {
    let db = migrated(&ctx).await;
    let clock = clock();
    let writers = (0..WRITERS).map(|_| {
        let db = db.clone();
        tokio::spawn(async move {
            for number in 0..WRITES {
                write(&db, number % 4 != 3).await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let kept = WRITERS * WRITES * 3 / 4;
    let mut givers = Vec::new();
    for owner in ["one", "other"] {
        let (mut sequencer, clock, db) = (sequencer(&db, &clock, owner), clock.clone(), db.clone());
        givers.push(tokio::spawn(async move {
            while behind(&db, 0).await.len() < kept {
                // Its turn ends again and again, as if it had been away.
                clock.advance(LEASE_LENGTH / 4);
                sequencer.step().await.unwrap();
            }
        }));
    }
    let (mut last, mut read) = (0, Vec::new());
    while read.len() < kept {
        for (place, id) in behind(&db, last).await {
            assert_eq!(place, last + 1, "a gap");
            last = place;
            read.push(id);
        }
        tokio::task::yield_now().await;
    }
    join_all(writers)
        .await
        .into_iter()
        .for_each(|ended| ended.unwrap());
    join_all(givers)
        .await
        .into_iter()
        .for_each(|ended| ended.unwrap());
    assert_eq!(behind(&db, last).await, []);
    read.sort_unstable();
    read.dedup();
    assert_eq!(read.len(), kept, "each once");
}

async fn a_process_that_was_away_for_too_long_gives_no_places(ctx: Ctx) {
    let db = migrated(&ctx).await;
    let clock = clock();
    let (mut first, mut second) = (sequencer(&db, &clock, "first"), sequencer(&db, &clock, "second"));
    commit(&db, &[1]).await;
    assert_eq!(first.step().await.unwrap(), gave(1));
    commit(&db, &[2]).await;
    assert_eq!(second.step().await.unwrap(), Step::Held);
    clock.advance(LEASE_LENGTH + Duration::from_millis(1));
    assert_eq!(second.step().await.unwrap(), gave(1));
    commit(&db, &[3]).await;
    assert_eq!(
        first.step().await.unwrap(),
        Step::Held,
        "it was away for too long"
    );
    assert_eq!(second.step().await.unwrap(), gave(1));
    assert_eq!(behind(&db, 0).await, [(1, 1), (2, 2), (3, 3)]);
}

/// On SQLite there is one writer, and so nobody beside the one who holds the places.
async fn no_place_is_given_while_another_transaction_decides_by_the_last(ctx: Ctx) {
    let db = migrated(&ctx).await;
    let mut sequencer = sequencer(&db, &clock(), "one");
    commit(&db, &[1]).await;
    assert_eq!(sequencer.step().await.unwrap(), gave(1));
    commit(&db, &[2]).await;
    let (holds, goes_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let deciding = {
        let (db, holds, goes_on) = (db.clone(), holds.clone(), goes_on.clone());
        tokio::spawn(async move {
            let transaction = db.transaction("deciding", move |tx| {
                let (holds, goes_on) = (holds.clone(), goes_on.clone());
                Box::pin(async move {
                    let last = AUDIT.sequence.hold(tx).await?;
                    holds.add_permits(1);
                    let _passed = goes_on.acquire().await;
                    Ok((last, AUDIT.sequence.last_place(tx).await?))
                })
            });
            transaction.await
        })
    };
    let _ = holds.acquire().await.unwrap();
    let waited = Arc::new(AtomicBool::new(false));
    let giving = {
        let waited = waited.clone();
        tokio::spawn(async move {
            loop {
                match sequencer.step().await {
                    Err(DbError::LockTimeout) => waited.store(true, Ordering::SeqCst),
                    given => return given,
                }
            }
        })
    };
    until("the step has waited, or has ended", || async {
        giving.is_finished() || waited.load(Ordering::SeqCst)
    })
    .await;
    goes_on.add_permits(1);
    assert_eq!(deciding.await.unwrap().unwrap(), (1, 1));
    assert_eq!(giving.await.unwrap().unwrap(), gave(1));
    assert_eq!(behind(&db, 0).await, [(1, 1), (2, 2)]);
}

async fn more_rows_than_one_step_takes_get_places_in_order(ctx: Ctx) {
    let db = migrated(&ctx).await;
    let rows = i64::try_from(STEP_ROWS_MAX).unwrap() + 3;
    commit(&db, &(1..=rows).collect::<Vec<_>>()).await;
    let mut sequencer = sequencer(&db, &clock(), "one");
    let full = Given {
        rows: STEP_ROWS_MAX,
        has_more: true,
    };
    assert_eq!(sequencer.step().await.unwrap(), Step::Worked(full));
    assert_eq!(sequencer.step().await.unwrap(), gave(3));
    let places: Vec<_> = (1..=rows).map(|row| (row, row)).collect();
    assert_eq!(behind(&db, 0).await, places);
}

async fn who_knows_of_a_commit_looks_for_nothing_first(ctx: Ctx) {
    let db = migrated(&ctx).await;
    let clock = clock();
    let (mut one, mut other) = (sequencer(&db, &clock, "one"), sequencer(&db, &clock, "other"));
    commit(&db, &[1]).await;
    assert_eq!(one.step_without_look().await.unwrap(), gave(1));
    let statements = || db.counts().statements.get();
    let mut took = Vec::new();
    for looks in [true, false] {
        commit(&db, &[2 + i64::from(looks)]).await;
        let before = statements();
        let step = if looks {
            one.step().await
        } else {
            one.step_without_look().await
        };
        assert_eq!(step.unwrap(), gave(1));
        took.push(statements() - before);
    }
    assert_eq!(took[0] - took[1], 1, "{took:?}");
    // A commit that the step before has seen already: nothing is written, the lease neither.
    let before = fences(&db).await;
    assert_eq!(one.step_without_look().await.unwrap(), Step::Idle);
    assert_eq!(fences(&db).await, before);
    clock.advance(LEASE_LENGTH + Duration::from_millis(1));
    commit(&db, &[4]).await;
    assert_eq!(other.step().await.unwrap(), gave(1));
    commit(&db, &[5]).await;
    for _ in 0..2 {
        assert_eq!(one.step_without_look().await.unwrap(), Step::Held);
    }
    assert_eq!(other.step_without_look().await.unwrap(), gave(1));
    assert_eq!(behind(&db, 0).await, [(1, 1), (2, 3), (3, 2), (4, 4), (5, 5)]);
}

/// How often the lease of the places was written.
async fn fences(db: &Db) -> i64 {
    let reading = db.read("fences", |tx| {
        Box::pin(async move {
            let sql = "SELECT SUM(fences) AS n FROM leases";
            let row = tx.query_one(sql, vec![]).await?.ok_or(DbError::Contended)?;
            row.get("n")
        })
    });
    reading.await.unwrap()
}
