//! Gives dead letters back to the projector, run by run: one step, and a thin loop around it.
//!
//! A run is begun over HTTP and continued by whichever replica holds the lease, batch by batch. After each batch it rests for
//! as long as the batch took, and it waits while as many of a run's events wait for the projector as may: so a run of a
//! million dead letters leaves the live events their turn.

use crate::{
    backlog::Backlog,
    store::{RequeueBatch, Store},
};
use contract::Clock;
use db::{DbError, leases::Lease};
use futures::future::BoxFuture;
use kit::lifecycle::Lifecycle;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

/// How often to look for runs that were begun at another replica, or that another replica has left.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The rest after a batch is as long as the batch took, within these.
const REST_MIN: Duration = Duration::from_millis(5);
const REST_MAX: Duration = Duration::from_secs(1);
/// How soon to look again whether fewer events wait.
const LOOK_FOR_ROOM_EVERY: Duration = Duration::from_millis(20);
/// How long a batch waits for pending arrivals, where only one of all writers writes at a time.
const YIELD_MAX: Duration = Duration::from_millis(50);

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequeueStep {
    /// A batch of some run was committed.
    Worked,
    /// Of each run as many events wait for the projector as may.
    Full,
    /// Another replica holds the lease.
    Held,
    /// There is no run that is not at its end.
    Idle,
}

/// Continues the runs of all replicas, while it holds the lease.
pub struct Requeuer {
    store: Store,
    clock: Arc<dyn Clock>,
    backlog: Backlog,
    /// Unique to the process.
    owner: String,
    lease: Option<Lease>,
    begun: Arc<Notify>,
}

impl Requeuer {
    /// One that does nothing until it runs, or is stepped. `begun` wakes it after a run was begun here.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        backlog: Backlog,
        owner: String,
        begun: Arc<Notify>,
    ) -> Self {
        Self {
            store,
            clock,
            backlog,
            owner,
            lease: None,
            begun,
        }
    }

    /// Continues runs until a stop; then another replica may go on at once.
    pub fn run(mut self, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut failing = false;
            while !lifecycle.is_stopping() {
                // A run that is begun meanwhile is remembered.
                let begun = Arc::clone(&self.begun);
                if self.store.has_one_writer() {
                    self.backlog.wait_for_no_arrivals(YIELD_MAX).await;
                }
                let started = Instant::now();
                let step = self.step().await;
                if let Err(error) = &step
                    && !failing
                {
                    tracing::warn!(%error, "dead letters are not requeued, and tried later");
                }
                failing = step.is_err();
                let rest = match step {
                    Ok(RequeueStep::Worked) => started.elapsed().clamp(REST_MIN, REST_MAX),
                    Ok(RequeueStep::Full) => LOOK_FOR_ROOM_EVERY,
                    Ok(RequeueStep::Held | RequeueStep::Idle) | Err(_) => LOOK_EVERY,
                };
                let is_idle = rest == LOOK_EVERY;
                tokio::select! {
                    () = lifecycle.stopping() => {}
                    () = begun.notified(), if is_idle => {}
                    () = sleep(rest) => {}
                }
            }
            self.release().await;
        })
    }

    /// One batch of each run, if this replica gets the lease.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn step(&mut self) -> Result<RequeueStep, DbError> {
        let runs = self.store.running_requeues().await?;
        if runs.is_empty() {
            self.release().await;
            return Ok(RequeueStep::Idle);
        }
        if self.lease.is_none() {
            self.lease = self.store.claim_requeues(&self.owner, self.clock.now()).await?;
        }
        let Some(lease) = self.lease.clone() else {
            return Ok(RequeueStep::Held);
        };
        let mut step = RequeueStep::Full;
        let mut failed = None;
        for run in runs {
            let now = self.clock.now();
            let batch = match self.store.requeue_batch(&run, &lease, now).await {
                Ok(batch) => batch,
                // The others go on.
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            if let RequeueBatch::Worked(events) | RequeueBatch::Finished(events) = batch
                && events > 0
            {
                self.backlog.accepted(now);
            }
            match batch {
                RequeueBatch::Finished(_) => {
                    tracing::info!(requeue.id = run.id.as_str(), "dead letters are requeued");
                    step = RequeueStep::Worked;
                }
                RequeueBatch::Worked(_) | RequeueBatch::Overtaken => step = RequeueStep::Worked,
                RequeueBatch::Full => {}
                RequeueBatch::Lost => {
                    self.lease = None;
                    return Ok(RequeueStep::Held);
                }
            }
        }
        match failed {
            Some(error) if step == RequeueStep::Full => Err(error),
            _ => Ok(step),
        }
    }

    async fn release(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.store.release(lease).await.is_err()
        {
            tracing::debug!("the lease of requeues ends by itself");
        }
    }
}
