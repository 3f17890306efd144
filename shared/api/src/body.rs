//! Reading a request's body: after the headers, bounded in size, in time, and in all.
//!
//! hyper bounds none of these: a client may declare no length and send for ever, or send a byte an hour, or be one of
//! ten thousand that each send a little. So bytes are reserved from one budget as they arrive, and freed when the
//! [`Body`] is dropped. A body that has already arrived when it is read needs no timer and no queue entry. The parsed
//! JSON tree of a body may be a hundred times as large: it is reserved from the same budget (`json_body`).

use bytes::{Bytes, BytesMut};
use contract::{Problem, ProblemCode};
use futures::{Stream, StreamExt, stream::BoxStream};
use std::{
    future::poll_fn,
    ops::Deref,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::sleep;

mod budget;

pub use budget::{ByteBudget, Reservation};

/// Bytes of request bodies that may be in memory at once by default.
pub const BYTES_IN_ALL: usize = 64 * 1024 * 1024;
/// How long a body may take to arrive by default.
pub const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// The largest body of an API request; an endpoint may name a limit of its own.
pub const BODY_LEN_MAX: usize = 256 * 1024;
/// What a body that is still arriving costs in addition to its bytes: its connection's buffers and its request. It
/// counts against the budget until the body is complete, so thousands of bodies that never arrive cannot exceed the
/// budget.
pub const READING_BYTES: usize = 16 * 1024;
/// The smallest budget: the largest body can arrive, and the tree of a write or an event of a thousand values fits.
pub const BYTES_IN_ALL_MIN: usize = 4 * 1024 * 1024;
const _: () = assert!(BYTES_IN_ALL_MIN >= budget::SLOW_DIVISOR * (READING_BYTES + BODY_LEN_MAX));
/// A body's buffer is allocated for at most so many times its first bytes, however much is declared, so that a declared
/// length alone reserves little.
const FIRST_CAPACITY_FACTOR: usize = 2;
/// The `Retry-After` when the budget is used up.
const RETRY_AFTER_SECONDS: u32 = 1;

/// What bounds every body of one server.
#[derive(Clone, Debug)]
pub struct BodyLimits {
    /// Shared by all requests.
    pub budget: ByteBudget,
    /// From the first read to the last byte.
    pub deadline: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            budget: ByteBudget::new(BYTES_IN_ALL),
            deadline: BODY_DEADLINE,
        }
    }
}

/// The whole raw body. It keeps its reservation until it is dropped.
#[derive(Debug)]
pub struct Body {
    bytes: Bytes,
    reservation: Reservation,
}

impl Body {
    /// The bytes and their reservation, for a caller that keeps them longer than the request.
    pub fn into_parts(self) -> (Bytes, Reservation) {
        (self.bytes, self.reservation)
    }

    /// Its reservation.
    pub fn reservation(&self) -> &Reservation {
        &self.reservation
    }

    /// Reserves memory for data that is made from the body and lives as long.
    ///
    /// # Errors
    /// `OverBudget` when the budget has not enough left.
    pub fn reserve(&mut self, bytes: usize) -> Result<(), BodyError> {
        self.reservation
            .grow(bytes)
            .then_some(())
            .ok_or(BodyError::OverBudget)
    }
}

impl Deref for Body {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Declared or grown past its limit.
    #[error("the body is over its limit")]
    TooLarge,
    /// Not complete at the deadline.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// It does not fit into the budget.
    #[error("too many bytes of bodies are in memory")]
    OverBudget,
    /// The connection broke, or the chunks are malformed.
    #[error("the body broke off")]
    Broken,
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::new(ProblemCode::PayloadTooLarge),
            BodyError::TooSlow => Self::new(ProblemCode::RequestTimeout),
            BodyError::OverBudget => Self::new(ProblemCode::Overloaded).with_retry_after(RETRY_AFTER_SECONDS),
            BodyError::Broken => Self::new(ProblemCode::InvalidRequest).with_detail("the body broke off"),
        }
    }
}

/// The chunks of a body that is still arriving.
pub type BodyStream = BoxStream<'static, Result<Bytes, Broken>>;

/// The stream of a body ended early.
#[derive(Clone, Copy, Debug)]
pub struct Broken;

/// Reads a whole body of at most `limit` bytes. `declared` is its `content-length`: one over the limit is refused
/// before a byte is read.
///
/// # Errors
/// As [`BodyError`] lists them, each as soon as it is known.
pub async fn read<S>(
    chunks: S,
    declared: Option<u64>,
    limit: usize,
    limits: &BodyLimits,
) -> Result<Body, BodyError>
where
    S: Stream<Item = Result<Bytes, Broken>> + Unpin,
{
    if declared.is_some_and(|len| usize::try_from(len).map_or(true, |len| len > limit)) {
        return Err(BodyError::TooLarge);
    }
    let mut arriving = Arriving {
        chunks,
        declared: declared.and_then(|len| usize::try_from(len).ok()),
        limit,
        bytes: BytesMut::new(),
    };
    // Bytes that have arrived already are at most a connection's read buffer: they are reserved once their number is
    // known.
    match poll_fn(|context| Poll::Ready(arriving.poll_rest(context, |_| true))).await {
        Poll::Ready(whole) => {
            whole?;
            let room = limits.budget.reserve(arriving.bytes.len());
            Ok(arriving.into_body(room.ok_or(BodyError::OverBudget)?))
        }
        // Boxed, and only when it is needed: its timer and queue entry would otherwise be part of every request's
        // future.
        Poll::Pending => Box::pin(read_slowly(arriving, limits)).await,
    }
}

/// Waits for the rest of a body, with a queue entry that may be evicted.
async fn read_slowly<S>(mut arriving: Arriving<S>, limits: &BodyLimits) -> Result<Body, BodyError>
where
    S: Stream<Item = Result<Bytes, Broken>> + Unpin,
{
    let entry = limits.budget.wait(READING_BYTES + arriving.bytes.len());
    let (entry, on_eviction) = entry.ok_or(BodyError::OverBudget)?;
    let rest = poll_fn(|context| arriving.poll_rest(context, |more| entry.grow(more)));
    tokio::select! {
        biased;
        whole = rest => whole?,
        _ = on_eviction => return Err(BodyError::OverBudget),
        () = sleep(limits.deadline) => return Err(BodyError::TooSlow),
    }
    let room = entry.finish(arriving.bytes.len());
    Ok(arriving.into_body(room.ok_or(BodyError::OverBudget)?))
}

/// A body that is arriving, and its bytes so far.
struct Arriving<S> {
    chunks: S,
    declared: Option<usize>,
    limit: usize,
    bytes: BytesMut,
}

impl<S> Arriving<S>
where
    S: Stream<Item = Result<Bytes, Broken>> + Unpin,
{
    /// Appends the chunks that have arrived, each once `room` has reserved memory for it. Ready at the end of the body.
    fn poll_rest(
        &mut self,
        context: &mut Context<'_>,
        mut room: impl FnMut(usize) -> bool,
    ) -> Poll<Result<(), BodyError>> {
        while self.declared != Some(self.bytes.len()) {
            let Some(chunk) = ready!(self.chunks.poll_next_unpin(context)) else {
                break;
            };
            let Ok(chunk) = chunk else {
                return Poll::Ready(Err(BodyError::Broken));
            };
            if self.bytes.len() + chunk.len() > self.limit {
                return Poll::Ready(Err(BodyError::TooLarge));
            }
            if !room(chunk.len()) {
                return Poll::Ready(Err(BodyError::OverBudget));
            }
            if self.bytes.is_empty() {
                let expected = self.declared.unwrap_or_default();
                let first = expected.min(FIRST_CAPACITY_FACTOR * chunk.len()).max(chunk.len());
                self.bytes.reserve(first);
            }
            // Copied: a chunk shares the connection's read buffer, and keeping it would keep all of that, outside the
            // budget.
            self.bytes.extend_from_slice(&chunk);
        }
        Poll::Ready(Ok(()))
    }

    fn into_body(self, reservation: Reservation) -> Body {
        Body {
            bytes: self.bytes.freeze(),
            reservation,
        }
    }
}

#[cfg(test)]
mod tests;
