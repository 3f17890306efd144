//! Rows R42 and R45: where a request begins and ends is read in one way. What stands in a body is never a request, and a
//! head that could be read in two ways is refused with its connection.
//!
//! Both services are asked over raw sockets, each on a database of its own.

mod heads;
mod smuggling;

use crate::case::{Case, Ctx};
use crate::ingest::{self, Receiver};
use crate::pms::Pms;
use crm_receiver::config::Config;
use harness::{engine::Engine, wire::Wire};
use kit::config::{ByteSize, HttpArgs};
use std::{net::SocketAddr, sync::Arc, time::Duration};

pub fn cases() -> Vec<Case> {
    [heads::cases(), smuggling::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// A server that has not answered or closed by then does neither. A connection that it keeps is closed after 10 s, so what
/// ends later was kept.
const WITHIN: Duration = Duration::from_secs(8);
/// The id of the request that stands behind the one under test.
const BEHIND: &str = "behind";

/// Both services, serving.
struct Both {
    receiver: Receiver,
    emitter: Pms,
}

/// One of the listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Receiver,
    Emitter,
}

impl Both {
    async fn start(ctx: &Ctx, http_connections: u32, http_body_bytes: ByteSize) -> Self {
        let with = |http: HttpArgs| HttpArgs {
            http_connections,
            http_body_bytes,
            ..http
        };
        let config = ingest::config(ctx.url());
        let http = with(config.http.clone());
        let receiver = Receiver::start_with(Config { http, ..config }).await;
        let database = ctx
            .servers
            .fresh(Engine::Sqlite, "framing_emitter")
            .await
            .unwrap();
        let own = Ctx {
            database: Arc::new(database),
            ..ctx.clone()
        };
        let emitter = Pms::start_serving(&own, with).await;
        Self { receiver, emitter }
    }

    fn address(&self, service: Service) -> SocketAddr {
        match service {
            Service::Receiver => self.receiver.address,
            Service::Emitter => self.emitter.address().parse().unwrap(),
        }
    }

    fn addresses(&self) -> [(Service, SocketAddr); 2] {
        [Service::Receiver, Service::Emitter].map(|service| (service, self.address(service)))
    }

    async fn stop(self) {
        self.receiver.stop().await;
        self.emitter.stop().await;
    }
}

/// An answer's status, the request that it says it answers, and whether it says that the connection ends with it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AnswerHead {
    status: u16,
    request_id: String,
    closes: bool,
    content_type: String,
}

/// The answers in what came over a connection, one behind the other and nothing between them.
fn answers(said: &str) -> Vec<AnswerHead> {
    let (mut found, mut rest) = (Vec::new(), said);
    while !rest.is_empty() {
        let (head, body) = rest.split_once("\r\n\r\n").expect("a whole head");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
        let status = status.and_then(|line| line.get(2..5)?.parse().ok());
        let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
        let header = |wanted: &str| {
            let found = headers.iter().find(|(name, _)| *name == wanted);
            found.map_or("", |(_, value)| value)
        };
        found.push(AnswerHead {
            status: status.unwrap_or_else(|| panic!("no answer: {rest:?} in {said:?}")),
            request_id: header("x-request-id").to_owned(),
            closes: header("connection") == "close",
            content_type: header("content-type").to_owned(),
        });
        let len: usize = header("content-length")
            .parse()
            .expect("every answer has a length");
        rest = body.get(len..).expect("the whole body came");
    }
    found
}

/// A request that is in order, asks for no more, and stands behind the one under test.
fn behind(host: SocketAddr) -> String {
    format!("GET /health HTTP/1.1\r\nhost: {host}\r\nx-request-id: {BEHIND}\r\nconnection: close\r\n\r\n")
}

/// What comes back for these bytes until the connection is closed.
async fn said_to(address: SocketAddr, bytes: &[u8]) -> String {
    let mut wire = Wire::open(address).await.unwrap();
    // It may be refused before all of it is taken.
    let _ = wire.say(bytes).await;
    wire.ending(WITHIN).await.unwrap().said
}
