//! The dispatcher of one endpoint: one step and a thin loop.
//!
//! A pipeline, not a batch: attempts run on their own, up to a bound, while the next claim and the last settlement are
//! under way, so a slow answer holds up nobody else. At most one claim and one settlement are in the database at a
//! time; what waits meanwhile goes together, which is what makes it fast. `operations` holds the database's side.

use super::attempt::{Attempted, Route, deferred};
use super::operations::Done;
use super::parts::DispatcherParts;
use crate::store::{BATCH_MAX, BreakerChange, Claim, EndpointUpdate, Settlement};
use kit::breaker::{Admit, Change, State};
use kit::lifecycle::Lifecycle;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

/// How much of its lease's slack a claim may wait in hand for its attempt, so that the attempt is settled within the
/// lease: two parts in three.
const IN_HAND_PARTS: (u32, u32) = (2, 3);
/// Settlements that wait for the database before attempts stop.
const FINISHED_MAX: usize = 4 * BATCH_MAX;

/// Delivers what is due to one endpoint.
///
/// Invariant: what it holds is bounded: `ready` by a claim and the low-water mark, attempts by `concurrency`,
/// `finished` by `FINISHED_MAX` and the attempts.
pub struct Dispatcher {
    pub(super) parts: DispatcherParts,
    /// Claimed, and not begun.
    pub(super) ready: VecDeque<InHand>,
    attempts: JoinSet<Attempted>,
    /// To be settled.
    pub(super) finished: Vec<Settlement>,
    pub(super) news: EndpointUpdate,
    /// Changes of the breaker to be written, at most those that its history keeps.
    pub(super) unkept: Vec<BreakerChange>,
    /// A pause or a 410 is not committed yet: nothing is claimed or sent until it is.
    pub(super) holding: bool,
    /// Operations of the database under way, at most one of each kind.
    pub(super) operations: JoinSet<Done>,
    pub(super) busy: Busy,
    /// There may be something due.
    pub(super) look: bool,
    /// Events of the log may lack their delivery: they are looked for from then on.
    pub(super) backfill_at: Option<Instant>,
    /// Not before this: the breaker is open, or the database is gone.
    pub(super) claim_at: Option<Instant>,
    pub(super) settle_at: Option<Instant>,
    pub(super) keep_at: Option<Instant>,
    pub(super) outage: bool,
    draining: bool,
}

/// Which operations are under way.
#[derive(Default)]
pub(super) struct Busy {
    pub claiming: bool,
    pub settling: bool,
    pub keeping: bool,
    pub backfilling: bool,
}

/// A claim that waits for its attempt.
pub(super) struct InHand {
    pub claim: Claim,
    pub route: Arc<Route>,
    pub since: Instant,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something ended, or something may be due.
    Worked,
    /// Nothing is under way, and nothing was due when it last looked.
    Idle,
}

impl Dispatcher {
    /// A dispatcher that looks as soon as it steps.
    pub fn new(parts: DispatcherParts) -> Self {
        Self {
            parts,
            ready: VecDeque::new(),
            attempts: JoinSet::new(),
            finished: Vec::new(),
            news: EndpointUpdate::default(),
            unkept: Vec::new(),
            holding: false,
            operations: JoinSet::new(),
            busy: Busy::default(),
            look: true,
            backfill_at: Some(Instant::now()),
            claim_at: None,
            settle_at: None,
            keep_at: None,
            outage: false,
            draining: false,
        }
    }

    /// Steps until a stop; then finishes the attempts in flight, settles them and gives the rest back.
    pub async fn run(mut self, lifecycle: Lifecycle) {
        loop {
            // A step only begins things and waits: cutting its wait loses nothing.
            tokio::select! {
                biased;
                () = lifecycle.stopping() => break,
                step = self.step() => if step == Step::Worked { continue },
            }
            tokio::select! {
                biased;
                () = lifecycle.stopping() => break,
                () = self.wake() => {}
            }
        }
        self.draining = true;
        loop {
            self.begin();
            let unsettled = !self.finished.is_empty() && self.settle_at.is_none();
            if self.attempts.is_empty() && self.operations.is_empty() && !unsettled {
                break;
            }
            self.wait_for_one().await;
        }
    }

    /// Begins whatever can begin, then waits until one thing has ended.
    pub async fn step(&mut self) -> Step {
        self.begin();
        if self.attempts.is_empty() && self.operations.is_empty() {
            return Step::Idle;
        }
        self.wait_for_one().await;
        Step::Worked
    }

    fn begin(&mut self) {
        let now = Instant::now();
        self.give_back_stale(now);
        self.begin_attempts();
        self.begin_operations(now);
    }

    /// A claim that waited too long would outlive its lease in its attempt.
    fn give_back_stale(&mut self, now: Instant) {
        let in_hand_max = self.parts.lease_slack * IN_HAND_PARTS.0 / IN_HAND_PARTS.1;
        while self
            .ready
            .front()
            .is_some_and(|first| now.duration_since(first.since) > in_hand_max)
        {
            self.finished
                .extend(self.ready.pop_front().map(|stale| deferred(stale.claim)));
        }
    }

    fn give_back_all(&mut self) {
        self.finished
            .extend(self.ready.drain(..).map(|held| deferred(held.claim)));
    }

    fn begin_attempts(&mut self) {
        if self.draining || self.holding {
            return self.give_back_all();
        }
        while !self.ready.is_empty()
            && self.attempts.len() < self.parts.concurrency
            && self.finished.len() < FINISHED_MAX
        {
            let permit = match self.parts.breaker.admit() {
                Admit::Pass(permit) | Admit::Probe(permit) => permit,
                Admit::Refused { until } => {
                    // While a probe or a ramp is under way its end decides; else the open period does.
                    let open = self.parts.breaker.snapshot().state == State::Open;
                    if open || self.attempts.is_empty() {
                        self.give_back_all();
                        self.claim_at = Some(until);
                        self.look = true;
                    }
                    return;
                }
            };
            if let Some(InHand { claim, route, .. }) = self.ready.pop_front() {
                let sender = Arc::clone(&self.parts.sender);
                self.attempts
                    .spawn(async move { sender.attempt(&route, claim, permit).await });
            }
        }
    }

    /// How many deliveries to claim now; none while enough are in hand, or while the breaker would refuse them.
    pub(super) fn wanted(&mut self, now: Instant) -> usize {
        if self.draining || self.holding || !self.look || self.claim_at.is_some_and(|at| at > now) {
            return 0;
        }
        let snapshot = self.parts.breaker.snapshot();
        let in_hand = self.ready.len() + self.attempts.len();
        match (snapshot.state, snapshot.ramp) {
            (State::Closed, None) if self.ready.len() < self.parts.concurrency => BATCH_MAX,
            (State::Closed, Some(ramp)) => usize::try_from(ramp).unwrap_or(BATCH_MAX).saturating_sub(in_hand),
            (State::Closed, None) => 0,
            (State::Open, _) => {
                let left = snapshot.probe_at.map_or(0, |at| at.0 - self.parts.clock.now().0);
                if left > 0 {
                    self.claim_at = Some(now + Duration::from_millis(left.unsigned_abs()));
                    return 0;
                }
                usize::from(self.ready.is_empty())
            }
            (State::HalfOpen, _) => usize::from(self.ready.is_empty()),
        }
    }

    async fn wait_for_one(&mut self) {
        let timer = self.timer();
        let db = self.parts.store.db().clone();
        tokio::select! {
            Some(ended) = self.attempts.join_next(), if !self.attempts.is_empty() => self.attempted(ended),
            Some(ended) = self.operations.join_next(), if !self.operations.is_empty() => self.done(ended),
            () = db.committed(), if !self.draining => self.look = true,
            () = sleep_until(timer), if !self.draining => self.look = true,
        }
    }

    async fn wake(&mut self) {
        let timer = self.timer();
        tokio::select! {
            () = self.parts.store.db().committed() => {}
            () = sleep_until(timer) => {}
        }
        self.look = true;
    }

    /// When to look next. An instant that has passed says nothing more: what it held back could begin since.
    fn timer(&self) -> Instant {
        let now = Instant::now();
        let ahead = [self.claim_at, self.settle_at, self.keep_at]
            .into_iter()
            .flatten()
            .filter(|at| *at > now);
        ahead.fold(now + self.parts.look_every, Instant::min)
    }

    fn attempted(&mut self, ended: Result<Attempted, JoinError>) {
        match ended {
            Ok(Attempted { settlement, news }) => {
                self.parts.meters.attempted(&settlement);
                self.finished.push(settlement);
                self.holding |= news != EndpointUpdate::default();
                self.news.merge(news);
            }
            // Its lease ends by itself, and it is tried again.
            Err(error) if error.is_panic() => tracing::error!("a delivery attempt panicked"),
            Err(_) => {}
        }
    }

    /// The breaker's changes that are to be written.
    pub(super) fn take_breaker_changes(&self) -> Vec<Change> {
        let mut changes = self
            .parts
            .breaker_changes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        changes.drain(..).collect()
    }
}
