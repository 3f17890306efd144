//! The bytes that all answers of a server may take together, from their first row to their last byte on the socket.
//!
//! hyper writes what a peer reads, and waits for a peer that does not: so whoever asks for large answers on many
//! connections and reads none would fill the memory. Each large answer has a place here. Where room is short the one
//! that was read least lately gives way: its place is free at once, and its connection ends, which tells the peer, since
//! its declared length is not reached.

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
/// An answer up to this size needs no place: it is no more than what a connection may buffer anyway.
pub const ANSWER_BYTES_FREE: usize = 2 * 1024;
/// So much of an answer is handed to the socket at a time: each time tells that the peer has read.
const CHUNK_BYTES: usize = 32 * 1024;
/// What a client is asked to wait when there is no room for its answer.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The bytes that all answers together may still take. Clones share one budget.
#[derive(Clone, Debug)]
pub struct AnswerBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    queue: Mutex<Queue>,
}

/// Invariant: `bytes` is the sum over the places, at most `bytes_max`; `by_turn` has each place once.
#[derive(Debug, Default)]
struct Queue {
    bytes: usize,
    turns: u64,
    places: HashMap<u64, Entry>,
    /// By when it was read, the least lately first.
    by_turn: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct Entry {
    bytes: usize,
    turn: u64,
    /// Of the place: set when it is taken away.
    lost: Arc<AtomicBool>,
    connection: Option<CancellationToken>,
}

/// An answer's place, which may be taken from it; it is left when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Place(Arc<Held>);

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

    /// A place without bytes yet.
    pub fn enter(&self) -> Place {
        let lost = Arc::new(AtomicBool::new(false));
        let mut queue = self.queue();
        let turn = queue.next_turn();
        // A turn is had once, so the first is a number too.
        let number = turn;
        let entry = Entry {
            bytes: 0,
            turn,
            lost: Arc::clone(&lost),
            connection: None,
        };
        queue.places.insert(number, entry);
        queue.by_turn.insert(turn, number);
        drop(queue);
        Place(Arc::new(Held {
            budget: self.clone(),
            number,
            lost,
        }))
    }

    /// The answer in its place: a large one that has none gets one. Without room it is the 503 that this answers instead.
    pub(super) async fn hold(&self, response: Response) -> Result<Response, Problem> {
        let size = http_body::Body::size_hint(response.body()).exact();
        if size.is_some_and(|size| size <= ANSWER_BYTES_FREE as u64) {
            return Ok(response);
        }
        let (mut parts, body) = response.into_parts();
        let Ok(body) = body.collect().await else {
            return Err(Problem::new(ProblemCode::Internal));
        };
        let bytes = body.to_bytes();
        let place = match parts.extensions.get::<Place>() {
            Some(place) if place.is_lost() => return Err(no_room()),
            Some(place) => place.clone(),
            None => {
                let place = self.enter();
                place.grow(bytes.len())?;
                parts.extensions.insert(place.clone());
                place
            }
        };
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        let written = warp::reply::stream(Chunks { bytes, place });
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
        if let Some(entry) = self.places.get_mut(&number) {
            let before = std::mem::replace(&mut entry.turn, turn);
            self.by_turn.remove(&before);
            self.by_turn.insert(turn, number);
        }
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.places.remove(&number)?;
        self.by_turn.remove(&entry.turn);
        self.bytes -= entry.bytes;
        Some(entry)
    }
}

impl Place {
    /// Takes more, for which those that were read less lately give way.
    ///
    /// # Errors
    /// 503 when there is not enough, or the place is lost.
    pub fn grow(&self, bytes: usize) -> Result<(), Problem> {
        let (Shared { bytes_max, .. }, mut queue) = (&*self.0.budget.0, self.0.budget.queue());
        queue.touch(self.0.number);
        // Nobody gives way to what would not fit alone.
        while let Some(own) = queue.places.get(&self.0.number)
            && own.bytes + bytes <= *bytes_max
        {
            if queue.bytes + bytes <= *bytes_max {
                queue.bytes += bytes;
                if let Some(own) = queue.places.get_mut(&self.0.number) {
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
        Err(no_room())
    }

    /// The whole answer in its place, which gives back what it has taken beyond the answer's bytes.
    pub fn with(self, mut response: Response) -> Response {
        let size = http_body::Body::size_hint(response.body()).exact();
        let size = size.and_then(|size| usize::try_from(size).ok());
        {
            let mut queue = self.0.budget.queue();
            if let (Some(own), Some(size)) = (queue.places.get_mut(&self.0.number), size) {
                let spare = own.bytes.saturating_sub(size);
                own.bytes -= spare;
                queue.bytes -= spare;
            }
        }
        response.extensions_mut().insert(self);
        response
    }

    /// Ends the connection too, when the place is taken away: hyper asks for no more of an answer that nobody reads, so
    /// it would not hear of it.
    pub(super) fn ends(&self, connection: &CancellationToken) {
        let mut queue = self.0.budget.queue();
        match queue.places.get_mut(&self.0.number) {
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

fn no_room() -> Problem {
    Problem::new(ProblemCode::Unavailable).with_retry_after(RETRY_AFTER_SECONDS)
}

/// The bytes of an answer, handed out one after the other. Each keeps the place until hyper has written it.
struct Chunks {
    bytes: Bytes,
    place: Place,
}

/// What is being written of an answer.
struct Chunk {
    bytes: Bytes,
    _place: Place,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Stream for Chunks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.place.is_lost() {
            // The rest is freed, and the connection ended by hyper, wherever nobody else ends it.
            self.bytes = Bytes::new();
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        self.place.was_read();
        let len = self.bytes.len().min(CHUNK_BYTES);
        let chunk = Chunk {
            bytes: self.bytes.split_to(len),
            _place: self.place.clone(),
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
