//! The page of a list, written row by row.

use super::Rows;
use crate::database_problem;
use api::{AnswerBudget, ListQuery, Position, Response, answers::AnswerReservation, reply};
use contract::Problem;
use http::StatusCode;
use serde::Serialize;

/// The most bytes of a page; a page has at least one row even if that is larger.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Rows of the first step; how many a later one reads follows from how large rows turn out to be.
const FIRST_STEP: usize = 16;
/// Bytes that the rows of a later step may have together, going by the largest so far.
const STEP_BYTES: usize = 256 * 1024;
/// Bytes left free for what follows the rows.
const END_BYTES: usize = 4 * 1024;

/// Reads the rows and answers the page, with as many rows as fit. Its memory is reserved row by row.
///
/// # Errors
/// The database's, as a problem; 503 when the answer budget cannot hold the page.
pub async fn answer<T, S>(
    answers: &AnswerBudget,
    query: &ListQuery,
    mut rows: Rows<T>,
    show: impl Fn(T) -> S,
) -> Result<Response, Problem>
where
    T: Send + 'static,
    S: Serialize,
{
    let mut page = Page {
        bytes: Vec::new(),
        reservation: answers.reserve(),
    };
    page.push(br#"{"data":["#)?;
    let next_page_after = write(&mut page, &mut rows, show).await?;
    page.push(br#"],"pagination":"#)?;
    let pagination = query.pagination(next_page_after.as_ref());
    page.push(&serde_json::to_vec(&pagination).expect("it is plain data"))?;
    page.push(b"}")?;
    Ok(page.into_response())
}

/// Writes the rows, and returns where the next page begins.
async fn write<T, S>(
    page: &mut Page,
    rows: &mut Rows<T>,
    show: impl Fn(T) -> S,
) -> Result<Option<Position>, Problem>
where
    T: Send + 'static,
    S: Serialize,
{
    let (mut written, mut largest, mut step) = (0, 1, FIRST_STEP);
    let mut last: Option<Position> = None;
    loop {
        let read = rows.next(step).await.map_err(database_problem)?;
        if read.is_empty() {
            return Ok(rows.next_page_after().cloned());
        }
        for (position, row) in read {
            if let Some(row) = row {
                let row = serde_json::to_vec(&show(row)).expect("answers are plain data with string keys");
                if written > 0 && page.bytes.len() + row.len() + END_BYTES > PAGE_BYTES_MAX {
                    return Ok(last);
                }
                if written > 0 {
                    page.push(b",")?;
                }
                page.push(&row)?;
                written += 1;
                largest = largest.max(row.len());
            }
            last = Some(position);
        }
        step = (STEP_BYTES / largest).max(1);
    }
}

/// Invariant: its reservation covers the capacity of its bytes.
struct Page {
    bytes: Vec<u8>,
    reservation: AnswerReservation,
}

impl Page {
    fn push(&mut self, more: &[u8]) -> Result<(), Problem> {
        let (len, capacity) = (self.bytes.len(), self.bytes.capacity());
        if len + more.len() > capacity {
            let wanted = (len + more.len()).max(2 * capacity);
            self.reservation.grow(wanted - capacity)?;
            self.bytes.reserve_exact(wanted - len);
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    fn into_response(mut self) -> Response {
        self.bytes.shrink_to_fit();
        let response = reply::bytes_of(StatusCode::OK, "application/json", self.bytes);
        self.reservation.with(response)
    }
}
