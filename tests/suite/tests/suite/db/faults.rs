//! The way to the server fails: at COMMIT, in the middle, altogether. MySQL only: SQLite has no way to fail.

use std::time::Duration;

use db::{DatabaseUrl, Db, DbError, DbSettings, params};
use harness::engine::Engine;
use harness::fault_proxy::{FaultProxy, Mode};
use harness::waiting::{HANGS_AFTER, in_time, until};
use kit::random::SystemEntropy;
use std::sync::Arc;

use super::{add, add_note, make_notes, notes};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![only Engine::Mysql;
        f11_a_commit_whose_answer_is_lost_is_looked_up,
        f11_a_commit_that_never_arrived_runs_again,
        f11_a_commit_that_nobody_looks_up_is_unknown,
        f11_a_failed_look_up_stays_unknown,
        cut_connections_are_replaced_unseen,
        f12_a_silent_server_does_not_starve_the_pool,
        f10_a_killed_server_is_noticed_at_once_and_heals_when_it_is_back,
    ]
}

/// Far beyond what anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// A database behind a proxy, with one table.
async fn behind_a_proxy(ctx: &Ctx, settings: DbSettings) -> (FaultProxy, Db) {
    let (proxy, url) = FaultProxy::before(ctx.database.url()).await.unwrap();
    let db = Db::open(&url, &settings, Arc::new(SystemEntropy))
        .await
        .expect("the proxy forwards");
    make_notes(&db.with_deadline(PATIENCE)).await;
    (proxy, db)
}

async fn add_or_find(db: &Db, id: &'static str) -> Result<&'static str, DbError> {
    let run = db.transaction_or_find(
        "add_or_find",
        move |tx| {
            Box::pin(async move {
                add(tx, id).await?;
                Ok("added")
            })
        },
        move |tx| {
            Box::pin(async move {
                let row = tx
                    .query_one("SELECT id FROM notes WHERE id = ?", params![id])
                    .await?;
                Ok(row.map(|_| "found"))
            })
        },
    );
    run.await
}

async fn f11_a_commit_whose_answer_is_lost_is_looked_up(ctx: Ctx) {
    let (proxy, db) = behind_a_proxy(&ctx, DbSettings::default()).await;
    proxy.set(Mode::CutAfterCommit);
    assert_eq!(add_or_find(&db, "a").await, Ok("found"));
    assert_eq!(db.counts().unknown_commits.get(), 1);
    assert_eq!(notes(&db).await, ["a"]);
}

async fn f11_a_commit_that_never_arrived_runs_again(ctx: Ctx) {
    let (proxy, db) = behind_a_proxy(&ctx, DbSettings::default()).await;
    proxy.set(Mode::CutBeforeCommit);
    assert_eq!(add_or_find(&db, "a").await, Ok("added"));
    assert_eq!(db.counts().unknown_commits.get(), 1);
    assert_eq!(notes(&db).await, ["a"]);
}

async fn f11_a_commit_that_nobody_looks_up_is_unknown(ctx: Ctx) {
    let (proxy, db) = behind_a_proxy(&ctx, DbSettings::default()).await;
    proxy.set(Mode::CutAfterCommit);
    assert_eq!(add_note(&db, "a").await, Err(DbError::CommitUnknown));
    proxy.set(Mode::CutBeforeCommit);
    assert_eq!(add_note(&db, "b").await, Err(DbError::CommitUnknown));
    assert_eq!(notes(&db).await, ["a"]);
}

async fn f11_a_failed_look_up_stays_unknown(ctx: Ctx) {
    let (proxy, db) = behind_a_proxy(&ctx, DbSettings::default()).await;
    proxy.set(Mode::CutAfterCommit);
    let run = db.transaction_or_find(
        "lost",
        |tx| add(tx, "a"),
        |tx| Box::pin(async move { tx.execute("NONSENSE", vec![]).await.map(|_| None) }),
    );
    assert_eq!(run.await, Err(DbError::CommitUnknown));
    assert_eq!(notes(&db).await, ["a"]);
}

async fn cut_connections_are_replaced_unseen(ctx: Ctx) {
    let (proxy, db) = behind_a_proxy(&ctx, DbSettings::default()).await;
    for id in ["a", "b", "c"] {
        proxy.cut_now();
        assert_eq!(add_note(&db, id).await, Ok(()));
    }
    assert_eq!(notes(&db).await, ["a", "b", "c"]);
    assert!(db.counts().reruns.get() >= 1);
}

async fn f12_a_silent_server_does_not_starve_the_pool(ctx: Ctx) {
    let settings = DbSettings {
        connections: 1,
        connect_within: Duration::from_secs(1),
        answer_within: Duration::from_millis(500),
        abort_after: Duration::from_secs(1),
        ..DbSettings::default()
    };
    let (proxy, db) = behind_a_proxy(&ctx, settings).await;
    proxy.set(Mode::BlackHole);
    for _ in 0..6 {
        let adding = add_note(&db, "a");
        let refused = in_time("it is answered while the server is silent", adding).await;
        let refused = refused.expect_err("nothing comes through");
        assert!(refused.is_outage(), "{refused:?}");
    }
    proxy.set(Mode::Forward);
    // A late answer is a time-out although the note was added: then it is a duplicate.
    until("the pool is whole again", || async {
        matches!(add_note(&db, "b").await, Ok(()) | Err(DbError::Duplicate))
    })
    .await;
    assert!(notes(&db).await.contains(&"b".to_owned()));
}

async fn f10_a_killed_server_is_noticed_at_once_and_heals_when_it_is_back(ctx: Ctx) {
    let Some(mut server) = ctx.servers.own_server().expect("the server starts") else {
        eprintln!("skipped: a given server is not killed");
        return;
    };
    let url: DatabaseUrl = server.url("mysql").parse().unwrap();
    let db = Db::open(
        &url,
        &DbSettings {
            connections: 4,
            // A caller that waited for a server that is gone would not be back before the case hangs.
            connect_within: 2 * HANGS_AFTER,
            answer_within: 2 * HANGS_AFTER,
            abort_after: 2 * HANGS_AFTER,
            ..DbSettings::default()
        },
        Arc::new(SystemEntropy),
    )
    .await
    .unwrap();
    make_notes(&db).await;
    futures::future::join_all(["a", "b", "c", "d"].map(|id| add_note(&db, id))).await;
    let server = tokio::task::spawn_blocking(move || {
        server.kill().expect("it is killed");
        server
    });
    let mut server = server.await.unwrap();
    for _ in 0..8 {
        let lost = in_time("it is noticed at once", add_note(&db, "lost")).await;
        assert_eq!(lost, Err(DbError::Unavailable));
    }
    let server = tokio::task::spawn_blocking(move || {
        server.run().expect("it is back");
        server
    });
    let server = server.await.unwrap();
    // The first attempt succeeds.
    let added = in_time("the server is used again", add_note(&db, "e")).await;
    assert_eq!(added, Ok(()));
    assert_eq!(notes(&db).await, ["a", "b", "c", "d", "e"]);
    db.close().await;
    drop(server);
}
