//! Lists that are short enough to be held in memory: their pages are also numbered, and their total is given.

use super::{LIMIT_DEFAULT, LIMIT_MAX, ListQuery, Pagination, Position, SortKey};
use crate::{Response, reply};
use contract::{Problem, ProblemCode};
use serde::Serialize;

/// The parameters that number pages; a short list has them among its filters.
pub const PAGE: &str = "page";
/// See [`PAGE`].
pub const PAGE_SIZE: &str = "page_size";

#[derive(Serialize)]
struct Page<S> {
    data: Vec<S>,
    pagination: ShortPagination,
}

#[derive(Serialize)]
struct ShortPagination {
    #[serde(flatten)]
    by_cursor: Pagination,
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_size: Option<u32>,
}

/// A page of `rows`, which are sorted here by an integer and then by id: the one after the query's cursor, or that of its
/// `page` and `page_size`.
///
/// # Errors
/// 400 `invalid_query` for a page that is no number from 1 on, a size out of 1 to 200, or both a page and a cursor.
pub fn short_list<T, S: Serialize>(
    query: &ListQuery,
    mut rows: Vec<T>,
    position: impl Fn(&T) -> (i64, String),
    show: impl Fn(&T) -> S,
) -> Result<Response, Problem> {
    let descending = query.sort.descending;
    let beyond =
        |one: &(i64, String), other: &(i64, String)| if descending { one < other } else { one > other };
    rows.sort_by_cached_key(&position);
    if descending {
        rows.reverse();
    }
    let total = rows.len();
    let page: Option<usize> = number(query, PAGE, 1, usize::MAX)?;
    let page_size: Option<u32> = number(query, PAGE_SIZE, 1, LIMIT_MAX)?;
    let is_numbered = page.is_some() || page_size.is_some();
    if is_numbered && query.after.is_some() {
        return Err(refused("a cursor and a page are two places"));
    }
    let (first, limit) = if is_numbered {
        let size = page_size.unwrap_or(LIMIT_DEFAULT);
        let pages_before = page.unwrap_or(1) - 1;
        (pages_before.saturating_mul(size as usize), size)
    } else {
        let after = query.after.as_ref().map(|after| match &after.key {
            SortKey::Int(key) => (*key, after.id.clone()),
            SortKey::Text(_) => (0, after.id.clone()),
        });
        let seen = |row: &T| after.as_ref().is_some_and(|after| !beyond(&position(row), after));
        (rows.iter().take_while(|row| seen(row)).count(), query.limit)
    };
    let shown = rows.get(first..).unwrap_or_default();
    let (shown, rest) = shown.split_at(shown.len().min(limit as usize));
    // A numbered page has no cursor: the next one has the next number.
    let last = shown
        .last()
        .filter(|_| !rest.is_empty() && !is_numbered)
        .map(|row| {
            let (key, id) = position(row);
            Position::int(key, id)
        });
    let by_cursor = Pagination {
        limit,
        has_more: !rest.is_empty(),
        ..query.pagination(last.as_ref())
    };
    Ok(reply::ok(&Page {
        data: shown.iter().map(show).collect(),
        pagination: ShortPagination {
            by_cursor,
            total,
            page: is_numbered.then(|| page.unwrap_or(1)),
            page_size: is_numbered.then_some(limit),
        },
    }))
}

fn number<N: std::str::FromStr + PartialOrd + Copy>(
    query: &ListQuery,
    name: &str,
    min: N,
    max: N,
) -> Result<Option<N>, Problem> {
    let read = |text: &str| {
        let number = text.parse().ok().filter(|number| (&min..=&max).contains(&number));
        number.ok_or_else(|| refused(&format!("{name} is out of range")))
    };
    query.filter(name).map(read).transpose()
}

fn refused(detail: &str) -> Problem {
    Problem::new(ProblemCode::InvalidQuery).with_detail(detail)
}
