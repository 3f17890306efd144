//! How one operation on a database is run: in a task of its own, up to its own deadline, while its caller waits up to
//! another; what fails is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::future::BoxFuture;
use prometheus::IntCounter;
use tokio::time::timeout;
use tracing::Instrument;

use super::{Db, Kind, RUNS_MAX};
use crate::DbError;
use crate::closure::{Answer, Closure, typed};
use crate::engine::mysql::{Failure, Operation};

impl Db {
    pub(super) fn operate(
        &self,
        name: &'static str,
        f: Closure,
        writes: bool,
    ) -> BoxFuture<'_, Result<Answer, DbError>> {
        let db = self.clone();
        let mut work: BoxFuture<'static, _> =
            Box::pin(async move { db.run(name, f, writes).await.map_err(|failure| failure.error) });
        Box::pin(async move {
            if let Kind::Sqlite(_) = &self.engine.kind {
                // Polled once here, so that it is queued now: operations run in the order in which callers began them.
                if let Poll::Ready(answer) = futures::poll!(work.as_mut()) {
                    return answer;
                }
            }
            self.answer(work).await
        })
    }

    /// As [`operate`](Self::operate), for a transaction. After a commit of unknown result it calls `find` to look for what
    /// `f` would have written.
    pub(super) fn operate_or_find(
        &self,
        name: &'static str,
        f: Closure,
        find: Closure,
    ) -> BoxFuture<'_, Result<Answer, DbError>> {
        let db = self.clone();
        Box::pin(self.answer(Box::pin(async move {
            let look_up = || async {
                let found = db.run(name, find.clone(), true).await?;
                Ok::<_, Failure>(typed::<Option<Answer>>(found))
            };
            for _ in 0..RUNS_MAX {
                let failure = match db.run(name, f.clone(), true).await {
                    Err(failure) if failure.error == DbError::CommitUnknown => failure,
                    other => return other.map_err(|failure| failure.error),
                };
                tracing::warn!(transaction = name, "unknown commit, looking it up");
                if !db.kill_session(&failure).await {
                    // It may still commit, so not finding its rows now proves nothing.
                    let found = look_up().await.unwrap_or(None);
                    return found.ok_or(DbError::CommitUnknown);
                }
                match look_up().await {
                    Ok(Some(found)) => return Ok(found),
                    Ok(None) => {}
                    Err(_) => break,
                }
            }
            Err(DbError::CommitUnknown)
        })))
    }

    /// Runs the work in a task of its own and waits for it up to the caller's deadline.
    pub(super) async fn answer(
        &self,
        work: BoxFuture<'static, Result<Answer, DbError>>,
    ) -> Result<Answer, DbError> {
        let task = tokio::spawn(work.in_current_span());
        match timeout(self.answer_within, task).await {
            Ok(answer) => answer.unwrap_or(Err(DbError::Panicked)),
            Err(_) => {
                self.engine.counts.timeouts.inc();
                Err(DbError::Timeout)
            }
        }
    }

    /// Runs the operation to its end or to its own deadline, and counts a failure.
    pub(super) async fn run(&self, name: &'static str, f: Closure, writes: bool) -> Result<Answer, Failure> {
        let counts = &self.engine.counts;
        let signal = Arc::new(AtomicBool::new(false));
        let f = with(f, signal.clone(), counts.statements.clone());
        let outcome = self.run_in_permit(name, f, writes).await;
        let unknown = outcome
            .as_ref()
            .is_err_and(|failure| failure.error == DbError::CommitUnknown);
        if let Err(failure) = &outcome {
            counts.failed(&failure.error);
        }
        if unknown {
            counts.unknown_commits.inc();
        }
        if (outcome.is_ok() || unknown) && signal.load(Ordering::Acquire) {
            self.engine.committed.notify_one();
        }
        outcome
    }

    /// Waits for a permit where the concurrency is limited, and runs the operation.
    async fn run_in_permit(&self, name: &'static str, f: Closure, writes: bool) -> Result<Answer, Failure> {
        // Held until the operation ends, which may be long after its caller was answered.
        let _permit = match &self.concurrency_limit {
            Some(concurrency_limit) => Some(concurrency_limit.enter().await?),
            None => None,
        };
        let mysql = match &self.engine.kind {
            Kind::Sqlite(sqlite) => {
                let run = sqlite.run(name, self.abort_after, f, writes).await;
                return run.map_err(Failure::from);
            }
            Kind::Mysql(mysql) => mysql,
        };
        let operation = Operation {
            name,
            writes,
            wait_within: self.answer_within,
            fail_on_lock_timeout: self.fail_on_lock_timeout,
        };
        let on_rerun = || self.engine.counts.reruns.inc();
        let run = timeout(self.abort_after, mysql.run(operation, &f, on_rerun)).await;
        run.unwrap_or_else(|_| {
            tracing::error!(transaction = name, "transaction aborted at its deadline");
            Err(DbError::Timeout.into())
        })
    }

    /// Ends the session of a failed operation. True when nothing of the operation can take effect any more.
    pub(super) async fn kill_session(&self, failure: &Failure) -> bool {
        match (&self.engine.kind, &failure.session) {
            // SQLite has reopened its file, which settled what was committed.
            (Kind::Sqlite(_), _) => true,
            (Kind::Mysql(mysql), Some(session)) => mysql.kill_session(session, self.answer_within).await,
            (Kind::Mysql(_), None) => false,
        }
    }
}

/// The same closure, whose transaction has this signal, and counts its statements here.
fn with(f: Closure, signal: Arc<AtomicBool>, statements: IntCounter) -> Closure {
    Arc::new(move |tx| {
        tx.signal = signal.clone();
        tx.statements = Some(statements.clone());
        f(tx)
    })
}
