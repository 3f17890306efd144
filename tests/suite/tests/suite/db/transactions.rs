//! What a transaction keeps and what it undoes.

use db::{DbError, DbSettings, Dialect, params};

use super::{add, add_note, make_notes, notes};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        a_commit_is_visible_once_it_is_answered,
        an_error_rolls_everything_back,
        abandoning_answers_and_rolls_back,
        a_duplicate_is_reported_and_the_transaction_goes_on,
        a_read_refuses_to_write,
        a_panic_rolls_back_and_harms_no_neighbour,
        f14_a_read_only_database_is_reported,
    ]
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

async fn a_duplicate_is_reported_and_the_transaction_goes_on(ctx: Ctx) {
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
            // As a panic, without its report on the terminal.
            std::panic::resume_unwind(Box::new("a bug"))
        })
    });
    let (panicked, added) = tokio::join!(panics, add_note(&db, "b"));
    assert_eq!((panicked, added), (Err(DbError::Panicked), Ok(())));
    assert_eq!(notes(&db).await, ["b"]);
}

async fn f14_a_read_only_database_is_reported(ctx: Ctx) {
    let settings = DbSettings {
        connections: 1,
        exclusive: false,
        ..DbSettings::default()
    };
    let db = ctx.open_with(settings).await;
    make_notes(&db).await;
    // As a server that was set read-only answers, here on the one writing connection alone.
    let set = |sql: &'static str| db.transaction("set", move |tx| Box::pin(tx.query(sql, vec![])));
    let close = match db.dialect() {
        Dialect::Sqlite => "PRAGMA query_only = ON",
        Dialect::Mysql => "SET SESSION TRANSACTION READ ONLY",
    };
    set(close).await.unwrap();
    let refused = add_note(&db, "a").await;
    assert_eq!(refused, Err(DbError::ReadOnly));
    assert!(refused.is_err_and(|error| error.is_outage()));
    let again = ctx.open().await;
    assert_eq!(add_note(&again, "b").await, Ok(()));
    assert_eq!(notes(&again).await, ["b"]);
}
