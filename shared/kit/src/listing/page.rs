//! The page of a list, written row by row.

use super::Rows;
use crate::{
    db::DbError,
    http::{ListQuery, Position, Response, reply},
};
use contract::Problem;
use http::StatusCode;
use serde::Serialize;

/// Bytes of a page at most, except that it has one row at least.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Rows of the first step; how many a later one reads follows from how large rows turn out to be.
const FIRST_STEP: usize = 16;
/// Bytes that the rows of a later step may have together, going by the largest so far.
const STEP_BYTES: usize = 256 * 1024;
/// Left free for what stands behind the rows.
const END_BYTES: usize = 4 * 1024;

/// Reads the rows and answers the page: as many as it has room for.
///
/// # Errors
/// The database's, as a problem.
pub async fn answer<T, S>(
    query: &ListQuery,
    mut rows: Rows<T>,
    show: impl Fn(T) -> S,
) -> Result<Response, Problem>
where
    T: Send + 'static,
    S: Serialize,
{
    let page = write(query, &mut rows, show, PAGE_BYTES_MAX).await?;
    Ok(reply::bytes_of(StatusCode::OK, "application/json", page))
}

async fn write<T, S>(
    query: &ListQuery,
    rows: &mut Rows<T>,
    show: impl Fn(T) -> S,
    bytes_max: usize,
) -> Result<Vec<u8>, DbError>
where
    T: Send + 'static,
    S: Serialize,
{
    let mut page = br#"{"data":["#.to_vec();
    let (mut written, mut largest, mut step) = (0, 1, FIRST_STEP);
    let mut last: Option<Position> = None;
    let goes_on_after = 'page: loop {
        let read = rows.next(step).await?;
        if read.is_empty() {
            break rows.goes_on_after().cloned();
        }
        for (position, row) in read {
            if let Some(row) = row {
                let row = serde_json::to_vec(&show(row)).expect("answers are plain data with string keys");
                if written > 0 && page.len() + row.len() + END_BYTES > bytes_max {
                    break 'page last;
                }
                if written > 0 {
                    page.push(b',');
                }
                page.extend_from_slice(&row);
                written += 1;
                largest = largest.max(row.len());
            }
            last = Some(position);
        }
        step = (STEP_BYTES / largest).max(1);
    };
    page.extend_from_slice(br#"],"pagination":"#);
    let pagination = query.pagination(goes_on_after.as_ref());
    serde_json::to_writer(&mut page, &pagination).expect("a Vec takes everything");
    page.push(b'}');
    Ok(page)
}
