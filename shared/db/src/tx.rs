//! A transaction as a store method sees it: statements and their rows, on either engine.
//!
//! It belongs to one run of one closure. After an error that ends the transaction every later statement gets the same
//! error, and nothing is committed, whatever the closure returns.

use futures::future::BoxFuture;
use prometheus::IntCounter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::batch::StatementKind;
use super::fault::{ErrorEffect, Fault};
use super::value::{Params, Value};
use super::{
    BatchResult, DbError, Dialect, Row, Statement, StatementResult, placeholders, sqlite_connection,
};
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
    /// The error that ended the transaction early.
    pub(super) ended_by: Option<Fault>,
    /// Whether [`Db::committed`](super::Db::committed) is to be notified after the commit; it belongs to the operation,
    /// not to the run.
    pub(super) signal: Arc<AtomicBool>,
    /// Counts its statements.
    pub(super) statements: Option<IntCounter>,
    writable: bool,
    /// The transaction is not begun yet: its first statement begins it. On SQLite it is begun before.
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
            ended_by: None,
            signal: Arc::default(),
            statements: None,
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

    /// Runs a statement that returns no rows; returns the number of rows that it matched.
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
            self.count(1);
            let outcome = match &mut self.engine {
                TxEngine::Sqlite(connected) => connected.execute(sql, &params),
                TxEngine::Mysql(lease) => statement::execute(lease.conn(), sql, params).await,
            };
            outcome.map_err(|fault| self.fail(fault))
        })
    }

    /// Inserts many rows; `params` holds their values, row after row. `tail` is appended to each statement, for example
    /// an upsert clause. On SQLite each row is a statement: a statement of one row needs no journal of its own. On
    /// MySQL statements have a few fixed numbers of rows, so that they stay prepared, and fewer rows where these are
    /// long.
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
                let rows = Statement::rows(table, columns, tail, params);
                return self.run(rows.as_slice()).await.all().map(drop);
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

    /// The rows of a query. Use a LIMIT: every row is held in memory.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn query<'t>(&'t mut self, sql: &'t str, params: Params) -> BoxFuture<'t, Result<Vec<Row>, DbError>> {
        Box::pin(async move {
            self.ready()?;
            self.begin().await?;
            self.count(1);
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
    /// beginning where they are its first. Keep it short: its values are written into a text, which is longer than they
    /// are.
    pub fn run<'t>(&'t mut self, statements: &'t [Statement]) -> BoxFuture<'t, BatchResult> {
        Box::pin(async move {
            let asks_only = statements.iter().all(|one| one.kind == StatementKind::Query);
            let refused = self.ready().err().or_else(|| {
                (!self.writable && !asks_only).then(|| DbError::misuse("a write inside of Db::read"))
            });
            if refused.is_some() || statements.is_empty() {
                return BatchResult {
                    error: refused,
                    ..BatchResult::default()
                };
            }
            self.count(statements.len());
            let begin = std::mem::take(&mut self.unbegun).then_some(BEGIN);
            let (outcomes, ended) = match &mut self.engine {
                TxEngine::Sqlite(connected) => run_here(connected, statements),
                TxEngine::Mysql(lease) => {
                    let packet_bytes = lease.session().packet_bytes;
                    statement::run(lease.conn(), packet_bytes, begin, statements).await
                }
            };
            let error = ended.err().map(|fault| self.fail(fault));
            BatchResult { outcomes, error }
        })
    }

    fn count(&self, statements: usize) {
        if let Some(counter) = &self.statements {
            counter.inc_by(statements as u64);
        }
    }

    /// Rolls back what the closure wrote; its `Ok` value is still returned.
    pub fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// Wakes the task that waits on [`Db::committed`](super::Db::committed) once this is committed, even if the caller
    /// has gone by then.
    pub fn signal(&self) {
        self.signal.store(true, Ordering::Release);
    }

    /// Runs one statement that defines a table or an index. MySQL commits it at once, together with everything before
    /// it.
    pub(super) async fn define(&mut self, sql: &str) -> Result<(), DbError> {
        self.ready()?;
        self.begin().await?;
        let outcome = match &mut self.engine {
            TxEngine::Sqlite(connected) => connected.define(sql),
            TxEngine::Mysql(lease) => statement::define(lease, sql).await,
        };
        outcome.map_err(|fault| self.fail(fault))
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

    /// Resets it for the next run, on the same connection.
    pub(super) fn renew(&mut self) {
        self.abandoned = false;
        self.ended_by = None;
    }

    fn ready(&self) -> Result<(), DbError> {
        self.ended_by
            .as_ref()
            .map_or(Ok(()), |ended_by| Err(ended_by.error.clone()))
    }

    fn fail(&mut self, mut fault: Fault) -> DbError {
        let error = fault.error.clone();
        // Some errors make SQLite roll back by itself: later statements would each be committed by themselves.
        if let TxEngine::Sqlite(connected) = &self.engine
            && self.writable
            && fault.effect == ErrorEffect::GoOn
            && connected.is_outside()
        {
            fault.effect = ErrorEffect::Final;
        }
        if fault.effect != ErrorEffect::GoOn {
            self.ended_by = Some(fault);
        }
        error
    }
}

fn run_here(
    connected: &sqlite_connection::Connected,
    statements: &[Statement],
) -> (Vec<StatementResult>, Result<(), Fault>) {
    let mut outcomes = Vec::with_capacity(statements.len());
    for statement in statements {
        let mut outcome = StatementResult::default();
        for params in statement.runs() {
            let ran = match statement.kind {
                StatementKind::Query => connected
                    .query(&statement.sql, params)
                    .map(|rows| outcome.rows = rows),
                StatementKind::Change | StatementKind::Rows { .. } => connected
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
