//! The dispatchers of all endpoints: one each, begun when its endpoint first has something due.
//!
//! They are woken by what the fan-out has queued, endpoint by endpoint, and by a look at the tables from time to time: for
//! retries that fall due, and for what other replicas queue. The look is one statement over all endpoints, so one that is idle
//! costs nothing but its probe of an index.

use super::{operation::Operation, outage::Outage, parts::DispatcherParts, worker::Dispatcher};
use crate::store::{DueEndpoints, Queued};
use contract::id::EndpointId;
use db::DbError;
use kit::lifecycle::Lifecycle;
use std::collections::HashMap;
use std::panic;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Runs the dispatchers.
pub struct Dispatchers {
    parts: Arc<DispatcherParts>,
    queued: Queued,
    running: HashMap<EndpointId, Running>,
    tasks: JoinSet<()>,
    look: Operation<Result<DueEndpoints, DbError>>,
    cancelling: Operation<Result<bool, DbError>>,
    outage: Outage,
}

/// The dispatcher of one endpoint.
#[derive(Default)]
struct Running {
    waker: Arc<Notify>,
    /// Its endpoint was deleted.
    ended: CancellationToken,
}

impl Dispatchers {
    /// None is begun yet. `queued` names the endpoints that the fan-out has queued something for.
    pub fn new(parts: Arc<DispatcherParts>, queued: Queued) -> Self {
        Self {
            parts,
            queued,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            look: Operation::new(),
            cancelling: Operation::new(),
            outage: Outage::default(),
        }
    }

    /// What the dispatchers share.
    pub fn parts(&self) -> Arc<DispatcherParts> {
        Arc::clone(&self.parts)
    }

    /// Delivers until a stop; then each finishes what it has begun.
    pub async fn run(mut self, lifecycle: Lifecycle) {
        let mut look_at = Instant::now();
        while !lifecycle.is_stopping() {
            tokio::select! {
                biased;
                () = lifecycle.stopping() => {}
                () = self.queued.changed() => {
                    for endpoint in self.queued.take() {
                        self.wake(&endpoint, &lifecycle);
                    }
                }
                looked = self.look.ended() => {
                    self.looked(looked, &lifecycle);
                    look_at = Instant::now() + self.parts.delivery.look_every;
                }
                cancelled = self.cancelling.ended() => self.cancelled(cancelled),
                () = sleep_until(look_at), if !self.look.is_running() => self.begin_look(),
                Some(ended) = self.tasks.join_next() => checked(ended),
            }
        }
        while let Some(ended) = self.tasks.join_next().await {
            checked(ended);
        }
    }

    fn begin_look(&mut self) {
        let (store, now) = (self.parts.store.clone(), self.parts.clock.now());
        self.look.begin(async move { store.endpoints_due(now).await });
        if self.cancelling.may_begin(Instant::now()) {
            self.begin_cancelling();
        }
    }

    fn begin_cancelling(&mut self) {
        let (store, now) = (self.parts.store.clone(), self.parts.clock.now());
        self.cancelling
            .begin(async move { store.cancel_deliveries(now).await });
    }

    fn cancelled(&mut self, cancelled: Result<bool, DbError>) {
        match cancelled {
            Ok(true) => self.begin_cancelling(),
            Ok(false) => {}
            Err(error) => {
                self.outage.failed(&error);
                self.cancelling.pause();
            }
        }
    }

    /// Wakes those that have something due, and those whose breaker another replica may have opened: they give back what they have
    /// claimed and not begun.
    fn looked(&mut self, looked: Result<DueEndpoints, DbError>, lifecycle: &Lifecycle) {
        match looked {
            Ok(found) => {
                self.outage.is_over();
                for endpoint in found.due {
                    self.wake(&endpoint, lifecycle);
                }
                let refused = found.refused.iter();
                for running in refused.filter_map(|endpoint| self.running.get(endpoint)) {
                    running.waker.notify_one();
                }
                for endpoint in found.deleted {
                    if let Some(running) = self.running.remove(&endpoint) {
                        running.ended.cancel();
                        self.parts.breakers.remove(&endpoint);
                    }
                }
            }
            Err(error) => self.outage.failed(&error),
        }
    }

    /// Wakes the dispatcher of an endpoint, which is begun if there is none. It keeps a wake-up that comes while it is busy.
    fn wake(&mut self, endpoint: &EndpointId, lifecycle: &Lifecycle) {
        if let Some(running) = self.running.get(endpoint) {
            return running.waker.notify_one();
        }
        let running = Running::default();
        let offers = self.queued.immediate();
        let dispatcher = Dispatcher::new(endpoint, &self.parts, Arc::clone(&running.waker), offers);
        self.tasks
            .spawn(dispatcher.run(lifecycle.clone(), running.ended.clone()));
        self.running.insert(endpoint.clone(), running);
    }
}

/// A dispatcher that panicked made a mistake of ours: the process stops, and what it held is taken over after its lease.
fn checked(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && let Ok(panicked) = error.try_into_panic()
    {
        panic::resume_unwind(panicked);
    }
}
