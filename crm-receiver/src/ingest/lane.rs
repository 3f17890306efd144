//! One lane of the group commit: it takes what is waiting, commits it in one transaction, and tells everyone.
//!
//! It never waits for a batch to be full. What goes wrong is narrowed down by halves, so that only the row at fault
//! fails. A batch in which a row is locked elsewhere leaves the lane and goes on row by row: halving it would cost its
//! neighbours a lock wait at every step. The lane ends when it is told that nobody brings anything more, after it has
//! committed what is left.

use super::{
    IngestError,
    batcher::{Batcher, JOIN_WITHIN, Origins, Waiting},
    guard::{self, StoreGuard},
    meters::IngestMeters,
    seen_cache::SeenCache,
};
use crate::{
    backlog::Backlog,
    event::{Accepted, DedupeKey},
    store::{Store, Verdict},
};
use contract::UnixMillis;
use db::{DbError, Dialect, failpoint};
use futures::{StreamExt, stream};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// Batches in flight at once on MySQL; SQLite has one writer.
const LANES_MYSQL: usize = 2;
/// Batches at once that go on row by row; a further one is answered at once.
const SCATTERED_MAX: usize = 8;
/// Rows of such a batch that are tried at once.
const SCATTERED_WIDTH: usize = 4;
/// Between two tries of a row that is locked elsewhere.
const LOCKED_PAUSE: Duration = Duration::from_millis(50);

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
    listeners: CommitListeners,
    scattered: Arc<Semaphore>,
}

/// What hears of every commit.
pub struct CommitListeners {
    /// Of arrivals, and of what a commit accepted: it wakes the projector.
    pub backlog: Backlog,
    /// Of rows and times.
    pub meters: IngestMeters,
}

/// The front and its lanes, which do nothing until they run.
pub fn open(
    store: &Store,
    guard: StoreGuard,
    limits: IngestLimits,
    origins: Origins,
    listeners: CommitListeners,
) -> (Batcher, Vec<Lane>) {
    let lanes = match store.db.dialect() {
        Dialect::Sqlite => 1,
        Dialect::Mysql => LANES_MYSQL,
    };
    let seen = SeenCache::new(limits.seen_entries);
    let (batcher, queues) = Batcher::new(
        lanes,
        limits.queue,
        seen.clone(),
        guard.clone(),
        listeners.backlog.clone(),
        origins,
    );
    let scattered = Arc::new(Semaphore::new(SCATTERED_MAX));
    let committer = Arc::new(Committer {
        store: store.clone(),
        guard,
        seen,
        listeners,
        scattered,
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
                Ok(verdicts) => {
                    // Beside the next commit, which need not wait for it.
                    let committer = Arc::clone(&self);
                    tokio::spawn(async move { committer.settle(part, verdicts) });
                }
                Err(DbError::LockTimeout) => Arc::clone(&self).scatter(part),
                Err(error) if part.len() == 1 || is_about_all(&error) => {
                    let why = told(&error, part[0].leading.key(), part.len());
                    fail(part, why);
                }
                Err(_) => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
            }
        }
    }

    async fn try_commit(&self, part: &[Waiting]) -> Result<Vec<Verdict>, DbError> {
        failpoint::reached("accept.begin");
        let begun = Instant::now();
        let verdicts = self
            .store
            .accept_batch(part.iter().map(|waiting| Arc::clone(&waiting.entry)).collect())
            .await?;
        self.listeners.meters.committed(part.len(), begun.elapsed());
        Ok(verdicts)
    }

    /// After the commit: the cache first, so that whoever comes after the key is free finds it there.
    fn settle(&self, part: Vec<Waiting>, verdicts: Vec<Verdict>) {
        failpoint::reached("accept.committed");
        let mut oldest_new: Option<UnixMillis> = None;
        for (waiting, verdict) in part.into_iter().zip(verdicts) {
            if let Some(fingerprint) = verdict.fingerprint {
                let event_id = verdict.accepted.event_id().clone();
                self.seen.committed(waiting.leading.key(), event_id, fingerprint);
            }
            if matches!(verdict.accepted, Accepted::New(_)) {
                let received_at = waiting.entry.received_at;
                oldest_new = Some(oldest_new.map_or(received_at, |oldest| oldest.min(received_at)));
            }
            waiting.leading.land(Ok(verdict.accepted));
        }
        if let Some(oldest) = oldest_new {
            self.listeners.backlog.accepted(oldest);
        }
    }

    /// Goes on with each row by itself, off the lane, so that only the locked ones wait.
    fn scatter(self: Arc<Self>, part: Vec<Waiting>) {
        match Arc::clone(&self.scattered).try_acquire_owned() {
            Ok(place) => {
                tokio::spawn(async move {
                    let rows = stream::iter(part);
                    rows.for_each_concurrent(SCATTERED_WIDTH, |waiting| self.commit_alone(waiting))
                        .await;
                    drop(place);
                });
            }
            Err(_) => fail(part, IngestError::InFlight),
        }
    }

    /// Tries one row for as long as a caller waits for a lock, and once however late its turn comes: what went before it
    /// in the batch says nothing of it.
    async fn commit_alone(&self, waiting: Waiting) {
        let until = waiting.since + JOIN_WITHIN;
        let part = vec![waiting];
        loop {
            match self.try_commit(&part).await {
                Ok(verdicts) => return self.settle(part, verdicts),
                Err(DbError::LockTimeout) if Instant::now() < until => sleep(LOCKED_PAUSE).await,
                Err(DbError::LockTimeout) => return fail(part, IngestError::InFlight),
                Err(error) => {
                    let why = told(&error, part[0].leading.key(), 1);
                    return fail(part, why);
                }
            }
        }
    }
}

/// Whether no part of the batch would fare better.
fn is_about_all(error: &DbError) -> bool {
    error.is_outage() || *error == DbError::Contended
}

/// Logs what nothing more is tried against, and says what the callers hear.
fn told(error: &DbError, first: &DedupeKey, rows: usize) -> IngestError {
    if is_about_all(error) {
        tracing::warn!(error = %error, rows, "batch failed");
        IngestError::Unavailable
    } else {
        tracing::error!(event.id = first.id.as_str(), error = %error, "event could not be kept");
        IngestError::Failed
    }
}

fn fail(part: Vec<Waiting>, why: IngestError) {
    part.into_iter()
        .for_each(|waiting| waiting.leading.land(Err(why)));
}
