//! The filter of a list: conditions on its rows, and the indexes that find them.

use super::Table;
use contract::Scope;
use db::{Dialect, InList, Params, Value};

/// The conditions of one list, all of which hold for each of its rows.
#[derive(Clone, Debug)]
pub struct Listing {
    pub(super) table: &'static Table,
    conditions: Vec<Condition>,
    pub(super) lookups: Vec<Lookup>,
    ranges: Vec<Range>,
}

#[derive(Clone, Debug)]
struct Condition {
    text: String,
    params: Params,
    /// The table whose columns it is about, which has a row for this one; None for those of the list itself.
    link: Option<Link>,
}

/// Bounds of a column: at or above `low`, below `high`.
#[derive(Clone, Debug)]
struct Range {
    column: &'static str,
    low: Option<Value>,
    high: Option<Value>,
}

/// How an index finds the ids of every row for which a condition holds, and perhaps of more rows. It is used when it
/// finds few. All conditions of the list are checked on each row that it finds.
#[derive(Clone, Debug)]
pub struct Lookup {
    parts: Vec<Part>,
}

/// An index by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// The primary key.
    Primary,
    /// One with the same name on both engines.
    Named(&'static str),
    /// A unique key that the table was made with, which SQLite names itself.
    Unique {
        /// Its name on SQLite.
        sqlite: &'static str,
        /// Its name on MySQL.
        mysql: &'static str,
    },
}

/// One query of a [`Lookup`].
#[derive(Clone, Debug)]
pub struct Part {
    /// The name of a table that is read first, row by row, where its values are needed to use the index.
    pub before: Option<&'static str>,
    /// The table with the index: the list's own, or one that has its ids.
    pub table: &'static str,
    /// The index.
    pub index: Index,
    /// The column with the list's id.
    pub id: &'static str,
    /// A condition that the index answers by itself, with one `?` for each parameter.
    pub condition: String,
    /// Its parameters.
    pub params: Params,
}

/// A table with ids of a list's rows, such as words under which they are found.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Its name.
    pub table: &'static str,
    /// The column with the list's id.
    pub id: &'static str,
    /// The index that begins with what is searched for.
    pub by_value: Index,
    /// The index that begins with the list's id.
    pub by_row: Index,
}

impl Index {
    /// The SQL after a table's name that makes an engine use this index: its planner might choose another, depending on
    /// statistics.
    pub fn hint(self, dialect: Dialect) -> String {
        match (dialect, self) {
            // SQLite has no name for it, and uses it when the condition is on its columns.
            (Dialect::Sqlite, Self::Primary) => String::new(),
            (Dialect::Sqlite, Self::Named(index) | Self::Unique { sqlite: index, .. }) => {
                format!(" INDEXED BY {index}")
            }
            (Dialect::Mysql, Self::Primary) => " FORCE INDEX (PRIMARY)".to_owned(),
            (Dialect::Mysql, Self::Named(index) | Self::Unique { mysql: index, .. }) => {
                format!(" FORCE INDEX ({index})")
            }
        }
    }
}

impl Lookup {
    /// One query.
    pub fn new(part: Part) -> Self {
        Self { parts: vec![part] }
    }

    /// Finds the rows of both queries.
    #[must_use]
    pub fn and_also(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    /// A SELECT of `found_id`, of at most `rows` rows of which some may be the same.
    pub(super) fn select(&self, dialect: Dialect, rows: usize) -> (String, Params) {
        let mut params = Params::new();
        let mut parts = Vec::new();
        for part in &self.parts {
            let Part {
                before, table, id, ..
            } = part;
            let index = part.index.hint(dialect);
            let from = match before {
                Some(before) => format!("{before} {} {table}{index}", dialect.join_in_order()),
                None => format!("{table}{index}"),
            };
            let condition = &part.condition;
            parts.push(format!(
                "SELECT * FROM (SELECT {table}.{id} AS found_id FROM {from} WHERE {condition} LIMIT ?) AS part"
            ));
            params.extend(part.params.iter().cloned());
            params.push(rows.into());
        }
        params.push(rows.into());
        (format!("{} LIMIT ?", parts.join(" UNION ALL ")), params)
    }
}

impl Listing {
    /// All rows of a table.
    pub fn of(table: &'static Table) -> Self {
        Self {
            table,
            conditions: Vec::new(),
            lookups: Vec::new(),
            ranges: Vec::new(),
        }
    }

    /// Only rows for which `condition`, a text of the code with one `?` for each parameter, is true. No index is used.
    pub fn require(&mut self, condition: impl Into<String>, params: Params) {
        self.conditions.push(Condition {
            text: condition.into(),
            params,
            link: None,
        });
    }

    /// Only rows whose `column` is this value, if there is one. No index is used.
    pub fn equal(&mut self, column: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.require(format!("{column} = ?"), vec![value.into()]);
        }
    }

    /// Only rows whose `column` names a part of a scope; with a whole scope all rows. No index is used.
    pub fn within(&mut self, column: &str, scope: &Scope) {
        if let Scope::Parts(parts) = scope {
            let list = InList::of(parts);
            self.require(format!("{column} IN {list}"), list.into_params());
        }
    }

    /// As [`require`](Self::require); all such rows are found by an index of the table, which the condition alone uses.
    pub fn require_by(&mut self, index: &'static str, condition: impl Into<String>, params: Params) {
        let condition = condition.into();
        self.find_by(Lookup::new(self.by_index(
            index,
            condition.clone(),
            params.clone(),
        )));
        self.require(condition, params);
    }

    /// As [`equal`](Self::equal), by an index that begins with the column.
    pub fn equal_by(&mut self, index: &'static str, column: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.require_by(index, format!("{column} = ?"), vec![value.into()]);
        }
    }

    /// Only rows that a link has a row for, with this condition on its columns.
    pub fn linked(&mut self, link: Link, condition: impl Into<String>, params: Params) {
        let condition = condition.into();
        self.find_by(Lookup::new(Part {
            before: None,
            table: link.table,
            index: link.by_value,
            id: link.id,
            condition: condition.clone(),
            params: params.clone(),
        }));
        self.conditions.push(Condition {
            text: condition,
            params,
            link: Some(link),
        });
    }

    /// Only rows whose column is at or above `low` and below `high`. Where the list is sorted by it, only these are looked
    /// at; else an index that begins with the column finds them, if there is one.
    pub fn between(
        &mut self,
        index: Option<&'static str>,
        column: &'static str,
        low: Option<impl Into<Value>>,
        high: Option<impl Into<Value>>,
    ) {
        let (low, high) = (low.map(Into::into), high.map(Into::into));
        let (condition, params) = bounds(column, low.as_ref(), high.as_ref());
        if params.is_empty() {
            return;
        }
        match index {
            Some(index) => self.require_by(index, condition, params),
            None => self.require(condition, params),
        }
        self.ranges.push(Range { column, low, high });
    }

    /// Adds another way to find all rows of the list.
    pub fn find_by(&mut self, lookup: Lookup) {
        self.lookups.push(lookup);
    }

    /// A query of this table for a lookup.
    pub fn by_index(&self, index: &'static str, condition: impl Into<String>, params: Params) -> Part {
        Part {
            before: None,
            table: self.table.name,
            index: Index::Named(index),
            id: self.table.id,
            condition: condition.into(),
            params,
        }
    }

    /// All conditions as one text, and their parameters; None when there are none. For work that goes through the rows of
    /// a list by itself.
    pub fn conditions(&self, dialect: Dialect) -> Option<(String, Params)> {
        let texts: Vec<_> = self
            .conditions
            .iter()
            .map(|condition| self.text(dialect, condition))
            .collect();
        let params = self.conditions.iter().flat_map(|condition| &condition.params);
        (!texts.is_empty()).then(|| (texts.join(" AND "), params.cloned().collect()))
    }

    fn text(&self, dialect: Dialect, condition: &Condition) -> String {
        let Condition { text, link, .. } = condition;
        let Some(Link {
            table, id, by_row, ..
        }) = link
        else {
            return text.clone();
        };
        let (index, own) = (by_row.hint(dialect), self.table);
        format!(
            "EXISTS (SELECT 1 FROM {table}{index} WHERE {table}.{id} = {}.{} AND {text})",
            own.name, own.id
        )
    }

    /// The lower and the upper bounds of a column, as far as they are asked for: the text, empty when there are none, and
    /// its parameters.
    pub(super) fn range(&self, column: &str, low: bool, high: bool) -> (String, Params) {
        let mut texts = Vec::new();
        let mut params = Params::new();
        for range in self.ranges.iter().filter(|range| range.column == column) {
            let low = range.low.as_ref().filter(|_| low);
            let high = range.high.as_ref().filter(|_| high);
            let (text, values) = bounds(column, low, high);
            if !values.is_empty() {
                texts.push(text);
                params.extend(values);
            }
        }
        (texts.join(" AND "), params)
    }
}

fn bounds(column: &str, low: Option<&Value>, high: Option<&Value>) -> (String, Params) {
    let texts = [
        low.map(|low| (format!("{column} >= ?"), low.clone())),
        high.map(|high| (format!("{column} < ?"), high.clone())),
    ];
    let (texts, params): (Vec<_>, Params) = texts.into_iter().flatten().unzip();
    (texts.join(" AND "), params)
}
