//! Searching a folded column by several prefixes at once.

use crate::fold::end_of_prefix;
use db::{Params, Value};

/// The condition, with its parameters, that `column` begins with one of these: ranges that an index can answer which
/// begins with it. `also` precedes each range, such as `kind = 'name' AND `, for an index that begins with another
/// column: SQLite searches each range separately.
pub fn begins_with_any(also: &str, column: &str, beginnings: &[String]) -> (String, Params) {
    let range = format!("({also}{column} >= ? AND {column} < ?)");
    let ranges = vec![range; beginnings.len()].join(" OR ");
    let bounds = |beginning: &String| [Value::from(beginning), end_of_prefix(beginning).into()];
    (
        format!("({ranges})"),
        beginnings.iter().flat_map(bounds).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_beginning_is_a_range() {
        let (condition, params) = begins_with_any("k = 1 AND ", "word", &["a".to_owned(), "b".to_owned()]);
        assert_eq!(
            condition,
            "((k = 1 AND word >= ? AND word < ?) OR (k = 1 AND word >= ? AND word < ?))"
        );
        assert_eq!(params.len(), 4);
        assert_eq!(params[2], Value::from("b"));
    }
}
