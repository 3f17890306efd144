//! The way to the database fails, or the database itself. MySQL only where it is the way: SQLite has none.

use super::{Receiver, batches::carry_out, config, guest_event, number};
use crate::case::{Case, Ctx, cases};
use crm_receiver::app::{Runtime, open_store};
use db::{DatabaseUrl, params};
use futures::future::join_all;
use harness::{
    engine::Engine,
    fault_proxy::{FaultProxy, Mode},
    waiting::{ten_times, until},
};
use mysql_async::Opts;
use std::{net::SocketAddr, time::Duration};

pub fn cases() -> Vec<Case> {
    let mut all = cases![a_probe_is_a_write_that_leaves_nothing];
    all.extend(cases![only Engine::Mysql;
        f11_an_unknown_commit_is_looked_up_not_repeated,
        f12_a_silent_database_is_not_waited_for,
        f10_a_database_that_is_gone_is_noticed_and_so_is_its_return,
    ]);
    all
}

/// The rule: how long the return of the database may go unnoticed.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);

async fn a_probe_is_a_write_that_leaves_nothing(ctx: Ctx) {
    const WITHIN: Duration = Duration::from_secs(10);
    let store = open_store(&ctx.url(), &Runtime::system(), false).await.unwrap();
    store.probe("probe_1", WITHIN).await.unwrap();
    store.probe("probe_1", WITHIN).await.unwrap();
    let db = ctx.open().await;
    let bodies = "SELECT COUNT(*) AS n FROM inbox_bodies";
    assert_eq!(number(&db, bodies, params![]).await, 0);
    // A database that still answers, but takes no rows.
    let refused = match ctx.engine {
        Engine::Sqlite => {
            "CREATE TRIGGER refuse BEFORE INSERT ON inbox_bodies BEGIN SELECT RAISE(ABORT, 'refused'); END"
        }
        Engine::Mysql => {
            "CREATE TRIGGER refuse BEFORE INSERT ON inbox_bodies FOR EACH ROW \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused'"
        }
    };
    carry_out(&ctx, refused).await;
    store.ping().await.unwrap();
    assert!(store.probe("probe_2", WITHIN).await.is_err());
}

/// The way to the database through a proxy.
pub(crate) fn proxied(ctx: &Ctx, proxy: &FaultProxy) -> DatabaseUrl {
    let opts = Opts::from_url(ctx.database.url()).unwrap();
    let (user, password) = (opts.user().unwrap_or_default(), opts.pass().unwrap_or_default());
    DatabaseUrl::mysql(
        "127.0.0.1",
        proxy.address().port(),
        user,
        password,
        opts.db_name().unwrap(),
    )
}

/// A proxy before the database.
pub(crate) async fn proxy_before(ctx: &Ctx) -> FaultProxy {
    let opts = Opts::from_url(ctx.database.url()).unwrap();
    let upstream: SocketAddr = format!("{}:{}", opts.ip_or_hostname(), opts.tcp_port())
        .parse()
        .unwrap();
    FaultProxy::start(upstream).await.unwrap()
}

async fn f11_an_unknown_commit_is_looked_up_not_repeated(ctx: Ctx) {
    let proxy = proxy_before(&ctx).await;
    let receiver = Receiver::start_with(config(proxied(&ctx, &proxy))).await;
    for (key, mode) in [("evt_1", Mode::CutAfterCommit), ("evt_2", Mode::CutBeforeCommit)] {
        proxy.set(mode);
        let body = guest_event(key);
        assert_eq!(receiver.take(key, &body).await.status, 202, "{mode:?}");
        assert_eq!(receiver.take(key, &body).await.status, 200, "{mode:?}");
    }
    // A batch of many in which one commit is lost: all are answered the truth.
    proxy.set(Mode::CutAfterCommit);
    let bodies: Vec<_> = (10..60).map(|number| format!("evt_{number}")).collect();
    let answers = join_all(
        bodies
            .iter()
            .map(|key| async { receiver.take(key, &guest_event(key)).await }),
    )
    .await;
    assert!(answers.iter().all(|answer| answer.status == 202));
    receiver.stop().await;
    let db = ctx.open().await;
    assert_eq!(
        number(&db, "SELECT COUNT(*) AS n FROM inbox", params![]).await,
        52
    );
    assert_eq!(
        number(&db, "SELECT COUNT(*) AS n FROM inbox_bodies", params![]).await,
        52
    );
}

async fn f12_a_silent_database_is_not_waited_for(ctx: Ctx) {
    let proxy = proxy_before(&ctx).await;
    let receiver = Receiver::start_with(config(proxied(&ctx, &proxy))).await;
    proxy.set(Mode::BlackHole);
    // The first batches wait for their deadline, and find out for all others.
    let keys: Vec<_> = (0..16).map(|number| format!("evt_{number}")).collect();
    let first = join_all(
        keys.iter()
            .map(|key| async { receiver.take(key, &guest_event(key)).await }),
    )
    .await;
    assert!(first.iter().all(|answer| answer.status == 503));
    // Who reads still waits for the database when ten deliveries, one after the other, have been refused.
    let reading = receiver.get("/events");
    let refusing = async {
        for number in 100..110 {
            let key = format!("evt_{number}");
            let refused = receiver.take(&key, &guest_event(&key)).await;
            assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
        }
    };
    tokio::select! {
        biased;
        answer = reading => panic!("deliveries wait for the database, as this did: {answer:?}"),
        () = refusing => {}
    }
    proxy.set(Mode::Forward);
    proxy.cut_now();
    until_back(&receiver, "evt_back").await;
    let retried = join_all(
        keys.iter()
            .map(|key| async { receiver.take(key, &guest_event(key)).await }),
    )
    .await;
    assert!(retried.iter().all(|answer| matches!(answer.status, 200 | 202)));
    receiver.stop().await;
}

/// The sender's retries, until one is taken.
async fn until_back(receiver: &Receiver, key: &str) {
    let taken = until("it is taken", || async {
        receiver.take(key, &guest_event(key)).await.status != 503
    });
    ten_times(NOTICED_WITHIN, "the return of the database is noticed", taken).await;
    assert_eq!(receiver.take(key, &guest_event(key)).await.status, 200);
}

async fn f10_a_database_that_is_gone_is_noticed_and_so_is_its_return(ctx: Ctx) {
    let Some(mut server) = ctx.servers.own_server().unwrap() else {
        eprintln!("skipped: a given server is not killed");
        return;
    };
    let admin = Opts::from_url(&server.url("mysql")).unwrap();
    let mut conn = mysql_async::Conn::new(admin).await.unwrap();
    mysql_async::prelude::Queryable::query_drop(&mut conn, "CREATE DATABASE crm")
        .await
        .unwrap();
    conn.disconnect().await.unwrap();
    let receiver = Receiver::start_with(config(server.url("crm").parse().unwrap())).await;
    let body = guest_event("evt_1");
    assert_eq!(receiver.take("evt_1", &body).await.status, 202);

    server.kill().unwrap();
    // The first ones find out; from then on nobody waits for the database.
    for number in 0..4 {
        let key = format!("evt_lost_{number}");
        assert_eq!(receiver.take(&key, &guest_event(&key)).await.status, 503);
    }
    let refused = receiver.take("evt_2", &guest_event("evt_2")).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    // What is remembered as committed needs no database.
    assert_eq!(receiver.take("evt_1", &body).await.status, 200);

    let server = tokio::task::spawn_blocking(move || {
        server.run().unwrap();
        server
    });
    let server = server.await.unwrap();
    until_back(&receiver, "evt_2").await;
    receiver.stop().await;
    drop(server);
}
