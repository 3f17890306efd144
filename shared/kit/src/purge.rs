//! The purge of a service: one step, and a thin loop around it. What is deleted, and how, is the service's ([`Purges`]).
//!
//! It takes a batch of each of its targets in turn, so that a target with much to delete holds up no other. After each batch it rests
//! for several times as long as the batch took, so that what else is written keeps its rate. When a purge was last at its end stands
//! in the tables: a service that is started often purges no more often, and no less.

mod lease;
mod meters;

pub use lease::{PURGE_LEASE, PurgeLease};
pub use meters::PurgeMeters;

use crate::{clock_skew::set_at_most, lifecycle::Lifecycle};
use contract::{Clock, UnixMillis};
use db::{Db, DbError, leases::Lease};
use futures::future::BoxFuture;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
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

/// What a purge goes through, a batch of each in turn.
pub trait PurgeTarget: Copy + VariantArray + Send + Sync + 'static {
    /// Whether it is gone through to its end before the others begin.
    fn goes_first(self) -> bool {
        false
    }
}

/// What a service deletes once it is old enough.
pub trait Purges: Sized + Send + Sync + 'static {
    /// What is deleted, as metrics name it.
    type Kind: Copy + Ord + VariantArray + Into<&'static str> + Send + Sync + 'static;
    /// What is gone through.
    type Target: PurgeTarget;
    /// How far a purge of a target is; by default at its beginning.
    type Position: Clone + Default + Send + Sync + 'static;
    /// What is older is deleted.
    type Before: Copy + Send + Sync + 'static;

    /// Where it stands.
    fn db(&self) -> &Db;

    /// What a purge deletes that begins now.
    fn before(&self, now: UnixMillis) -> Self::Before;

    /// Deletes what the next batch of a target may, or without a lease only counts it. None when the lease is another's by now.
    fn batch<'p>(
        &'p self,
        target: Self::Target,
        before: Self::Before,
        after: Self::Position,
        lease: Option<&'p Lease>,
        now: UnixMillis,
    ) -> Purging<'p, Self::Kind, Self::Position>;

    /// Waits for a moment, where others have to go first, before a batch of an hourly purge.
    fn make_way(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Logs a whole purge, in one line.
    fn log(tally: &PurgeTally<Self::Kind>);
}

/// How many rows of each kind.
pub type PurgeTally<K> = BTreeMap<K, u64>;

/// What one batch deleted, or would delete: rows of the kinds `K`, up to a position `P`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeBatch<K, P> {
    /// How many rows of each kind.
    pub purged: PurgeTally<K>,
    /// How far beyond its time the oldest body of these is, from when the purge began, in milliseconds.
    pub oldest_overdue_ms: Option<i64>,
    /// Where the next batch begins; None at the end.
    pub next: Option<P>,
}

/// A batch that is being deleted; it comes to none when the lease is another's.
pub type Purging<'p, K, P> = BoxFuture<'p, Result<Option<PurgeBatch<K, P>>, DbError>>;

/// When a purger purges, and whether it deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurgeMode {
    /// Where an hour has passed since the last purge.
    Hourly,
    /// At once, as a person asks for.
    AtOnce,
    /// At once, and it counts what would be deleted.
    DryRun,
}

impl PurgeMode {
    /// As a person asks for.
    pub fn by_hand(dry_run: bool) -> Self {
        if dry_run { Self::DryRun } else { Self::AtOnce }
    }
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgeStep<K> {
    /// A batch; there may be more.
    Worked,
    /// That was the last: what the whole purge deleted.
    Finished(BTreeMap<K, u64>),
    /// None is due yet.
    NotDue,
    /// Another replica purges.
    Held,
}

/// Purges, while it holds the lease.
pub struct Purger<P: Purges> {
    purges: P,
    lease: PurgeLease,
    clock: Arc<dyn Clock>,
    /// Unique to the process.
    owner: String,
    mode: PurgeMode,
    progress: Option<Progress<P>>,
}

/// A purge that is going on.
struct Progress<P: Purges> {
    /// None where nothing is deleted.
    lease: Option<Lease>,
    /// When it began.
    began: UnixMillis,
    before: P::Before,
    /// The targets that are not at their end, the next one first, and how far each is.
    walks: VecDeque<(P::Target, P::Position)>,
    /// When the oldest body of the last batch with any should have gone.
    oldest_due: Option<UnixMillis>,
    tally: PurgeTally<P::Kind>,
}

impl<P: Purges> Purger<P> {
    /// A purger; `owner` is unique to the process.
    pub fn new(purges: P, clock: Arc<dyn Clock>, owner: String, mode: PurgeMode) -> Self {
        Self {
            lease: PurgeLease::new(purges.db()),
            purges,
            clock,
            owner,
            mode,
            progress: None,
        }
    }

    /// Purges every hour until a stop; what is left then is left to the next purge.
    pub fn run(mut self, meters: PurgeMeters<P>, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut failing = false;
            while !lifecycle.is_stopping() {
                if self.progress.is_some() {
                    self.purges.make_way().await;
                }
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
                        P::log(tally);
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
            && self.lease.release(lease).await.is_err()
        {
            tracing::debug!("the lease of the purge ends by itself");
        }
    }

    /// Purges to the end, resting after each batch; None when another replica purges.
    ///
    /// # Errors
    /// Those of the database; what was deleted before stays so.
    pub async fn to_the_end(mut self) -> Result<Option<PurgeTally<P::Kind>>, DbError> {
        let is_dry_run = self.mode == PurgeMode::DryRun;
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
                PurgeStep::Worked if is_dry_run => {}
                PurgeStep::Worked => sleep(rest(began.elapsed())).await,
                PurgeStep::Finished(tally) => {
                    if !is_dry_run {
                        P::log(&tally);
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
    pub async fn step(&mut self) -> Result<PurgeStep<P::Kind>, DbError> {
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
            let Some(renewed) = self.lease.renew(lease, now).await? else {
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
            .purges
            .batch(target, progress.before, position, progress.lease.as_ref(), now);
        let Some(batch) = batch.await? else {
            self.progress = None;
            return Ok(PurgeStep::Held);
        };
        for (what, rows) in batch.purged {
            *progress.tally.entry(what).or_default() += rows;
        }
        if let Some(overdue) = batch.oldest_overdue_ms {
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
            && !self.lease.end(lease, now).await?
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
    async fn begin(&mut self) -> Result<Option<PurgeStep<P::Kind>>, DbError> {
        if !self.is_due().await? {
            return Ok(Some(PurgeStep::NotDue));
        }
        let mut lease = None;
        if self.mode != PurgeMode::DryRun {
            let claim = self.lease.claim(&self.owner, self.clock.now());
            let Some(claimed) = claim.await? else {
                return Ok(Some(PurgeStep::Held));
            };
            // Another replica may have come to its end in between.
            if !self.is_due().await? {
                self.lease.release(claimed).await?;
                return Ok(Some(PurgeStep::NotDue));
            }
            lease = Some(claimed);
        }
        let began = self.clock.now();
        let walk = |target: &P::Target| (*target, P::Position::default());
        self.progress = Some(Progress {
            lease,
            began,
            before: self.purges.before(began),
            walks: P::Target::VARIANTS.iter().map(walk).collect(),
            oldest_due: None,
            tally: PurgeTally::new(),
        });
        Ok(None)
    }

    async fn is_due(&self) -> Result<bool, DbError> {
        if self.mode != PurgeMode::Hourly {
            return Ok(true);
        }
        Ok(is_due(self.lease.last().await?, self.clock.now()))
    }

    fn tally(&self) -> PurgeTally<P::Kind> {
        let progress = self.progress.as_ref();
        progress
            .map(|progress| progress.tally.clone())
            .unwrap_or_default()
    }
}

impl<P: Purges> Progress<P> {
    /// Puts the target whose turn it is last: one that goes first, else the next one.
    fn rotate(&mut self) {
        let goes_first = |(target, _): &(P::Target, _)| target.goes_first();
        let turn = self.walks.iter().position(goes_first).unwrap_or(0);
        if let Some(walk) = self.walks.remove(turn) {
            self.walks.push_back(walk);
        }
    }
}

/// An hour after the last one; also where that lies further ahead than a replica's clock may, since a clock was set back.
fn is_due(last: UnixMillis, now: UnixMillis) -> bool {
    now.0 - last.0 >= PURGE_EVERY.as_millis() as i64 || last > set_at_most(now)
}

fn rest(took: Duration) -> Duration {
    took.saturating_mul(REST_FACTOR).clamp(REST_MIN, REST_MAX)
}

/// What was counted since a tally.
fn since<K: Copy + Ord>(before: &PurgeTally<K>, after: &PurgeTally<K>) -> PurgeTally<K> {
    let counted = |what: &K| before.get(what).copied().unwrap_or_default();
    after
        .iter()
        .map(|(what, rows)| (*what, rows.saturating_sub(counted(what))))
        .collect()
}
