//! One lane of the group commit: it takes what is waiting, commits it in one transaction, and tells everyone.
//!
//! It never waits for a batch to be full. What goes wrong is narrowed down by halves, so that only the row at fault
//! fails; a row that is locked elsewhere leaves the lane and waits by itself. The lane ends when it is told that nobody
//! brings anything more, after it has committed what is left.

use super::{
    accepted::{Accepted, IngestError},
    batcher::{Batcher, JOIN_WITHIN, Origins, Waiting},
    flights::Outcome,
    guard::{self, StoreGuard},
    seen_cache::SeenCache,
};
use crate::store::{Store, Verdict};
use kit::db::{DbError, Dialect};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// Batches in flight at once on MySQL; SQLite has one writer.
const LANES_MYSQL: usize = 4;
/// Rows that wait by themselves for a lock held elsewhere; further ones are answered at once.
const STRAGGLERS_MAX: usize = 32;
/// Between two tries of a row that is locked elsewhere.
const STRAGGLER_PAUSE: Duration = Duration::from_millis(50);

/// The bounds of taking in.
#[derive(Clone, Copy, Debug)]
pub struct IngestLimits {
    /// Rows of one batch, at least 1.
    pub batch_rows: usize,
    /// Bytes of the bodies in one batch; a single larger body is a batch of its own.
    pub batch_bytes: usize,
    /// Entries that wait, over all lanes.
    pub queue: usize,
    /// Keys that the cache remembers; 0 turns it off.
    pub seen_entries: u64,
}

/// One queue and what commits it.
pub struct Lane {
    queue: mpsc::Receiver<Waiting>,
    /// Taken from the queue, but over the size of the batch before.
    carried: Option<Waiting>,
    limits: IngestLimits,
    committer: Arc<Committer>,
}

/// What all lanes share.
struct Committer {
    store: Store,
    guard: StoreGuard,
    seen: SeenCache,
    accepted: Arc<Notify>,
    stragglers: Arc<Semaphore>,
}

/// The front and its lanes, which do nothing until they run. `accepted` is notified after every commit of something
/// new.
pub fn open(
    store: &Store,
    guard: StoreGuard,
    limits: IngestLimits,
    origins: Origins,
    accepted: Arc<Notify>,
) -> (Batcher, Vec<Lane>) {
    let lanes = match store.db.dialect() {
        Dialect::Sqlite => 1,
        Dialect::Mysql => LANES_MYSQL,
    };
    let seen = SeenCache::new(limits.seen_entries);
    let (batcher, queues) = Batcher::new(lanes, limits.queue, seen.clone(), guard.clone(), origins);
    let stragglers = Arc::new(Semaphore::new(STRAGGLERS_MAX));
    let committer = Arc::new(Committer {
        store: store.clone(),
        guard,
        seen,
        accepted,
        stragglers,
    });
    let lane = |queue| Lane {
        queue,
        carried: None,
        limits,
        committer: Arc::clone(&committer),
    };
    (batcher, queues.into_iter().map(lane).collect())
}

impl Lane {
    /// Commits batch after batch, until `drained` says that nobody brings anything more and the queue is empty.
    pub async fn run(mut self, drained: CancellationToken) {
        while let Some(batch) = self.next(&drained).await {
            Arc::clone(&self.committer).commit(batch).await;
        }
    }

    /// The first that comes, and whatever is waiting behind it, within the bounds.
    async fn next(&mut self, drained: &CancellationToken) -> Option<Vec<Waiting>> {
        let first = match self.carried.take() {
            Some(carried) => carried,
            None => self.wait(drained).await?,
        };
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        while batch.len() < self.limits.batch_rows {
            let Ok(next) = self.queue.try_recv() else { break };
            bytes += next.bytes();
            if bytes > self.limits.batch_bytes {
                self.carried = Some(next);
                break;
            }
            batch.push(next);
        }
        Some(batch)
    }

    async fn wait(&mut self, drained: &CancellationToken) -> Option<Waiting> {
        tokio::select! {
            biased;
            next = self.queue.recv() => next,
            () = drained.cancelled() => {
                self.queue.close();
                self.queue.recv().await
            }
        }
    }
}

impl Committer {
    /// Commits a batch, in halves where it fails for one of its rows, and tells everyone who waits.
    async fn commit(self: Arc<Self>, mut batch: Vec<Waiting>) {
        // In one order everywhere: batches in different orders deadlock.
        batch.sort_by(|one, other| one.leading.key().cmp(other.leading.key()));
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            let Some(permit) = self.guard.admit() else {
                fail(part, IngestError::Unavailable);
                continue;
            };
            let outcome = self.try_commit(&part).await;
            guard::settle(permit, outcome.as_ref().err());
            match outcome {
                Ok(verdicts) => self.settle(part, verdicts),
                Err(error) if error.is_outage() || error == DbError::Contended => {
                    tracing::warn!(error = %error, rows = part.len(), "batch failed");
                    fail(part, IngestError::Unavailable);
                }
                Err(_) if part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
                Err(error) => {
                    part.into_iter()
                        .for_each(|waiting| Arc::clone(&self).set_aside(waiting, &error));
                }
            }
        }
    }

    async fn try_commit(&self, part: &[Waiting]) -> Result<Vec<Verdict>, DbError> {
        self.store
            .accept_batch(part.iter().map(|waiting| Arc::clone(&waiting.entry)).collect())
            .await
    }

    /// After the commit: the cache first, so that whoever comes after the key is free finds it there.
    fn settle(&self, part: Vec<Waiting>, verdicts: Vec<Verdict>) {
        let mut any_new = false;
        for (
            waiting,
            Verdict {
                accepted,
                fingerprint,
            },
        ) in part.into_iter().zip(verdicts)
        {
            any_new |= matches!(accepted, Accepted::New(_));
            let (Accepted::New(event_id) | Accepted::Duplicate(event_id) | Accepted::IdReuse(event_id)) =
                &accepted;
            if let Some(fingerprint) = fingerprint {
                self.seen
                    .committed(waiting.leading.key().clone(), event_id.clone(), fingerprint);
            }
            waiting.leading.land(Ok(accepted));
        }
        if any_new {
            self.accepted.notify_one();
        }
    }

    /// A single row that the database does not take: locked elsewhere, or at fault itself.
    fn set_aside(self: Arc<Self>, waiting: Waiting, error: &DbError) {
        if *error != DbError::LockTimeout {
            let event_id = waiting.leading.key().id.as_str();
            tracing::error!(event.id = event_id, error = %error, "event could not be kept");
            waiting.leading.land(Err(IngestError::Failed));
            return;
        }
        match Arc::clone(&self.stragglers).try_acquire_owned() {
            Ok(place) => {
                tokio::spawn(async move {
                    self.straggle(waiting).await;
                    drop(place);
                });
            }
            Err(_) => waiting.leading.land(Err(IngestError::InFlight)),
        }
    }

    /// Tries a locked row by itself for as long as a caller waits for it.
    async fn straggle(&self, waiting: Waiting) {
        let until = waiting.since + JOIN_WITHIN;
        let part = [waiting];
        let outcome: Outcome = loop {
            match self.try_commit(&part).await {
                Ok(verdicts) => {
                    self.settle(part.into(), verdicts);
                    return;
                }
                Err(DbError::LockTimeout) if Instant::now() < until => sleep(STRAGGLER_PAUSE).await,
                Err(DbError::LockTimeout) => break Err(IngestError::InFlight),
                Err(_) => break Err(IngestError::Unavailable),
            }
        };
        let [waiting] = part;
        waiting.leading.land(outcome);
    }
}

fn fail(part: Vec<Waiting>, why: IngestError) {
    part.into_iter()
        .for_each(|waiting| waiting.leading.land(Err(why)));
}
