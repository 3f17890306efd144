//! Connections that say nothing, and a server that ends them for it: no caller hears of it.

use std::time::Duration;

use db::{Db, DbSettings, params};
use futures::future::join_all;
use harness::engine::Engine;
use harness::waiting::until;

use super::{add_note, make_notes, notes};
use crate::case::{Case, Ctx, cases};
use crate::ingest::number;

pub fn cases() -> Vec<Case> {
    cases![only Engine::Mysql;
        connections_that_were_idle_for_long_are_not_used_again,
        a_connection_that_its_server_has_ended_is_replaced_unseen,
    ]
}

/// Waits until nobody but the one who looks has a session on this database.
async fn until_all_ended(watch: &Db) {
    let sql = "SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST WHERE DB = DATABASE()";
    until("the server ends them", || async {
        number(watch, sql, params![]).await <= 1
    })
    .await;
}

async fn connections_that_were_idle_for_long_are_not_used_again(ctx: Ctx) {
    let settings = DbSettings {
        silence_max: Duration::from_secs(1),
        ..DbSettings::default()
    };
    let (watch, db) = (ctx.open().await, ctx.open_with(settings).await);
    make_notes(&db).await;
    for ids in [["a", "b", "c"], ["d", "e", "f"]] {
        let adding = ids.map(|id| add_note(&db, id));
        assert_eq!(join_all(adding).await, [Ok(()), Ok(()), Ok(())], "{ids:?}");
        until_all_ended(&watch).await;
    }
    assert_eq!(notes(&db).await, ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(db.counts().reruns.get(), 0, "none met its end");
    db.close().await;
    watch.close().await;
}

async fn a_connection_that_its_server_has_ended_is_replaced_unseen(ctx: Ctx) {
    let (watch, db) = (ctx.open().await, ctx.open().await);
    make_notes(&db).await;
    let sooner = db.transaction("sooner", |tx| {
        Box::pin(async move { tx.execute("SET SESSION wait_timeout = 1", vec![]).await })
    });
    sooner.await.unwrap();
    until_all_ended(&watch).await;
    assert_eq!(add_note(&db, "a").await, Ok(()));
    assert_eq!(db.counts().reruns.get(), 1, "it met the end of the kept one");
    assert_eq!(notes(&db).await, ["a"]);
    db.close().await;
    watch.close().await;
}
