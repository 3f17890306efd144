//! One row of an answer, read by column name.

use std::sync::Arc;

use super::DbError;
use super::value::{FromValue, Value};

/// One row; the names of its columns are shared by all rows of the answer.
#[derive(Clone, Debug)]
pub struct Row {
    pub(super) columns: Arc<[String]>,
    pub(super) values: Vec<Value>,
}

impl Row {
    /// The column as a `T`: i64, u32, u64, bool, `String`, `Vec<u8>`, `UnixMillis`, or an `Option` of one.
    ///
    /// # Errors
    /// `Decode` when there is no such column, when it is another kind, out of range, or NULL without an `Option`.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T, DbError> {
        let place = self.columns.iter().position(|name| name == column);
        place
            .and_then(|place| T::from_value(&self.values[place]))
            .ok_or_else(|| DbError::Decode {
                column: column.to_owned(),
                expected: T::EXPECTED,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_found_by_its_name_or_refused() {
        let row = Row {
            columns: Arc::from(["n".to_owned()]),
            values: vec![Value::Int(7)],
        };
        assert_eq!(row.get::<i64>("n"), Ok(7));
        assert_eq!(
            row.get::<String>("n"),
            Err(DbError::Decode {
                column: "n".to_owned(),
                expected: "text"
            })
        );
        assert_eq!(
            row.get::<i64>("m"),
            Err(DbError::Decode {
                column: "m".to_owned(),
                expected: "i64"
            })
        );
    }
}
