//! Batches: statements that are sent to the database together.
//!
//! On MySQL each separate statement costs a round trip, usually more than its execution. A batch costs one round trip:
//! its statements run in order, and the first that fails ends the batch. SQLite has no round trips, so there the
//! statements run one after the other. A statement that needs the result of another cannot be in the same batch.

use std::borrow::Cow;
use std::ops::Range;

use super::value::Value;
use super::{DbError, Params, Row, placeholders};

/// One statement of a batch.
#[derive(Clone, Debug)]
pub struct Statement {
    pub(super) sql: Cow<'static, str>,
    pub(super) params: Params,
    pub(super) kind: StatementKind,
}

/// How a statement is run, and what it returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StatementKind {
    Change,
    Query,
    /// An INSERT written for one row; `values` is the range of its VALUES group in the SQL. Its parameters are those of
    /// many rows.
    Rows {
        values: Range<usize>,
    },
}

impl Statement {
    /// A statement that returns no rows.
    pub fn change(sql: impl Into<Cow<'static, str>>, params: Params) -> Self {
        Self {
            sql: sql.into(),
            params,
            kind: StatementKind::Change,
        }
    }

    /// A statement that returns rows. Use a LIMIT: every row is held in memory.
    pub fn query(sql: impl Into<Cow<'static, str>>, params: Params) -> Self {
        Self {
            sql: sql.into(),
            params,
            kind: StatementKind::Query,
        }
    }

    /// An INSERT of many rows; `params` holds their values, row after row. `tail` is appended to the SQL, for example
    /// an upsert clause. None when there are no rows.
    pub fn rows(table: &str, columns: &[&str], tail: &str, params: Params) -> Option<Self> {
        debug_assert_eq!(params.len() % columns.len(), 0, "rows are whole");
        let head = format!("INSERT INTO {table} ({}) VALUES ", columns.join(", "));
        let row = placeholders(1, columns.len());
        let values = head.len()..head.len() + row.len();
        (!params.is_empty()).then(|| Self {
            sql: (head + &row + tail).into(),
            params,
            kind: StatementKind::Rows { values },
        })
    }

    /// The parameters of each execution where the SQL cannot run for all rows at once.
    pub(super) fn runs(&self) -> impl Iterator<Item = &[Value]> {
        let width = match &self.kind {
            StatementKind::Rows { values } => self.sql[values.clone()].matches('?').count(),
            StatementKind::Change | StatementKind::Query => self.params.len(),
        };
        let once = self.params.is_empty().then_some(self.params.as_slice());
        once.into_iter().chain(self.params.chunks(width.max(1)))
    }
}

/// The result of one statement.
#[derive(Clone, Debug, Default)]
pub struct StatementResult {
    /// The number of rows that a change matched. It is meaningless for an INSERT that skips or updates existing rows.
    pub matched: u64,
    /// The rows of a query.
    pub rows: Vec<Row>,
}

impl StatementResult {
    /// The first row of a query, if there is one.
    pub fn row(&self) -> Option<&Row> {
        self.rows.first()
    }
}

/// The result of a batch.
///
/// Invariant: with an error, `outcomes` has one entry for each statement that ran before it, so its length is the index
/// of the statement that failed.
#[derive(Clone, Debug, Default)]
pub struct BatchResult {
    /// The results of the statements that succeeded, in order.
    pub outcomes: Vec<StatementResult>,
    /// Why the next statement failed. After `Duplicate` and `Statement` the transaction may go on; after any other
    /// error it is lost.
    pub error: Option<DbError>,
}

impl BatchResult {
    /// The results of all statements.
    ///
    /// # Errors
    /// The error that stopped the batch.
    pub fn all(self) -> Result<Vec<StatementResult>, DbError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.outcomes),
        }
    }

    /// Whether the change at this index ran and matched no row.
    pub fn matched_none(&self, index: usize) -> bool {
        self.outcomes
            .get(index)
            .is_some_and(|outcome| outcome.matched == 0)
    }
}
