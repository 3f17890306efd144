//! Lists through the real stores: whatever is asked for, in whatever order and pages, and however few rows a page looks at,
//! who goes on while there is more gets each row that belongs to the list once, in its order.

mod emitter;
mod receiver;
mod shares;

use std::future::Future;

use api::{ListQuery, ListSpec, SortField, list::CursorKey};
use contract::Scope;
use db::{Db, DbError, FromValue, Row};
use harness::seeded::SeededRng;
use kit::listing::Rows;

use crate::case::Case;

pub fn cases() -> Vec<Case> {
    let modules = [emitter::cases(), receiver::cases(), shares::cases()];
    modules.into_iter().flatten().collect()
}

/// Rows of a table under test.
const ROWS: usize = 60;
/// Questions to it.
const QUESTIONS: usize = 120;

/// A random order, with a page and a bound that are small.
struct Question {
    query: String,
    column: &'static str,
    descending: bool,
    rows_looked_at: usize,
}

impl Question {
    /// `sorts` are the fields with their columns.
    fn draw(rng: &mut SeededRng, sorts: &[(&str, &'static str)]) -> Self {
        let (field, column) = *rng.pick(sorts);
        let descending = rng.chance(50);
        let (minus, limit) = (if descending { "-" } else { "" }, 1 + rng.below(9));
        Self {
            query: format!("sort={minus}{field}&limit={limit}"),
            column,
            descending,
            rows_looked_at: 1 + rng.below(20),
        }
    }

    /// The ids of the rows for which `fits`, in the order that is asked for.
    fn expected(&self, rows: &[Row], id: &str, fits: impl Fn(&Row) -> bool) -> Vec<String> {
        let mut fitting: Vec<_> = rows.iter().filter(|row| fits(row)).collect();
        // A column is a number or a text, and never both.
        let place = |row: &&Row| {
            let id: String = row.get(id).unwrap();
            let (number, text) = (row.get::<i64>(self.column), row.get::<String>(self.column));
            (number.unwrap_or_default(), text.unwrap_or_default(), id)
        };
        fitting.sort_by_key(place);
        if self.descending {
            fitting.reverse();
        }
        fitting.into_iter().map(|row| row.get(id).unwrap()).collect()
    }

    /// The ids on all pages.
    async fn walk<T, F>(
        &self,
        spec: &ListSpec,
        updated_since: Option<i64>,
        id: impl Fn(T) -> String,
        find: impl Fn(ListQuery) -> F,
    ) -> Vec<String>
    where
        T: Send + 'static,
        F: Future<Output = Result<Rows<T>, DbError>>,
    {
        let since = updated_since.map_or_else(String::new, |since| format!("&updated_since={since}"));
        let mut query = spec
            .parse(&format!("{}{since}", self.query), &CursorKey::default())
            .unwrap();
        let mut seen = Vec::new();
        loop {
            let mut rows = find(query.clone()).await.unwrap();
            loop {
                let step = rows.next(64).await.unwrap();
                if step.is_empty() {
                    break;
                }
                let step = step.into_iter().map(|(_, row)| id(row.expect("nothing changes")));
                seen.extend(step);
            }
            let Some(next) = rows.next_page_after() else {
                return seen;
            };
            assert_ne!(
                query.after.as_ref(),
                Some(next),
                "a page that goes on looked at something"
            );
            query.after = Some(next.clone());
        }
    }
}

const fn spec(sorts: &'static [SortField]) -> ListSpec {
    ListSpec {
        name: "rows",
        filters: &[],
        sorts,
        descending_by_default: false,
        updated_since: true,
    }
}

/// All rows of a query, which is bounded by its table.
async fn all(db: &Db, sql: &'static str) -> Vec<Row> {
    let read = db.read("all", move |tx| {
        Box::pin(async move { tx.query(sql, Vec::new()).await })
    });
    read.await.unwrap()
}

/// Whether a column is what is asked for, if anything is.
fn is<T: FromValue + PartialEq>(row: &Row, column: &str, asked: Option<&T>) -> bool {
    asked.is_none_or(|asked| row.get::<Option<T>>(column).unwrap().as_ref() == Some(asked))
}

/// Everything, or one of these properties, or both.
fn scope(rng: &mut SeededRng, properties: &[&str; 2]) -> Scope {
    match perhaps(rng, 40, &[&properties[..1], &properties[1..], &properties[..]]) {
        None => Scope::All,
        Some(parts) => Scope::of(parts.iter().copied()).unwrap(),
    }
}

/// One of the values, or none.
fn perhaps<T: Clone>(rng: &mut SeededRng, percent: usize, values: &[T]) -> Option<T> {
    rng.chance(percent).then(|| rng.pick(values).clone())
}
