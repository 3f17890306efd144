//! The way into a batch: cached repeats leave at once, equal keys join, the rest waits in a lane for its commit.
//!
//! A caller that goes away changes nothing: what it brought travels with the lane, not with the caller. Every wait
//! has its end here: 503 at once when the queue is full, 409 for a key that is in flight for too long.

use super::{
    IngestError,
    flights::{Entered, Flights, Leading, Outcome},
    guard::StoreGuard,
    seen_cache::SeenCache,
};
use crate::backlog::{Backlog, PendingArrival};
use crate::event::{
    Accepted, Arrival, DedupeKey, InboxEntry,
    fingerprint::{Fingerprint, SALT_LEN},
};
use api::body::Reservation;
use contract::{Clock, EventId, RequestId, TypedId};
use contract::{Entropy, Ids};
use kit::{
    metrics::Metrics,
    planted::{Bug, is_planted},
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
/// How long a caller waits for a commit of its key by somebody else, here or on another replica.
pub const JOIN_WITHIN: Duration = Duration::from_secs(2);

/// The front of the group commit. Clones share everything.
#[derive(Clone)]
pub struct Batcher(Arc<Shared>);

struct Shared {
    lanes: Vec<mpsc::Sender<Waiting>>,
    flights: Flights,
    seen: SeenCache,
    guard: StoreGuard,
    backlog: Backlog,
    origins: Origins,
}

/// Where instants, ids and salts come from.
#[derive(Clone)]
pub struct Origins {
    /// When something came.
    pub clock: Arc<dyn Clock>,
    /// Our event ids.
    pub ids: Ids,
    /// Salts.
    pub entropy: Arc<dyn Entropy>,
}

/// What a request adds to what it brought.
#[derive(Debug)]
pub struct Brought {
    /// The request.
    pub request_id: RequestId,
    /// Stands in for the envelope's correlation id where that has none.
    pub correlation_id: RequestId,
    /// The place of the body in the budget of all bodies, kept until its commit.
    pub held: Option<Reservation>,
}

/// One entry on its way through a lane.
pub(super) struct Waiting {
    pub(super) entry: Arc<InboxEntry>,
    pub(super) leading: Leading,
    pub(super) since: Instant,
    _pending: PendingArrival,
    _held: Option<Reservation>,
}

impl Waiting {
    /// What it adds to a batch's size.
    pub(super) fn bytes(&self) -> usize {
        self.entry.arrival.body.len()
    }
}

impl Batcher {
    /// A front over `lanes` queues of `queue` entries in all; the other ends are for the lanes.
    pub(super) fn new(
        lanes: usize,
        queue: usize,
        seen: SeenCache,
        guard: StoreGuard,
        backlog: Backlog,
        origins: Origins,
    ) -> (Self, Vec<mpsc::Receiver<Waiting>>) {
        let (lanes, receivers) = (0..lanes)
            .map(|_| mpsc::channel(queue.div_ceil(lanes).max(1)))
            .unzip();
        let shared = Shared {
            lanes,
            flights: Flights::default(),
            seen,
            guard,
            backlog,
            origins,
        };
        (Self(Arc::new(shared)), receivers)
    }

    /// How many entries wait in the lanes.
    pub fn waiting(&self) -> usize {
        let waiting = |lane: &mpsc::Sender<Waiting>| lane.max_capacity() - lane.capacity();
        self.0.lanes.iter().map(waiting).sum()
    }

    /// Whether no lane has room. Whoever comes now would be told so in the end, after all the work of reading it.
    pub fn is_full(&self) -> bool {
        self.0.lanes.iter().all(|lane| lane.capacity() == 0)
    }

    /// Shows how many entries wait in the lanes as `ingest_queue_entries`.
    pub fn expose(&self, metrics: &Metrics) {
        let batcher = self.clone();
        let help = "Events that wait for a batch.";
        #[expect(clippy::cast_precision_loss, reason = "a queue has at most a million places")]
        let waiting = move || batcher.waiting() as f64;
        metrics.read_gauge("ingest_queue_entries", help, &[], waiting);
    }

    /// Brings one arrival to its commit, or to the row that stands under its key, and says which.
    ///
    /// # Errors
    /// As [`IngestError`] lists them; after any of them the event may still be committed, and the sender tries again.
    pub async fn accept(&self, arrival: Arrival, brought: Brought) -> Outcome {
        let key = Arc::new(arrival.dedupe_key());
        let joined_until = Instant::now() + JOIN_WITHIN;
        loop {
            if let Some(event_id) = self.0.seen.find(&key, &arrival.body) {
                return Ok(Accepted::Duplicate(event_id));
            }
            if self.0.guard.is_shut() {
                return Err(IngestError::Unavailable);
            }
            let flight = match self.0.flights.enter(Arc::clone(&key), &arrival.body) {
                Entered::Lead(leading, flight) => {
                    let event_id = self.queue(arrival, brought, leading);
                    if is_planted(Bug::AckBeforeCommit) {
                        return Ok(Accepted::New(event_id));
                    }
                    let landed = timeout_at(Instant::now() + ANSWER_WITHIN, flight.landed()).await;
                    return landed.unwrap_or(Err(IngestError::Unavailable));
                }
                Entered::Join(flight) => flight,
            };
            let is_same = flight.body == arrival.body;
            let landed = timeout_at(joined_until, flight.landed()).await;
            let Ok(outcome) = landed else {
                return Err(IngestError::InFlight);
            };
            if is_same {
                return outcome.map(Accepted::repeated);
            }
            // Another body under a key that is decided now: the database tells, and keeps the record of it.
        }
    }

    /// Puts it into the lane of its key, so that equal keys never meet in two transactions of this process.
    /// Answers the id that it gets if it is new.
    fn queue(&self, arrival: Arrival, brought: Brought, leading: Leading) -> EventId {
        let lane = lane_of(leading.key(), self.0.lanes.len());
        let entry = Arc::new(self.entry(arrival, &brought));
        let event_id = entry.event_id.clone();
        if is_planted(Bug::CacheAsTruth) {
            let fingerprint = entry.fingerprint;
            self.0
                .seen
                .committed(leading.key(), event_id.clone(), fingerprint);
        }
        let waiting = Waiting {
            entry,
            leading,
            since: Instant::now(),
            _pending: self.0.backlog.add_arrival(),
            _held: brought.held,
        };
        match self.0.lanes[lane].try_send(waiting) {
            Ok(()) => {}
            Err(TrySendError::Full(waiting)) => waiting.leading.land(Err(IngestError::Overloaded)),
            Err(TrySendError::Closed(waiting)) => waiting.leading.land(Err(IngestError::Unavailable)),
        }
        event_id
    }

    fn entry(&self, arrival: Arrival, brought: &Brought) -> InboxEntry {
        let origins = &self.0.origins;
        let mut salt = [0; SALT_LEN];
        origins.entropy.fill(&mut salt);
        let correlation_id = arrival.envelope.correlation_id.clone();
        InboxEntry {
            event_id: origins
                .ids
                .new_id(EventId::PREFIX)
                .parse()
                .expect("the ids we make are valid ids"),
            received_at: origins.clock.now(),
            fingerprint: Fingerprint::of(salt, &arrival.body),
            correlation_id: correlation_id.unwrap_or_else(|| brought.correlation_id.to_string()),
            request_id: brought.request_id.clone(),
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
