//! Lists: the query string in, a page out.
//!
//! An endpoint declares a [`ListSpec`]; `Request::list` makes a [`ListQuery`] of the query string and refuses what
//! it does not know; `kit::listing` finds and reads the rows after [`ListQuery::after`]; [`ListQuery::pagination`]
//! says whether more rows follow and with which cursor.

mod cursor;
mod query;
mod short;

pub use cursor::{CursorKey, Position, SortKey};
pub use short::{PAGE, PAGE_SIZE, short_list};

use contract::{Problem, UnixMillis};
use serde::Serialize;

/// Rows of a page when none are asked for.
pub const LIMIT_DEFAULT: u32 = 50;
/// Rows of a page at most.
pub const LIMIT_MAX: u32 = 200;

/// The type of a sort field in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKind {
    /// An integer, as instants are.
    Int,
    /// A text, compared in its column's collation.
    Text,
}

/// A field that a list can be sorted by. Its column is never NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortField {
    /// The field's name in the API.
    pub name: &'static str,
    /// Its type, which is also that of the key in a cursor.
    pub kind: SortKind,
}

impl SortField {
    /// A field whose column is a BIGINT.
    pub const fn int(name: &'static str) -> Self {
        Self {
            name,
            kind: SortKind::Int,
        }
    }

    /// A field whose column is a text.
    pub const fn text(name: &'static str) -> Self {
        Self {
            name,
            kind: SortKind::Text,
        }
    }
}

/// What a list takes. It is a constant of its endpoint.
#[derive(Clone, Copy, Debug)]
pub struct ListSpec {
    /// The list's name; a cursor of another list does not fit.
    pub name: &'static str,
    /// Parameters that filter; each may stand once.
    pub filters: &'static [&'static str],
    /// Fields to sort by. Where none is asked for, the first.
    pub sorts: &'static [SortField],
    /// Whether the first is descending when none is asked for.
    pub descending_by_default: bool,
    /// Whether `updated_since` is taken.
    pub updated_since: bool,
}

/// An order: by a field, then by id in the same direction, so that it is total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// One of the list's fields.
    pub field: SortField,
    /// `-field`.
    pub descending: bool,
}

/// A query string that the list understands.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Rows of the page, 1 to 200.
    pub limit: u32,
    /// The order.
    pub sort: Sort,
    /// Only what changed at or after this instant.
    pub updated_since: Option<UnixMillis>,
    /// Where the page before ended: only rows beyond it in the order.
    pub after: Option<Position>,
    filters: Vec<(&'static str, String)>,
    binding: cursor::Binding,
}

/// The pagination part of an answer. A page may have fewer rows than its limit, or none, although more follow.
#[derive(Debug, Serialize)]
pub struct Pagination {
    limit: u32,
    next_cursor: Option<String>,
    has_more: bool,
}

/// Reads the raw query string of an endpoint that is no list: which of the `known` parameters are given, and as what.
///
/// # Errors
/// 400 `invalid_query` when a parameter is unknown, repeated, empty or malformed.
pub fn parse_parameters(
    known: &'static [&'static str],
    query: &str,
) -> Result<Vec<(&'static str, String)>, Problem> {
    query::parameters(known, query)
}

impl ListSpec {
    /// Reads a raw query string; its cursor was made under `key`.
    ///
    /// # Errors
    /// 400 `invalid_query` when a parameter is unknown, repeated, empty or malformed, and 400 `invalid_cursor` when the
    /// cursor is not one that this list gave for these filters and this order.
    pub fn parse(&self, query: &str, key: &CursorKey) -> Result<ListQuery, Problem> {
        query::parse(self, query, key)
    }
}

impl ListQuery {
    /// The value of a filter.
    pub fn filter(&self, name: &str) -> Option<&str> {
        self.filters
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The pagination that follows the rows of a page. `next_page_after` is the position after which the next page
    /// begins, if there may be one: that of a shown row, or of the last row that this page examined.
    pub fn pagination(&self, next_page_after: Option<&Position>) -> Pagination {
        Pagination {
            limit: self.limit,
            next_cursor: next_page_after.map(|place| cursor::encode(place, &self.binding)),
            has_more: next_page_after.is_some(),
        }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
