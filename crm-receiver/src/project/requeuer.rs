//! Gives dead letters back to the projector, run by run: one step, and a thin loop around it.
//!
//! A run is begun over HTTP and continued by whichever replica holds the lease, batch by batch, while few enough requeued events
//! wait for the projector: so it is as fast as these are applied, which gives a part of each of its batches to live events. After
//! a batch that has only looked at dead letters it rests for as long as that took.

use crate::{
    backlog::Backlog,
    store::{REQUEUE_LEASE, RequeueBatch, Store},
};
use contract::{Clock, RequeueId};
use db::{DbError, leases::Lease};
use futures::future::BoxFuture;
use kit::lifecycle::Lifecycle;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

/// How often to look for runs that were begun at another replica, or that another replica has left.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The rest after a batch that requeued nothing is as long as the batch took, within these. One that did is held up by what waits.
const REST_MIN: Duration = Duration::from_millis(5);
const REST_MAX: Duration = Duration::from_secs(1);
/// How soon to look again whether fewer events wait, unless a projector of this process goes on with some of them before: after a
/// quarter of the time since which as many do, within these. So little of another replica's time is lost, and few looks are made
/// where events wait for their next tries.
const LOOK_FOR_ROOM_PART: u32 = 4;
const LOOK_FOR_ROOM_MIN: Duration = Duration::from_millis(20);
const LOOK_FOR_ROOM_MAX: Duration = Duration::from_secs(1);
/// How long before its end the lease is renewed while nothing is requeued.
const RENEW_BEFORE_MILLIS: i64 = REQUEUE_LEASE.as_millis() as i64 / 2;

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequeueStep {
    /// A batch of some run was committed, with events that were requeued.
    Worked,
    /// None of the dead letters that were looked at is to be requeued, or the run was ended meanwhile.
    Looked,
    /// So many requeued events wait for the projector, and there is no room for a batch more.
    Full(usize),
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
    /// Whether the list of requeued events that wait may have any.
    is_listed: bool,
    begun: Arc<Notify>,
    /// Runs whose last batch failed, which is logged once.
    failing: BTreeSet<RequeueId>,
}

/// The pauses while too many events wait.
#[derive(Default)]
struct LookForRoom {
    waiting: usize,
    /// How long as many have waited.
    since: Duration,
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
            is_listed: true,
            begun,
            failing: BTreeSet::new(),
        }
    }

    /// Continues runs until a stop; then another replica may go on at once.
    pub fn run(mut self, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut failing = false;
            let mut room = LookForRoom::default();
            while !lifecycle.is_stopping() {
                // A run that is begun meanwhile is remembered.
                let begun = Arc::clone(&self.begun);
                let backlog = self.backlog.clone();
                let started = Instant::now();
                let step = self.step().await;
                // The failure of a run is logged with it.
                if let Err(error) = &step
                    && !failing
                    && self.failing.is_empty()
                {
                    tracing::warn!(%error, "dead letters are not requeued, and tried later");
                }
                failing = step.is_err();
                let rest = match &step {
                    Ok(RequeueStep::Worked) => {
                        room = LookForRoom::default();
                        LOOK_FOR_ROOM_MIN
                    }
                    Ok(RequeueStep::Looked) => started.elapsed().clamp(REST_MIN, REST_MAX),
                    Ok(RequeueStep::Full(waiting)) => room.pause(*waiting),
                    Ok(RequeueStep::Held | RequeueStep::Idle) | Err(_) => LOOK_EVERY,
                };
                let is_idle = matches!(step, Ok(RequeueStep::Held | RequeueStep::Idle) | Err(_));
                let some_wait = matches!(step, Ok(RequeueStep::Worked | RequeueStep::Full(_)));
                let resting = Instant::now();
                tokio::select! {
                    () = lifecycle.stopping() => {}
                    () = begun.notified(), if is_idle => {}
                    () = backlog.next_requeued_taken(), if some_wait => {}
                    () = sleep(rest) => {}
                }
                room.rested(resting.elapsed());
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
        self.failing.retain(|id| runs.iter().any(|run| run.id == *id));
        if runs.is_empty() {
            // What the last run requeued is on the list until it is decided.
            if self.is_listed && self.store.forget_decided_requeued().await? == 0 {
                self.is_listed = false;
            }
            self.release().await;
            return Ok(RequeueStep::Idle);
        }
        self.is_listed = true;
        if self.lease.is_none() {
            self.lease = self.store.claim_requeues(&self.owner, self.clock.now()).await?;
        }
        let Some(lease) = self.lease.clone() else {
            return Ok(RequeueStep::Held);
        };
        let mut step = None;
        let mut failed = None;
        for run in runs {
            let now = self.clock.now();
            let batch = match self.store.requeue_batch(&run, &lease, now).await {
                Ok(batch) => batch,
                // The others go on.
                Err(error) => {
                    if self.failing.insert(run.id.clone()) {
                        let requeue = run.id.as_str();
                        tracing::warn!(%error, requeue.id = requeue, "a run fails, and is tried again");
                    }
                    failed = Some(error);
                    continue;
                }
            };
            self.failing.remove(&run.id);
            match batch {
                RequeueBatch::Finished(_) => {
                    tracing::info!(requeue.id = run.id.as_str(), "dead letters are requeued");
                }
                RequeueBatch::Worked(_) | RequeueBatch::Overtaken => {}
                // There is no room for the others either.
                RequeueBatch::Full(waiting) => {
                    step = step.or(Some(RequeueStep::Full(waiting)));
                    break;
                }
                RequeueBatch::Lost => {
                    self.lease = None;
                    return Ok(RequeueStep::Held);
                }
            }
            if batch.requeued() > 0 {
                self.backlog.requeued(now);
                step = Some(RequeueStep::Worked);
            } else {
                step = step.or(Some(RequeueStep::Looked));
            }
        }
        match (step, failed) {
            (Some(RequeueStep::Full(waiting)), _) => self.keep_lease(lease, waiting).await,
            (Some(step), _) => Ok(step),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(RequeueStep::Idle),
        }
    }

    /// Renews the lease, which batches do else, so that another replica does not take it while too many events wait.
    async fn keep_lease(&mut self, lease: Lease, waiting: usize) -> Result<RequeueStep, DbError> {
        let now = self.clock.now();
        if lease.until.0 - now.0 < RENEW_BEFORE_MILLIS {
            self.lease = self.store.renew_requeues(&lease, now).await?;
        }
        Ok(match self.lease {
            Some(_) => RequeueStep::Full(waiting),
            None => RequeueStep::Held,
        })
    }

    async fn release(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.store.release(lease).await.is_err()
        {
            tracing::debug!("the lease of requeues ends by itself");
        }
    }
}

impl LookForRoom {
    /// The pause after a look that found so many.
    fn pause(&mut self, waiting: usize) -> Duration {
        if waiting != self.waiting {
            (self.waiting, self.since) = (waiting, Duration::ZERO);
        }
        (self.since / LOOK_FOR_ROOM_PART).clamp(LOOK_FOR_ROOM_MIN, LOOK_FOR_ROOM_MAX)
    }

    /// So long was the pause in fact: a projector that takes some ends it.
    fn rested(&mut self, time: Duration) {
        self.since = self.since.saturating_add(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_while_as_many_wait() {
        let mut room = LookForRoom::default();
        let mut pauses = |waiting| {
            [(); 6].map(|()| {
                let pause = room.pause(waiting);
                room.rested(pause);
                pause.as_millis()
            })
        };
        assert_eq!(pauses(200), [20, 20, 20, 20, 20, 25]);
        assert_eq!(pauses(150), [20, 20, 20, 20, 20, 25]);
        room.rested(4 * LOOK_FOR_ROOM_MAX);
        assert_eq!(room.pause(150), LOOK_FOR_ROOM_MAX);
        assert_eq!(room.pause(100), LOOK_FOR_ROOM_MIN);
    }
}
