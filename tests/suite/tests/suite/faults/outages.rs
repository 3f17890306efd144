//! The database is killed, falls silent, or takes no writes: callers hear so in time, nothing confirmed is lost, and
//! both services are back by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use db::params;
use futures::future::join_all;
use harness::engine::Engine;
use harness::fault_proxy::{FaultProxy, Mode};
use harness::server::Server;
use harness::waiting::{ten_times, until};
use http::Method;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{admin, own_server};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{self, Receiver, guest_event, number};
use crate::pms::Pms;

pub fn cases() -> Vec<Case> {
    let mut all = cases![only Engine::Mysql;
        f10_a_killed_database_is_used_again_after_its_return,
        f12_a_half_open_database_is_answered_in_time_and_starves_nobody,
        f14_a_read_only_server_is_503_with_retry_after_until_it_takes_writes,
    ];
    all.extend(cases![only Engine::Sqlite; f14_a_read_only_file_is_503_with_retry_after]);
    all
}

/// The rule: from the opening of the database's port to the first request that is accepted again. How long it takes is
/// measured by `cargo chaos -- --engine mysql`.
const HEALS_WITHIN: Duration = Duration::from_secs(1);
/// A caller's pause before it tries again.
const PAUSE: Duration = Duration::from_millis(5);
/// Callers of each service, who always have a request in progress.
const CALLERS: usize = 8;
/// Requests that are accepted before the database is killed.
const BEFORE: usize = 40;
/// The rule: a caller hears by then that the database is silent, however many callers there are.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// What a crowd of callers has seen.
struct Crowd {
    stop: watch::Sender<bool>,
    accepted: watch::Sender<usize>,
    refused: AtomicUsize,
}

impl Crowd {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            stop: watch::Sender::new(false),
            accepted: watch::Sender::new(0),
            refused: AtomicUsize::new(0),
        })
    }

    /// Repeats each call until it is accepted, and goes on with the next until asked to stop. `call` answers the status.
    async fn calls<F: Future<Output = u16>>(&self, caller: usize, call: impl Fn(String) -> F) {
        for turn in 0.. {
            if *self.stop.borrow() {
                return;
            }
            let key = format!("c{caller}_{turn}");
            loop {
                match call(key.clone()).await {
                    200..=202 => break,
                    503 => self.refused.fetch_add(1, Ordering::SeqCst),
                    status => panic!("{key}: {status}"),
                };
                sleep(PAUSE).await;
            }
            self.accepted.send_modify(|accepted| *accepted += 1);
        }
    }

    async fn reaches(&self, accepted: usize) {
        let mut seen = self.accepted.subscribe();
        seen.wait_for(|now| *now >= accepted).await.unwrap();
    }

    async fn goes_on_by(&self, accepted: usize) {
        let now = *self.accepted.borrow();
        self.reaches(now + accepted).await;
    }
}

async fn f10_a_killed_database_is_used_again_after_its_return(ctx: Ctx) {
    let Some(server) = own_server(&ctx, &["CREATE DATABASE pms", "CREATE DATABASE crm"]).await else {
        return;
    };
    let pms = Pms::start_through(&ctx, server.url("pms").parse().unwrap()).await;
    let receiver = Receiver::start_with(ingest::config(server.url("crm").parse().unwrap())).await;
    let crowds = [Crowd::new(), Crowd::new()];
    let posts = (0..CALLERS).map(|caller| {
        crowds[0].calls(caller, |key| {
            let pms = &pms;
            async move {
                let headers = [("idempotency-key", key.as_str())];
                let guest = json!({"last_name": key});
                pms.send(Method::POST, "/guests", &headers, Some(&guest))
                    .await
                    .status
            }
        })
    });
    let webhooks = (0..CALLERS).map(|caller| {
        crowds[1].calls(caller, |key| {
            let receiver = &receiver;
            async move { receiver.take(&key, &guest_event(&key)).await.status }
        })
    });
    let strike = async {
        for crowd in &crowds {
            crowd.reaches(BEFORE).await;
        }
        let server = kill_and_return(server).await;
        for crowd in &crowds {
            ten_times(
                HEALS_WITHIN,
                "requests are accepted again",
                crowd.goes_on_by(BEFORE),
            )
            .await;
            crowd.stop.send_replace(true);
        }
        server
    };
    let (_, _, server) = tokio::join!(join_all(posts), join_all(webhooks), strike);
    for (crowd, service) in crowds.iter().zip(["emitter", "receiver"]) {
        assert!(
            crowd.refused.load(Ordering::SeqCst) > 0,
            "{service}: nobody met the outage"
        );
    }
    // Each call was repeated until it was accepted: one row for each, however often it was sent.
    let accepted = crowds.map(|crowd| i64::try_from(*crowd.accepted.borrow()).unwrap());
    assert_eq!(
        service_count(&pms, "SELECT COUNT(*) AS n FROM guests").await,
        accepted[0]
    );
    assert_eq!(
        service_count(&pms, "SELECT COUNT(*) AS n FROM events").await,
        accepted[0]
    );
    pms.stop().await;
    receiver.stop().await;
    let crm = super::open(&server.url("crm")).await;
    assert_eq!(
        number(&crm, "SELECT COUNT(*) AS n FROM inbox", params![]).await,
        accepted[1]
    );
    assert_eq!(
        number(&crm, "SELECT COUNT(*) AS n FROM inbox_bodies", params![]).await,
        accepted[1]
    );
    crm.close().await;
}

/// A number that the emitter's own database answers.
async fn service_count(pms: &Pms, sql: &'static str) -> i64 {
    number(pms.store.db(), sql, params![]).await
}

/// Kills the server in the middle of what it does, and starts it again on the same port.
async fn kill_and_return(mut server: Server) -> Server {
    let returned = tokio::task::spawn_blocking(move || {
        server.kill().and_then(|()| server.run()).unwrap();
        server
    });
    returned.await.unwrap()
}

async fn f12_a_half_open_database_is_answered_in_time_and_starves_nobody(ctx: Ctx) {
    let (proxy, database) = FaultProxy::before(ctx.database.url()).await.unwrap();
    let pms = Pms::start_through(&ctx, database).await;
    let post = |number: usize| {
        let pms = &pms;
        async move {
            let key = format!("half-open-{number}");
            let guest = json!({"last_name": key});
            pms.send(
                Method::POST,
                "/guests",
                &[("idempotency-key", &key)],
                Some(&guest),
            )
            .await
        }
    };
    post(0).await.expect(201);
    // More callers than the pool has connections, most of them with a connection to make: all in one deadline.
    const SILENCED: usize = 40;
    proxy.set(Mode::LoseAnswers);
    let answers = join_all((1..=SILENCED).map(post));
    // The database is silent until the last of them has its answer.
    for reply in ten_times(NOTICED_WITHIN, "everybody is answered", answers).await {
        assert_eq!(reply.expect(503).header("retry-after"), "1");
    }
    // What was on its way is lost for good; new connections are whole.
    proxy.set(Mode::Forward);
    until("the pool is whole again", || async {
        post(SILENCED + 1).await.status != 503
    })
    .await;
    let retried = join_all((0..=SILENCED + 1).map(post)).await;
    assert!(retried.iter().all(|reply| reply.status == 201));
    let guests = i64::try_from(SILENCED + 2).unwrap();
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM guests").await, guests);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM events").await, guests);
    pms.stop().await;
}

async fn f14_a_read_only_server_is_503_with_retry_after_until_it_takes_writes(ctx: Ctx) {
    // Anyone who may do anything may also write to a read-only server: the services get what they need.
    let rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, REFERENCES";
    let grants = ["pms", "crm"].map(|name| format!("GRANT {rights} ON {name}.* TO 'limited'@'%'"));
    let statements = [
        "CREATE DATABASE pms",
        "CREATE DATABASE crm",
        "CREATE USER 'limited'@'%'",
        &grants[0],
        &grants[1],
    ];
    let Some(server) = own_server(&ctx, &statements).await else {
        return;
    };
    let url = |name| format!("mysql://limited@127.0.0.1:{}/{name}", server.port());
    let pms = Pms::start_through(&ctx, url("pms").parse().unwrap()).await;
    let receiver = Receiver::start_with(ingest::config(url("crm").parse().unwrap())).await;
    let ana = json!({"last_name": "Silva"});
    let key = [("idempotency-key", "k-1")];
    let before = pms.post("/guests", &ana).await.expect(201);
    assert_eq!(receiver.take("evt_1", &guest_event("evt_1")).await.status, 202);

    admin(&server, &["SET GLOBAL read_only = 1"]).await;
    // The first ones find out; from the third on the receiver's breaker knows.
    for name in ["evt_2", "evt_2", "evt_2", "evt_2"] {
        let refused = receiver.take(name, &guest_event(name)).await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    }
    let path = format!("/guests/{}", before.id());
    let refused = pms
        .send(Method::POST, "/guests", &key, Some(&ana))
        .await
        .expect(503);
    assert_eq!(refused.header("retry-after"), "1");
    pms.put(&path, &json!({"last_name": "Costa"})).await.expect(503);
    pms.delete(&path).await.expect(503);
    // Who only reads is served.
    assert_eq!(pms.get(&path).await.expect(200).body["last_name"], "Silva");
    assert_eq!(receiver.get("/events").await.status, 200);

    admin(&server, &["SET GLOBAL read_only = 0"]).await;
    pms.send(Method::POST, "/guests", &key, Some(&ana))
        .await
        .expect(201);
    let taken = until("it is taken", || async {
        receiver.take("evt_2", &guest_event("evt_2")).await.status != 503
    });
    ten_times(HEALS_WITHIN, "the receiver takes events again", taken).await;
    assert_eq!(service_count(&pms, "SELECT COUNT(*) AS n FROM events").await, 2);
    pms.stop().await;
    receiver.stop().await;
}

async fn f14_a_read_only_file_is_503_with_retry_after(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let ana = json!({"last_name": "Silva"});
    let made = pms.post("/guests", &ana).await.expect(201);
    // The sequencer's commit would share the flush of this one, and fail with it.
    until("the event has its place", || async {
        pms.count("SELECT COUNT(*) AS n FROM events WHERE feed_seq IS NULL")
            .await
            == 0
    })
    .await;
    // On the one connection that writes, as a file system that was mounted again without writing would have it.
    let set = pms.store.db().transaction("set", |tx| {
        Box::pin(tx.query("PRAGMA query_only = ON", params![]))
    });
    set.await.unwrap();
    let key = [("idempotency-key", "k-1")];
    let refused = pms
        .send(Method::POST, "/guests", &key, Some(&ana))
        .await
        .expect(503);
    assert_eq!(refused.header("retry-after"), "1");
    let path = format!("/guests/{}", made.id());
    pms.delete(&path).await.expect(503);
    pms.get(&path).await.expect(200);
    pms.stop().await;
    let pms = Pms::start(&ctx).await;
    pms.send(Method::POST, "/guests", &key, Some(&ana))
        .await
        .expect(201);
    assert_eq!(pms.count("SELECT COUNT(*) AS n FROM events").await, 2);
    pms.stop().await;
}
