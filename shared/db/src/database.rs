//! The database as its callers have it: transactions, queries, and who waits how long for them.

use std::sync::Arc;
use std::time::Duration;

use contract::Entropy;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use super::share::Share;
use super::url::Target;
use super::{Counts, DatabaseUrl, DbError, DbSettings, Dialect, Tx};
use crate::engine::mysql::Mysql;
use crate::engine::sqlite::Sqlite;
use crate::operation::{erased, erased_look_up, typed};

mod operation;

/// How often a transaction runs again after an unknown commit that proved to have written nothing.
const UNKNOWN_RERUNS: u32 = 2;

/// How long an aborted operation may take to be undone before its caller is answered all the same.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// Lists have one of so many SQLite readers, and one of so many MySQL connections.
const LISTS_OF_READERS: usize = 4;
const LISTS_OF_CONNECTIONS: usize = 16;
/// Single reads likewise. What both leave over is for taking in and writing.
const READS_OF_READERS: usize = 2;
const READS_OF_CONNECTIONS: usize = 4;

/// A database. Clones share its connections.
#[derive(Clone)]
pub struct Db {
    engine: Arc<Engine>,
    answer_within: Duration,
    abort_after: Duration,
    surface_lock_timeouts: bool,
    share: Option<Arc<Share>>,
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
    /// Opens the database; for SQLite also makes the folder and the file. `entropy` spreads the waits of transactions that
    /// lost a race.
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
                surface_lock_timeouts: false,
                share: None,
            })
        })
    }

    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        match self.engine.kind {
            Kind::Sqlite(_) => Dialect::Sqlite,
            Kind::Mysql(_) => Dialect::Mysql,
        }
    }

    /// What it went through so far.
    pub fn counts(&self) -> &Counts {
        &self.engine.counts
    }

    /// Ends after a commit of a transaction that called [`Tx::signal`]. A commit while nobody waits is kept for the next
    /// one who does, so none is missed; there is one such waiter to a database: its worker.
    pub async fn committed(&self) {
        self.engine.committed.notified().await;
    }

    /// The same database, answering [`DbError::LockTimeout`] at the first lock wait over 1 s instead of running the
    /// transaction again: for a batch, which rather runs again in halves.
    #[must_use]
    pub fn surfacing_lock_timeouts(&self) -> Self {
        Self {
            surface_lock_timeouts: true,
            ..self.clone()
        }
    }

    /// The same database for lists: they share a part of its connections, and leave the rest to what must go on beside
    /// them. To be made once: each call makes another share.
    #[must_use]
    pub fn for_lists(&self) -> Self {
        self.sharing(LISTS_OF_READERS, LISTS_OF_CONNECTIONS)
    }

    /// The same database for single reads of an API, which have a share of their own: as [`for_lists`](Self::for_lists).
    #[must_use]
    pub fn for_reads(&self) -> Self {
        self.sharing(READS_OF_READERS, READS_OF_CONNECTIONS)
    }

    fn sharing(&self, one_of_readers: usize, one_of_connections: usize) -> Self {
        let at_once = match &self.engine.kind {
            Kind::Sqlite(sqlite) => sqlite.readers().div_ceil(one_of_readers),
            Kind::Mysql(mysql) => mysql.connections().div_ceil(one_of_connections),
        };
        Self {
            share: Some(Arc::new(Share::new(at_once))),
            ..self.clone()
        }
    }

    /// The same database with one deadline for caller and operation: for what may take minutes, such as building an
    /// index.
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

    /// The same database, whose caller waits for the operation's own deadline and a moment more: `Timeout` then mostly
    /// means that the operation was aborted. For a worker, which else would meet its own transaction still running.
    #[must_use]
    pub fn answering_at_the_end(&self) -> Self {
        self.with_deadlines(self.abort_after + ABORT_GRACE, self.abort_after)
    }

    /// Runs `f` in one transaction, again from its start where it lost a race, and answers after its COMMIT.
    ///
    /// `f` must be repeatable and await nothing but its `Tx`. An `Err` of `f`, or [`Tx::abandon`], rolls it back.
    /// Dropping the returned future does not stop the transaction.
    ///
    /// # Errors
    /// Those of `f`; `Timeout` when the caller's deadline passes first, while the transaction goes on;
    /// `CommitUnknown` when nobody knows: use [`transaction_or_find`](Self::transaction_or_find) where that matters.
    pub async fn transaction<T, F>(&self, name: &'static str, f: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, DbError>> + Send + Sync + 'static,
    {
        self.operate(name, erased(f), true).await.map(typed)
    }

    /// As [`transaction`](Self::transaction); after an unknown commit it asks `find`, on a new connection, for what
    /// `f` would have written, and runs `f` again only when nothing was written.
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

    /// Runs queries, which write nothing. Each sees what was committed before it; there is no snapshot across them.
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

    /// Finishes what is running, closes every connection of all clones, and lets the SQLite file go.
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
