//! The memory budget for all answers of a server, from an answer's first row to its last byte on the socket.
//!
//! hyper waits for a peer that does not read, so a client that requests large answers on many connections and reads
//! none would fill the memory. So each large answer has a reservation in this budget. When the budget is used up, the
//! answer that was read least recently is evicted: its reservation is freed at once and its connection ends. The peer
//! notices, since the declared length is not reached.

use super::Response;
use bytes::Bytes;
use contract::{Problem, ProblemCode};
use futures::Stream;
use http::{HeaderValue, header::CONTENT_LENGTH};
use http_body_util::BodyExt;
use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};
use tokio_util::sync::CancellationToken;

/// Bytes of answers that may be in memory at once by default.
pub const ANSWER_BYTES_IN_ALL: usize = 32 * 1024 * 1024;
/// An answer up to this size needs no reservation: a connection may buffer as much anyway.
pub const ANSWER_BYTES_FREE: usize = 2 * 1024;
/// Bytes of an answer that are handed to the socket at a time; each hand-over shows that the peer has read.
const CHUNK_BYTES: usize = 32 * 1024;
/// The `Retry-After` when the budget cannot hold an answer.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The budget. Clones share it.
#[derive(Clone, Debug)]
pub struct AnswerBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    queue: Mutex<Queue>,
}

/// Invariant: `bytes` is the sum of the reservations, at most `bytes_max`; `by_turn` has each reservation once.
#[derive(Debug, Default)]
struct Queue {
    bytes: usize,
    turns: u64,
    reservations: HashMap<u64, Entry>,
    /// Ordered by when each was read, the least recently first.
    by_turn: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct Entry {
    bytes: usize,
    turn: u64,
    /// Set when the reservation is evicted.
    lost: Arc<AtomicBool>,
    connection: Option<CancellationToken>,
}

/// An answer's reservation. It may be evicted; it is freed when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct AnswerReservation(Arc<Held>);

#[derive(Debug)]
struct Held {
    budget: AnswerBudget,
    number: u64,
    lost: Arc<AtomicBool>,
}

impl AnswerBudget {
    /// A budget of `bytes` in all.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Shared {
            bytes_max: bytes,
            queue: Mutex::default(),
        }))
    }

    /// What is left.
    pub fn left(&self) -> usize {
        self.0.bytes_max - self.queue().bytes
    }

    /// A reservation of no bytes yet.
    pub fn reserve(&self) -> AnswerReservation {
        let lost = Arc::new(AtomicBool::new(false));
        let mut queue = self.queue();
        let turn = queue.next_turn();
        // Each turn is used once, so the first turn also identifies the reservation.
        let number = turn;
        let entry = Entry {
            bytes: 0,
            turn,
            lost: Arc::clone(&lost),
            connection: None,
        };
        queue.reservations.insert(number, entry);
        queue.by_turn.insert(turn, number);
        drop(queue);
        AnswerReservation(Arc::new(Held {
            budget: self.clone(),
            number,
            lost,
        }))
    }

    /// The answer with a reservation: a large one that has none gets one; a 503 when the budget cannot hold it.
    pub(super) async fn within_budget(&self, response: Response) -> Result<Response, Problem> {
        let size = http_body::Body::size_hint(response.body()).exact();
        if size.is_some_and(|size| size <= ANSWER_BYTES_FREE as u64) {
            return Ok(response);
        }
        let (mut parts, body) = response.into_parts();
        let Ok(body) = body.collect().await else {
            return Err(Problem::new(ProblemCode::Internal));
        };
        let bytes = body.to_bytes();
        let reservation = match parts.extensions.get::<AnswerReservation>() {
            Some(reservation) if reservation.is_lost() => return Err(over_budget()),
            Some(reservation) => reservation.clone(),
            None => {
                let reservation = self.reserve();
                reservation.grow(bytes.len())?;
                parts.extensions.insert(reservation.clone());
                reservation
            }
        };
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        let written = warp::reply::stream(Chunks { bytes, reservation });
        let body = warp::Reply::into_response(written).into_body();
        Ok(Response::from_parts(parts, body))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for AnswerBudget {
    fn default() -> Self {
        Self::new(ANSWER_BYTES_IN_ALL)
    }
}

impl Queue {
    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn touch(&mut self, number: u64) {
        let turn = self.next_turn();
        if let Some(entry) = self.reservations.get_mut(&number) {
            let before = std::mem::replace(&mut entry.turn, turn);
            self.by_turn.remove(&before);
            self.by_turn.insert(turn, number);
        }
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.reservations.remove(&number)?;
        self.by_turn.remove(&entry.turn);
        self.bytes -= entry.bytes;
        Some(entry)
    }
}

impl AnswerReservation {
    /// Reserves more bytes; answers that were read less recently are evicted for it.
    ///
    /// # Errors
    /// 503 when there is not enough, or the reservation was evicted.
    pub fn grow(&self, bytes: usize) -> Result<(), Problem> {
        let (Shared { bytes_max, .. }, mut queue) = (&*self.0.budget.0, self.0.budget.queue());
        queue.touch(self.0.number);
        // Nothing is evicted for an answer that would not fit alone.
        while let Some(own) = queue.reservations.get(&self.0.number)
            && own.bytes + bytes <= *bytes_max
        {
            if queue.bytes + bytes <= *bytes_max {
                queue.bytes += bytes;
                if let Some(own) = queue.reservations.get_mut(&self.0.number) {
                    own.bytes += bytes;
                }
                return Ok(());
            }
            let oldest = queue.by_turn.first_key_value().map(|(_, number)| *number);
            if let Some(entry) = oldest.and_then(|number| queue.remove(number)) {
                entry.lost.store(true, Ordering::Release);
                if let Some(connection) = entry.connection {
                    connection.cancel();
                }
            }
        }
        Err(over_budget())
    }

    /// The complete answer with its reservation, which gives back the bytes beyond the answer's length.
    pub fn with(self, mut response: Response) -> Response {
        let size = http_body::Body::size_hint(response.body()).exact();
        let size = size.and_then(|size| usize::try_from(size).ok());
        {
            let mut queue = self.0.budget.queue();
            if let (Some(own), Some(size)) = (queue.reservations.get_mut(&self.0.number), size) {
                let spare = own.bytes.saturating_sub(size);
                own.bytes -= spare;
                queue.bytes -= spare;
            }
        }
        response.extensions_mut().insert(self);
        response
    }

    /// Ends the connection when the reservation is evicted: hyper does not poll an answer that its peer does not read,
    /// so it would not notice.
    pub(super) fn ends(&self, connection: &CancellationToken) {
        let mut queue = self.0.budget.queue();
        match queue.reservations.get_mut(&self.0.number) {
            Some(own) => own.connection = Some(connection.clone()),
            None => connection.cancel(),
        }
    }

    fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire)
    }

    fn was_read(&self) {
        self.0.budget.queue().touch(self.0.number);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.queue().remove(self.number);
    }
}

fn over_budget() -> Problem {
    Problem::new(ProblemCode::Unavailable).with_retry_after(RETRY_AFTER_SECONDS)
}

/// The body of an answer, handed out in chunks. Each chunk keeps the reservation until hyper has written it.
struct Chunks {
    bytes: Bytes,
    reservation: AnswerReservation,
}

/// A chunk that is being written.
struct Chunk {
    bytes: Bytes,
    _reservation: AnswerReservation,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Stream for Chunks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.reservation.is_lost() {
            // Frees the rest; the error makes hyper end the connection if nothing else does.
            self.bytes = Bytes::new();
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        self.reservation.was_read();
        let len = self.bytes.len().min(CHUNK_BYTES);
        let chunk = Chunk {
            bytes: self.bytes.split_to(len),
            _reservation: self.reservation.clone(),
        };
        Poll::Ready(Some(Ok(Bytes::from_owner(chunk))))
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Chunks")
            .field("left", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
