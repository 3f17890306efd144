//! The queue between the callers and SQLite's threads, and the operations in it.
//!
//! One thread runs a job to its end: its future awaits nothing but its own transaction, and on SQLite that is never
//! pending, so one poll completes it. Its answer is sent once the transaction is committed or rolled back.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::oneshot;

use crate::closure::{Answer, Closure};
use crate::{DbError, Tx};

/// Whether the writes of a job are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteDecision {
    Keep,
    Undo,
}

/// One operation. It may run several times, from its start, before its answer is sent once.
pub(crate) struct Job {
    pub name: &'static str,
    pub abort_after: Duration,
    f: Closure,
    outcome: Result<Answer, DbError>,
    reply: oneshot::Sender<Result<Answer, DbError>>,
    span: tracing::Span,
}

impl Job {
    pub fn new(
        name: &'static str,
        abort_after: Duration,
        f: Closure,
    ) -> (Self, oneshot::Receiver<Result<Answer, DbError>>) {
        let (reply, answer) = oneshot::channel();
        let (outcome, span) = (Err(DbError::Unavailable), tracing::Span::current());
        let job = Self {
            name,
            abort_after,
            f,
            outcome,
            reply,
            span,
        };
        (job, answer)
    }

    pub fn run(&mut self, tx: &mut Tx) -> WriteDecision {
        let _inside = self.span.enter();
        let run = AssertUnwindSafe(|| (self.f)(tx).now_or_never());
        self.outcome = match catch_unwind(run) {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(DbError::misuse(
                "the closure awaited something other than its transaction",
            )),
            Err(_) => Err(DbError::Panicked),
        };
        if self.outcome.is_ok() && !tx.abandoned {
            WriteDecision::Keep
        } else {
            WriteDecision::Undo
        }
    }

    /// Sends the result of the last run, or the error that ended its transaction.
    pub fn answer(self, committed: Result<(), DbError>) {
        // The caller may be gone; its operation took effect anyway.
        drop(self.reply.send(committed.and(self.outcome)));
    }
}

/// A bounded queue of jobs. Once closed it accepts no more jobs, and hands out the ones in it.
pub(crate) struct JobQueue {
    state: Mutex<State>,
    ready: Condvar,
    bound: usize,
}

struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl JobQueue {
    pub fn new(bound: usize) -> Arc<Self> {
        let state = State {
            jobs: VecDeque::new(),
            closed: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            ready: Condvar::new(),
            bound,
        })
    }

    /// Queues the job, or refuses it at once when the queue is full or closed.
    pub fn push(&self, job: Job) -> Result<(), DbError> {
        let mut state = self.lock();
        if state.closed || state.jobs.len() >= self.bound {
            return Err(DbError::Unavailable);
        }
        state.jobs.push_back(job);
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for jobs and takes up to `most` of those waiting; none means that the queue is closed and empty.
    pub fn take(&self, most: usize) -> VecDeque<Job> {
        let mut state = self.lock();
        while state.jobs.is_empty() && !state.closed {
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let taken = state.jobs.len().min(most);
        state.jobs.drain(..taken).collect()
    }

    pub fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
