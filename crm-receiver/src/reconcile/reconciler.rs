//! Walks the feed and takes in what is missing: one step for each page, and a thin loop around it.
//!
//! A page of ids is compared with the inbox; those that are missing are fetched and accepted (`missing`); after their commit the
//! place is written, with the names of what could not be had. So a process that ends anywhere leaves a place up to which all is true,
//! and the next run goes on there.

mod missing;

use self::missing::{Outcome, Wanted};
use super::{
    FeedError, ReconcileMeters,
    client::{FeedClient, PageQuery},
};
use crate::{
    backlog::Backlog,
    ingest::{Batcher, IngestError, Sender, Sources},
    store::{Begun, Progress, RECONCILE_LEASE, Reconciliation, Store},
};
use api::RequestContext;
use contract::{
    Clock, Ids, SourceId, UnixMillis,
    feed::{FeedEvent, mark},
};
use db::{DbError, leases::Lease};
use futures::future::BoxFuture;
use http::{HeaderMap, Method};
use kit::lifecycle::Lifecycle;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// From the end of one run to the next, over all replicas.
pub const RECONCILE_EVERY: Duration = Duration::from_secs(600);
/// From a run that failed to the next.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// How often to look whether one is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Ids of one comparison.
pub const FEED_BATCH: usize = 500;
/// How old an event is at least which a periodic run asks for: its delivery is on its way, and would be a duplicate.
pub const SETTLED_AFTER: Duration = Duration::from_secs(60);
/// Missing events that a run tries again.
const TRIED_AGAIN: u32 = 100;
/// How long a page waits for a moment without pending arrivals: under a load without an end it falls behind, and goes on.
const YIELD_MAX: Duration = Duration::from_millis(200);
const DAY_MILLIS: i64 = 24 * 3600 * 1000;

/// What a reconciler works with.
#[derive(Clone)]
pub struct ReconcilerParts {
    /// Whose feed it is.
    pub source: SourceId,
    /// Where it is read.
    pub client: FeedClient,
    /// The tables.
    pub store: Store,
    /// Takes in what is missing.
    pub batcher: Batcher,
    /// Who may send, and how it is read.
    pub sources: Sources,
    /// Knows whether webhooks are pending, which go first.
    pub backlog: Backlog,
    /// The present time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids of requests and of the process.
    pub ids: Ids,
    /// For how many days what was received is remembered: an older event is not looked for.
    pub remembered_days: u32,
    /// What is shown of it.
    pub meters: Option<ReconcileMeters>,
}

/// Why a run ended before its end. What it has done stays done.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The feed cannot be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The database fails.
    #[error("the database: {0}")]
    Database(#[from] DbError),
    /// What is missing cannot be taken in now.
    #[error("what is missing cannot be taken in now: {0}")]
    Ingest(IngestError),
    /// Nobody may send as this source.
    #[error("there is no source {0} that is enabled: WEBHOOK_SHARED_SECRET, or PUT /sources/{0}")]
    NoSource(SourceId),
    /// A run from a place that is not compared yet would leave out what is before it.
    #[error("--from must not lie beyond {0}, the place up to which the feed was compared")]
    Beyond(i64),
}

impl ReconcileError {
    /// Whether another try fails as well, until somebody changes a setting.
    pub fn is_of_settings(&self) -> bool {
        match self {
            Self::Feed(FeedError::Refused(_) | FeedError::NoFeed(_) | FeedError::Unreadable)
            | Self::NoSource(_)
            | Self::Beyond(_) => true,
            Self::Feed(FeedError::AnotherFeed | FeedError::Unavailable(_) | FeedError::Unreachable(_))
            | Self::Database(_)
            | Self::Ingest(_) => false,
        }
    }
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReconcileStep {
    /// A page; there are more.
    Worked,
    /// The feed is another one, and is compared from its beginning.
    BeganAgain,
    /// That was the last page.
    Finished(Reconciled),
    /// None is due yet.
    NotDue,
    /// Another process reconciles.
    Held,
}

/// What a run led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Events that it took in.
    pub taken_in: u64,
    /// Events that it passed over, since a receiver that had them would have forgotten them.
    pub too_old: u64,
    /// How far it is now.
    pub state: Reconciliation,
}

/// Reconciles, while it holds the lease.
pub struct Reconciler {
    parts: ReconcilerParts,
    owner: String,
    context: RequestContext,
    /// Whether it runs only when a run is due, and leaves alone what is on its way.
    periodic: bool,
    /// Where a run by hand begins.
    from: Option<i64>,
    /// From its claim until it is given up.
    lease: Option<Lease>,
    run: Option<Run>,
}

/// A run that goes on.
struct Run {
    lease: Lease,
    state: Reconciliation,
    /// The end of the feed when it began: what comes later is for the next.
    target: Option<i64>,
    taken_in: u64,
    too_old: u64,
    sender: Arc<Sender>,
}

impl Reconciler {
    /// One that runs when a run is due.
    pub fn periodic(parts: ReconcilerParts) -> Self {
        let (owner, ids) = (parts.ids.new_id("run"), &parts.ids);
        let context = RequestContext::new(&Method::GET, "/events", &HeaderMap::new(), None, ids);
        Self {
            owner,
            context,
            parts,
            periodic: true,
            from: None,
            lease: None,
            run: None,
        }
    }

    /// One that runs now: from a place, or where the last run ended.
    pub fn at_once(parts: ReconcilerParts, from: Option<i64>) -> Self {
        Self {
            periodic: false,
            from,
            ..Self::periodic(parts)
        }
    }

    /// Reconciles whenever a run is due, until a stop; what is left then is left to another replica, or to the next start.
    pub fn run(mut self, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut failing = false;
            while !lifecycle.is_stopping() {
                // A step that is cut off has written nothing but what is whole.
                let step = tokio::select! {
                    () = lifecycle.stopping() => break,
                    step = self.step() => step,
                };
                match &step {
                    Ok(ReconcileStep::Worked | ReconcileStep::BeganAgain) => continue,
                    Ok(ReconcileStep::Finished(_)) => failing = false,
                    Ok(ReconcileStep::NotDue | ReconcileStep::Held) => {}
                    Err(error) => {
                        if !failing {
                            tracing::warn!(%error, "the feed is not compared, and is tried again");
                        }
                        failing = true;
                    }
                }
                tokio::select! {
                    () = lifecycle.stopping() => break,
                    () = sleep(LOOK_EVERY) => {}
                }
            }
            self.give_up(None).await;
        })
    }

    /// Runs to the end of the feed; None when another process reconciles.
    ///
    /// # Errors
    /// As [`ReconcileError`] lists them; what was done before stays done.
    pub async fn to_the_end(&mut self) -> Result<Option<Reconciled>, ReconcileError> {
        loop {
            match self.step().await? {
                ReconcileStep::Worked | ReconcileStep::BeganAgain => {}
                ReconcileStep::Finished(done) => return Ok(Some(done)),
                ReconcileStep::NotDue | ReconcileStep::Held => return Ok(None),
            }
        }
    }

    /// Gives up a run that is not at its end, so that another may go on with it.
    pub async fn close(&mut self) {
        self.give_up(None).await;
    }

    /// Begins a run, if one is due and this process gets the lease, or goes on with it by one page.
    ///
    /// # Errors
    /// As [`ReconcileError`] lists them; the run has ended then.
    pub async fn step(&mut self) -> Result<ReconcileStep, ReconcileError> {
        let step = match self.run.take() {
            Some(run) => self.page(run).await,
            None => self.begin().await,
        };
        if step.is_err() {
            if let Some(meters) = &self.parts.meters {
                meters.failed_runs.inc();
            }
            self.give_up(Some(AGAIN_AFTER)).await;
        }
        step
    }

    /// Ends a run before its end. `again_after`: when the next is due; none leaves that as it is.
    async fn give_up(&mut self, again_after: Option<Duration>) {
        self.run = None;
        let Some(lease) = self.lease.take() else {
            return;
        };
        let ReconcilerParts {
            store, source, clock, ..
        } = &self.parts;
        let due_at = again_after.map(|wait| after(clock.now(), wait));
        let ended = store.end_reconciliation(&lease, source, None, due_at);
        if ended.await.is_err() {
            tracing::debug!("the lease of reconciliation ends by itself");
        }
    }

    /// The lease is another's.
    fn lost(&mut self) -> ReconcileStep {
        self.lease = None;
        ReconcileStep::Held
    }

    async fn begin(&mut self) -> Result<ReconcileStep, ReconcileError> {
        let parts = self.parts.clone();
        let (store, source, now) = (&parts.store, &parts.source, parts.clock.now());
        if self.periodic {
            let state = store.reconciliation(source).await?;
            if let Some(meters) = &parts.meters {
                meters.show(state.clone());
            }
            if state.is_some_and(|state| !is_due(state.due_at, now)) {
                return Ok(ReconcileStep::NotDue);
            }
        }
        let Some(lease) = store.claim_reconciliation(&self.owner, now).await? else {
            return Ok(ReconcileStep::Held);
        };
        self.lease = Some(lease.clone());
        let begun = store.begin_reconciliation(&lease, source, self.from, self.remembered_from(now));
        let state = match begun.await? {
            Begun::At(state) => state,
            Begun::Beyond(place) => return Err(ReconcileError::Beyond(place)),
            Begun::Lost => return Ok(self.lost()),
        };
        // Another step of the same run goes on.
        self.from = None;
        let sender = parts.sources.enabled(source);
        let sender = sender.ok_or_else(|| ReconcileError::NoSource(source.clone()))?;
        let mut run = Run {
            lease,
            state,
            target: None,
            taken_in: 0,
            too_old: 0,
            sender,
        };
        if !self.try_again(&mut run).await? {
            return Ok(self.lost());
        }
        self.run = Some(run);
        Ok(ReconcileStep::Worked)
    }

    /// Tries what was missing before once more: it may have come, or be had now. False when the lease is another's.
    async fn try_again(&self, run: &mut Run) -> Result<bool, ReconcileError> {
        let (source, now) = (&self.parts.source, self.parts.clock.now());
        let named = self.parts.store.missing_to_try(source, TRIED_AGAIN).await?;
        if named.is_empty() {
            return Ok(true);
        }
        let wanted = named.into_iter().map(Wanted::from);
        let (old, wanted): (Vec<_>, Vec<_>) =
            wanted.partition(|one| self.is_forgotten(one.committed_at, now));
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for (one, outcome) in self.take_in(run, wanted).await? {
            match outcome {
                Outcome::Here { .. } => found.push(one.key),
                Outcome::Missing(reason) => missing.push(one.missing(reason)),
            }
        }
        let progress = Progress {
            complete_up_to: run.state.complete_up_to,
            mark: run.state.mark.clone(),
            feed_head: run.state.feed_head,
            missing,
            found,
            given_up: old.into_iter().map(|one| one.key).collect(),
        };
        self.advance(run, progress).await
    }

    /// Compares one page.
    async fn page(&mut self, mut run: Run) -> Result<ReconcileStep, ReconcileError> {
        match self.compare(&mut run).await? {
            Compared::Lost => Ok(self.lost()),
            Compared::On => {
                self.run = Some(run);
                Ok(ReconcileStep::Worked)
            }
            Compared::AnotherFeed => {
                tracing::warn!("the feed is another one than before: it is compared from its beginning");
                self.run = Some(run);
                Ok(ReconcileStep::BeganAgain)
            }
            Compared::End => self.finish(&run).await,
        }
    }

    async fn compare(&self, run: &mut Run) -> Result<Compared, ReconcileError> {
        let ReconcilerParts {
            store,
            source,
            clock,
            client,
            ..
        } = &self.parts;
        self.parts.backlog.wait_for_no_arrivals(YIELD_MAX).await;
        self.keep_lease(run).await?;
        let after = run.state.complete_up_to;
        let query = PageQuery {
            after,
            mark: run.state.mark.as_deref(),
            limit: FEED_BATCH,
            bodies: false,
        };
        let page = match client.page(query).await {
            Ok(page) if page.head >= after => page,
            Ok(_) | Err(FeedError::AnotherFeed) => {
                let now = clock.now();
                if !store.begin_reconciliation_again(&run.lease, source, now).await? {
                    return Ok(Compared::Lost);
                }
                run.target = None;
                run.state = store.reconciliation(source).await?.unwrap_or_default();
                return Ok(Compared::AnotherFeed);
            }
            Err(error) => return Err(error.into()),
        };
        let target = *run.target.get_or_insert(page.head);
        let now = clock.now();
        let settled = page
            .data
            .iter()
            .take_while(|event| self.is_settled(event, now))
            .count();
        let (place, place_mark) = match page.data.get(settled) {
            None => (page.next_after, page.next_mark.clone()),
            // Up to the last before the first that is on its way.
            Some(_) => match page.data[..settled].last() {
                Some(last) => (last.feed_seq, Some(mark(last.feed_seq, last.event_id.as_str()))),
                None => (after, run.state.mark.clone()),
            },
        };
        let remembered = page.data[..settled].iter();
        let remembered = remembered.filter(|event| !self.is_forgotten(event.committed_at, now));
        let wanted: Vec<Wanted> = remembered.map(|event| Wanted::of(event, now)).collect();
        let too_old = settled - wanted.len();
        let mut missing = Vec::new();
        for (one, outcome) in self.take_in(run, wanted).await? {
            if let Outcome::Missing(reason) = outcome {
                missing.push(one.missing(reason));
            }
        }
        if !missing.is_empty() {
            tracing::warn!(
                events = missing.len(),
                "events of the feed are not here and cannot be taken in"
            );
        }
        let progress = Progress {
            complete_up_to: place,
            mark: place_mark,
            feed_head: page.head,
            missing,
            found: Vec::new(),
            given_up: Vec::new(),
        };
        if !self.advance(run, progress).await? {
            return Ok(Compared::Lost);
        }
        run.too_old += too_old as u64;
        let is_at_end = settled < page.data.len() || place >= target || !page.has_more;
        Ok(if is_at_end { Compared::End } else { Compared::On })
    }

    async fn finish(&mut self, run: &Run) -> Result<ReconcileStep, ReconcileError> {
        let parts = self.parts.clone();
        let now = parts.clock.now();
        let due_at = Some(after(now, RECONCILE_EVERY));
        let ended = parts
            .store
            .end_reconciliation(&run.lease, &parts.source, Some(now), due_at);
        ended.await?;
        self.lease = None;
        let state = parts
            .store
            .reconciliation(&parts.source)
            .await?
            .unwrap_or_default();
        if let Some(meters) = &parts.meters {
            meters.runs.inc();
            meters.show(Some(state.clone()));
        }
        if run.taken_in > 0 {
            tracing::info!(
                events = run.taken_in,
                feed.complete_up_to = state.complete_up_to,
                "missing events were taken in from the feed"
            );
        }
        Ok(ReconcileStep::Finished(Reconciled {
            taken_in: run.taken_in,
            too_old: run.too_old,
            state,
        }))
    }

    fn is_settled(&self, event: &FeedEvent, now: UnixMillis) -> bool {
        !self.periodic || after(event.committed_at, SETTLED_AFTER) <= now
    }

    /// Whether an event is so old that a receiver which had it would have forgotten it.
    fn is_forgotten(&self, committed_at: UnixMillis, now: UnixMillis) -> bool {
        committed_at < self.remembered_from(now)
    }

    /// From when on what was received is remembered.
    fn remembered_from(&self, now: UnixMillis) -> UnixMillis {
        let days = i64::from(self.parts.remembered_days);
        UnixMillis(now.0.saturating_sub(days * DAY_MILLIS))
    }

    async fn advance(&self, run: &mut Run, progress: Progress) -> Result<bool, ReconcileError> {
        let ReconcilerParts {
            store, source, clock, ..
        } = &self.parts;
        let before = run.state.complete_up_to;
        let progress = Arc::new(progress);
        let advanced =
            store.advance_reconciliation(&run.lease, source, before, Arc::clone(&progress), clock.now());
        let advanced = advanced.await?;
        if advanced {
            run.state.complete_up_to = progress.complete_up_to;
            run.state.mark.clone_from(&progress.mark);
            run.state.feed_head = progress.feed_head;
        }
        Ok(advanced)
    }

    /// Renews the lease in its second half: pages with bodies may be many.
    async fn keep_lease(&self, run: &mut Run) -> Result<(), ReconcileError> {
        let now = self.parts.clock.now();
        if after(now, RECONCILE_LEASE / 2) < run.lease.until {
            return Ok(());
        }
        // Where it is another's, the write of the page finds that out.
        if let Some(lease) = self.parts.store.renew_reconciliation(&run.lease, now).await? {
            run.lease = lease;
        }
        Ok(())
    }
}

/// What the comparison of a page led to.
enum Compared {
    /// There are more pages.
    On,
    /// That was the last.
    End,
    /// All are to be compared again.
    AnotherFeed,
    /// The lease is another's.
    Lost,
}

/// Also where it lies further ahead than it can: a clock was set back.
fn is_due(due_at: UnixMillis, now: UnixMillis) -> bool {
    due_at <= now || due_at > after(now, RECONCILE_EVERY)
}

fn after(at: UnixMillis, wait: Duration) -> UnixMillis {
    at.plus_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}
