//! SQLite's writer: what shares a transaction, and what one member can do to the others.

use db::{Db, DbError, DbSettings, params};
use harness::engine::Engine;
use kit::random::SystemEntropy;
use std::sync::Arc;

use super::door::{Doorkeeper, door};
use super::{add, add_note, make_notes, notes};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![only Engine::Sqlite;
        a_failing_member_of_a_group_rolls_back_alone,
        a_refused_commit_fails_its_own_member_alone,
        a_member_that_ends_the_shared_transaction_fails_alone,
        awaiting_something_else_is_refused,
        a_full_queue_refuses_at_once,
        f17_a_full_disk_is_reported_and_heals_when_there_is_room,
        readers_do_not_wait_for_the_writer,
        what_was_queued_is_done_before_the_end,
        a_second_server_of_one_file_is_refused,
    ]
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
    let db = Db::open(&ctx.url(), &DbSettings::default(), Arc::new(SystemEntropy))
        .await
        .unwrap();
    let second = Db::open(&ctx.url(), &DbSettings::default(), Arc::new(SystemEntropy)).await;
    assert!(matches!(second, Err(DbError::Open { reason }) if reason.contains("another process serves")));
    db.close().await;
    let third = Db::open(&ctx.url(), &DbSettings::default(), Arc::new(SystemEntropy))
        .await
        .expect("the lock ends with its holder");
    third.close().await;
}

async fn f17_a_full_disk_is_reported_and_heals_when_there_is_room(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let room = |pages: &'static str| db.transaction("room", move |tx| Box::pin(tx.query(pages, vec![])));
    room("PRAGMA max_page_count = 6").await.unwrap();
    let keeper = hold_the_writer(&db).await;
    let large = db.transaction("large", |tx| {
        Box::pin(async move {
            let text = "x".repeat(100_000);
            tx.execute("INSERT INTO notes (id, text) VALUES ('large', ?)", params![text])
                .await
        })
    });
    let opens = async move { keeper.open() };
    let (small, large, ()) = tokio::join!(add_note(&db, "small"), large, opens);
    assert_eq!((small, large), (Ok(()), Err(DbError::Full)));
    room("PRAGMA max_page_count = 1000000").await.unwrap();
    assert_eq!(add_note(&db, "later").await, Ok(()));
    assert_eq!(notes(&db).await, ["later", "small"]);
}

async fn readers_do_not_wait_for_the_writer(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let keeper = hold_the_writer(&db).await;
    assert!(notes(&db).await.is_empty());
    keeper.open();
}

async fn what_was_queued_is_done_before_the_end(ctx: Ctx) {
    let db = ctx.open().await;
    make_notes(&db).await;
    let keeper = hold_the_writer(&db).await;
    let opens = async move { keeper.open() };
    let (a, (), ()) = tokio::join!(add_note(&db, "a"), db.clone().close(), opens);
    assert_eq!(a, Ok(()));
    assert_eq!(add_note(&db, "late").await, Err(DbError::Unavailable));
    let again = ctx.open().await;
    assert_eq!(notes(&again).await, ["a"]);
}
