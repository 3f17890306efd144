//! The limits, seen from a raw socket. Waits end with an event on the socket; the limits themselves are made short.

use super::*;
use crate::{
    http::{
        Request, Response, Router,
        body::{BodyLimits, ByteBudget},
        get, post, reply,
    },
    lifecycle::{Ended, STOP_GRACE},
    random::{Ids, SeededEntropy, SystemClock},
};
use contract::Problem;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(150);
/// A limit that a test must not meet.
const LONG: Duration = Duration::from_secs(60);
const BODY_LIMIT: usize = 64 * 1024;
/// More than the sockets' buffers hold.
const BIG_ANSWER: usize = 64 * 1024 * 1024;

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

struct World {
    address: SocketAddr,
    lifecycle: Lifecycle,
    hold: Hold,
}

impl World {
    async fn start(settings: ServeSettings, limits: BodyLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hold = Hold::default();
        let endpoints = vec![
            post("/read", &(), read),
            get("/big", &(), big),
            get("/held", &hold, held),
        ];
        let ids = Ids::new(Arc::new(SystemClock), Arc::new(SeededEntropy::new(1)));
        let server = Server::new(Router::new().mount("", endpoints), ids, limits);
        let lifecycle = Lifecycle::new();
        lifecycle.spawn("serve", serve(listener, server, settings, lifecycle.clone()));
        Self {
            address,
            lifecycle,
            hold,
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
        self.lifecycle.stop();
        assert_eq!(
            self.lifecycle.run_until_stopped(STOP_GRACE).await,
            Ended::Finished
        );
    }
}

async fn rest_of(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let reading = tokio::time::timeout(STOP_GRACE, stream.read_to_end(&mut bytes));
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
async fn connections_that_say_nothing_or_half_of_it_are_closed() {
    let world = World::with(short_reads()).await;
    for begun in ["", "G", "GET /big HTTP/1.1\r\nhost: te"] {
        assert!(!world.exchange(begun).await.contains("200 OK"), "{begun}");
    }
    world.ends().await;
}

#[tokio::test]
async fn a_kept_connection_answers_again_and_is_closed_when_it_falls_silent() {
    let world = World::with(short_reads()).await;
    let mut stream = world
        .open("POST /read HTTP/1.1\r\ncontent-length: 2\r\n\r\nab")
        .await;
    assert!(
        answer_of(&mut stream)
            .await
            .contains(r#"{"len":2,"remote":"127.0.0.1"}"#)
    );
    stream
        .write_all(b"POST /read HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc")
        .await
        .unwrap();
    assert!(rest_of(stream).await.contains(r#""len":3"#));
    world.ends().await;
}

#[tokio::test]
async fn too_many_headers_and_too_long_ones_are_431_and_closed() {
    let world = World::with(ServeSettings::default()).await;
    let mut full = world.open(&head("/read", HEADERS_MAX)).await;
    assert!(answer_of(&mut full).await.starts_with("HTTP/1.1 200"));
    drop(full);
    assert!(
        world
            .exchange(&head("/read", HEADERS_MAX + 1))
            .await
            .starts_with("HTTP/1.1 431")
    );
    let long = format!("GET / HTTP/1.1\r\nx-long: {}\r\n\r\n", "x".repeat(500_000));
    assert!(world.exchange(&long).await.starts_with("HTTP/1.1 431"));
    world.ends().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_as_soon_as_that_is_known() {
    let world = World::with(ServeSettings {
        header_read_timeout: LONG,
        ..ServeSettings::default()
    })
    .await;
    let declared = format!(
        "POST /read HTTP/1.1\r\ncontent-length: {}\r\n\r\n",
        BODY_LIMIT + 1
    );
    assert!(world.exchange(&declared).await.starts_with("HTTP/1.1 413"));
    let chunks = "1000\r\n".to_owned() + &"x".repeat(0x1000) + "\r\n";
    let endless = "POST /read HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n".to_owned() + &chunks.repeat(17);
    assert!(world.exchange(&endless).await.starts_with("HTTP/1.1 413"));
    world.ends().await;
}

#[tokio::test]
async fn a_body_that_stalls_is_408_at_its_deadline() {
    let limits = BodyLimits {
        deadline: SHORT,
        ..BodyLimits::default()
    };
    let world = World::start(ServeSettings::default(), limits).await;
    for stalled in [
        "POST /read HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf",
        "POST /read HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        assert!(world.exchange(stalled).await.starts_with("HTTP/1.1 408"));
    }
    world.ends().await;
}

#[tokio::test]
async fn bodies_beyond_the_budget_are_503() {
    let limits = BodyLimits {
        budget: ByteBudget::new(10),
        ..BodyLimits::default()
    };
    let world = World::start(ServeSettings::default(), limits).await;
    let answer = world
        .exchange("POST /read HTTP/1.1\r\nconnection: close\r\ncontent-length: 11\r\n\r\n01234567890")
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"),
        "{answer}"
    );
    let answer = world
        .exchange("POST /read HTTP/1.1\r\nconnection: close\r\ncontent-length: 10\r\n\r\n0123456789")
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "what was refused took nothing: {answer}"
    );
    world.ends().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut() {
    let world = World::with(ServeSettings {
        write_timeout: SHORT,
        ..ServeSettings::default()
    })
    .await;
    let unread = world.open("GET /big HTTP/1.1\r\nhost: test\r\n\r\n").await;
    // Draining waits for every answer, so it ends only because this connection was cut.
    unread.readable().await.unwrap();
    world.ends().await;
    drop(unread);
}

#[tokio::test]
async fn connections_beyond_the_cap_are_told_to_come_back() {
    let world = World::with(ServeSettings {
        connections_max: 1,
        ..ServeSettings::default()
    })
    .await;
    let first = world.open("GET /held HTTP/1.1\r\n\r\n").await;
    world.hold.entered.notified().await;
    let refused = world.exchange("").await;
    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"),
        "{refused}"
    );
    world.hold.release.notify_one();
    first.readable().await.unwrap();
    drop(first);
    // The place is free again as soon as the server has seen the close.
    while !world
        .exchange("POST /read HTTP/1.1\r\nconnection: close\r\n\r\n")
        .await
        .starts_with("HTTP/1.1 200")
    {}
    world.ends().await;
}

#[tokio::test]
async fn http_2_is_not_spoken() {
    let world = World::with(short_reads()).await;
    let answer = world.exchange("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(
        !answer.contains("HTTP/2") && !answer.contains(" 200 "),
        "{answer}"
    );
    world.ends().await;
}

#[tokio::test]
async fn a_stop_lets_the_request_in_hand_finish_and_takes_no_other() {
    let world = World::with(ServeSettings::default()).await;
    let stream = world.open("GET /held HTTP/1.1\r\n\r\n").await;
    world.hold.entered.notified().await;
    let idle = TcpStream::connect(world.address).await.unwrap();
    world.lifecycle.stop();
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
async fn a_hard_stop_ends_what_is_left() {
    let world = World::with(ServeSettings::default()).await;
    let stuck = world.open("GET /held HTTP/1.1\r\n\r\n").await;
    world.hold.entered.notified().await;
    world.lifecycle.abort();
    assert_eq!(world.lifecycle.run_until_stopped(LONG).await, Ended::Aborted);
    drop(stuck);
}

#[tokio::test]
async fn head_has_the_length_but_not_the_body() {
    let world = World::with(ServeSettings::default()).await;
    world.hold.release.notify_one();
    let answer = world
        .exchange("HEAD /held HTTP/1.1\r\nconnection: close\r\n\r\n")
        .await;
    assert!(
        answer.contains("content-length: 6") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    world.ends().await;
}
