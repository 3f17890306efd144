//! One lane of the group commit: it takes what its queue holds, commits it in one transaction, and answers all who wait.
//!
//! Of several sources it takes in turn, so that one that sends much does not have the others wait for all of it. It never waits
//! for a batch to be full. A batch that fails runs again in halves, so that only the row at fault fails. A batch in which a row
//! is locked elsewhere leaves the lane and goes on row by row: halving it would cost its neighbours a lock wait at every step.
//! The lane ends once no more arrivals can come, after it has committed what is left.

use super::{
    IngestError,
    batcher::{Batcher, JOIN_WITHIN, QueuedEntry},
    fair_queue::FairQueue,
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
use kit::random::Runtime;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// Batches that are committed at once on MySQL; SQLite has one writer.
const LANES_MYSQL: usize = 2;
/// The most lanes on any engine.
pub(super) const LANES_MAX: usize = LANES_MYSQL;
/// Batches at once that go on row by row; a further one is refused at once.
const ROW_BY_ROW_MAX: usize = 8;
/// Rows of such a batch that are tried at the same time.
const ROW_BY_ROW_WIDTH: usize = 4;
/// Between two tries of a row that is locked elsewhere.
const LOCKED_PAUSE: Duration = Duration::from_millis(50);

/// The bounds of batches, queues and the cache.
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
    queue: mpsc::Receiver<QueuedEntry>,
    /// What has come out of it, and waits for its source's turn.
    waiting: FairQueue<QueuedEntry>,
    limits: IngestLimits,
    committer: Arc<Committer>,
}

/// What all lanes share.
struct Committer {
    store: Store,
    guard: StoreGuard,
    seen: SeenCache,
    /// Knows what is pending, and wakes the projector for what is accepted.
    backlog: Backlog,
    meters: IngestMeters,
    /// A permit for each batch that goes on row by row.
    row_by_row: Arc<Semaphore>,
}

/// The batcher and its lanes, which do nothing until they run; each commit is reported to the backlog and the meters.
pub fn open(
    store: &Store,
    guard: StoreGuard,
    limits: IngestLimits,
    runtime: &Runtime,
    backlog: Backlog,
    meters: IngestMeters,
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
        backlog.clone(),
        runtime,
    );
    let row_by_row = Arc::new(Semaphore::new(ROW_BY_ROW_MAX));
    let committer = Arc::new(Committer {
        store: store.clone(),
        guard,
        seen,
        backlog,
        meters,
        row_by_row,
    });
    let lane = |queue| Lane {
        queue,
        waiting: FairQueue::default(),
        limits,
        committer: Arc::clone(&committer),
    };
    (batcher, queues.into_iter().map(lane).collect())
}

impl Lane {
    /// Commits batch after batch, until `drained` says that no more arrivals can come and the queue is empty.
    pub async fn run(mut self, drained: CancellationToken) {
        while let Some(batch) = self.next(&drained).await {
            Arc::clone(&self.committer).commit(batch).await;
        }
    }

    /// What waits, within the bounds, from each source in turn.
    async fn next(&mut self, drained: &CancellationToken) -> Option<Vec<QueuedEntry>> {
        self.take_in();
        if self.waiting.peek().is_none() {
            let first = self.wait(drained).await?;
            self.let_wait(first);
            self.take_in();
        }
        let (mut bytes, mut batch) = (0, Vec::new());
        while batch.len() < self.limits.batch_rows
            && let Some(next) = self.waiting.peek()
        {
            bytes += next.bytes();
            if bytes > self.limits.batch_bytes && !batch.is_empty() {
                break;
            }
            batch.extend(self.waiting.pop().map(QueuedEntry::taken_out));
        }
        Some(batch)
    }

    /// Has everything that came wait for its source's turn. It ends, since each entry keeps its place.
    fn take_in(&mut self) {
        while let Ok(entry) = self.queue.try_recv() {
            self.let_wait(entry);
        }
    }

    fn let_wait(&mut self, entry: QueuedEntry) {
        self.waiting.push(entry.place.source(), entry);
    }

    async fn wait(&mut self, drained: &CancellationToken) -> Option<QueuedEntry> {
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
    /// Commits a batch, in halves where it fails for one of its rows, and answers all who wait.
    async fn commit(self: Arc<Self>, mut batch: Vec<QueuedEntry>) {
        // In one order everywhere: batches in different orders deadlock.
        batch.sort_by(|one, other| one.leader.key().cmp(other.leader.key()));
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
                    // Runs concurrently with the next commit, which need not wait for it.
                    let committer = Arc::clone(&self);
                    tokio::spawn(async move { committer.settle(part, verdicts) });
                }
                Err(DbError::LockTimeout) => Arc::clone(&self).commit_row_by_row(part),
                Err(error) if part.len() == 1 || is_about_all(&error) => {
                    let why = log_failure(&error, part[0].leader.key(), part.len());
                    fail(part, why);
                }
                Err(_) => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
            }
        }
    }

    async fn try_commit(&self, part: &[QueuedEntry]) -> Result<Vec<Verdict>, DbError> {
        failpoint::reached("accept.begin");
        let begun = Instant::now();
        let verdicts = self
            .store
            .accept_batch(part.iter().map(|queued| Arc::clone(&queued.entry)).collect())
            .await?;
        self.meters.committed(part.len(), begun.elapsed());
        Ok(verdicts)
    }

    /// After the commit: the cache first, so that a request that arrives after the key is released finds it there.
    fn settle(&self, part: Vec<QueuedEntry>, verdicts: Vec<Verdict>) {
        failpoint::reached("accept.committed");
        let mut oldest_new: Option<UnixMillis> = None;
        for (queued, verdict) in part.into_iter().zip(verdicts) {
            if let Some(fingerprint) = verdict.fingerprint {
                let event_id = verdict.accepted.event_id().clone();
                self.seen.committed(queued.leader.key(), event_id, fingerprint);
            }
            if matches!(verdict.accepted, Accepted::New(_)) {
                let received_at = queued.entry.received_at;
                oldest_new = Some(oldest_new.map_or(received_at, |oldest| oldest.min(received_at)));
            }
            queued.complete(Ok(verdict.accepted));
        }
        if let Some(oldest) = oldest_new {
            self.backlog.accepted(oldest);
        }
    }

    /// Goes on with each row by itself, off the lane, so that only the locked ones wait.
    fn commit_row_by_row(self: Arc<Self>, part: Vec<QueuedEntry>) {
        match Arc::clone(&self.row_by_row).try_acquire_owned() {
            Ok(permit) => {
                tokio::spawn(async move {
                    let rows = stream::iter(part);
                    rows.for_each_concurrent(ROW_BY_ROW_WIDTH, |queued| self.commit_alone(queued))
                        .await;
                    drop(permit);
                });
            }
            Err(_) => fail(part, IngestError::InFlight),
        }
    }

    /// Tries one row for as long as a caller waits for a lock, and at least once however late its turn comes.
    async fn commit_alone(&self, queued: QueuedEntry) {
        let until = queued.since + JOIN_WITHIN;
        let part = vec![queued];
        loop {
            match self.try_commit(&part).await {
                Ok(verdicts) => return self.settle(part, verdicts),
                Err(DbError::LockTimeout) if Instant::now() < until => sleep(LOCKED_PAUSE).await,
                Err(DbError::LockTimeout) => return fail(part, IngestError::InFlight),
                Err(error) => {
                    let why = log_failure(&error, part[0].leader.key(), 1);
                    return fail(part, why);
                }
            }
        }
    }
}

/// Whether each part of the batch would fail as well.
fn is_about_all(error: &DbError) -> bool {
    error.is_outage() || *error == DbError::Contended
}

/// Logs a failure for which nothing more is tried, and says what the callers are answered.
fn log_failure(error: &DbError, first: &DedupeKey, rows: usize) -> IngestError {
    if is_about_all(error) {
        tracing::warn!(error = %error, rows, "batch failed");
        IngestError::Unavailable
    } else {
        tracing::error!(event.id = first.id.as_str(), error = %error, "event could not be kept");
        IngestError::Failed
    }
}

fn fail(part: Vec<QueuedEntry>, why: IngestError) {
    part.into_iter().for_each(|queued| queued.complete(Err(why)));
}
