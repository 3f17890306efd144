//! One connection from its first byte to its last.

use super::{Server, serve::ServeSettings, write_deadline::WriteDeadline};
use crate::lifecycle::Lifecycle;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io::{Read, Write},
    net::{Shutdown, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Sleep, sleep, timeout},
};

/// How long a closing connection waits for the peer to stop sending.
const LINGER_TIME: Duration = Duration::from_secs(1);
/// How many bytes it takes in at a time meanwhile.
const LINGER_BUFFER: usize = 4096;
/// How many bytes it takes in meanwhile, in all.
const LINGER_BYTES_MAX: usize = 1024 * 1024;
/// The answer to a connection beyond the cap, whatever it would have asked.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What all connections of one listener share.
pub(super) struct Shared {
    pub(super) server: Server,
    pub(super) settings: ServeSettings,
    pub(super) lifecycle: Lifecycle,
}

/// Serves requests until the peer closes, a limit is broken, or a stop drains it.
pub(super) async fn run(stream: TcpStream, remote: SocketAddr, shared: Arc<Shared>) {
    let lifecycle = shared.lifecycle.clone();
    tokio::select! {
        biased;
        () = lifecycle.aborting() => {}
        () = listen(stream, remote, shared) => {}
    }
}

/// Waits until a connection says something before it is served. A silent one still costs about 11 KiB: the wait mostly ends
/// at once, for a reason that is not known yet.
async fn listen(stream: TcpStream, remote: SocketAddr, shared: Arc<Shared>) {
    let mut deadline = pin!(sleep(shared.settings.header_read_timeout));
    let speaks = tokio::select! {
        biased;
        () = shared.lifecycle.stopping() => false,
        readable = stream.readable() => readable.is_ok(),
        () = deadline.as_mut() => false,
    };
    if speaks {
        Box::pin(talk(stream, remote, shared, deadline)).await;
    }
}

/// `first_head` is when the head of the first request must be there; hyper watches the later ones.
async fn talk(stream: TcpStream, remote: SocketAddr, shared: Arc<Shared>, mut first_head: Pin<&mut Sleep>) {
    // Answers are written whole, so waiting to fill a packet only delays them. A socket that refuses works as well.
    let _ = stream.set_nodelay(true);
    let settings = &shared.settings;
    let io = TokioIo::new(WriteDeadline::new(stream, settings.write_timeout));
    let answering = Arc::clone(&shared);
    let asked = Arc::new(AtomicBool::new(false));
    let asking = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Incoming>| {
        asking.store(true, Ordering::Relaxed);
        let shared = Arc::clone(&answering);
        Box::pin(async move { Ok::<_, Infallible>(shared.server.answer(request, Some(remote)).await) })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_read_timeout)
        .max_headers(settings.headers_max)
        .max_buf_size(settings.buffer_bytes_max)
        .serve_connection(io, service);
    let mut stopping = pin!(shared.lifecycle.stopping());
    let mut draining = false;
    let ended = poll_fn(|context| {
        if !draining && stopping.as_mut().poll(context).is_ready() {
            draining = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if !asked.load(Ordering::Relaxed) && first_head.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        connection.poll_without_shutdown(context)
    })
    .await;
    if let Err(error) = ended {
        // The peer's doing, and it may be a flood: no more than a trace of it.
        tracing::debug!(error = %error, "connection ended");
    }
    close(connection.into_parts().io.into_inner().into_inner()).await;
}

/// Tells a connection beyond the cap to come back later.
pub(super) async fn refuse(mut stream: TcpStream, lifecycle: Lifecycle) {
    tokio::select! {
        biased;
        () = lifecycle.aborting() => {}
        () = async {
            if matches!(timeout(LINGER_TIME, stream.write_all(NO_ROOM)).await, Ok(Ok(()))) {
                close(stream).await;
            }
        } => {}
    }
}

/// As [`refuse`], without waiting: a peer that has said something meanwhile may be reset before it reads why.
pub(super) fn refuse_at_once(stream: TcpStream) {
    let Ok(mut stream) = stream.into_std() else {
        return;
    };
    // It blocks nobody: the socket was made not to, and a fresh one has room for a line.
    if stream.write(NO_ROOM).is_ok() && stream.shutdown(Shutdown::Write).is_ok() {
        // What is unread when it closes would be answered by that reset. Nothing, or an error, is as good.
        let _ = stream.read(&mut [0; LINGER_BUFFER]);
    }
}

/// Closes so that the last answer arrives: a socket closed over unread bytes is reset, and a reset may overtake the
/// answer. So the peer is told first, and what it still sends is taken in for a moment.
async fn close(mut stream: TcpStream) {
    let draining = async {
        stream.shutdown().await?;
        // On the heap and only now: inside the future it would be part of every open connection.
        let mut dropped = vec![0; LINGER_BUFFER];
        let mut taken = 0;
        while taken < LINGER_BYTES_MAX {
            match stream.read(&mut dropped).await? {
                0 => break,
                some => taken += some,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // Either way it is closed now.
    let _ = timeout(LINGER_TIME, draining).await;
}
