//! The SQL of a list: conditions, the place after the last page's end, an order that is total.
//!
//! Only names of columns that stand in the code reach the text; everything that a client sends is a parameter.

use kit::db::{Params, Value};
use kit::fold::end_of_prefix;
use kit::http::ListQuery;
use kit::http::list::SortKey;

/// The conditions of one list, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    conditions: Vec<String>,
    params: Params,
}

impl Listing {
    /// Only rows for which `condition`, a text of the code with one `?` for each parameter, is true.
    pub(crate) fn require(&mut self, condition: &str, params: Params) {
        self.conditions.push(condition.to_owned());
        self.params.extend(params);
    }

    /// Only rows whose `column` is this value, if there is one.
    pub(crate) fn equal(&mut self, column: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.require(&format!("{column} = ?"), vec![value.into()]);
        }
    }

    /// Only rows whose folded `column` begins with this folded text, if there is one.
    pub(crate) fn begins_with(&mut self, column: &str, prefix: Option<&String>) {
        if let Some(prefix) = prefix {
            let bounds = vec![prefix.into(), end_of_prefix(prefix).into()];
            self.require(&format!("{column} >= ? AND {column} < ?"), bounds);
        }
    }

    /// The whole statement: `select` (up to its FROM), the conditions, `updated_since` on `updated_at`, and one page
    /// in the order of `column`, then `id`.
    pub(crate) fn page(mut self, select: &str, column: &str, query: &ListQuery) -> (String, Params) {
        if let Some(since) = query.updated_since {
            self.require("updated_at >= ?", vec![since.into()]);
        }
        let (order, beyond) = if query.sort.descending {
            ("DESC", "<")
        } else {
            ("ASC", ">")
        };
        if let Some(after) = &query.after {
            let key = match &after.key {
                SortKey::Int(number) => Value::from(number),
                SortKey::Text(text) => text.into(),
            };
            // The first half alone lets an index be used.
            let condition = format!("{column} {beyond}= ? AND ({column} {beyond} ? OR id {beyond} ?)");
            self.require(&condition, vec![key.clone(), key, (&after.id).into()]);
        }
        let conditions = match self.conditions.as_slice() {
            [] => String::new(),
            all => format!(" WHERE {}", all.join(" AND ")),
        };
        self.params.push(query.rows_wanted().into());
        let sql = format!("{select}{conditions} ORDER BY {column} {order}, id {order} LIMIT ?");
        (sql, self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::http::{ListSpec, Position, SortField};

    const SPEC: ListSpec = ListSpec {
        name: "things",
        filters: &["status"],
        sorts: &[SortField::int("created_at")],
        descending_by_default: false,
        updated_since: true,
    };

    #[test]
    fn every_value_is_a_parameter() {
        let query = SPEC.parse("updated_since=5&limit=2&sort=-created_at").unwrap();
        let mut listing = Listing::default();
        listing.equal("status", Some("' OR 1=1"));
        listing.equal("email", None::<&str>);
        listing.begins_with("name", Some(&"sil".to_owned()));
        let (sql, params) = listing.page("SELECT id FROM things", "created_at", &query);
        assert_eq!(
            sql,
            "SELECT id FROM things WHERE status = ? AND name >= ? AND name < ? AND updated_at >= ? \
             ORDER BY created_at DESC, id DESC LIMIT ?"
        );
        assert_eq!(params.len(), sql.matches('?').count());
        assert_eq!(params.last(), Some(&Value::Int(3)));
    }

    #[test]
    fn the_next_page_begins_beyond_the_last_row_in_the_order() {
        let mut query = SPEC.parse("sort=created_at").unwrap();
        query.after = Some(Position::int(7, "b"));
        let (sql, params) = Listing::default().page("SELECT id FROM things", "created_at", &query);
        assert!(
            sql.contains("created_at >= ? AND (created_at > ? OR id > ?)"),
            "{sql}"
        );
        assert_eq!(params[..3], [Value::Int(7), Value::Int(7), Value::from("b")]);
    }
}
