//! Rows that are made again: where one process dies another goes on, one at a time, and once for each version.

use std::sync::Arc;
use std::time::Duration;

use contract::UnixMillis;
use db::params;
use db::{Db, DbError, Tx, migrate};
use harness::clock::HandClock;
use kit::random::SystemClock;
use kit::rebuild::{LEASE_LENGTH, Rebuild, Rebuilder, Step};

use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        a_rebuild_goes_on_where_the_one_before_it_died,
        a_version_is_made_once_and_a_newer_one_is_left_alone,
        a_batch_that_fails_leaves_its_position,
        a_row_that_cannot_be_made_again_is_left_and_the_others_are_made,
        where_no_row_can_be_made_again_the_rebuild_waits,
    ]
}

/// Kit's own tables.
async fn migrated(ctx: &Ctx) -> Db {
    let db = ctx.open().await;
    migrate(&db, &[kit::tables::MIGRATIONS], &SystemClock, "suite")
        .await
        .unwrap();
    db
}

/// Rows there are. Their numbers are the positions.
const ROWS: usize = 3;
/// Which of [`ROWS_WITH_ONE_BAD`] rows cannot be made again.
const BAD: usize = 3;
const ROWS_WITH_ONE_BAD: usize = 6;

/// Counts how often each row is made, one in a batch.
const COUNT: Rebuild = Rebuild {
    name: "count",
    version: 1,
    batch: 1,
    rebuild_rows: |tx, position, rows| Box::pin(async move { count(tx, behind(position, rows, ROWS)).await }),
    skip: |_, _, _| Box::pin(async { panic!("no row is bad") }),
};

/// The same of more rows, one of which is bad.
const COUNT_WITH_ONE_BAD: Rebuild = Rebuild {
    batch: 4,
    rebuild_rows: |tx, position, rows| {
        Box::pin(async move {
            let rows = behind(position, rows, ROWS_WITH_ONE_BAD);
            if rows.contains(&BAD) {
                return Err(DbError::Panicked);
            }
            count(tx, rows).await
        })
    },
    skip: |_, position, rows| Box::pin(async move { Ok(last(&behind(position, rows, ROWS_WITH_ONE_BAD))) }),
    ..COUNT
};

/// The same, where every row is bad.
const COUNT_NOTHING: Rebuild = Rebuild {
    rebuild_rows: |_, _, _| Box::pin(async { Err(DbError::Panicked) }),
    skip: |_, position, rows| Box::pin(async move { Ok(last(&behind(position, rows, 1_000))) }),
    ..COUNT
};

/// The rows behind a position, up to so many of `all`.
fn behind(position: &str, rows: usize, all: usize) -> Vec<usize> {
    let first = position.parse().unwrap_or(0) + 1;
    (first..=all).take(rows).collect()
}

fn last(rows: &[usize]) -> Option<String> {
    rows.last().map(ToString::to_string)
}

async fn count(tx: &mut Tx, rows: Vec<usize>) -> Result<Option<String>, DbError> {
    let sql = "INSERT INTO audit_counts (minute, kind, cause, n) VALUES (?, 'row', 'made', 1)";
    let again = tx.dialect().on_conflict_add(&["minute", "kind", "cause"], &["n"]);
    for row in &rows {
        tx.execute(&format!("{sql}{again}"), params![*row]).await?;
    }
    Ok(last(&rows))
}

/// How often each row was made that was.
async fn made(db: &Db) -> Vec<i64> {
    let read = db.read("made", |tx| {
        Box::pin(async move {
            tx.query(
                "SELECT n FROM audit_counts WHERE kind = 'row' ORDER BY minute",
                vec![],
            )
            .await
        })
    });
    let rows = read.await.unwrap();
    rows.iter().map(|row| row.get("n").unwrap()).collect()
}

async fn finish(rebuilder: &mut Rebuilder) -> usize {
    let mut batches = 0;
    while rebuilder.step().await.unwrap() != Step::Finished {
        batches += 1;
    }
    batches
}

async fn a_rebuild_goes_on_where_the_one_before_it_died(ctx: Ctx) {
    let db = migrated(&ctx).await;
    let clock = Arc::new(HandClock::at(UnixMillis(1_000_000)));
    let by = |owner: &str| Rebuilder::new(db.clone(), clock.clone(), owner.to_owned(), COUNT);
    let mut first = by("first");
    assert_eq!(first.step().await.unwrap(), Step::Worked);
    let mut second = by("second");
    assert_eq!(second.step().await.unwrap(), Step::Held);
    clock.advance(LEASE_LENGTH + Duration::from_millis(1));
    assert_eq!(second.step().await.unwrap(), Step::Worked);
    assert_eq!(
        first.step().await.unwrap(),
        Step::Held,
        "it was away for too long"
    );
    assert_eq!(made(&db).await, [1, 1]);
    assert_eq!(finish(&mut second).await, 1);
    assert_eq!(made(&db).await, [1, 1, 1]);
    assert_eq!(first.step().await.unwrap(), Step::Finished);
    db.close().await;
}

async fn a_version_is_made_once_and_a_newer_one_is_left_alone(ctx: Ctx) {
    let db = migrated(&ctx).await;
    let clock = Arc::new(HandClock::at(UnixMillis(1_000_000)));
    let of = |version| {
        let rebuild = Rebuild { version, ..COUNT };
        Rebuilder::new(db.clone(), clock.clone(), format!("of_{version}"), rebuild)
    };
    assert_eq!(finish(&mut of(1)).await, 3);
    assert_eq!(finish(&mut of(1)).await, 0);
    let mut newer = of(2);
    assert_eq!(newer.step().await.unwrap(), Step::Worked);
    assert_eq!(
        of(1).step().await.unwrap(),
        Step::Finished,
        "a newer program is at it"
    );
    assert_eq!(finish(&mut newer).await, 2);
    assert_eq!(made(&db).await, [2, 2, 2]);
    db.close().await;
}

async fn a_batch_that_fails_leaves_its_position(ctx: Ctx) {
    let db = migrated(&ctx).await;
    let clock = Arc::new(HandClock::at(UnixMillis(1_000_000)));
    let mut whole = Rebuilder::new(db.clone(), clock.clone(), "whole".to_owned(), COUNT);
    assert_eq!(whole.step().await.unwrap(), Step::Worked);
    clock.advance(LEASE_LENGTH + Duration::from_millis(1));
    let broken = Rebuild {
        rebuild_rows: |_, _, _| Box::pin(async { Err(DbError::Unavailable) }),
        ..COUNT
    };
    let mut broken = Rebuilder::new(db.clone(), clock.clone(), "broken".to_owned(), broken);
    assert!(broken.step().await.is_err());
    clock.advance(LEASE_LENGTH + Duration::from_millis(1));
    assert_eq!(finish(&mut whole).await, 3, "held no more, and claimed again");
    assert_eq!(made(&db).await, [1, 1, 1]);
    db.close().await;
}

async fn a_row_that_cannot_be_made_again_is_left_and_the_others_are_made(ctx: Ctx) {
    use Step::{Finished, Halved, Skipped, Worked};
    let db = migrated(&ctx).await;
    let clock = Arc::new(HandClock::at(UnixMillis(1_000_000)));
    let mut rebuilder = Rebuilder::new(db.clone(), clock, "one".to_owned(), COUNT_WITH_ONE_BAD);
    let mut steps = Vec::new();
    while steps.last() != Some(&Finished) {
        steps.push(rebuilder.step().await.unwrap());
    }
    assert_eq!(
        steps,
        [Halved, Worked, Halved, Halved, Skipped, Worked, Worked, Finished]
    );
    assert_eq!(made(&db).await, [1; ROWS_WITH_ONE_BAD - 1]);
    db.close().await;
}

async fn where_no_row_can_be_made_again_the_rebuild_waits(ctx: Ctx) {
    let db = migrated(&ctx).await;
    let clock = Arc::new(HandClock::at(UnixMillis(1_000_000)));
    let mut rebuilder = Rebuilder::new(db.clone(), clock, "one".to_owned(), COUNT_NOTHING);
    let mut skipped = 0;
    while let Ok(step) = rebuilder.step().await {
        assert_eq!(step, Step::Skipped);
        skipped += 1;
    }
    assert!((1..100).contains(&skipped), "{skipped}");
    assert!(rebuilder.step().await.is_err(), "it stays where it is");
    db.close().await;
}
