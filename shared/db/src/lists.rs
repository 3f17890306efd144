//! Lists of values in a statement, and ids in its answer.
//!
//! An `IN (?, ?, ...)` is as long as its list, and each length is another statement for the engine to prepare and keep.
//! So lists have a few fixed sizes: the last value is repeated up to the next size, which does not change the meaning
//! of an IN.

use std::fmt;
use std::str::FromStr;

use super::{DbError, Params, Row, Value, placeholders};

/// The sizes of a list, smallest first.
const SIZES: [usize; 6] = [1, 4, 16, 64, 128, IN_LIST_MAX];

/// The values of one list at most, where [`in_lists`] makes several.
pub const IN_LIST_MAX: usize = 256;

/// The list of one IN. As text it is `(?, ?, ...)`; its parameters go where that text is in the statement.
///
/// Invariant: there is at least one of `params`, and the text has one `?` for each.
#[derive(Clone, Debug)]
pub struct InList {
    params: Params,
    values: usize,
}

impl InList {
    /// One list of all these values. Of none it holds NULL, which no row matches. With more than [`IN_LIST_MAX`] it has a
    /// size of its own, which is another statement to prepare: use [`in_lists`] where there may be so many.
    pub fn of(values: impl IntoIterator<Item: Into<Value>>) -> Self {
        let mut params: Params = values.into_iter().map(Into::into).collect();
        let values = params.len();
        let size = SIZES.into_iter().find(|size| *size >= values);
        let last = params.last().cloned().unwrap_or(Value::Null);
        params.resize(size.unwrap_or(values), last);
        Self { params, values }
    }

    /// How many values it was made of, without repetitions of the last one.
    pub fn values(&self) -> u64 {
        self.values as u64
    }

    /// The parameters of a statement in which these come before the list.
    pub fn after(self, mut before: Params) -> Params {
        before.extend(self.params);
        before
    }

    /// The parameters of a statement that has no others.
    pub fn into_params(self) -> Params {
        self.params
    }
}

impl fmt::Display for InList {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&placeholders(1, self.params.len()))
    }
}

/// The values in lists of at most [`IN_LIST_MAX`], one for each statement; no list of no values.
pub fn in_lists(values: impl IntoIterator<Item: Into<Value>>) -> Vec<InList> {
    let mut values = values.into_iter().peekable();
    let mut lists = Vec::new();
    while values.peek().is_some() {
        lists.push(InList::of(values.by_ref().take(IN_LIST_MAX)));
    }
    lists
}

/// The id, or another value that is parsed from text, in a column.
///
/// # Errors
/// `Decode` when the column is none, is NULL, or holds a text that this program would not have written.
pub fn read_id<T: FromStr>(row: &Row, column: &str) -> Result<T, DbError> {
    row.get::<String>(column)?
        .parse()
        .map_err(|_| DbError::unreadable(column))
}

/// As [`read_id`], of a column that may be NULL.
///
/// # Errors
/// As [`read_id`].
pub fn read_optional_id<T: FromStr>(row: &Row, column: &str) -> Result<Option<T>, DbError> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|_| DbError::unreadable(column)))
        .transpose()
}

/// The column of ids of all rows.
///
/// # Errors
/// As [`read_id`].
pub fn read_ids<T: FromStr, C: FromIterator<T>>(rows: &[Row], column: &str) -> Result<C, DbError> {
    rows.iter().map(|row| read_id(row, column)).collect()
}

impl DbError {
    /// The error for a column that holds a value which this program would not have written.
    pub fn unreadable(column: &str) -> Self {
        Self::Decode {
            column: column.to_owned(),
            expected: "value of ours",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params;

    #[test]
    fn a_list_repeats_its_last_value_up_to_a_size() {
        let list = InList::of(["a", "b"]);
        assert_eq!((list.to_string(), list.values()), ("(?, ?, ?, ?)".to_owned(), 2));
        assert_eq!(list.after(params![7]), params![7, "a", "b", "b", "b"]);
        assert_eq!(InList::of([7]).into_params(), params![7]);
        assert_eq!(InList::of(0..300).into_params().len(), 300);
    }

    #[test]
    fn many_values_make_several_lists_and_none_makes_none() {
        let lists = in_lists(0..300).into_iter();
        let places: Vec<usize> = lists.map(|list| list.into_params().len()).collect();
        assert_eq!(places, [256, 64]);
        assert!(in_lists(Vec::<i64>::new()).is_empty());
    }

    #[test]
    fn a_list_of_no_values_matches_no_row() {
        let list = InList::of(Vec::<i64>::new());
        assert_eq!((list.to_string(), list.values()), ("(?)".to_owned(), 0));
        assert_eq!(list.into_params(), params![None::<i64>]);
    }
}
