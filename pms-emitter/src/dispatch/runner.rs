//! Carries out the runs that have deliveries made again: one step, and a thin loop around it.
//!
//! A run is begun over HTTP and continued by whichever replica holds the lease, batch by batch, while few enough of its deliveries
//! wait: so it is as fast as its endpoint takes them, and a paused or failing endpoint holds it up and no other run.

use crate::store::{Queued, RUN_LEASE, RunBatch, Store};
use contract::{Clock, id::RunId};
use db::{DbError, leases::Lease};
use futures::future::BoxFuture;
use kit::lifecycle::Lifecycle;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::Notify, time::sleep};

/// How often to look for runs that were begun at another replica, or that another replica has left.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The pause between batches.
const REST: Duration = Duration::from_millis(5);
/// How soon to look again whether fewer deliveries wait: first, and at most. It doubles while as many do.
const ROOM_PAUSE_MIN: Duration = Duration::from_millis(20);
const ROOM_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long before its end the lease is renewed while nothing is made due.
const RENEW_BEFORE_MS: i64 = RUN_LEASE.as_millis() as i64 / 2;

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStep {
    /// A batch of some run was committed, or a run has ended.
    Worked,
    /// So many deliveries of all runs wait, and no run has room for a batch more.
    Full(usize),
    /// Another replica holds the lease.
    Held,
    /// There is no run that is not at its end.
    Idle,
}

/// Continues the runs of all replicas, while it holds the lease.
pub struct Runner {
    store: Store,
    clock: Arc<dyn Clock>,
    /// Unique to the process.
    owner: String,
    queued: Queued,
    begun: Arc<Notify>,
    lease: Option<Lease>,
    /// Runs whose last batch failed, which is logged once.
    failing: BTreeSet<RunId>,
}

impl Runner {
    /// One that does nothing until it runs, or is stepped. `begun` wakes it after a run was begun here, and it wakes the dispatchers
    /// of those that it makes something due for.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        owner: String,
        queued: Queued,
        begun: Arc<Notify>,
    ) -> Self {
        Self {
            store,
            clock,
            owner,
            queued,
            begun,
            lease: None,
            failing: BTreeSet::new(),
        }
    }

    /// Continues runs until a stop; then another replica may go on at once.
    pub fn run(mut self, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let (mut failing, mut full, mut pause) = (false, 0, ROOM_PAUSE_MIN);
            while !lifecycle.is_stopping() {
                // A run that is begun meanwhile is remembered.
                let begun = Arc::clone(&self.begun);
                let step = self.step().await;
                // The failure of a run is logged with it.
                if let Err(error) = &step
                    && !failing
                    && self.failing.is_empty()
                {
                    tracing::warn!(%error, "runs of deliveries wait for the database");
                }
                failing = step.is_err();
                let rest = match step {
                    Ok(RunStep::Worked) => REST,
                    Ok(RunStep::Full(waiting)) => {
                        pause = if waiting == full {
                            (2 * pause).min(ROOM_PAUSE_MAX)
                        } else {
                            ROOM_PAUSE_MIN
                        };
                        full = waiting;
                        pause
                    }
                    Ok(RunStep::Held | RunStep::Idle) | Err(_) => LOOK_EVERY,
                };
                tokio::select! {
                    () = lifecycle.stopping() => {}
                    () = begun.notified() => {}
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
    pub async fn step(&mut self) -> Result<RunStep, DbError> {
        let runs = self.store.runs_in_progress().await?;
        self.failing.retain(|id| runs.iter().any(|run| run.id == *id));
        if runs.is_empty() {
            self.release().await;
            return Ok(RunStep::Idle);
        }
        if self.lease.is_none() {
            self.lease = self.store.claim_runs(&self.owner, self.clock.now()).await?;
        }
        let Some(lease) = self.lease.clone() else {
            return Ok(RunStep::Held);
        };
        let (mut worked, mut waiting, mut failed) = (false, 0, None);
        for run in runs {
            match self.store.run_batch(&run, &lease, self.clock.now()).await {
                Ok(RunBatch::Full(of_run)) => waiting += of_run,
                Ok(RunBatch::Lost) => {
                    self.lease = None;
                    return Ok(RunStep::Held);
                }
                Ok(batch) => {
                    worked = true;
                    self.failing.remove(&run.id);
                    if matches!(batch, RunBatch::Finished(_) | RunBatch::Cancelled) {
                        tracing::info!(run.id = run.id.as_str(), "a run of deliveries has ended");
                    }
                    if let RunBatch::Worked(1..) | RunBatch::Finished(1..) = batch {
                        self.queued.wake(&run.endpoint);
                    }
                }
                // The others go on.
                Err(error) => {
                    if self.failing.insert(run.id.clone()) {
                        tracing::warn!(%error, run.id = run.id.as_str(), "a run of deliveries fails, and is tried again");
                    }
                    failed = Some(error);
                }
            }
        }
        match failed {
            _ if worked => Ok(RunStep::Worked),
            Some(error) => Err(error),
            None => self.keep_lease(lease, waiting).await,
        }
    }

    /// Renews the lease, which batches do else, so that another replica does not take it while too many deliveries wait.
    async fn keep_lease(&mut self, lease: Lease, waiting: usize) -> Result<RunStep, DbError> {
        let now = self.clock.now();
        if lease.until.0 - now.0 < RENEW_BEFORE_MS {
            self.lease = self.store.renew_runs(&lease, now).await?;
        }
        Ok(match self.lease {
            Some(_) => RunStep::Full(waiting),
            None => RunStep::Held,
        })
    }

    async fn release(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.store.release_runs(lease).await.is_err()
        {
            tracing::debug!("the lease of runs ends by itself");
        }
    }
}
