//! One connection from its first byte to its last.
//!
//! Ten thousand may be open, and most of them silent, so what a connection holds depends on what it does. Until the head of
//! a request is whole it holds a socket and a timer: what came of the head stays with the system. Then hyper serves it,
//! with two buffers of 8 KiB, and keeps them between requests, except where too many do.

use super::{Response, Server, serve::ServeSettings, traffic::Buffered, write_deadline::WriteDeadline};
use crate::lifecycle::Lifecycle;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::{RecvFlags, recv};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io::{self, ErrorKind, Read, Write},
    mem::MaybeUninit,
    net::{Shutdown, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::TcpStream,
    time::timeout,
};

/// How long a closing connection waits for the peer to stop sending.
const LINGER_TIME: Duration = Duration::from_secs(1);
/// How many bytes it takes in at a time meanwhile.
const LINGER_BUFFER: usize = 4096;
/// How many bytes it takes in meanwhile, in all.
const LINGER_BYTES_MAX: usize = 1024 * 1024;
/// How much of a head is looked at; a longer one is hyper's, which bounds it.
const HEAD_BYTES_MAX: usize = super::serve::BUFFER_BYTES_MAX;
/// The answer to a connection beyond the cap, whatever it would have asked.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What all connections of one listener share.
pub(super) struct Shared {
    pub(super) server: Server,
    pub(super) settings: ServeSettings,
    pub(super) lifecycle: Lifecycle,
}

/// What a connection said while it was waited for.
enum Heard {
    Nothing,
    /// Part of a head.
    Part,
    /// A whole head, or what will never be one.
    Head,
}

/// Why hyper no longer serves a connection.
enum Talked {
    /// It gives its buffers back, and waits for the next request without them.
    Fell(TcpStream),
    /// It is over.
    Ended(TcpStream),
}

/// The requests of one connection.
struct Requests {
    shared: Arc<Shared>,
    remote: SocketAddr,
    /// From the head of one until its answer. The first is: hyper is only asked when its head is there.
    in_hand: AtomicBool,
    answered: AtomicUsize,
}

impl Requests {
    async fn answer(&self, request: Request<Incoming>) -> Response {
        let answer = self.shared.server.answer(request, Some(self.remote)).await;
        self.in_hand.store(false, Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Relaxed);
        answer
    }
}

/// Serves requests until the peer closes, a limit is broken, or a stop drains it.
pub(super) async fn run(stream: TcpStream, remote: SocketAddr, shared: Arc<Shared>) {
    let lifecycle = shared.lifecycle.clone();
    tokio::select! {
        biased;
        () = lifecycle.aborting() => {}
        () = serve(stream, remote, shared) => {}
    }
}

async fn serve(mut stream: TcpStream, remote: SocketAddr, shared: Arc<Shared>) {
    // Answers are written whole, so waiting to fill a packet only delays them. A socket that refuses works as well.
    let _ = stream.set_nodelay(true);
    let ended = loop {
        let mut heard = Heard::Nothing;
        tokio::select! {
            biased;
            () = shared.lifecycle.stopping() => {}
            _ = timeout(shared.settings.header_read_timeout, listen(&stream, &mut heard)) => {}
        }
        match heard {
            Heard::Nothing => return,
            Heard::Part => break stream,
            Heard::Head => {}
        }
        match Box::pin(talk(stream, remote, &shared)).await {
            Talked::Fell(kept) => stream = kept,
            Talked::Ended(ended) => break ended,
        }
    };
    close(ended).await;
}

/// Waits for the head of a request, without taking a byte of it.
async fn listen(stream: &TcpStream, heard: &mut Heard) {
    while let Ok(ready) = stream.ready(Interest::READABLE).await {
        // Unlike `peek`, this forgets that there is something to read when what there is is not enough.
        let looking = stream.try_io(Interest::READABLE, || {
            *heard = look(stream)?;
            match heard {
                Heard::Head => Ok(()),
                Heard::Nothing | Heard::Part => Err(ErrorKind::WouldBlock.into()),
            }
        });
        match looking {
            Err(error) if error.kind() == ErrorKind::WouldBlock && !ready.is_read_closed() => {}
            // Also when no more will come.
            _ => return,
        }
    }
}

fn look(stream: &TcpStream) -> io::Result<Heard> {
    let mut buffer = [MaybeUninit::uninit(); HEAD_BYTES_MAX];
    let ((said, _), len) = recv(stream, &mut buffer, RecvFlags::PEEK)?;
    Ok(match &*said {
        [] => Heard::Nothing,
        _ if len == HEAD_BYTES_MAX || is_for_hyper(said) => Heard::Head,
        _ => Heard::Part,
    })
}

/// Whether a head ends in these bytes, or they cannot begin one. Empty lines before it are no end (RFC 9112, section
/// 2.2), and a line may end with a bare LF.
fn is_for_hyper(said: &[u8]) -> bool {
    let blank = said
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    let head = &said[blank..];
    let ends = |at: usize| matches!(head[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]);
    let mut lines = (0..head.len()).filter(|at| head[*at] == b'\n');
    head.first().is_some_and(|first| !first.is_ascii_graphic()) || lines.any(ends)
}

/// Lets hyper serve a connection on which a head has come.
async fn talk(stream: TcpStream, remote: SocketAddr, shared: &Arc<Shared>) -> Talked {
    let settings = &shared.settings;
    let traffic = shared.server.traffic();
    let _buffered = Buffered::one_of(traffic);
    let io = TokioIo::new(WriteDeadline::new(stream, settings.write_timeout));
    let requests = Arc::new(Requests {
        shared: Arc::clone(shared),
        remote,
        in_hand: AtomicBool::new(true),
        answered: AtomicUsize::new(0),
    });
    let answering = Arc::clone(&requests);
    let service = service_fn(move |request: Request<Incoming>| {
        answering.in_hand.store(true, Ordering::Relaxed);
        let requests = Arc::clone(&answering);
        Box::pin(async move { Ok::<_, Infallible>(requests.answer(request).await) })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_read_timeout)
        .max_headers(settings.headers_max)
        .max_buf_size(settings.buffer_bytes_max)
        .serve_connection(io, service);
    let mut stopping = pin!(shared.lifecycle.stopping());
    let mut draining = false;
    let mut fell = false;
    let ended = poll_fn(|context| {
        if !draining && stopping.as_mut().poll(context).is_ready() {
            draining = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let answered = requests.answered.load(Ordering::Relaxed);
        let ended = connection.poll_without_shutdown(context);
        // Only right after an answer: later it is asked again when a part of the next head has come.
        let silent = answered != requests.answered.load(Ordering::Relaxed)
            && !requests.in_hand.load(Ordering::Relaxed);
        if ended.is_ready() || draining || !silent || traffic.buffered() <= settings.buffered_max {
            return ended;
        }
        // Between two requests hyper ends at once when it is asked to, and has written nothing of it.
        draining = true;
        Pin::new(&mut connection).graceful_shutdown();
        let ended = connection.poll_without_shutdown(context);
        fell = matches!(ended, Poll::Ready(Ok(())));
        ended
    })
    .await;
    if let Err(error) = ended {
        // The peer's doing, and it may be a flood: no more than a trace of it.
        tracing::debug!(error = %error, "connection ended");
    }
    let parts = connection.into_parts();
    let stream = parts.io.into_inner().into_inner();
    // A next request that hyper has begun to read cannot be given back: only who did not wait for the answer sent one.
    if fell && parts.read_buf.is_empty() {
        Talked::Fell(stream)
    } else {
        Talked::Ended(stream)
    }
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
        let mut taken = 0;
        while taken < LINGER_BYTES_MAX {
            stream.readable().await?;
            match take_some(&stream) {
                Ok(0) => break,
                Ok(some) => taken += some,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    // Either way it is closed now.
    let _ = timeout(LINGER_TIME, draining).await;
}

/// The buffer is this function's: in an async one it would be part of every open connection.
fn take_some(stream: &TcpStream) -> io::Result<usize> {
    stream.try_read(&mut [0; LINGER_BUFFER])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_for_hyper_when_it_is_whole_or_none() {
        for whole in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\n\r\nbody",
            "GET / HTTP/1.1\n\n",
            "GET / HTTP/1.1\r\nhost: x\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\n",
            "\u{16}\u{3}\u{1}",
            " GET",
        ] {
            assert!(is_for_hyper(whole.as_bytes()), "{whole:?}");
        }
        for part in [
            "G",
            "GET / HTTP/1.1\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\n\r",
            "\r\n\r\n",
            "\n\n\n",
            "\r\n\r\nG",
        ] {
            assert!(!is_for_hyper(part.as_bytes()), "{part:?}");
        }
    }
}
