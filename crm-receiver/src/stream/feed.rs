//! The batches of the stream, read once for all clients of a process, and only while it has any.

use super::message::EncodedBatch;
use crate::{
    backlog::Backlog,
    store::{Store, StreamRow, StreamedEvents},
};
use db::DbError;
use futures::future::BoxFuture;
use kit::{
    lifecycle::Lifecycle,
    metrics::{Counter, Metrics},
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

/// Clients of one process at a time.
pub const CLIENTS_MAX: usize = 100;
/// Those of one API key, so that the others have a place.
pub const CLIENTS_OF_ONE_MAX: usize = 10;
/// The last batches, which are in memory while there are clients.
const KEPT_BATCHES: usize = 16;
/// Events that were received lately and are not decided yet, of which the rows are kept: more are read again.
const KEPT_EVENTS: usize = 4_096;
/// Batches of one read, of those that are new.
const READ_BATCHES: u32 = 8;
/// How often to look for new batches without a wake-up: another process may have given the places.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a read waits for a moment without pending arrivals, which go first: under a load without an end the stream falls behind,
/// as the projector does.
const YIELD_MAX: Duration = Duration::from_millis(200);
/// How long to wait after a failure.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// The batches of the stream. Clones share everything.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    store: Store,
    backlog: Backlog,
    /// Without gaps, the last ones.
    kept: Mutex<VecDeque<Arc<EncodedBatch>>>,
    /// Those that were read for clients that are further back.
    loaded: LoadedBatches,
    /// The last batch that was read.
    last: watch::Sender<i64>,
    clients: Arc<Mutex<Clients>>,
    /// Signalled when there is a client.
    entered: Notify,
    cut: Counter,
}

/// How many clients there are.
#[derive(Default)]
struct Clients {
    in_all: usize,
    /// By the id of their API key; none has 0.
    of_each: HashMap<Arc<str>, usize>,
}

/// One of the [`CLIENTS_MAX`] places, while it is held.
pub(super) struct ClientPlace {
    clients: Arc<Mutex<Clients>>,
    caller: Arc<str>,
}

/// Batches that some client holds: several that go through the same past share them.
#[derive(Default)]
struct LoadedBatches(Mutex<HashMap<i64, Weak<EncodedBatch>>>);

/// Why there is no next batch.
#[derive(Debug)]
pub(super) enum NoBatch {
    /// It was purged: what comes next is not what comes next in the stream.
    Gone,
    /// The node of the database that was asked does not have it yet.
    Late,
    /// It cannot be read at present.
    Unread(DbError),
}

impl Feed {
    /// A feed that reads nothing until it runs.
    pub fn new(store: Store, backlog: Backlog, metrics: &Metrics) -> Self {
        let clients = Arc::<Mutex<Clients>>::default();
        let counted = Arc::clone(&clients);
        #[expect(clippy::cast_precision_loss, reason = "there are a hundred at most")]
        let count = move || lock(&counted).in_all as f64;
        metrics.read_gauge("stream_clients", "Clients of the live stream.", &[], count);
        let help = "Clients of the live stream that were cut off because they did not read.";
        Self(Arc::new(Shared {
            store,
            backlog,
            kept: Mutex::default(),
            loaded: LoadedBatches::default(),
            last: watch::Sender::new(0),
            clients,
            entered: Notify::new(),
            cut: metrics.counter("stream_clients_cut_total", help, &[]),
        }))
    }

    /// Whether there is a place for one more client of a caller.
    pub(super) fn has_place(&self, caller: &Arc<str>) -> bool {
        lock(&self.0.clients).has_place(caller)
    }

    /// A place for one more client of a caller, if there is one.
    pub(super) fn enter(&self, caller: &Arc<str>) -> Option<ClientPlace> {
        let place = ClientPlace::of(&self.0.clients, caller)?;
        self.0.entered.notify_one();
        Some(place)
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
                if lock(&self.0.clients).in_all == 0 {
                    last = None;
                    known = StreamedEvents::new();
                    self.kept().clear();
                    tokio::select! {
                        () = lifecycle.stopping() => {}
                        () = self.0.entered.notified() => {}
                    }
                    continue;
                }
                self.0.backlog.wait_for_no_arrivals(YIELD_MAX).await;
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
        if let Some(batch) = self.0.loaded.get(after + 1) {
            return Ok(batch);
        }
        let rows = self.0.store.stream_after(after, 1).await;
        let rows = rows.map_err(NoBatch::Unread)?;
        let row = next_of(after, rows.first(), |row| row.seq)?;
        let mut events = StreamedEvents::new();
        let read = self.read_events(&rows, &mut events).await;
        read.map_err(NoBatch::Unread)?;
        Ok(self.0.loaded.share(EncodedBatch::of(row.shown(&events))))
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<EncodedBatch>>> {
        lock(&self.0.kept)
    }
}

impl Clients {
    fn has_place(&self, caller: &Arc<str>) -> bool {
        let of_caller = self.of_each.get(caller).copied().unwrap_or_default();
        self.in_all < CLIENTS_MAX && of_caller < CLIENTS_OF_ONE_MAX
    }
}

impl ClientPlace {
    fn of(clients: &Arc<Mutex<Clients>>, caller: &Arc<str>) -> Option<Self> {
        let mut counted = lock(clients);
        if !counted.has_place(caller) {
            return None;
        }
        counted.in_all += 1;
        *counted.of_each.entry(Arc::clone(caller)).or_default() += 1;
        Some(Self {
            clients: Arc::clone(clients),
            caller: Arc::clone(caller),
        })
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let mut clients = lock(&self.clients);
        clients.in_all -= 1;
        if let Some(count) = clients.of_each.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                clients.of_each.remove(&self.caller);
            }
        }
    }
}

impl LoadedBatches {
    fn get(&self, seq: i64) -> Option<Arc<EncodedBatch>> {
        lock(&self.0).get(&seq)?.upgrade()
    }

    /// The batch, or the same one that another client has loaded meanwhile.
    fn share(&self, batch: EncodedBatch) -> Arc<EncodedBatch> {
        let mut loaded = lock(&self.0);
        // So there are no more than clients.
        loaded.retain(|_, batch| batch.strong_count() > 0);
        if let Some(other) = loaded.get(&batch.seq).and_then(Weak::upgrade) {
            return other;
        }
        let batch = Arc::new(batch);
        loaded.insert(batch.seq, Arc::downgrade(&batch));
        batch
    }
}

/// The first row that was found behind a place, if it is the very next. Where there is none the node is behind: a later one would
/// be there if this one were purged.
fn next_of<T>(after: i64, first: Option<T>, seq: impl Fn(&T) -> i64) -> Result<T, NoBatch> {
    let row = first.ok_or(NoBatch::Late)?;
    if seq(&row) == after + 1 {
        Ok(row)
    } else {
        Err(NoBatch::Gone)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_leaves_places_to_the_others() {
        let clients = Arc::<Mutex<Clients>>::default();
        let callers: Vec<Arc<str>> = (0..=CLIENTS_MAX / CLIENTS_OF_ONE_MAX)
            .map(|number| format!("key_{number}").into())
            .collect();
        let mut places = Vec::new();
        for caller in &callers[1..] {
            for _ in 0..CLIENTS_OF_ONE_MAX {
                places.push(ClientPlace::of(&clients, caller).unwrap());
            }
            assert!(ClientPlace::of(&clients, caller).is_none());
        }
        assert!(ClientPlace::of(&clients, &callers[0]).is_none(), "all are taken");
        drop(places.pop());
        places.push(ClientPlace::of(&clients, &callers[0]).unwrap());
        places.clear();
        let clients = lock(&clients);
        assert_eq!((clients.in_all, clients.of_each.len()), (0, 0));
    }

    #[test]
    fn what_several_clients_read_is_in_memory_once() {
        let loaded = LoadedBatches::default();
        let batch = |seq| EncodedBatch {
            seq,
            messages: Vec::new(),
        };
        let (one, other) = (loaded.share(batch(1)), loaded.share(batch(1)));
        assert!(Arc::ptr_eq(&one, &other) && Arc::ptr_eq(&one, &loaded.get(1).unwrap()));
        drop((one, other));
        assert!(loaded.get(1).is_none());
        let _held = loaded.share(batch(2));
        assert_eq!(lock(&loaded.0).len(), 1, "what nobody holds is forgotten");
    }

    #[test]
    fn a_node_that_has_nothing_further_is_behind_and_one_with_a_later_batch_has_lost_this_one() {
        let next = |first| next_of(7, first, |seq| *seq);
        assert!(matches!(next(Some(8)), Ok(8)));
        assert!(matches!(next(Some(9)), Err(NoBatch::Gone)));
        assert!(matches!(next(None), Err(NoBatch::Late)));
    }
}
