//! How one operation on a database is run: in a task of its own, up to its own deadline, while its caller waits up to
//! another; what fails is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::future::BoxFuture;
use tokio::time::timeout;
use tracing::Instrument;

use super::{Db, Kind};
use crate::engine::mysql::{Failure, How};
use crate::{DbError, Tx};

impl Db {
    pub(super) async fn operate<T, F>(&self, name: &'static str, f: F, writes: bool) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, DbError>> + Send + Sync + 'static,
    {
        let (db, f) = (self.clone(), Arc::new(f));
        let work = async move { db.run(name, f, writes).await.map_err(|failure| failure.error) };
        if let Kind::Sqlite(_) = &self.engine.kind {
            // Queued at once: what callers begin in an order runs in that order.
            let mut work = Box::pin(work);
            if let Poll::Ready(answer) = futures::poll!(work.as_mut()) {
                return answer;
            }
            return self.answer(work).await;
        }
        self.answer(work).await
    }

    /// Runs the work in a task of its own and waits for it up to the caller's deadline.
    pub(super) async fn answer<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, DbError>> + Send + 'static,
    ) -> Result<T, DbError> {
        let task = tokio::spawn(work.in_current_span());
        match timeout(self.answer_within, task).await {
            Ok(answer) => answer.unwrap_or(Err(DbError::Panicked)),
            Err(_) => {
                self.engine.counts.timeouts.inc();
                Err(DbError::Timeout)
            }
        }
    }

    /// Runs the operation to its end, or to its own deadline, and counts what became of it.
    pub(super) async fn run<T, F>(&self, name: &'static str, f: Arc<F>, writes: bool) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, DbError>> + Send + Sync + 'static,
    {
        let counts = &self.engine.counts;
        let signal = Arc::new(AtomicBool::new(false));
        let f = Arc::new(signalling(f, signal.clone()));
        let outcome = self.run_in_place(name, f, writes).await;
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

    /// Waits for a place where its kind has few, and runs the operation in it.
    async fn run_in_place<T, F>(&self, name: &'static str, f: Arc<F>, writes: bool) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, DbError>> + Send + Sync + 'static,
    {
        // Held to the operation's own end, which may be long after its caller's.
        let _place = match &self.share {
            Some(share) => Some(share.enter().await?),
            None => None,
        };
        let mysql = match &self.engine.kind {
            Kind::Sqlite(sqlite) => {
                let run = sqlite.run(name, self.abort_after, f, writes).await;
                return run.map_err(Failure::from);
            }
            Kind::Mysql(mysql) => mysql,
        };
        let how = How {
            name,
            writes,
            wait_within: self.answer_within,
            surface_lock_timeouts: self.surface_lock_timeouts,
        };
        let on_rerun = || self.engine.counts.reruns.inc();
        let run = timeout(self.abort_after, mysql.run(how, f.as_ref(), on_rerun)).await;
        run.unwrap_or_else(|_| {
            tracing::error!(transaction = name, "transaction aborted at its deadline");
            Err(DbError::Timeout.into())
        })
    }

    /// Whether nothing of a failed operation can take effect any more.
    pub(super) async fn kill_session(&self, failure: &Failure) -> bool {
        match (&self.engine.kind, &failure.session) {
            // SQLite opened its file again, which decided it.
            (Kind::Sqlite(_), _) => true,
            (Kind::Mysql(mysql), Some(session)) => mysql.kill_session(session, self.answer_within).await,
            (Kind::Mysql(_), None) => false,
        }
    }
}

/// The same closure, whose transaction knows where to leave its signal.
fn signalling<T, F>(
    f: Arc<F>,
    signal: Arc<AtomicBool>,
) -> impl for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, DbError>> + Send + Sync + 'static
where
    F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, DbError>> + Send + Sync + 'static,
{
    move |tx| {
        tx.signal = signal.clone();
        f(tx)
    }
}
