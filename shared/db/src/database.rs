//! The database as callers see it: transactions, queries, and their deadlines.

use std::sync::Arc;
use std::time::Duration;

use contract::Entropy;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use super::concurrency_limit::ConcurrencyLimit;
use super::url::Target;
use super::{Counts, DatabaseUrl, DbError, DbSettings, Dialect, Tx};
use crate::closure::{erased, erased_look_up, typed};
use crate::engine::mysql::Mysql;
use crate::engine::sqlite::Sqlite;

mod operation;

/// How often a transaction runs in all, where each commit is of unknown result and is found to have written nothing.
const RUNS_MAX: u32 = 2;

/// How long the rollback of an aborted operation may take before its caller is answered anyway.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// Lists may use one in so many of the SQLite readers, and one in so many of the MySQL connections.
const LIST_READERS_DIVISOR: usize = 4;
const LIST_CONNECTIONS_DIVISOR: usize = 16;
/// The same for single reads. The connections left over are for writes.
const READ_READERS_DIVISOR: usize = 2;
const READ_CONNECTIONS_DIVISOR: usize = 4;

/// A database. Clones share its connections.
#[derive(Clone)]
pub struct Db {
    engine: Arc<Engine>,
    answer_within: Duration,
    abort_after: Duration,
    fail_on_lock_timeout: bool,
    concurrency_limit: Option<Arc<ConcurrencyLimit>>,
}

struct Engine {
    kind: Kind,
    counts: Counts,
    committed: Notify,
}

enum Kind {
    Sqlite(Sqlite),
    Mysql(Mysql),
}

impl Db {
    /// Opens the database; for SQLite also creates the folder and the file. `entropy` adds jitter to the waits before
    /// transactions run again.
    ///
    /// # Errors
    /// `Open` with a sentence for the operator: no server, no access, no strict mode, or a file that another process
    /// serves.
    pub fn open<'o>(
        url: &'o DatabaseUrl,
        settings: &'o DbSettings,
        entropy: Arc<dyn Entropy>,
    ) -> BoxFuture<'o, Result<Self, DbError>> {
        Box::pin(async move {
            let kind = match &url.0 {
                Target::Sqlite(path) => {
                    let (path, settings) = (path.clone(), settings.clone());
                    let opened = tokio::task::spawn_blocking(move || Sqlite::open(&path, &settings)).await;
                    Kind::Sqlite(opened.unwrap_or(Err(DbError::Panicked))?)
                }
                Target::Mysql(server) => Kind::Mysql(Mysql::open(server, settings, entropy).await?),
            };
            Ok(Self {
                engine: Arc::new(Engine {
                    kind,
                    counts: Counts::default(),
                    committed: Notify::new(),
                }),
                answer_within: settings.answer_within,
                abort_after: settings.abort_after,
                fail_on_lock_timeout: false,
                concurrency_limit: None,
            })
        })
    }

    /// Makes a SQLite file as small as what is in it, and answers true; on MySQL it does nothing. The file is claimed meanwhile, as it
    /// takes no writes; it takes up to the file's size beside it.
    ///
    /// # Errors
    /// `Open` when another process serves the file; those of SQLite.
    pub async fn vacuum(url: &DatabaseUrl) -> Result<bool, DbError> {
        let Target::Sqlite(path) = &url.0 else {
            return Ok(false);
        };
        let path = path.clone();
        let done = tokio::task::spawn_blocking(move || Sqlite::vacuum(&path)).await;
        done.unwrap_or(Err(DbError::Panicked)).map(|()| true)
    }

    /// Which SQL dialect it speaks.
    pub fn dialect(&self) -> Dialect {
        match self.engine.kind {
            Kind::Sqlite(_) => Dialect::Sqlite,
            Kind::Mysql(_) => Dialect::Mysql,
        }
    }

    /// Its counters.
    pub fn counts(&self) -> &Counts {
        &self.engine.counts
    }

    /// Completes after the commit of a transaction that called [`Tx::signal`]. A commit that happens while no task
    /// waits is remembered for the next call, so none is missed. One task waits on a database: its worker.
    pub async fn committed(&self) {
        self.engine.committed.notified().await;
    }

    /// The same database, which returns [`DbError::LockTimeout`] at the first lock wait over 1 s instead of running the
    /// transaction again. For a batch, which its caller retries in halves.
    #[must_use]
    pub fn failing_on_lock_timeout(&self) -> Self {
        Self {
            fail_on_lock_timeout: true,
            ..self.clone()
        }
    }

    /// The same database for lists, which may use only a part of its connections and leave the rest to other work. Call
    /// it once: each call makes a separate limit.
    #[must_use]
    pub fn for_lists(&self) -> Self {
        self.limited(LIST_READERS_DIVISOR, LIST_CONNECTIONS_DIVISOR)
    }

    /// The same database for single reads of an API, with a limit of their own, as [`for_lists`](Self::for_lists).
    #[must_use]
    pub fn for_reads(&self) -> Self {
        self.limited(READ_READERS_DIVISOR, READ_CONNECTIONS_DIVISOR)
    }

    fn limited(&self, readers_divisor: usize, connections_divisor: usize) -> Self {
        let at_once = match &self.engine.kind {
            Kind::Sqlite(sqlite) => sqlite.readers() / readers_divisor,
            Kind::Mysql(mysql) => mysql.connections() / connections_divisor,
        };
        let at_once = at_once.max(1);
        Self {
            concurrency_limit: Some(Arc::new(ConcurrencyLimit::new(at_once))),
            ..self.clone()
        }
    }

    /// The same database with one deadline for caller and operation, for work that may take minutes, such as building
    /// an index.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        self.with_deadlines(deadline, deadline)
    }

    /// The same database with other deadlines, for the caller and for the operation itself.
    #[must_use]
    pub fn with_deadlines(&self, answer_within: Duration, abort_after: Duration) -> Self {
        Self {
            answer_within,
            abort_after,
            ..self.clone()
        }
    }

    /// The same database, whose caller waits until the operation's own deadline and a second more, so `Timeout` usually
    /// means that the operation was aborted. For a worker, whose next transaction would otherwise compete with its own
    /// previous one.
    #[must_use]
    pub fn answering_after_abort(&self) -> Self {
        self.with_deadlines(self.abort_after + ABORT_GRACE, self.abort_after)
    }

    /// Runs `f` in one transaction and returns after its COMMIT. After a deadlock or a similar conflict `f` runs again
    /// from its start.
    ///
    /// `f` must be repeatable and await nothing but its `Tx`. An `Err` of `f`, or [`Tx::abandon`], rolls it back.
    /// Dropping the returned future does not stop the transaction.
    ///
    /// # Errors
    /// Those of `f`; `Timeout` when the caller's deadline passes first, while the transaction goes on; `CommitUnknown`
    /// when the result of the COMMIT is unknown: use [`transaction_or_find`](Self::transaction_or_find) where that
    /// matters.
    pub async fn transaction<T, F>(&self, name: &'static str, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, DbError>> + Send + Sync + 'static,
    {
        self.operate(name, erased(f), true).await.map(typed)
    }

    /// As [`transaction`](Self::transaction). After a commit of unknown result it calls `find`, on a new connection, to
    /// look for what `f` would have written, and runs `f` again only when nothing was written.
    ///
    /// # Errors
    /// As `transaction`; `CommitUnknown` only when the look-up fails too.
    pub async fn transaction_or_find<T, F, G>(&self, name: &'static str, f: F, find: G) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, DbError>> + Send + Sync + 'static,
        G: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<Option<T>, DbError>> + Send + Sync + 'static,
    {
        let (f, find) = (erased(f), erased_look_up(find));
        self.operate_or_find(name, f, find).await.map(typed)
    }

    /// Runs queries that write nothing. Each query sees what was committed before it; there is no snapshot across
    /// queries.
    ///
    /// # Errors
    /// Those of `f`; `Timeout` when the caller's deadline passes first.
    pub async fn read<T, F>(&self, name: &'static str, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, DbError>> + Send + Sync + 'static,
    {
        self.operate(name, erased(f), false).await.map(typed)
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// An outage.
    pub fn ping<'p>(&'p self) -> BoxFuture<'p, Result<(), DbError>> {
        Box::pin(async move {
            self.read("ping", |tx| {
                Box::pin(async move { tx.query("SELECT 1 AS one", vec![]).await.map(drop) })
            })
            .await
        })
    }

    /// Finishes running operations, closes every connection of all clones, and releases the SQLite file.
    pub fn close(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            match &self.engine.kind {
                Kind::Sqlite(sqlite) => sqlite.close().await,
                Kind::Mysql(mysql) => mysql.close(self.abort_after).await,
            }
        })
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Db({:?})", self.dialect())
    }
}
