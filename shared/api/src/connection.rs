//! One connection from its first byte to its last.
//!
//! Only hyper reads it, so where a request begins and ends is decided in one place, within hyper's limits (the time for
//! a head, its size, its headers). This module adds the answer to a connection beyond the cap, the stop that drains a
//! connection, and the close, which discards the bytes that hyper left unread.

use super::{
    Response, ServeSettings, Server, StopSignal, answers::AnswerReservation, event_stream::Streamed,
    write_deadline::WriteDeadline,
};
use futures::future::BoxFuture;
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
        Arc, Mutex, PoisonError,
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
/// How many bytes it reads at a time meanwhile.
const LINGER_BUFFER: usize = 4096;
/// How many bytes it reads meanwhile, in all.
const LINGER_BYTES_MAX: usize = 1024 * 1024;
/// The answer to a connection beyond the cap, whatever it requests.
const OVERLOADED_ANSWER: &[u8] =
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

/// As [`run`], over any byte stream.
pub(super) async fn serve<S>(stream: S, remote: SocketAddr, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tokio::select! {
        biased;
        () = shared.stop.aborting() => {}
        () = async {
            if let Some(ended) = serve_until_closed(stream, remote, &shared).await {
                close(ended).await;
            }
        } => {}
    }
}

/// Lets hyper serve a connection. Returns the stream for a lingering close, unless there is no answer that could be
/// lost.
async fn serve_until_closed<S>(stream: S, remote: SocketAddr, shared: &Shared) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let settings = &shared.settings;
    let io = TokioIo::new(WriteDeadline::new(stream, settings.write_timeout));
    let asked = AtomicBool::new(false);
    let on_eviction = CancellationToken::new();
    // Completes when the stream that is being answered has to end at once.
    let streaming: Mutex<Option<BoxFuture<'static, ()>>> = Mutex::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        Box::pin(async {
            let answer = shared.server.answer(request, Some(remote)).await;
            if let Some(reservation) = answer.extensions().get::<AnswerReservation>() {
                reservation.ends(&on_eviction);
            }
            if let Some(streamed) = answer.extensions().get::<Streamed>() {
                let cut = streamed.clone().cut_or_unread(shared.stop.clone());
                *streaming.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(cut));
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
    let mut evicting = pin!(on_eviction.cancelled());
    let (mut draining, mut gave_way) = (false, false);
    let ended = poll_fn(|context| {
        if evicting.as_mut().poll(context).is_ready() {
            gave_way = true;
            return Poll::Ready(Ok(()));
        }
        if !draining && stopping.as_mut().poll(context).is_ready() {
            draining = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let ended = connection.poll_without_shutdown(context);
        // Behind the connection, which may just have begun the stream.
        let mut stream = streaming.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.is_pending()
            && let Some(cut) = stream.as_mut()
            && cut.as_mut().poll(context).is_ready()
        {
            gave_way = true;
            return Poll::Ready(Ok(()));
        }
        drop(stream);
        // hyper would wait for the rest of the first head; for later heads it does not.
        if draining && ended.is_pending() && !asked.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        ended
    })
    .await;
    if gave_way {
        // In the middle of an answer that its peer does not read: waiting makes no sense.
        return None;
    }
    let silent = match &ended {
        Ok(()) => draining && !asked.load(Ordering::Relaxed),
        Err(error) => {
            // Caused by the peer, perhaps by many at once: logged at debug level only.
            tracing::debug!(error = %error, "connection ended");
            error.is_timeout()
        }
    };
    let parts = connection.into_parts();
    (!silent || !parts.read_buf.is_empty()).then(|| parts.io.into_inner().into_inner())
}

/// Answers a connection beyond the cap with a 503.
pub(super) async fn refuse(mut stream: TcpStream, stop: StopSignal) {
    tokio::select! {
        biased;
        () = stop.aborting() => {}
        () = async {
            if matches!(timeout(LINGER_TIME, stream.write_all(OVERLOADED_ANSWER)).await, Ok(Ok(()))) {
                close(stream).await;
            }
        } => {}
    }
}

/// As [`refuse`], without lingering: a peer that has sent something meanwhile may be reset before it reads the answer.
pub(super) fn refuse_at_once(stream: TcpStream) {
    let Ok(mut stream) = stream.into_std() else {
        return;
    };
    // It does not block: the socket is non-blocking, and the empty send buffer of a new socket holds a line.
    if stream.write(OVERLOADED_ANSWER).is_ok() && stream.shutdown(Shutdown::Write).is_ok() {
        // Unread bytes at the close would cause that reset. Reading nothing, or an error, is as good.
        let _ = stream.read(&mut [0; LINGER_BUFFER]);
    }
}

/// Closes so that the last answer arrives: a socket closed over unread bytes is reset, and a reset may overtake the
/// answer. So the write half is closed first, and what the peer still sends is discarded for a moment.
async fn close<S>(mut stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let draining = async {
        stream.shutdown().await?;
        let mut taken = 0;
        while taken < LINGER_BYTES_MAX {
            match poll_fn(|context| poll_discard(&mut stream, context)).await? {
                0 => break,
                some => taken += some,
            }
        }
        Ok::<_, io::Error>(())
    };
    // Either way it is closed now.
    let _ = timeout(LINGER_TIME, draining).await;
}

/// How many bytes were discarded. The buffer is local to this function: in an async one it would be part of every open
/// connection.
fn poll_discard<S>(stream: &mut S, context: &mut Context<'_>) -> Poll<io::Result<usize>>
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
