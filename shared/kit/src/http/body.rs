//! Reading a request's body: after the headers, bounded in size, in time, and in all.
//!
//! hyper bounds neither: a client may declare nothing and send for ever, or send a byte an hour, or be one of ten
//! thousand that each send a little. So bytes are taken from one budget as they arrive, and go back when the
//! [`Body`] is dropped.

use bytes::{Bytes, BytesMut};
use contract::{Problem, ProblemCode};
use futures::{Stream, StreamExt, stream::BoxStream};
use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Bytes of request bodies that may be in memory at once by default.
pub const BYTES_IN_ALL: usize = 64 * 1024 * 1024;
/// How long a body may take to arrive by default.
pub const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// The largest body of an API request; an endpoint may name a limit of its own.
pub const BODY_LEN_MAX: usize = 256 * 1024;
/// What a body on its way costs beside its bytes: its connection's buffers, and all that waits with its request. It counts
/// against the budget until the body is there, so that thousands of bodies that never come cost no more than it.
pub const READING_BYTES: usize = 16 * 1024;
/// A body's buffer is made for at most so many times what came of it first, whatever more is declared: a declaration
/// costs little.
const FIRST_CAPACITY_FACTOR: usize = 4;
/// What a client is asked to wait when the budget is used up.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The bytes that all bodies together may still take. Clones share one budget.
#[derive(Clone, Debug)]
pub struct ByteBudget(Arc<AtomicUsize>);

/// Bytes taken from the budget; they go back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: ByteBudget,
    bytes: usize,
}

impl ByteBudget {
    /// A budget of `bytes` in all.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Nothing taken yet.
    pub fn reservation(&self) -> Reservation {
        Reservation {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// What is left.
    pub fn left(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Reservation {
    /// Takes more, or nothing when there is not enough.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let taken = self
            .budget
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                left.checked_sub(bytes)
            })
            .is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// Gives back a part of what was taken.
    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.0.fetch_add(bytes, Ordering::AcqRel);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

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

/// The whole raw body. It keeps its place in the budget until it is dropped.
#[derive(Debug)]
pub struct Body {
    bytes: Bytes,
    reservation: Reservation,
}

impl Body {
    /// The bytes and their place in the budget, for whoever keeps them longer than the request.
    pub fn into_parts(self) -> (Bytes, Reservation) {
        (self.bytes, self.reservation)
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
    /// Not there at the deadline.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// No room for it in the budget.
    #[error("too many bytes of bodies are in memory")]
    NoRoom,
    /// The connection broke, or the chunks are malformed.
    #[error("the body broke off")]
    Broken,
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::new(ProblemCode::PayloadTooLarge),
            BodyError::TooSlow => Self::new(ProblemCode::RequestTimeout),
            BodyError::NoRoom => Self::new(ProblemCode::Overloaded).with_retry_after(RETRY_AFTER_SECONDS),
            BodyError::Broken => Self::new(ProblemCode::InvalidRequest).with_detail("the body broke off"),
        }
    }
}

/// The chunks of a body that is still on its way.
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
    let expected = declared.and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
    let reading = collect(chunks, expected, limit, limits.budget.reservation());
    tokio::time::timeout(limits.deadline, reading)
        .await
        .unwrap_or(Err(BodyError::TooSlow))
}

async fn collect<S>(
    mut chunks: S,
    expected: usize,
    limit: usize,
    mut reservation: Reservation,
) -> Result<Body, BodyError>
where
    S: Stream<Item = Result<Bytes, Broken>> + Unpin,
{
    if !reservation.grow(READING_BYTES) {
        return Err(BodyError::NoRoom);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|Broken| BodyError::Broken)?;
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLarge);
        }
        if !reservation.grow(chunk.len()) {
            return Err(BodyError::NoRoom);
        }
        if body.is_empty() {
            body.reserve(expected.min(FIRST_CAPACITY_FACTOR * chunk.len()).max(chunk.len()));
        }
        // A chunk is a part of the connection's read buffer: kept, it would keep all of that, outside the budget.
        body.extend_from_slice(&chunk);
    }
    reservation.shrink(READING_BYTES);
    let bytes = body.freeze();
    Ok(Body { bytes, reservation })
}

#[cfg(test)]
mod tests;
