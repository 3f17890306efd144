//! The projector: one step, and a thin loop around it.
//!
//! A step takes accepted events, up to a batch, and projects them in one transaction. A batch that fails runs again in
//! halves, down to the event at fault. That one is tried alone: each try is counted before it is made and comes later
//! after the one before, and after the last one the event is a dead letter. Other events do not wait for it.

use super::ProjectionMeters;
use crate::{
    backlog::Backlog,
    event::{Event, PendingEvent, ProjectionOutcome},
    store::{Projection, Store},
};
use contract::{Clock, EventId, UnixMillis, json::Extent};
use db::{DbError, failpoint};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How many events share a transaction.
pub const BATCH_EVENTS_MAX: usize = 256;
/// How much memory the JSON trees of the events of one step may take, as counted before the first is built. The first
/// event is taken whatever it needs. A full batch of ordinary events needs 4 MiB; what a step makes of its trees is
/// several times as large.
const STEP_TREES_BYTES_MAX: usize = 6 << 20;
/// How many events share a transaction while events arrive: on SQLite arrivals wait for the whole transaction.
const BATCH_EVENTS_BUSY: usize = 32;
/// The same while requeued events wait: then it does not wait for a moment without arrivals, but takes more at a time.
const BATCH_EVENTS_REQUEUED: usize = 48;
/// After how many failures an event is a dead letter.
pub const TRIES_MAX: u32 = 8;
/// How long after a first failure the next try is due; after each further one it is twice as long.
const WAIT_FIRST_MS: i64 = 1_000;
/// The longest time between two tries.
pub const WAIT_MAX_MS: i64 = 60_000;
/// How often to look at the inbox without a wake-up: another replica may have accepted events, or a try may be due.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// From so many pending arrivals on, they go first on MySQL: a step blocks no arrival there, but shares the machine.
const CROWD_MIN: usize = 64;
/// Up to which lag the projector lets arrivals go first.
const YIELDS_BEHIND_MAX: Duration = Duration::from_secs(10);
/// How long a step then waits for pending arrivals.
const YIELD_MAX: Duration = Duration::from_millis(50);
/// How long the loop waits when the database fails.
const FAILURE_PAUSE: Duration = Duration::from_millis(250);

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many events were looked at: there may be more.
    Worked(usize),
    /// Nothing is due.
    Idle,
}

/// Projects accepted events. Several may run at once, in one process or many, over one database.
pub struct Projector {
    store: Store,
    clock: Arc<dyn Clock>,
    backlog: Backlog,
    meters: ProjectionMeters,
    /// How many events had arrived at the last step.
    arrivals_seen: AtomicU64,
}

impl Projector {
    /// A projector that does nothing until it runs, or is stepped.
    pub fn new(store: Store, clock: Arc<dyn Clock>, backlog: Backlog, meters: ProjectionMeters) -> Self {
        Self {
            store,
            clock,
            backlog,
            meters,
            arrivals_seen: AtomicU64::new(0),
        }
    }

    /// Projects until it is stopped; a step that has begun is finished.
    pub async fn run(self, stop: CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            // Registered before the step reads the inbox, so that no wake-up is missed between the two.
            let accepted = self.backlog.next_accepted();
            // Not while requeued events wait: runs have few wait at a time, and go on as fast as these are applied.
            if self.yields() && !self.backlog.requeued_wait() {
                self.backlog.wait_for_no_arrivals(YIELD_MAX).await;
            }
            let step = self.step().await;
            if let Err(error) = &step
                && !failing
            {
                tracing::error!(error = %error, "projection fails, and is tried again");
            }
            failing = step.is_err();
            match step {
                Ok(Step::Worked(_)) => failpoint::reached("project.between"),
                Ok(Step::Idle) => tokio::select! {
                    () = stop.cancelled() => {}
                    _ = timeout(LOOK_EVERY, accepted) => {}
                },
                Err(_) => tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(FAILURE_PAUSE) => {}
                },
            }
        }
    }

    /// Projects what is due, up to a batch.
    ///
    /// # Errors
    /// Those of the database as a whole, or of too many writers at once; an event at fault is no error here.
    pub async fn step(&self) -> Result<Step, DbError> {
        let now = self.clock.now();
        self.backlog.begin_look();
        let pending = self.store.pending(now, WAIT_MAX_MS, self.batch_events()).await?;
        self.end_look(&pending).await?;
        let requeued = pending.iter().any(|pending| pending.requeued);
        self.backlog.found_requeued(requeued);
        let pending = within(pending, STEP_TREES_BYTES_MAX);
        if pending.is_empty() {
            return Ok(Step::Idle);
        }
        let found = pending.len();
        let (mut batch, mut alone) = (Vec::with_capacity(found), Vec::new());
        for pending in pending {
            match pending.read() {
                Ok(event) if pending.attempts == 0 => batch.push(event),
                _ => alone.push(pending),
            }
        }
        for event in self.project_or_halve(batch).await? {
            self.try_alone(&event.record.event_id, 0, Ok(&event)).await?;
        }
        for pending in alone {
            let read = pending.read();
            let event = read.as_ref().map_err(ToString::to_string);
            self.try_alone(&pending.event_id, pending.attempts, event).await?;
        }
        if requeued {
            self.backlog.decided_requeued();
        }
        Ok(Step::Worked(found))
    }

    fn batch_events(&self) -> usize {
        let arrivals = self.backlog.arrivals_in_all();
        let some_came = self.arrivals_seen.swap(arrivals, Ordering::Relaxed) != arrivals;
        if !some_came || !self.is_crowded() {
            BATCH_EVENTS_MAX
        } else if self.backlog.requeued_wait() {
            // However far behind: it is the run that has live events wait, and larger steps would have arrivals wait too.
            BATCH_EVENTS_REQUEUED
        } else if self.yields() {
            BATCH_EVENTS_BUSY
        } else {
            BATCH_EVENTS_MAX
        }
    }

    /// Whether arrivals would wait for a large step.
    fn is_crowded(&self) -> bool {
        self.store.has_one_writer() || self.backlog.pending_arrivals() >= CROWD_MIN
    }

    /// Whether arrivals go first. Not when that has left the projector too far behind: under a load without an end it
    /// would never get its turn.
    fn yields(&self) -> bool {
        self.is_crowded() && self.backlog.age_of_oldest_untried(self.clock.now()) < YIELDS_BEHIND_MAX
    }

    /// Reports what a look has found: the first that are due, and now and then what waits for a further try, which may
    /// be due behind all of these.
    async fn end_look(&self, pending: &[PendingEvent]) -> Result<(), DbError> {
        if self.backlog.should_look_for_retries(pending.is_empty()) {
            self.backlog.found_retries(self.store.oldest_retry().await?);
        }
        let oldest = |attempts_max| {
            let waiting = pending.iter().filter(|pending| pending.attempts <= attempts_max);
            waiting.map(|pending| pending.waiting_since).min()
        };
        self.backlog.end_look(oldest(u32::MAX), oldest(0));
        Ok(())
    }

    fn count(&self, tally: &BTreeMap<ProjectionOutcome, u64>) {
        for (outcome, events) in tally {
            self.meters.projected(*outcome, *events);
        }
    }

    /// Projects a batch, or as much of it as succeeds; answers the events at fault. An event whose transaction runs out of
    /// time alone is counted and tried at once: the count is a write too, so that a database which has stopped answering
    /// ends the step there.
    async fn project_or_halve(&self, batch: Vec<Event>) -> Result<Vec<Event>, DbError> {
        let mut at_fault = Vec::new();
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let outcome = self.store.project(part.clone().into(), self.clock.now()).await;
            match outcome {
                // The next look finds what another projector left.
                Ok(Projection::Overtaken) => {}
                Ok(Projection::Done(tally)) => self.count(&tally),
                Err(error) if !error.may_be_caused_by_rows() => return Err(error),
                Err(DbError::Timeout) if part.len() == 1 => {
                    let event = &part[0];
                    self.try_alone(&event.record.event_id, 0, Ok(event)).await?;
                }
                Err(_) if part.len() == 1 => at_fault.append(&mut part),
                Err(_) => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
            }
        }
        Ok(at_fault)
    }

    /// One more try of one event, counted before it is made.
    async fn try_alone(
        &self,
        id: &EventId,
        tried: u32,
        event: Result<&Event, String>,
    ) -> Result<(), DbError> {
        self.backlog.try_failed();
        let now = self.clock.now();
        let number = tried + 1;
        if !self.store.count_try(id, tried, next_due(now, number)).await? {
            return Ok(());
        }
        let reason = match event {
            // All its tries are counted and none came to an end: it ends the process.
            _ if number > TRIES_MAX => "its tries ended the process".to_owned(),
            Err(unreadable) => unreadable,
            Ok(event) => match self.store.project(vec![event.clone()].into(), now).await {
                Ok(Projection::Overtaken) => return Ok(()),
                Ok(Projection::Done(tally)) => {
                    self.count(&tally);
                    return Ok(());
                }
                Err(error) if !error.may_be_caused_by_rows() => return Err(error),
                Err(error) => error.to_string(),
            },
        };
        if number < TRIES_MAX {
            tracing::warn!(event.id = %id, tries = number, "event not projected, and tried again later");
            return self.store.keep_failure(id, &reason).await;
        }
        if self.store.make_dead_letter(id, &reason, self.clock.now()).await? {
            tracing::error!(event.id = %id, tries = number, reason, "event is a dead letter");
            self.meters.dead_letter();
        }
        Ok(())
    }
}

/// The first of them whose trees need no more than `trees_bytes_max` together, at least one; the next step finds the
/// others.
fn within(mut pending: Vec<PendingEvent>, trees_bytes_max: usize) -> Vec<PendingEvent> {
    let mut left = trees_bytes_max;
    let mut fitting = 0;
    for next in &pending {
        let tree = Extent::of(next.body.as_deref().unwrap_or_default()).tree_bytes();
        let Some(rest) = left.checked_sub(tree) else { break };
        (left, fitting) = (rest, fitting + 1);
    }
    pending.truncate(fitting.max(1));
    pending
}

/// When the try after this one is due.
fn next_due(now: UnixMillis, number: u32) -> UnixMillis {
    let doublings = number.saturating_sub(1).min(16);
    now.plus_millis((WAIT_FIRST_MS << doublings).min(WAIT_MAX_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_try_waits_twice_as_long_up_to_a_bound() {
        let waits: Vec<i64> = (1..=TRIES_MAX)
            .map(|number| next_due(UnixMillis(0), number).0)
            .collect();
        assert_eq!(
            waits,
            [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]
        );
        assert_eq!(next_due(UnixMillis(0), u32::MAX).0, WAIT_MAX_MS);
    }

    fn pending(body: Vec<u8>) -> PendingEvent {
        PendingEvent {
            event_id: "evt_1".parse().unwrap(),
            source: "pms".parse().unwrap(),
            event_type: "guest.created".to_owned(),
            schema_version: 1,
            property_id: None,
            entity_kind: None,
            entity_id: None,
            entity_version: None,
            correlation_id: None,
            occurred_at: UnixMillis(0),
            waiting_since: UnixMillis(0),
            attempts: 0,
            requeued: false,
            body: Some(body),
        }
    }

    #[test]
    fn r43_a_step_takes_what_its_trees_leave_room_for_and_one_at_least() {
        let body = br#"{"payload":{"x":[{"":0},{"":0}]}}"#.to_vec();
        let tree = Extent::of(&body).tree_bytes();
        for (room, taken) in [(0, 1), (tree, 1), (3 * tree - 1, 2), (3 * tree, 3), (9 * tree, 4)] {
            let four = (0..4).map(|_| pending(body.clone())).collect();
            assert_eq!(within(four, room).len(), taken, "{room}");
        }
        assert!(within(Vec::new(), tree).is_empty());
    }
}
