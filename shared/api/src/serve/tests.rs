//! The limits, seen from a raw socket. Waits end with an event on the socket; the limits themselves are made short.

use super::*;
use crate::serve_settings::HEADERS_MAX;
use crate::{Access, AnswerBudget, Request, Response, Router, body::BodyLimits, get, post, reply};
use contract::{Ids, Problem, SeededEntropy, UnixMillis};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};

/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(150);
/// A limit that a test must not meet.
const LONG: Duration = Duration::from_secs(60);
/// When the server must have ended after a stop.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
const BODY_LIMIT: usize = 64 * 1024;
/// More than the sockets' buffers hold.
const BIG_ANSWER: usize = 64 * 1024 * 1024;
/// Room for one such answer, and not for two.
const ANSWERS: usize = BIG_ANSWER + 1024 * 1024;

#[derive(Clone, Default)]
struct Hold {
    entered: Arc<Notify>,
    release: Arc<Notify>,
}

async fn read((): (), mut request: Request) -> Result<Response, Problem> {
    let body = request.read_body(BODY_LIMIT).await?;
    let remote = request.context.remote.expect("it came over a socket");
    Ok(reply::ok(
        &serde_json::json!({"len": body.len(), "remote": remote.ip()}),
    ))
}

async fn big((): (), _: Request) -> Result<Response, Problem> {
    Ok(Response::new(vec![b'x'; BIG_ANSWER].into()))
}

async fn held(hold: Hold, _: Request) -> Result<Response, Problem> {
    hold.entered.notify_one();
    hold.release.notified().await;
    Ok(reply::ok("held"))
}

mod limits;

struct World {
    address: SocketAddr,
    stop: StopSignal,
    serving: JoinHandle<()>,
    hold: Hold,
    answers: AnswerBudget,
}

impl World {
    async fn start(settings: ServeSettings, limits: BodyLimits) -> Self {
        let listener = listen("127.0.0.1", 0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let hold = Hold::default();
        let endpoints = vec![
            post("/read", Access::Public, &(), read),
            get("/big", Access::Public, &(), big),
            get("/held", Access::Public, &hold, held),
        ];
        let ids = Ids::new(Arc::new(UnixMillis(0)), Arc::new(SeededEntropy::new(1)));
        let answers = AnswerBudget::new(ANSWERS);
        let server =
            Server::new(Router::new().mount("", endpoints), ids, limits).with_answers(answers.clone());
        let stop = StopSignal::default();
        let serving = tokio::spawn(serve(listener, server, settings, stop.clone()));
        Self {
            address,
            stop,
            serving,
            hold,
            answers,
        }
    }

    async fn with(settings: ServeSettings) -> Self {
        Self::start(settings, BodyLimits::default()).await
    }

    async fn open(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// Sends a text and takes what comes until the server closes.
    async fn exchange(&self, text: &str) -> String {
        rest_of(self.open(text).await).await
    }

    /// The server ends by itself: no connection is stuck.
    async fn ends(self) {
        self.stop.stop();
        let ended = timeout(ENDS_WITHIN, self.serving).await;
        ended.expect("it ends").expect("it does not panic");
    }
}

async fn rest_of(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let reading = timeout(ENDS_WITHIN, stream.read_to_end(&mut bytes));
    reading
        .await
        .expect("the server closes")
        .expect("it closes without a reset");
    String::from_utf8(bytes).unwrap()
}

async fn answer_of(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let len = stream.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

fn short_reads() -> ServeSettings {
    ServeSettings {
        header_read_timeout: SHORT,
        ..ServeSettings::default()
    }
}

fn head(path: &str, headers: usize) -> String {
    let more: String = (1..headers)
        .map(|number| format!("x-{number}: {number}\r\n"))
        .collect();
    format!("POST {path} HTTP/1.1\r\nhost: test\r\n{more}\r\n")
}

#[tokio::test]
async fn a_stop_lets_the_current_request_finish_and_takes_no_other() {
    let world = World::with(ServeSettings::default()).await;
    let stream = world.open("GET /held HTTP/1.1\r\nhost: test\r\n\r\n").await;
    world.hold.entered.notified().await;
    let idle = TcpStream::connect(world.address).await.unwrap();
    world.stop.stop();
    world.hold.release.notify_one();
    let answer = rest_of(stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"),
        "{answer}"
    );
    drop(idle);
    let address = world.address;
    world.ends().await;
    assert!(TcpStream::connect(address).await.is_err(), "the port is free");
}

#[tokio::test]
async fn a_stop_waits_for_no_head() {
    let world = World::with(ServeSettings {
        header_read_timeout: LONG,
        ..ServeSettings::default()
    })
    .await;
    let mut half = Vec::new();
    for begun in ["", "G", "GET /held HTTP/1.1\r\nhost: te"] {
        half.push(world.open(begun).await);
    }
    let mut kept = world
        .open("POST /read HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\nGET /he")
        .await;
    assert!(answer_of(&mut kept).await.starts_with("HTTP/1.1 200"));
    half.push(kept);
    world.stop.stop();
    for stream in half {
        assert_eq!(rest_of(stream).await, "");
    }
    world.ends().await;
}

#[tokio::test]
async fn a_hard_stop_ends_what_is_left() {
    let world = World::with(ServeSettings::default()).await;
    let stuck = world.open("GET /held HTTP/1.1\r\nhost: test\r\n\r\n").await;
    world.hold.entered.notified().await;
    world.stop.abort();
    world.ends().await;
    drop(stuck);
}

#[tokio::test]
async fn head_has_the_length_but_not_the_body() {
    let world = World::with(ServeSettings::default()).await;
    world.hold.release.notify_one();
    let answer = world
        .exchange("HEAD /held HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        .await;
    assert!(
        answer.contains("content-length: 6") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    world.ends().await;
}
