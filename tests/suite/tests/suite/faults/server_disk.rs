//! The disk under a database server: full, and failing to flush. Both services stand on it.

use db::params;
use harness::server::Server;
use harness::waiting::Looks;
use http::Method;
use serde_json::json;
use tokio::net::TcpStream;

use super::broken_disks::{FailingDisk, SmallDisk, TAKEN_WITHIN};
use super::{admin, open};
use crate::case::{Case, Ctx, cases};
use crate::ingest::{self, Receiver, event, number};
use crate::pms::Pms;

pub fn cases() -> Vec<Case> {
    cases![only harness::engine::Engine::Mysql;
        f17_a_full_disk_under_the_server_refuses_and_room_is_noticed,
        f18_a_flush_that_fails_under_the_server_is_never_acknowledged,
    ]
}

/// The server's own files take half of it at most: 48 MiB at first, and its system tablespace grows by 64 MiB at a time.
const ROOM: &str = "256m";
/// Refusals of each service.
const REFUSED: usize = 6;
/// Of a text: what a table has room for is soon used up. A row of it fits into a page.
const TEXT_BYTES: usize = 4_000;

/// Both services on one server, and what was asked of them.
struct Pair {
    pms: Pms,
    receiver: Receiver,
    /// The keys that were used, whatever the answer.
    asked: [Vec<String>; 2],
}

impl Pair {
    async fn start(ctx: &Ctx, server: &Server) -> Self {
        admin(server, &["CREATE DATABASE pms", "CREATE DATABASE crm"]).await;
        Self {
            pms: Pms::start_through(ctx, server.url("pms").parse().unwrap()).await,
            receiver: Receiver::start_with(ingest::config(server.url("crm").parse().unwrap())).await,
            asked: [Vec::new(), Vec::new()],
        }
    }

    /// The statuses of a POST and of a delivery under a key, which may be used again.
    async fn ask(&mut self, key: &str) -> [u16; 2] {
        for asked in &mut self.asked {
            if !asked.iter().any(|asked| asked == key) {
                asked.push(key.to_owned());
            }
        }
        let text = "x".repeat(TEXT_BYTES);
        let guest = json!({"last_name": key, "notes": text});
        let headers = [("idempotency-key", key)];
        let posted = self
            .pms
            .send(Method::POST, "/guests", &headers, Some(&guest))
            .await;
        let payload = json!({"last_name": key, "text": text});
        let taken = self
            .receiver
            .take(key, &event(key, "guest.created", &payload))
            .await;
        assert!(
            posted.status != 503 || posted.header("retry-after") == "1",
            "{key}"
        );
        assert!(
            taken.status != 503 || taken.header("retry-after") == Some("1"),
            "{key}"
        );
        [posted.status, taken.status]
    }

    /// Asks until both services take it, as a client does.
    async fn until_taken(&mut self, key: &str) {
        let bound = 10 * TAKEN_WITHIN;
        let looks = Looks::within(bound);
        loop {
            let statuses = self.ask(key).await;
            match statuses {
                [201, 200 | 202] => return,
                [201 | 503, 200 | 202 | 503] => {}
                other => panic!("{key}: {other:?}"),
            }
            assert!(looks.go_on().await, "{key}: still {statuses:?} after {bound:?}");
        }
    }

    /// Asks for everything again, and finds each once.
    async fn end(mut self, server: &Server) {
        for key in self.asked[0].clone() {
            self.until_taken(&key).await;
        }
        self.pms.stop().await;
        self.receiver.stop().await;
        let counts = [
            ("pms", "SELECT COUNT(*) AS n FROM guests"),
            ("pms", "SELECT COUNT(*) AS n FROM events"),
            ("crm", "SELECT COUNT(*) AS n FROM inbox"),
            ("crm", "SELECT COUNT(*) AS n FROM inbox_bodies"),
        ];
        for (database, sql) in counts {
            let db = open(&server.url(database)).await;
            let asked = i64::try_from(self.asked[0].len()).unwrap();
            assert_eq!(number(&db, sql, params![]).await, asked, "{sql}");
            db.close().await;
        }
    }
}

/// The server, on the same data and port.
async fn started_again(mut server: Server) -> Server {
    let starting = tokio::task::spawn_blocking(move || {
        server.kill().and_then(|()| server.run()).unwrap();
        server
    });
    starting.await.unwrap()
}

async fn f17_a_full_disk_under_the_server_refuses_and_room_is_noticed(ctx: Ctx) {
    let Some(disk) = SmallDisk::mounted(ROOM) else {
        return;
    };
    let Some(mut server) = ctx.servers.own_server_in(disk.path(), &[]).unwrap() else {
        eprintln!("skipped: a given server is left as it is");
        return;
    };
    let mut pair = Pair::start(&ctx, &server).await;
    assert_eq!(pair.ask("before").await, [201, 202]);
    disk.fill();
    // What the tables have room for is still taken.
    let mut refused = [0, 0];
    for nth in 0.. {
        let statuses = pair.ask(&format!("full_{nth}")).await;
        for (refused, status) in refused.iter_mut().zip(statuses) {
            assert!(matches!(status, 201 | 202 | 503), "{status}");
            *refused += usize::from(status == 503);
        }
        if refused.iter().all(|refused| *refused >= REFUSED) {
            break;
        }
    }
    disk.free_space();
    // MariaDB ends itself when a rollback finds no room for its pages; anyone who runs it starts it again.
    if TcpStream::connect(("127.0.0.1", server.port())).await.is_err() {
        eprintln!("f17: the server had ended");
        server = started_again(server).await;
    }
    pair.until_taken("room").await;
    pair.end(&server).await;
}

async fn f18_a_flush_that_fails_under_the_server_is_never_acknowledged(ctx: Ctx) {
    let Some(disk) = FailingDisk::new() else { return };
    let made = ctx
        .servers
        .own_server_in(&tempfile::env::temp_dir(), &disk.variables());
    let Some(server) = made.unwrap() else {
        eprintln!("skipped: a given server is left as it is");
        return;
    };
    let mut pair = Pair::start(&ctx, &server).await;
    assert_eq!(pair.ask("before").await, [201, 202]);
    disk.begin("flush");
    for nth in 0..REFUSED {
        assert_eq!(pair.ask(&format!("lost_{nth}")).await, [503, 503], "{nth}");
    }
    disk.end("flush");
    // A server that cannot flush its log ends itself; anyone who runs it starts it again.
    let server = started_again(server).await;
    pair.until_taken("back").await;
    pair.end(&server).await;
}
