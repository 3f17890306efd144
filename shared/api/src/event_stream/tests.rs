//! Streams over a connection whose buffers hold 64 bytes, with a clock that goes on when everything waits.

use super::*;
use crate::{
    Access, Area, Request, Router, ServeSettings, Server,
    access::{Admission, Visit},
    body::BodyLimits,
    connection::{self, Shared},
    get, reply,
};
use contract::{Ids, Problem, SeededEntropy, UnixMillis};
use futures::future::BoxFuture;
use http::StatusCode;
use std::{
    future::ready,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::Notify,
    task::JoinHandle,
    time::Instant,
};

/// Longer than a cut takes, so that nothing else ends a connection before.
const LONG: Duration = Duration::from_secs(600);

/// Whether the caller is as it was.
struct Key(AtomicBool);

impl Gate for Key {
    fn admit<'v>(&'v self, _: Visit<'v>) -> BoxFuture<'v, Admission> {
        let caller = Caller {
            permissions: crate::access::Permissions::all(crate::Level::Admin),
            level_max: crate::Level::Admin,
            ..Caller::unknown()
        };
        Box::pin(ready(Admission::of(Arc::new(caller))))
    }

    fn answered(&self, _: &Arc<Caller>, _: &Arc<str>, _: StatusCode, _: Duration) {}

    fn is_unchanged<'c>(&'c self, _: &'c Caller) -> BoxFuture<'c, Option<bool>> {
        Box::pin(ready(Some(self.0.load(Ordering::Relaxed))))
    }
}

#[derive(Clone, Default)]
struct State {
    sink: Arc<Mutex<Option<EventSink>>>,
    opened: Arc<Notify>,
    release: Arc<Notify>,
}

struct World {
    state: State,
    key: Arc<Key>,
    stop: StopSignal,
    peer: DuplexStream,
    serving: JoinHandle<()>,
}

impl World {
    fn start() -> Self {
        let (state, key, stop) = (
            State::default(),
            Arc::new(Key(AtomicBool::new(true))),
            StopSignal::default(),
        );
        let open = |state: State, _: Request| async move {
            let (sink, response) = event_stream();
            *state.sink.lock().unwrap() = Some(sink);
            state.opened.notify_one();
            Ok::<_, Problem>(response)
        };
        let held = |state: State, _: Request| async move {
            state.opened.notify_one();
            state.release.notified().await;
            Ok::<_, Problem>(reply::ok("held"))
        };
        let endpoints = vec![
            get("/stream", Area::new("events").read(), &state, open),
            get("/held", Access::Public, &state, held),
        ];
        let ids = Ids::new(Arc::new(UnixMillis(0)), Arc::new(SeededEntropy::new(1)));
        let server = Server::new(Router::new().mount("", endpoints), ids, BodyLimits::default());
        let shared = Arc::new(Shared {
            server: server.with_gate(key.clone()),
            settings: ServeSettings {
                write_timeout: LONG,
                ..ServeSettings::default()
            },
            stop: stop.clone(),
        });
        let (ours, peer) = duplex(64);
        let remote: SocketAddr = "192.0.2.1:9".parse().unwrap();
        let serving = tokio::spawn(async move { connection::serve(ours, remote, shared).await });
        Self {
            state,
            key,
            stop,
            peer,
            serving,
        }
    }

    async fn ask(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        self.peer.write_all(request.as_bytes()).await.unwrap();
        self.state.opened.notified().await;
    }

    /// The sink of the stream that was opened.
    async fn open(&mut self) -> EventSink {
        self.ask("/stream").await;
        self.state.sink.lock().unwrap().take().unwrap()
    }

    /// What comes until this is the end of it.
    async fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            read.push(self.peer.read_u8().await.unwrap());
        }
        String::from_utf8(read).unwrap()
    }
}

#[test]
fn a_message_is_lines_and_a_mark_dispatches_nothing() {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(
        text(message("4.1", "decided", "a\nb")),
        "id: 4.1\nevent: decided\ndata: a\ndata: b\n\n"
    );
    assert_eq!(text(mark("4")), "id: 4\n\n");
    assert_eq!(text(retry_after(Duration::from_secs(2))), "retry: 2000\n\n");
}

#[tokio::test(start_paused = true)]
async fn messages_come_as_they_are_sent_and_the_connection_goes_on_after_the_end() {
    let mut world = World::start();
    let sink = world.open().await;
    sink.send(message("1.0", "received", "{}")).await.unwrap();
    let head = world.read_until("data: {}\n\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/event-stream\r\n") && head.contains("cache-control: no-store"));
    assert!(head.contains("x-accel-buffering: no\r\n"));
    sink.send(mark("1")).await.unwrap();
    world.read_until("id: 1\n\n\r\n").await;
    drop(sink);
    world.read_until("0\r\n\r\n").await;
    // A stop long after leaves the next answer its time.
    world.ask("/held").await;
    world.stop.stop();
    sleep(LAST_BYTES_WITHIN * 2).await;
    world.state.release.notify_one();
    world.read_until("\"held\"").await;
    world.serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_when_its_queue_has_been_full_for_long() {
    let mut world = World::start();
    let sink = world.open().await;
    let (mut sent, begun) = (0, Instant::now());
    let ended = loop {
        match sink.send(Bytes::from_static(&[b'x'; 1024])).await {
            Ok(()) => sent += 1,
            Err(ended) => break ended,
        }
    };
    assert_eq!((ended, begun.elapsed()), (Ended::Cut, CUT_AFTER));
    // What hyper and the connection hold stands beside the queue.
    assert!(
        (QUEUE_MESSAGES_MAX..QUEUE_MESSAGES_MAX + 64).contains(&sent),
        "{sent}"
    );
    world.serving.await.unwrap();
    assert_eq!(sink.send(mark("1")).await, Err(Ended::Gone));
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_that_reads_is_not_cut() {
    let mut world = World::start();
    let sink = world.open().await;
    let reading = tokio::spawn(async move {
        let mut byte = [0; 64];
        while world.peer.read(&mut byte).await.unwrap() > 0 {
            sleep(Duration::from_millis(100)).await;
        }
        world
    });
    for _ in 0..2 * QUEUE_MESSAGES_MAX {
        sink.send(Bytes::from_static(&[b'x'; 256])).await.unwrap();
    }
    world_ends(reading, sink).await;
}

async fn world_ends(reading: JoinHandle<World>, sink: EventSink) {
    drop(sink);
    reading.abort();
    assert!(reading.await.is_err(), "it was still reading");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_streams_whether_they_are_read_or_not() {
    for is_read in [true, false] {
        let mut world = World::start();
        let sink = world.open().await;
        if !is_read {
            while timeout(
                Duration::from_secs(1),
                sink.send(Bytes::from_static(&[b'x'; 1024])),
            )
            .await
                == Ok(Ok(()))
            {}
        }
        world.stop.stop();
        sink.ended().await;
        if is_read {
            world.read_until("0\r\n\r\n").await;
        }
        let begun = Instant::now();
        world.serving.await.unwrap();
        assert!(begun.elapsed() <= LAST_BYTES_WITHIN, "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_callers_key() {
    let mut world = World::start();
    let sink = world.open().await;
    assert!(timeout(CALLER_EVERY * 3, sink.ended()).await.is_err());
    world.key.0.store(false, Ordering::Relaxed);
    let begun = Instant::now();
    sink.ended().await;
    assert!(begun.elapsed() <= CALLER_EVERY);
    world.read_until("0\r\n\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_ends_its_stream() {
    let mut world = World::start();
    let sink = world.open().await;
    drop(world.peer);
    sink.ended().await;
    world.serving.await.unwrap();
    assert_eq!(sink.send(mark("1")).await, Err(Ended::Gone));
}
