//! The batches of the stream, read once for all clients of a process, and only while it has any.

use super::message::EncodedBatch;
use crate::store::{Store, StreamRow, StreamedEvents};
use db::DbError;
use futures::future::BoxFuture;
use kit::{
    lifecycle::Lifecycle,
    metrics::{Counter, Metrics},
};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::sleep,
};

/// Clients of one process at a time.
pub const CLIENTS_MAX: usize = 100;
/// The last batches, which are in memory while there are clients.
const KEPT_BATCHES: usize = 16;
/// Events that were received lately and are not decided yet, of which the rows are kept: more are read again.
const KEPT_EVENTS: usize = 4_096;
/// Batches of one read, of those that are new.
const READ_BATCHES: u32 = 8;
/// How often to look for new batches without a wake-up: another process may have given the places.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long to wait after a failure.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// The batches of the stream. Clones share everything.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    store: Store,
    /// Without gaps, the last ones.
    kept: Mutex<VecDeque<Arc<EncodedBatch>>>,
    /// The last batch that was read.
    last: watch::Sender<i64>,
    places: Arc<Semaphore>,
    /// Signalled when there is a client.
    entered: Notify,
    cut: Counter,
}

/// One of the [`CLIENTS_MAX`] places, while it is held.
pub(super) struct ClientPlace(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

/// Why there is no next batch.
#[derive(Debug)]
pub(super) enum NoBatch {
    /// It was purged: what comes next is not what comes next in the stream.
    Gone,
    /// It cannot be read at present.
    Unread(DbError),
}

impl Feed {
    /// A feed that reads nothing until it runs.
    pub fn new(store: Store, metrics: &Metrics) -> Self {
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        let free = Arc::clone(&places);
        #[expect(clippy::cast_precision_loss, reason = "there are a hundred at most")]
        let clients = move || (CLIENTS_MAX - free.available_permits()) as f64;
        metrics.read_gauge("stream_clients", "Clients of the live stream.", &[], clients);
        let help = "Clients of the live stream that were cut off because they did not read.";
        Self(Arc::new(Shared {
            store,
            kept: Mutex::default(),
            last: watch::Sender::new(0),
            places,
            entered: Notify::new(),
            cut: metrics.counter("stream_clients_cut_total", help, &[]),
        }))
    }

    /// A place for one more client, if there is one.
    pub(super) fn enter(&self) -> Option<ClientPlace> {
        let permit = Arc::clone(&self.0.places).try_acquire_owned().ok()?;
        self.0.entered.notify_one();
        Some(ClientPlace(permit))
    }

    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(super) fn count_cut(&self) {
        self.0.cut.inc();
    }

    /// Reads what gets a place while there are clients, until a stop. `given` signals places that this process gives.
    pub fn run(self, mut given: watch::Receiver<i64>, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut failing = false;
            // What was read last, while there are clients.
            let (mut last, mut known) = (None, StreamedEvents::new());
            while !lifecycle.is_stopping() {
                if self.0.places.available_permits() == CLIENTS_MAX {
                    last = None;
                    known = StreamedEvents::new();
                    self.kept().clear();
                    tokio::select! {
                        () = lifecycle.stopping() => {}
                        () = self.0.entered.notified() => {}
                    }
                    continue;
                }
                let read = self.read_on(&mut last, &mut known).await;
                if let Err(error) = &read
                    && !failing
                {
                    tracing::warn!(%error, "the live stream cannot be read, and goes on later");
                }
                failing = read.is_err();
                let pause = match read {
                    Ok(true) => continue,
                    Ok(false) => LOOK_EVERY,
                    Err(_) => FAILURE_PAUSE,
                };
                tokio::select! {
                    () = lifecycle.stopping() => {}
                    changed = given.changed() => if changed.is_err() { sleep(pause).await },
                    () = sleep(pause) => {}
                }
            }
        })
    }

    /// Reads the next batches; whether there may be more.
    async fn read_on(&self, last: &mut Option<i64>, known: &mut StreamedEvents) -> Result<bool, DbError> {
        let after = match *last {
            Some(after) => after,
            None => self.0.store.stream_end().await?,
        };
        *last = Some(after);
        let rows = self.0.store.stream_after(after, READ_BATCHES).await?;
        let is_full = rows.len() == READ_BATCHES as usize;
        self.read_events(&rows, known).await?;
        {
            let mut kept = self.kept();
            for row in &rows {
                let batch = EncodedBatch::of(row.shown(known));
                if kept.back().is_some_and(|before| before.seq + 1 != batch.seq) {
                    kept.clear();
                }
                *last = Some(batch.seq);
                kept.push_back(Arc::new(batch));
            }
            while kept.len() > KEPT_BATCHES {
                kept.pop_front();
            }
        }
        // Mostly an event is decided once, and its row is not needed any more.
        let decided = rows.iter().flat_map(StreamRow::decided);
        decided.for_each(|id| drop(known.remove(id)));
        if known.len() > KEPT_EVENTS {
            known.clear();
        }
        let read = last.unwrap_or(after);
        self.0.last.send_if_modified(|known| {
            let is_new = *known != read;
            *known = read;
            is_new
        });
        Ok(is_full)
    }

    /// Reads the events of these rows that are not known yet.
    async fn read_events(&self, rows: &[StreamRow], known: &mut StreamedEvents) -> Result<(), DbError> {
        let ids = rows.iter().flat_map(StreamRow::events);
        let unknown: HashSet<_> = ids.filter(|id| !known.contains_key(*id)).collect();
        let unknown = unknown.into_iter().cloned().collect();
        known.extend(self.0.store.streamed_events(unknown).await?);
        Ok(())
    }

    /// Waits for the batch after one.
    pub(super) async fn next(&self, after: i64) -> Result<Arc<EncodedBatch>, NoBatch> {
        let mut last = self.0.last.subscribe();
        loop {
            let read = *last.borrow_and_update();
            if let Some(batch) = self.find(after + 1) {
                return Ok(batch);
            }
            if after < read {
                return self.load(after).await;
            }
            if last.changed().await.is_err() {
                return Err(NoBatch::Gone);
            }
        }
    }

    fn find(&self, seq: i64) -> Option<Arc<EncodedBatch>> {
        let kept = self.kept();
        let first = kept.front()?.seq;
        let place = usize::try_from(seq - first).ok()?;
        kept.get(place).map(Arc::clone)
    }

    /// A batch from the tables, of a client that is further back than what is in memory: one, since many may be.
    async fn load(&self, after: i64) -> Result<Arc<EncodedBatch>, NoBatch> {
        let rows = self.0.store.stream_after(after, 1).await;
        let rows = rows.map_err(NoBatch::Unread)?;
        let mut events = StreamedEvents::new();
        let read = self.read_events(&rows, &mut events).await;
        read.map_err(NoBatch::Unread)?;
        let batch = rows.first().map(|row| row.shown(&events));
        let next = batch.filter(|batch| batch.seq == after + 1);
        next.map(|batch| Arc::new(EncodedBatch::of(batch)))
            .ok_or(NoBatch::Gone)
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<EncodedBatch>>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
