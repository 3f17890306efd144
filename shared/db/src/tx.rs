//! A transaction as a store method sees it: statements and their rows, whichever engine is under it.
//!
//! It belongs to one run of one closure. An error that ends the transaction dooms it: every later statement gets the
//! same error, and whatever the closure answers, nothing is committed.

use futures::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::batch::Form;
use super::fault::{Fate, Fault};
use super::value::{Params, Value};
use super::{DbError, Dialect, Outcome, Ran, Row, Statement, placeholders, sqlite_connection};
use crate::mysql::{
    lease, statement,
    text::{self, AROUND},
};

/// What begins a transaction on MySQL.
const BEGIN: &str = "START TRANSACTION";

/// Rows of one INSERT on MySQL, largest first. A prepared one takes memory for each of its parameters, on each connection.
const INSERT_SIZES: [usize; 4] = [64, 16, 4, 1];

/// The statements of one transaction.
pub struct Tx {
    pub(super) engine: TxEngine,
    /// The closure asked for its writes to be undone.
    pub(super) abandoned: bool,
    /// What ended the transaction before its end.
    pub(super) doom: Option<Fault>,
    /// Whether somebody waits for what this run writes; it belongs to the operation, not to the run.
    pub(super) signal: Arc<AtomicBool>,
    writable: bool,
    /// The transaction is not begun yet: its first statement does it. On SQLite it is begun before.
    unbegun: bool,
}

pub(super) enum TxEngine {
    Sqlite(Box<sqlite_connection::Connected>),
    Mysql(lease::Lease),
}

impl Tx {
    pub(super) fn of_sqlite(connected: sqlite_connection::Connected, writable: bool) -> Self {
        Self::new(TxEngine::Sqlite(Box::new(connected)), writable)
    }

    pub(super) fn new(engine: TxEngine, writable: bool) -> Self {
        Self {
            unbegun: writable && matches!(engine, TxEngine::Mysql(_)),
            engine,
            abandoned: false,
            doom: None,
            signal: Arc::default(),
            writable,
        }
    }

    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        match self.engine {
            TxEngine::Sqlite(_) => Dialect::Sqlite,
            TxEngine::Mysql(_) => Dialect::Mysql,
        }
    }

    /// Runs a statement that answers no rows; the answer is the number of rows that it matched.
    ///
    /// For an INSERT that skips or updates existing rows the number means nothing: read back instead.
    ///
    /// # Errors
    /// After `Duplicate` and `Statement` the transaction may go on; after any other error it is lost.
    pub fn execute<'t>(&'t mut self, sql: &'t str, params: Params) -> BoxFuture<'t, Result<u64, DbError>> {
        Box::pin(async move {
            self.ready()?;
            if !self.writable {
                return Err(DbError::misuse("a write inside of Db::read"));
            }
            self.begin().await?;
            let outcome = match &mut self.engine {
                TxEngine::Sqlite(connected) => connected.execute(sql, &params),
                TxEngine::Mysql(lease) => statement::execute(lease.conn(), sql, params).await,
            };
            outcome.map_err(|fault| self.fail(fault))
        })
    }

    /// Inserts the rows that `params` hold one after the other, in as few statements as the engine is fastest with; `tail`
    /// ends each, as an upsert does. SQLite takes them one by one: a statement of one row needs no journal of its own.
    /// MySQL takes them in a few fixed sizes, so that its statements stay prepared, and in smaller ones where they are long.
    ///
    /// # Errors
    /// As [`execute`](Self::execute); what was inserted before the error stays in the transaction.
    pub fn insert<'t>(
        &'t mut self,
        table: &'t str,
        columns: &'t [&'t str],
        tail: &'t str,
        mut params: Params,
    ) -> BoxFuture<'t, Result<(), DbError>> {
        Box::pin(async move {
            debug_assert_eq!(params.len() % columns.len(), 0, "rows are whole");
            let names = columns.join(", ");
            let sql = |rows| {
                let values = placeholders(rows, columns.len());
                format!("INSERT INTO {table} ({names}) VALUES {values}{tail}")
            };
            let TxEngine::Mysql(lease) = &self.engine else {
                let one = sql(1);
                for row in params.chunks(columns.len()) {
                    self.execute_here(&one, row)?;
                }
                return Ok(());
            };
            let bytes_max = text::bytes_max(lease.session().packet_bytes);
            let fits = |rows: &[Value]| text::values_len(rows, AROUND) <= bytes_max;
            while !params.is_empty() {
                let size = INSERT_SIZES.into_iter().find(|size| {
                    let rows = params.get(..size * columns.len());
                    rows.is_some_and(|rows| *size == 1 || fits(rows))
                });
                let size = size.ok_or_else(|| DbError::misuse("a row with fewer values than columns"))?;
                let later = params.split_off(size * columns.len());
                self.execute(&sql(size), std::mem::replace(&mut params, later))
                    .await?;
            }
            Ok(())
        })
    }

    /// The rows of a query. Bound it: every row is held in memory.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn query<'t>(&'t mut self, sql: &'t str, params: Params) -> BoxFuture<'t, Result<Vec<Row>, DbError>> {
        Box::pin(async move {
            self.ready()?;
            self.begin().await?;
            let outcome = match &mut self.engine {
                TxEngine::Sqlite(connected) => connected.query(sql, &params),
                TxEngine::Mysql(lease) => statement::query(lease.conn(), sql, params).await,
            };
            outcome.map_err(|fault| self.fail(fault))
        })
    }

    /// The first row of a query, if it has any.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn query_one<'t>(
        &'t mut self,
        sql: &'t str,
        params: Params,
    ) -> BoxFuture<'t, Result<Option<Row>, DbError>> {
        Box::pin(async move { Ok(self.query(sql, params).await?.into_iter().next()) })
    }

    /// Runs statements in their order, up to the first that fails; on MySQL in one round trip, with the transaction's
    /// beginning where they are its first. Keep it short: its values are written into a text, which is longer than they.
    pub fn run<'t>(&'t mut self, statements: &'t [Statement]) -> BoxFuture<'t, Ran> {
        Box::pin(async move {
            let asks_only = statements.iter().all(|one| one.form == Form::Question);
            let refused = self.ready().err().or_else(|| {
                (!self.writable && !asks_only).then(|| DbError::misuse("a write inside of Db::read"))
            });
            if refused.is_some() || statements.is_empty() {
                return Ran {
                    error: refused,
                    ..Ran::default()
                };
            }
            let begin = std::mem::take(&mut self.unbegun).then_some(BEGIN);
            let (outcomes, ended) = match &mut self.engine {
                TxEngine::Sqlite(connected) => run_here(connected, statements),
                TxEngine::Mysql(lease) => {
                    let packet_bytes = lease.session().packet_bytes;
                    statement::run(lease.conn(), packet_bytes, begin, statements).await
                }
            };
            let error = ended.err().map(|fault| self.fail(fault));
            Ran { outcomes, error }
        })
    }

    /// The closure's `Ok` value is answered, but what it wrote is rolled back.
    pub fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// Wakes whoever waits on [`Db::committed`](super::Db::committed) once this is committed, also when the caller has
    /// gone by then.
    pub fn signal(&self) {
        self.signal.store(true, Ordering::Release);
    }

    /// Runs one statement that defines a table or an index. MySQL commits it at once, and what was before it.
    pub(super) async fn define(&mut self, sql: &str) -> Result<(), DbError> {
        self.ready()?;
        self.begin().await?;
        let outcome = match &mut self.engine {
            TxEngine::Sqlite(connected) => connected.define(sql),
            TxEngine::Mysql(lease) => statement::define(lease, sql).await,
        };
        outcome.map_err(|fault| self.fail(fault))
    }

    /// Runs a statement on SQLite, whose statements are never pending and need not own what is bound to them.
    fn execute_here(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        self.ready()?;
        if !self.writable {
            return Err(DbError::misuse("a write inside of Db::read"));
        }
        let TxEngine::Sqlite(connected) = &self.engine else {
            return Err(DbError::misuse("a statement of SQLite's on another engine"));
        };
        connected.execute(sql, params).map_err(|fault| self.fail(fault))
    }

    /// Whether there is nothing to commit or to roll back.
    pub(super) fn is_unbegun(&self) -> bool {
        self.unbegun
    }

    async fn begin(&mut self) -> Result<(), DbError> {
        if let TxEngine::Mysql(lease) = &mut self.engine
            && std::mem::take(&mut self.unbegun)
            && let Err(fault) = statement::text(lease.conn(), BEGIN).await
        {
            return Err(self.fail(fault.at_begin()));
        }
        Ok(())
    }

    /// Makes it ready for the next run, on the same connection.
    pub(super) fn renew(&mut self) {
        self.abandoned = false;
        self.doom = None;
    }

    fn ready(&self) -> Result<(), DbError> {
        self.doom.as_ref().map_or(Ok(()), |doom| Err(doom.error.clone()))
    }

    fn fail(&mut self, mut fault: Fault) -> DbError {
        let error = fault.error.clone();
        // Some errors make SQLite roll back by itself: what followed would be committed statement by statement.
        if let TxEngine::Sqlite(connected) = &self.engine
            && self.writable
            && fault.fate == Fate::GoOn
            && connected.is_outside()
        {
            fault.fate = Fate::Final;
        }
        if fault.fate != Fate::GoOn {
            self.doom = Some(fault);
        }
        error
    }
}

fn run_here(
    connected: &sqlite_connection::Connected,
    statements: &[Statement],
) -> (Vec<Outcome>, Result<(), Fault>) {
    let mut outcomes = Vec::with_capacity(statements.len());
    for statement in statements {
        let mut outcome = Outcome::default();
        for params in statement.runs() {
            let ran = match statement.form {
                Form::Question => connected
                    .query(&statement.sql, params)
                    .map(|rows| outcome.rows = rows),
                Form::Change | Form::Rows { .. } => connected
                    .execute(&statement.sql, params)
                    .map(|matched| outcome.matched += matched),
            };
            if let Err(fault) = ran {
                return (outcomes, Err(fault));
            }
        }
        outcomes.push(outcome);
    }
    (outcomes, Ok(()))
}
