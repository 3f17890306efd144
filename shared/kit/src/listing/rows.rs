//! The rows of a page, read in steps, so that few are in memory at once.

use super::{Listing, walk::Found};
use api::Position;
use db::{Db, DbError, Dialect, InList, Params, Row};
use std::sync::Arc;

/// How many rows one statement reads, the largest first: sizes of an [`InList`], so that it stays prepared.
const STEPS: [usize; 4] = [64, 16, 4, 1];

/// How a store reads the rows of a list.
#[derive(Debug)]
pub struct Reading<T> {
    /// The name of its queries in logs.
    pub name: &'static str,
    /// A SELECT of the list's table without a WHERE; the id is among its columns.
    pub select: &'static str,
    /// One row of it.
    pub read: fn(&Row) -> Result<T, DbError>,
}

impl<T> Clone for Reading<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Reading<T> {}

/// The rows of one page: their positions are known, the rows are not read yet.
pub struct Rows<T> {
    db: Db,
    listing: Arc<Listing>,
    reading: Reading<T>,
    found: Found,
}

impl<T> Rows<T> {
    pub(super) fn new(db: Db, listing: Arc<Listing>, reading: Reading<T>, found: Found) -> Self {
        Self {
            db,
            listing,
            reading,
            found,
        }
    }

    /// Where the next page begins once all rows of this one are shown; None when there is none.
    pub fn next_page_after(&self) -> Option<&Position> {
        self.found.next_page_after.as_ref()
    }

    /// The next rows, at most so many and at least one; empty at the end of the page. A row that has changed since it was
    /// found, and no longer belongs to the list, is None.
    ///
    /// # Errors
    /// The database's.
    pub async fn next(&mut self, rows_max: usize) -> Result<Vec<(Position, Option<T>)>, DbError>
    where
        T: Send + 'static,
    {
        let step = STEPS.into_iter().find(|size| *size <= rows_max).unwrap_or(1);
        let positions = &mut self.found.positions;
        let step: Vec<_> = positions.drain(..step.min(positions.len())).collect();
        if step.is_empty() {
            return Ok(Vec::new());
        }
        let ids = InList::of(step.iter().map(|position| &position.id));
        let (listing, reading) = (Arc::clone(&self.listing), self.reading);
        let read = self.db.read(reading.name, move |tx| {
            let (sql, params) = select(&listing, reading.select, ids.clone(), tx.dialect());
            let id = listing.table.id;
            Box::pin(async move {
                let rows = tx.query(&sql, params).await?;
                let read = rows
                    .iter()
                    .map(|row| Ok((row.get::<String>(id)?, (reading.read)(row)?)));
                read.collect::<Result<Vec<_>, DbError>>()
            })
        });
        let mut read = read.await?;
        let in_order = step.into_iter().map(|position| {
            let place = read.iter().position(|(id, _)| *id == position.id);
            let row = place.map(|place| read.swap_remove(place).1);
            (position, row)
        });
        Ok(in_order.collect())
    }
}

/// The rows of these ids, as far as they still belong to the list.
fn select(listing: &Listing, select: &str, ids: InList, dialect: Dialect) -> (String, Params) {
    let mut sql = format!("{select} WHERE {} IN {ids}", listing.table.id);
    let mut params = ids.into_params();
    if let Some((text, values)) = listing.conditions(dialect) {
        sql = format!("{sql} AND {text}");
        params.extend(values);
    }
    (sql, params)
}
