//! A stream that gives up on a peer that does not read.
//!
//! hyper has no write time-out, so a client that never reads, or reads a byte now and then, would keep its connection
//! for ever. This wraps the socket under hyper.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A socket whose writes fail with `TimedOut` when the peer falls behind for longer than the limit.
///
/// Invariant: `behind` runs from the first write that the socket did not take whole until one that it did. Taking a
/// little does not restart it: a peer that reads one byte a second is as dead as one that reads none.
#[derive(Debug)]
pub(super) struct WriteDeadline<S> {
    stream: S,
    limit: Duration,
    behind: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteDeadline<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            behind: None,
        }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    fn watch(
        &mut self,
        context: &mut Context<'_>,
        offered: usize,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Err(_)) => return written,
            Poll::Ready(Ok(taken)) if *taken >= offered => {
                self.behind = None;
                return written;
            }
            Poll::Ready(Ok(_)) | Poll::Pending => {}
        }
        let limit = self.limit;
        let behind = self.behind.get_or_insert_with(|| Box::pin(sleep(limit)));
        match behind.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => written,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteDeadline<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, bytes.len(), written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, slices.iter().map(|slice| slice.len()).sum(), written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_a_byte_a_second_is_cut_at_the_limit() {
        let (ours, mut peer) = duplex(64);
        let mut ours = WriteDeadline::new(ours, LIMIT);
        let begun = tokio::time::Instant::now();
        let reader = tokio::spawn(async move {
            while peer.read_u8().await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let error = ours.write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(
            begun.elapsed() <= LIMIT + Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
        drop(ours);
        reader.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_catches_up_starts_afresh() {
        let (ours, mut peer) = duplex(64);
        let mut ours = WriteDeadline::new(ours, LIMIT);
        for _ in 0..3 {
            let ((), ()) = tokio::join!(async { ours.write_all(&[0; 128]).await.unwrap() }, async {
                sleep(LIMIT - Duration::from_secs(1)).await;
                peer.read_exact(&mut [0; 128]).await.unwrap();
            });
        }
    }
}
