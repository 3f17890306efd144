//! Statements that go to the database together.
//!
//! A statement of its own costs MySQL a round trip, which is dearer than what most statements do. A batch is one: its
//! statements run in their order, and the first that fails is the last. On SQLite, which has no round trips, they run one
//! after the other. What a later statement needs of an earlier one's answer cannot be in the same batch.

use std::borrow::Cow;
use std::ops::Range;

use super::value::Value;
use super::{DbError, Params, Row, placeholders};

/// One statement of a batch.
#[derive(Clone, Debug)]
pub struct Statement {
    pub(super) sql: Cow<'static, str>,
    pub(super) params: Params,
    pub(super) form: Form,
}

/// What a statement is to be run for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Change,
    Question,
    /// An INSERT of one row, whose VALUES stand at `values`; its parameters are those of many rows.
    Rows {
        values: Range<usize>,
    },
}

impl Statement {
    /// A statement that answers no rows.
    pub fn change(sql: impl Into<Cow<'static, str>>, params: Params) -> Self {
        Self {
            sql: sql.into(),
            params,
            form: Form::Change,
        }
    }

    /// A statement that answers rows. Bound it: every row is held in memory.
    pub fn question(sql: impl Into<Cow<'static, str>>, params: Params) -> Self {
        Self {
            sql: sql.into(),
            params,
            form: Form::Question,
        }
    }

    /// An INSERT of the rows that `params` hold one after the other; `tail` ends it, as an upsert does. None when there are
    /// no rows.
    pub fn rows(table: &str, columns: &[&str], tail: &str, params: Params) -> Option<Self> {
        debug_assert_eq!(params.len() % columns.len(), 0, "rows are whole");
        let head = format!("INSERT INTO {table} ({}) VALUES ", columns.join(", "));
        let row = placeholders(1, columns.len());
        let values = head.len()..head.len() + row.len();
        (!params.is_empty()).then(|| Self {
            sql: (head + &row + tail).into(),
            params,
            form: Form::Rows { values },
        })
    }

    /// The parameters of each time that its SQL runs where it cannot run for all rows at once.
    pub(super) fn runs(&self) -> impl Iterator<Item = &[Value]> {
        let width = match &self.form {
            Form::Rows { values } => self.sql[values.clone()].matches('?').count(),
            Form::Change | Form::Question => self.params.len(),
        };
        let once = self.params.is_empty().then_some(self.params.as_slice());
        once.into_iter().chain(self.params.chunks(width.max(1)))
    }
}

/// What one statement did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The number of rows that a change matched; of an INSERT that skips or updates existing rows it means nothing.
    pub matched: u64,
    /// The rows of a question.
    pub rows: Vec<Row>,
}

impl Outcome {
    /// The first row of a question, if it has any.
    pub fn row(&self) -> Option<&Row> {
        self.rows.first()
    }
}

/// What came of a batch.
///
/// Invariant: with an error, `outcomes` has as many as ran before it, so their number is the place of the one that
/// failed.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// Of each statement that ran to its end, in their order.
    pub outcomes: Vec<Outcome>,
    /// Why the next one failed. After `Duplicate` and `Statement` the transaction may go on; after any other it is lost.
    pub error: Option<DbError>,
}

impl Ran {
    /// The outcomes of them all.
    ///
    /// # Errors
    /// Whatever stopped the batch.
    pub fn all(self) -> Result<Vec<Outcome>, DbError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.outcomes),
        }
    }

    /// Whether the change at this place ran, and matched no row.
    pub fn missed(&self, place: usize) -> bool {
        self.outcomes
            .get(place)
            .is_some_and(|outcome| outcome.matched == 0)
    }
}
