//! One connection from its first byte to its last.
//!
//! hyper reads it, and nothing else does: where a request begins and ends is decided in one place, within hyper's limits
//! (the time for a head, its size, its headers). Around it stand the answer to a connection beyond the cap, the stop that
//! drains a connection, and the close, which throws away what hyper left unread.

use super::{Response, ServeSettings, Server, StopSignal, answers::Place, write_deadline::WriteDeadline};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io::{self, Read, Write},
    mem::MaybeUninit,
    net::{Shutdown, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

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
    pub(super) stop: StopSignal,
}

/// Serves a socket until the peer closes, a limit is broken, or a stop drains it.
pub(super) async fn run(stream: TcpStream, remote: SocketAddr, shared: Arc<Shared>) {
    // Answers are written whole, so waiting to fill a packet only delays them. A socket that refuses works as well.
    let _ = stream.set_nodelay(true);
    serve(stream, remote, shared).await;
}

/// As [`run`], whatever carries the bytes.
pub(super) async fn serve<S>(stream: S, remote: SocketAddr, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tokio::select! {
        biased;
        () = shared.stop.aborting() => {}
        () = async {
            if let Some(ended) = talk(stream, remote, &shared).await {
                close(ended).await;
            }
        } => {}
    }
}

/// Lets hyper serve a connection. Gives it back for a careful close, unless there is no answer that could be lost.
async fn talk<S>(stream: S, remote: SocketAddr, shared: &Shared) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let settings = &shared.settings;
    let io = TokioIo::new(WriteDeadline::new(stream, settings.write_timeout));
    let asked = AtomicBool::new(false);
    let gives_way = CancellationToken::new();
    let service = service_fn(|request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        Box::pin(async {
            let answer = shared.server.answer(request, Some(remote)).await;
            if let Some(place) = answer.extensions().get::<Place>() {
                place.ends(&gives_way);
            }
            Ok::<Response, Infallible>(answer)
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_read_timeout)
        .max_headers(settings.headers_max)
        .max_buf_size(settings.buffer_bytes_max)
        .serve_connection(io, service);
    let mut stopping = pin!(shared.stop.stopping());
    let mut giving_way = pin!(gives_way.cancelled());
    let (mut draining, mut gave_way) = (false, false);
    let ended = poll_fn(|context| {
        if giving_way.as_mut().poll(context).is_ready() {
            gave_way = true;
            return Poll::Ready(Ok(()));
        }
        if !draining && stopping.as_mut().poll(context).is_ready() {
            draining = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let ended = connection.poll_without_shutdown(context);
        // hyper would wait for the rest of a first head. Of the later ones it does not.
        if draining && ended.is_pending() && !asked.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        ended
    })
    .await;
    if gave_way {
        // In the middle of an answer that its peer does not read: there is nothing to wait for.
        return None;
    }
    let silent = match &ended {
        Ok(()) => draining && !asked.load(Ordering::Relaxed),
        Err(error) => {
            // The peer's doing, and it may be a flood: no more than a trace of it.
            tracing::debug!(error = %error, "connection ended");
            error.is_timeout()
        }
    };
    let parts = connection.into_parts();
    (!silent || !parts.read_buf.is_empty()).then(|| parts.io.into_inner().into_inner())
}

/// Tells a connection beyond the cap to come back later.
pub(super) async fn refuse(mut stream: TcpStream, stop: StopSignal) {
    tokio::select! {
        biased;
        () = stop.aborting() => {}
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
/// answer. So the peer is told first, and what it still sends is thrown away for a moment.
async fn close<S>(mut stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let draining = async {
        stream.shutdown().await?;
        let mut taken = 0;
        while taken < LINGER_BYTES_MAX {
            match poll_fn(|context| poll_throw_away(&mut stream, context)).await? {
                0 => break,
                some => taken += some,
            }
        }
        Ok::<_, io::Error>(())
    };
    // Either way it is closed now.
    let _ = timeout(LINGER_TIME, draining).await;
}

/// How much was there to throw away. The buffer is this function's: in an async one it would be part of every open
/// connection.
fn poll_throw_away<S>(stream: &mut S, context: &mut Context<'_>) -> Poll<io::Result<usize>>
where
    S: AsyncRead + Unpin,
{
    let mut space = [MaybeUninit::uninit(); LINGER_BUFFER];
    let mut buffer = ReadBuf::uninit(&mut space);
    let reading = Pin::new(stream).poll_read(context, &mut buffer);
    reading.map_ok(|()| buffer.filled().len())
}

#[cfg(test)]
mod fuzz;
