//! The purge: one step, and a thin loop around it.
//!
//! It takes a batch of each of its targets in turn, so that a target with much to delete holds up no other; dead deliveries that a
//! person drops go first, since what they kept goes with the others. After each batch it rests for several times as long as the batch
//! took, so that writes, the fan-out and deliveries keep their rates. When a purge was last at its end stands in the tables: a service
//! that is started often purges no more often, and no less.

use super::{ByHand, PurgeTally, Retention};
use crate::store::{PURGE_LEASE, PurgeBefore, PurgePosition, PurgeTarget, Purged, Store, set_at_most};
use contract::{Clock, UnixMillis};
use db::{DbError, leases::Lease};
use futures::future::BoxFuture;
use kit::{
    lifecycle::Lifecycle,
    metrics::{Counter, Metrics},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use strum::VariantArray;
use tokio::time::{Instant, sleep};

/// From the end of one purge to the next, over all replicas.
pub const PURGE_EVERY: Duration = Duration::from_secs(3600);
/// How often to look whether one is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The rest after a batch, in times that the batch took, within these bounds: so a purge takes a twentieth of a writer's time.
const REST_FACTOR: u32 = 20;
const REST_MIN: Duration = Duration::from_millis(10);
const REST_MAX: Duration = Duration::from_secs(2);
/// How long before its end the lease is renewed.
const RENEW_BEFORE_MILLIS: i64 = PURGE_LEASE.as_millis() as i64 / 2;

/// What was deleted, and how far the purge is behind.
pub struct PurgeMeters {
    counters: BTreeMap<Purged, Counter>,
    /// When the oldest event that the purge has last come to should have lost its body, in Unix milliseconds.
    oldest_due: Arc<AtomicI64>,
}

/// No purge goes on.
const NONE_DUE: i64 = i64::MAX;

impl PurgeMeters {
    /// Shows them as `purged_rows_total` and `purge_lag_seconds`.
    pub fn new(metrics: &Metrics, clock: Arc<dyn Clock>) -> Self {
        let oldest_due = Arc::new(AtomicI64::new(NONE_DUE));
        let due = Arc::clone(&oldest_due);
        let help = "How long ago the oldest body should have been deleted to which the purge has come; 0 when none goes on here.";
        metrics.read_gauge("purge_lag_seconds", help, &[], move || {
            let behind = clock.now().0.saturating_sub(due.load(Ordering::Relaxed));
            Duration::from_millis(u64::try_from(behind).unwrap_or_default()).as_secs_f64()
        });
        let counter = |what: &Purged| {
            let help = "Rows deleted because they were old enough, by what they are.";
            let labels = [("what", what.into_str())];
            (*what, metrics.counter("purged_rows_total", help, &labels))
        };
        Self {
            counters: Purged::VARIANTS.iter().map(counter).collect(),
            oldest_due,
        }
    }

    fn show_lag(&self, oldest: Option<UnixMillis>) {
        let due = oldest.map_or(NONE_DUE, |at| at.0);
        self.oldest_due.store(due, Ordering::Relaxed);
    }

    fn count(&self, purged: &PurgeTally) {
        for (what, rows) in purged {
            if let Some(counter) = self.counters.get(what) {
                counter.inc_by(*rows);
            }
        }
    }
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgeStep {
    /// A batch; there may be more.
    Worked,
    /// That was the last: what the whole purge deleted.
    Finished(PurgeTally),
    /// None is due yet.
    NotDue,
    /// Another replica purges.
    Held,
}

/// Purges, while it holds the lease.
pub struct Purger {
    store: Store,
    clock: Arc<dyn Clock>,
    retention: Retention,
    /// Unique to the process.
    owner: String,
    /// None: it purges only where an hour has passed since the last purge.
    by_hand: Option<ByHand>,
    progress: Option<Progress>,
}

/// A purge that is going on.
struct Progress {
    /// None where nothing is deleted.
    lease: Option<Lease>,
    /// When it began.
    began: UnixMillis,
    before: PurgeBefore,
    /// The targets that are not at their end, the next one first, and how far each is.
    walks: VecDeque<(PurgeTarget, PurgePosition)>,
    /// When the oldest event of the last batch with any should have lost its body.
    oldest_due: Option<UnixMillis>,
    tally: PurgeTally,
}

impl Purger {
    /// One that purges every hour.
    pub fn hourly(store: Store, clock: Arc<dyn Clock>, retention: Retention, owner: String) -> Self {
        Self {
            store,
            clock,
            retention,
            owner,
            by_hand: None,
            progress: None,
        }
    }

    /// One that purges at once, as a person asks for.
    pub fn at_once(
        store: Store,
        clock: Arc<dyn Clock>,
        retention: Retention,
        owner: String,
        by_hand: ByHand,
    ) -> Self {
        Self {
            by_hand: Some(by_hand),
            ..Self::hourly(store, clock, retention, owner)
        }
    }

    /// Purges every hour until a stop; what is left then is left to the next purge.
    pub fn run(mut self, meters: PurgeMeters, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut failing = false;
            while !lifecycle.is_stopping() {
                let (began, before) = (Instant::now(), self.tally());
                let step = self.step().await;
                if let Err(error) = &step
                    && !failing
                {
                    tracing::warn!(%error, "the purge fails, and is tried again");
                }
                failing = step.is_err();
                let progress = self.progress.as_ref();
                meters.show_lag(progress.and_then(|progress| progress.oldest_due));
                let rest = match &step {
                    Ok(PurgeStep::Worked) => {
                        meters.count(&since(&before, &self.tally()));
                        rest(began.elapsed())
                    }
                    Ok(PurgeStep::Finished(tally)) => {
                        meters.count(&since(&before, tally));
                        log(tally);
                        LOOK_EVERY
                    }
                    Ok(PurgeStep::NotDue | PurgeStep::Held) | Err(_) => LOOK_EVERY,
                };
                tokio::select! {
                    () = lifecycle.stopping() => {}
                    () = sleep(rest) => {}
                }
            }
            self.release().await;
        })
    }

    async fn release(&mut self) {
        if let Some(lease) = self.progress.take().and_then(|progress| progress.lease)
            && self.store.release_purge(lease).await.is_err()
        {
            tracing::debug!("the lease of the purge ends by itself");
        }
    }

    /// Purges to the end, resting after each batch; None when another replica purges.
    ///
    /// # Errors
    /// Those of the database; what was deleted before stays so.
    pub async fn to_the_end(mut self) -> Result<Option<PurgeTally>, DbError> {
        loop {
            let began = Instant::now();
            let step = match self.step().await {
                Ok(step) => step,
                Err(error) => {
                    // Else a purge by hand would be refused until the lease ends.
                    self.release().await;
                    return Err(error);
                }
            };
            match step {
                PurgeStep::Worked if self.is_dry_run() => {}
                PurgeStep::Worked => sleep(rest(began.elapsed())).await,
                PurgeStep::Finished(tally) => {
                    if !self.is_dry_run() {
                        log(&tally);
                    }
                    return Ok(Some(tally));
                }
                PurgeStep::NotDue | PurgeStep::Held => return Ok(None),
            }
        }
    }

    /// One batch, where a purge goes on or is due and this replica gets the lease.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn step(&mut self) -> Result<PurgeStep, DbError> {
        if self.progress.is_none()
            && let Some(step) = self.begin().await?
        {
            return Ok(step);
        }
        let Some(progress) = &mut self.progress else {
            return Ok(PurgeStep::NotDue);
        };
        let now = self.clock.now();
        // Also where much is looked at and nothing deleted, or another replica would begin from the front.
        if let Some(lease) = &progress.lease
            && lease.until.0 - now.0 < RENEW_BEFORE_MILLIS
        {
            let Some(renewed) = self.store.renew_purge(lease, now).await? else {
                self.progress = None;
                return Ok(PurgeStep::Held);
            };
            progress.lease = Some(renewed);
        }
        // The next step takes another target, also after a failure.
        progress.rotate();
        let Some((target, position)) = progress.walks.back().cloned() else {
            return Ok(PurgeStep::NotDue);
        };
        let batch = self
            .store
            .purge_batch(target, progress.before, position, progress.lease.as_ref(), now);
        let Some(batch) = batch.await? else {
            self.progress = None;
            return Ok(PurgeStep::Held);
        };
        for (what, rows) in batch.purged {
            *progress.tally.entry(what).or_default() += rows;
        }
        if let Some(oldest) = batch.oldest {
            let overdue = progress.before.settled.0 - oldest.0;
            progress.oldest_due = Some(progress.began.plus_millis(-overdue));
        }
        if let Some(next) = batch.next {
            progress.walks.pop_back();
            progress.walks.push_back((target, next));
            return Ok(PurgeStep::Worked);
        }
        if progress.walks.len() > 1 {
            progress.walks.pop_back();
            return Ok(PurgeStep::Worked);
        }
        // Where this fails, the step is tried again, and finds nothing more in the last target.
        if let Some(lease) = progress.lease.clone()
            && !self.store.end_purge(lease, now).await?
        {
            self.progress = None;
            return Ok(PurgeStep::Held);
        }
        let ended = self.progress.take();
        Ok(PurgeStep::Finished(
            ended.map(|progress| progress.tally).unwrap_or_default(),
        ))
    }

    /// Claims the lease; answers why nothing begins.
    async fn begin(&mut self) -> Result<Option<PurgeStep>, DbError> {
        if !self.is_due().await? {
            return Ok(Some(PurgeStep::NotDue));
        }
        let mut lease = None;
        if !self.is_dry_run() {
            let claim = self.store.claim_purge(&self.owner, self.clock.now());
            let Some(claimed) = claim.await? else {
                return Ok(Some(PurgeStep::Held));
            };
            // Another replica may have come to its end in between.
            if !self.is_due().await? {
                self.store.release_purge(claimed).await?;
                return Ok(Some(PurgeStep::NotDue));
            }
            lease = Some(claimed);
        }
        let began = self.clock.now();
        let walk = |target: &PurgeTarget| (*target, PurgePosition::default());
        self.progress = Some(Progress {
            lease,
            began,
            before: PurgeBefore {
                dead: self.by_hand.and_then(|by_hand| by_hand.dead_before),
                ..self.retention.before(began)
            },
            walks: PurgeTarget::VARIANTS.iter().map(walk).collect(),
            oldest_due: None,
            tally: PurgeTally::new(),
        });
        Ok(None)
    }

    fn is_dry_run(&self) -> bool {
        self.by_hand.is_some_and(|by_hand| by_hand.dry_run)
    }

    async fn is_due(&self) -> Result<bool, DbError> {
        if self.by_hand.is_some() {
            return Ok(true);
        }
        Ok(is_due(self.store.last_purge().await?, self.clock.now()))
    }

    fn tally(&self) -> PurgeTally {
        let progress = self.progress.as_ref();
        progress
            .map(|progress| progress.tally.clone())
            .unwrap_or_default()
    }
}

impl Progress {
    /// Puts the target whose turn it is last: the one that goes first alone, else the next one.
    fn rotate(&mut self) {
        let is_alone = |(target, _): &(PurgeTarget, _)| *target == PurgeTarget::Dead;
        let turn = self.walks.iter().position(is_alone).unwrap_or(0);
        if let Some(walk) = self.walks.remove(turn) {
            self.walks.push_back(walk);
        }
    }
}

/// An hour after the last one; also where that lies further ahead than a replica's clock may, since a clock was set back.
fn is_due(last: UnixMillis, now: UnixMillis) -> bool {
    let every = i64::try_from(PURGE_EVERY.as_millis()).unwrap_or(i64::MAX);
    now.0 - last.0 >= every || last > set_at_most(now)
}

fn rest(took: Duration) -> Duration {
    took.saturating_mul(REST_FACTOR).clamp(REST_MIN, REST_MAX)
}

/// What was counted since a tally.
fn since(before: &PurgeTally, after: &PurgeTally) -> PurgeTally {
    let counted = |what: &Purged| before.get(what).copied().unwrap_or_default();
    after
        .iter()
        .map(|(what, rows)| (*what, rows.saturating_sub(counted(what))))
        .collect()
}

/// One line for a whole purge.
fn log(tally: &PurgeTally) {
    let rows = |what| tally.get(&what).copied().unwrap_or_default();
    tracing::info!(
        purged.deliveries = rows(Purged::Delivery),
        purged.attempts = rows(Purged::Attempt),
        purged.bodies = rows(Purged::Body),
        purged.events = rows(Purged::Event),
        purged.delivery_hours = rows(Purged::DeliveryHour),
        "purged"
    );
}
