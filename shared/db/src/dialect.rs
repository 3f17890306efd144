//! The few places where the SQL of the two engines differs.
//!
//! Everything else is one text: `?` placeholders, no RETURNING, no vendor functions.

use std::fmt::Write;

/// The SQL that an engine speaks. MariaDB, Galera, TiDB and Vitess speak `Mysql`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The embedded engine.
    Sqlite,
    /// MySQL 8+, MariaDB 10.6+ and what speaks their protocol.
    Mysql,
}

impl Dialect {
    /// The end of an `INSERT ... VALUES` that leaves an existing row unchanged, whichever of its unique keys is taken.
    ///
    /// `key_column` is any column of the primary key. The number of affected rows does not show which rows are new:
    /// read the rows back in the same transaction.
    pub fn skip_existing(self, key_column: &str) -> String {
        match self {
            Self::Sqlite => " ON CONFLICT DO NOTHING".to_owned(),
            Self::Mysql => format!(" ON DUPLICATE KEY UPDATE {key_column} = {key_column}"),
        }
    }

    /// The end of an `INSERT ... VALUES` that writes the `set` columns of an existing row.
    ///
    /// `key` must be the table's only unique key: MySQL would update by any of them.
    pub fn on_conflict_update(self, key: &[&str], set: &[&str]) -> String {
        self.upsert(key, set, |column, new| format!("{column} = {new}"))
    }

    /// As [`on_conflict_update`](Self::on_conflict_update), adding the new values to the counters that are there.
    pub fn on_conflict_add(self, key: &[&str], counters: &[&str]) -> String {
        self.upsert(key, counters, |column, new| {
            format!("{column} = {column} + {new}")
        })
    }

    /// As [`on_conflict_update`](Self::on_conflict_update), for one column that only grows: a row whose value is as large
    /// already is not written.
    pub fn on_conflict_raise(self, key: &[&str], column: &str) -> String {
        self.upsert(key, &[column], |column, new| match self {
            Self::Sqlite => format!("{column} = {new} WHERE {new} > {column}"),
            Self::Mysql => format!("{column} = GREATEST({column}, {new})"),
        })
    }

    /// The end of a `SELECT` that locks the rows it finds. SQLite has one writer at a time.
    pub fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Mysql => " FOR UPDATE",
        }
    }

    /// The end of a `SELECT` whose rows nobody changes before the commit; others may lock them so too.
    pub fn in_share_mode(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Mysql => " LOCK IN SHARE MODE",
        }
    }

    /// Texts and numbers, the `parts` with commas between them, one after the other as the value of a column of bytes.
    pub fn bytes_of(self, parts: &str) -> String {
        match self {
            Self::Sqlite => format!("CAST(concat({parts}) AS BLOB)"),
            Self::Mysql => format!("concat({parts})"),
        }
    }

    /// A join whose left side is always read first, whatever the planner would choose.
    pub fn join_in_order(self) -> &'static str {
        match self {
            Self::Sqlite => "CROSS JOIN",
            Self::Mysql => "STRAIGHT_JOIN",
        }
    }

    fn upsert(self, key: &[&str], set: &[&str], assignment: impl Fn(&str, &str) -> String) -> String {
        let assignments: Vec<_> = set
            .iter()
            .map(|column| match self {
                Self::Sqlite => assignment(column, &format!("excluded.{column}")),
                Self::Mysql => assignment(column, &format!("VALUES({column})")),
            })
            .collect();
        let assignments = assignments.join(", ");
        match self {
            Self::Sqlite => format!(" ON CONFLICT ({}) DO UPDATE SET {assignments}", key.join(", ")),
            Self::Mysql => format!(" ON DUPLICATE KEY UPDATE {assignments}"),
        }
    }
}

/// `(?, ?), (?, ?)`: the VALUES of `rows` rows of `columns` columns.
pub fn placeholders(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    let mut text = String::with_capacity((row.len() + 2) * rows);
    for number in 0..rows {
        let separator = if number == 0 { "" } else { ", " };
        write!(text, "{separator}{row}").expect("writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_make_rows_of_columns() {
        assert_eq!(placeholders(2, 3), "(?, ?, ?), (?, ?, ?)");
        assert_eq!(placeholders(1, 1), "(?)");
    }

    #[test]
    fn each_engine_gets_its_own_upsert() {
        assert_eq!(
            Dialect::Mysql.skip_existing("id"),
            " ON DUPLICATE KEY UPDATE id = id"
        );
        assert_eq!(
            Dialect::Sqlite.on_conflict_update(&["a", "b"], &["c", "d"]),
            " ON CONFLICT (a, b) DO UPDATE SET c = excluded.c, d = excluded.d"
        );
        assert_eq!(
            Dialect::Mysql.on_conflict_add(&["a"], &["n"]),
            " ON DUPLICATE KEY UPDATE n = n + VALUES(n)"
        );
        assert_eq!(
            Dialect::Sqlite.on_conflict_raise(&["a"], "n"),
            " ON CONFLICT (a) DO UPDATE SET n = excluded.n WHERE excluded.n > n"
        );
        assert_eq!(
            Dialect::Mysql.on_conflict_raise(&["a"], "n"),
            " ON DUPLICATE KEY UPDATE n = GREATEST(n, VALUES(n))"
        );
    }
}
