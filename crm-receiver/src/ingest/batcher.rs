//! Puts arrivals into batches: cached repeats are answered at once, equal keys wait for the first of them, the rest
//! waits in a lane's queue for its commit.
//!
//! A caller that goes away changes nothing: its arrival stays in the queue and is committed. Every wait ends: 503 at
//! once when the queue is full, 429 when its source has its share of it, 409 for a key that is pending for too long.

use super::{
    IngestError,
    guard::StoreGuard,
    queue_share::{LaneQueue, QueuePlace},
    seen_cache::SeenCache,
    singleflight::{AcceptResult, Entered, Leader, Singleflight},
    source::Sender,
};
use crate::backlog::{Backlog, PendingArrival};
use crate::event::{
    Accepted, Arrival, DedupeKey, InboxEntry,
    fingerprint::{Fingerprint, SALT_LEN},
};
use api::{RequestContext, body::Reservation};
use contract::{EventId, Ids, TypedId};
use kit::{
    metrics::Metrics,
    planted::{Bug, is_planted},
    random::Runtime,
};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::{Instant, timeout_at},
};

/// How long a caller waits for its own commit; the sender's own time-out is longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a caller waits for a commit of its key by another request, here or on another replica.
pub const JOIN_WITHIN: Duration = Duration::from_secs(2);

/// Accepts arrivals and answers after their commit. Clones share everything.
#[derive(Clone)]
pub struct Batcher(Arc<Shared>);

struct Shared {
    lanes: Vec<LaneSender>,
    singleflight: Singleflight,
    seen: SeenCache,
    guard: StoreGuard,
    backlog: Backlog,
    runtime: Runtime,
    ids: Ids,
}

/// Where entries go into a lane's queue.
struct LaneSender {
    queue: Arc<LaneQueue>,
    sender: mpsc::Sender<QueuedEntry>,
}

/// One entry in a lane's queue, or in its batch.
pub(super) struct QueuedEntry {
    pub(super) entry: Arc<InboxEntry>,
    pub(super) leader: Leader,
    pub(super) since: Instant,
    /// Until it is committed.
    pub(super) place: QueuePlace,
    _pending: PendingArrival,
    _reservation: Option<Reservation>,
}

impl QueuedEntry {
    /// The same, no longer in the queue.
    pub(super) fn taken_out(mut self) -> Self {
        self.place.leave_queue();
        self
    }

    /// Gives its place back, and then answers: the sender may have nothing else there, and send the next one at once.
    pub(super) fn complete(self, result: AcceptResult) {
        let Self { place, leader, .. } = self;
        drop(place);
        leader.complete(result);
    }

    /// What it adds to a batch's size.
    pub(super) fn bytes(&self) -> usize {
        self.entry.arrival.body.len()
    }
}

impl Batcher {
    /// A batcher over `lanes` queues of `queue` entries in all; the other ends of the queues are for the lanes.
    pub(super) fn new(
        lanes: usize,
        queue: usize,
        seen: SeenCache,
        guard: StoreGuard,
        backlog: Backlog,
        runtime: &Runtime,
    ) -> (Self, Vec<mpsc::Receiver<QueuedEntry>>) {
        let capacity = queue.div_ceil(lanes).max(1);
        let lane = |lane| {
            let (sender, receiver) = mpsc::channel(capacity);
            let queue = Arc::new(LaneQueue::new(lane, capacity));
            (LaneSender { queue, sender }, receiver)
        };
        let (lanes, receivers) = (0..lanes).map(lane).unzip();
        let shared = Shared {
            lanes,
            singleflight: Singleflight::default(),
            seen,
            guard,
            backlog,
            runtime: runtime.clone(),
            ids: runtime.ids(),
        };
        (Self(Arc::new(shared)), receivers)
    }

    /// How many entries wait in the lanes.
    pub fn waiting(&self) -> usize {
        self.0.lanes.iter().map(|lane| lane.queue.waiting()).sum()
    }

    /// Whether every queue is full. A delivery would be refused for it in the end, after all the work of reading it.
    pub fn is_full(&self) -> bool {
        self.0.lanes.iter().all(|lane| lane.queue.is_full())
    }

    /// Refuses what is authentic of a source that has its share of every queue, before the work of parsing it.
    ///
    /// # Errors
    /// `OverShare`.
    pub fn check_share(&self, sender: &Sender) -> Result<(), IngestError> {
        let mut lanes = self.0.lanes.iter();
        if lanes.all(|lane| sender.has_its_share(&lane.queue)) {
            return Err(IngestError::OverShare);
        }
        Ok(())
    }

    /// Whether the database counts as unavailable.
    pub fn is_shut(&self) -> bool {
        self.0.guard.is_shut()
    }

    /// Shows how many entries wait in the lanes as `ingest_queue_entries`.
    pub fn expose(&self, metrics: &Metrics) {
        let batcher = self.clone();
        let help = "Events that wait for a batch.";
        #[expect(clippy::cast_precision_loss, reason = "a queue has at most a million places")]
        let waiting = move || batcher.waiting() as f64;
        metrics.read_gauge("ingest_queue_entries", help, &[], waiting);
    }

    /// Commits one arrival, or finds the existing row of its key, and returns which. `reservation` is the body's share in
    /// the memory budget of all bodies, kept until the commit; the `context` is that of the request, `sender` that of the
    /// arrival.
    ///
    /// # Errors
    /// As [`IngestError`] lists them; after any of them the event may still be committed, and the sender tries again.
    pub async fn accept(
        &self,
        arrival: Box<Arrival>,
        sender: &Sender,
        context: &RequestContext,
        reservation: Option<Reservation>,
    ) -> AcceptResult {
        let key = Arc::new(arrival.dedupe_key());
        let follow_until = Instant::now() + JOIN_WITHIN;
        loop {
            if let Some(event_id) = self.0.seen.find(&key, &arrival.body) {
                return Ok(Accepted::Duplicate(event_id));
            }
            if self.0.guard.is_shut() {
                return Err(IngestError::Unavailable);
            }
            let waiter = match self.0.singleflight.enter(Arc::clone(&key), &arrival.body) {
                Entered::Leader(leader, own) => {
                    let event_id = self.queue((arrival, sender), context, reservation, leader);
                    if is_planted(Bug::AckBeforeCommit) {
                        return Ok(Accepted::New(event_id));
                    }
                    let result = timeout_at(Instant::now() + ANSWER_WITHIN, own.completed()).await;
                    return result.unwrap_or(Err(IngestError::Unavailable));
                }
                Entered::Follower(waiter) => waiter,
            };
            let is_same = waiter.body == arrival.body;
            let completed = timeout_at(follow_until, waiter.completed()).await;
            let Ok(result) = completed else {
                return Err(IngestError::InFlight);
            };
            if is_same {
                return result.map(Accepted::repeated);
            }
            // Another body under a key that is decided by now: the database says so, and the audit log keeps it.
        }
    }

    /// Puts it into the lane of its key, so that equal keys never meet in two transactions of this process.
    /// Answers the id that it gets if it is new.
    fn queue(
        &self,
        (arrival, sender): (Box<Arrival>, &Sender),
        context: &RequestContext,
        reservation: Option<Reservation>,
        leader: Leader,
    ) -> EventId {
        let lane = lane_of(leader.key(), self.0.lanes.len());
        let entry = Arc::new(self.entry(*arrival, context));
        let event_id = entry.event_id.clone();
        if is_planted(Bug::CacheAsTruth) {
            let fingerprint = entry.fingerprint;
            self.0.seen.committed(leader.key(), event_id.clone(), fingerprint);
        }
        let LaneSender {
            queue,
            sender: channel,
        } = &self.0.lanes[lane];
        let place = match sender.take_place(queue) {
            Ok(place) => place,
            Err(error) => {
                leader.complete(Err(error));
                return event_id;
            }
        };
        let queued = QueuedEntry {
            entry,
            leader,
            since: Instant::now(),
            place,
            _pending: self.0.backlog.add_arrival(),
            _reservation: reservation,
        };
        // It has room: each entry in it has a place.
        match channel.try_send(queued) {
            Ok(()) => {}
            Err(TrySendError::Full(queued)) => queued.leader.complete(Err(IngestError::Overloaded)),
            Err(TrySendError::Closed(queued)) => queued.leader.complete(Err(IngestError::Unavailable)),
        }
        event_id
    }

    fn entry(&self, arrival: Arrival, context: &RequestContext) -> InboxEntry {
        let mut salt = [0; SALT_LEN];
        self.0.runtime.entropy.fill(&mut salt);
        let correlation_id = arrival.envelope.correlation_id.clone();
        InboxEntry {
            event_id: self
                .0
                .ids
                .new_id(EventId::PREFIX)
                .parse()
                .expect("the ids we make are valid ids"),
            received_at: self.0.runtime.clock.now(),
            fingerprint: Fingerprint::of(salt, &arrival.body),
            correlation_id: correlation_id.unwrap_or_else(|| context.correlation_id.to_string()),
            request_id: context.request_id.clone(),
            arrival,
        }
    }
}

fn lane_of(key: &DedupeKey, lanes: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let lanes = u64::try_from(lanes).expect("a handful of lanes");
    usize::try_from(hasher.finish() % lanes).expect("smaller than the number of lanes")
}
