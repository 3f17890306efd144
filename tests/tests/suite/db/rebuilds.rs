//! Rows that are made again: where one process dies another goes on, one at a time, and once for each version.

use std::sync::Arc;
use std::time::Duration;

use contract::UnixMillis;
use e2e::clock::HandClock;
use futures::future::BoxFuture;
use kit::db::{Db, DbError, Tx, migrate};
use kit::params;
use kit::random::SystemClock;
use kit::rebuild::{LEASE_LENGTH, Rebuild, Rebuilder, Step};

use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        a_rebuild_goes_on_where_the_one_before_it_died,
        a_version_is_made_once_and_a_newer_one_is_left_alone,
        a_batch_that_fails_leaves_its_position,
    ]
}

/// Kit's own tables.
async fn migrated(ctx: &Ctx) -> Db {
    let db = ctx.open().await;
    migrate(&db, &[], &SystemClock, "suite").await.unwrap();
    db
}

/// Counts how often each of three batches is made; their numbers are the positions.
const COUNT: Rebuild = Rebuild {
    name: "count",
    version: 1,
    make_again: |tx, position| Box::pin(count(tx, position)),
};

async fn count(tx: &mut Tx, position: &str) -> Result<Option<String>, DbError> {
    let batch = position.parse::<i64>().unwrap_or(0) + 1;
    if batch > 3 {
        return Ok(None);
    }
    let sql = "INSERT INTO audit_counts (minute, kind, cause, n) VALUES (?, 'batch', 'made', 1)";
    let again = tx.dialect().on_conflict_add(&["minute", "kind", "cause"], &["n"]);
    tx.execute(&format!("{sql}{again}"), params![batch]).await?;
    Ok(Some(batch.to_string()))
}

fn fails<'t>(_: &'t mut Tx, _: &'t str) -> BoxFuture<'t, Result<Option<String>, DbError>> {
    Box::pin(async { Err(DbError::Panicked) })
}

/// How often each batch was made.
async fn made(db: &Db) -> Vec<i64> {
    let read = db.read("made", |tx| {
        Box::pin(async move {
            tx.query(
                "SELECT n FROM audit_counts WHERE kind = 'batch' ORDER BY minute",
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
        make_again: fails,
        ..COUNT
    };
    let mut broken = Rebuilder::new(db.clone(), clock.clone(), "broken".to_owned(), broken);
    assert!(broken.step().await.is_err());
    clock.advance(LEASE_LENGTH + Duration::from_millis(1));
    assert_eq!(finish(&mut whole).await, 3, "held no more, and claimed again");
    assert_eq!(made(&db).await, [1, 1, 1]);
    db.close().await;
}
