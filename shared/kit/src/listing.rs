//! Lists over tables of any size, with a bounded amount of work for each page: the one list builder of both services.
//!
//! A store describes its list once, as a [`Table`] with an index for each order, and each request's conditions as a
//! [`Listing`]. [`Lists::find`] returns [`Rows`]: the positions of the page's rows, found either through a condition's
//! own index (a [`Lookup`] that finds few), or by examining the next rows of the order, at most [`ROWS_LOOKED_AT_MAX`].
//! [`answer`] reads them in steps and writes the page, of at most [`PAGE_BYTES_MAX`]. A page that ended at one of these
//! bounds has `has_more` and a cursor, even with few rows or none: a client that follows `has_more` reaches the end and
//! gets each row once.
//!
//! Only names from the code reach the SQL; everything that a client sends is a parameter.

mod condition;
mod cursor_key;
mod page;
mod prefix;
mod rows;
mod walk;

pub use condition::{Index, Link, Listing, Lookup, Part};
pub use cursor_key::cursor_key;
pub use page::{PAGE_BYTES_MAX, answer};
pub use prefix::begins_with_any;
pub use rows::{Reading, Rows};

use api::ListQuery;
use db::{Db, DbError, Tx};
use futures::future::BoxFuture;
use std::sync::Arc;

/// Rows that one page examines, at most.
pub const ROWS_LOOKED_AT_MAX: usize = 5_000;

/// A table that is listed.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The column of the id, its primary key.
    pub id: &'static str,
    /// One for each field that the list can be sorted by.
    pub orders: &'static [Order],
}

/// An order of a table: by a column that is never NULL, then by id.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The field's name in the API.
    pub field: &'static str,
    /// Its column.
    pub column: &'static str,
    /// The index on the column and the id.
    pub index: &'static str,
}

impl Table {
    /// The order of a query.
    ///
    /// # Panics
    /// When the list's specification has a field that the table has no order for: a mistake in the code.
    fn order(&self, query: &ListQuery) -> Order {
        let field = query.sort.field.name;
        let order = self.orders.iter().find(|order| order.field == field);
        *order.expect("each sort field of a list has an order of its table")
    }
}

/// The lists of one store: the database with the connection limit of lists, and how many rows a page examines.
#[derive(Clone, Debug)]
pub struct Lists {
    db: Db,
    rows_looked_at_max: usize,
}

impl Lists {
    /// With a connection limit of their own.
    pub fn new(db: &Db) -> Self {
        Self {
            db: db.for_lists(),
            rows_looked_at_max: ROWS_LOOKED_AT_MAX,
        }
    }

    /// The same lists, whose pages examine at most so many rows, at least one: for tests of where pages end.
    #[must_use]
    pub fn with_rows_looked_at(&self, rows: usize) -> Self {
        Self {
            rows_looked_at_max: rows.max(1),
            ..self.clone()
        }
    }

    /// How many rows a page examines at most.
    pub fn rows_looked_at_max(&self) -> usize {
        self.rows_looked_at_max
    }

    /// A read that looks at as many rows as a list may, with the connections of lists.
    ///
    /// # Errors
    /// The database's; `Unavailable` when too many lists are being read.
    pub async fn read<T, F>(&self, name: &'static str, read: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, DbError>> + Send + Sync + 'static,
    {
        self.db.read(name, read).await
    }

    /// Finds the positions of a page's rows; [`Rows::next`] reads the rows.
    ///
    /// # Errors
    /// The database's; `Unavailable` when too many lists are being read.
    pub async fn find<T>(
        &self,
        listing: Listing,
        query: &ListQuery,
        reading: Reading<T>,
    ) -> Result<Rows<T>, DbError> {
        let listing = Arc::new(listing);
        let walk = Arc::new(walk::Walk::new(
            Arc::clone(&listing),
            query,
            self.rows_looked_at_max,
        ));
        let found = self
            .db
            .read(reading.name, move |tx| {
                let walk = Arc::clone(&walk);
                Box::pin(async move { walk.find(tx).await })
            })
            .await?;
        Ok(Rows::new(self.db.clone(), listing, reading, found))
    }
}

#[cfg(test)]
mod tests;
