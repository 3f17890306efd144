//! The history of endpoints' breakers: the newest changes of each, for people.

use contract::UnixMillis;
use db::params;
use db::{DbError, Row, Statement, StatementResult, Tx};
use kit::breaker::State;

/// Transitions of its breaker that an endpoint keeps.
pub const BREAKER_HISTORY_MAX: usize = 100;

/// One change of a breaker's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerChange {
    /// An id of its own, which also orders changes of the same millisecond.
    pub id: String,
    /// When.
    pub at: UnixMillis,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why, for people.
    pub reason: String,
}

/// Writes a change into the history of an endpoint's breaker, if there was one. It keeps the newest [`BREAKER_HISTORY_MAX`].
pub(super) async fn append(tx: &mut Tx, id: &str, change: Option<BreakerChange>) -> Result<(), DbError> {
    let Some(change) = change else { return Ok(()) };
    let skip = tx.dialect().skip_existing("id");
    let columns = ["endpoint_id", "at", "id", "from_state", "to_state", "reason"];
    let (from, to) = (change.from.as_str(), change.to.as_str());
    let row = params![id, change.at, &change.id, from, to, &change.reason];
    tx.insert("breaker_history", &columns, &skip, row).await?;
    let oldest_kept = tx
        .query_one(
            &format!(
                "SELECT at FROM breaker_history WHERE endpoint_id = ? ORDER BY at DESC, id DESC
                 LIMIT 1 OFFSET {}",
                BREAKER_HISTORY_MAX - 1
            ),
            params![id],
        )
        .await?;
    if let Some(row) = oldest_kept {
        tx.execute(
            "DELETE FROM breaker_history WHERE endpoint_id = ? AND at < ?",
            params![id, row.get::<UnixMillis>("at")?],
        )
        .await?;
    }
    Ok(())
}

/// Asks for the newest changes of an endpoint's breaker, newest first.
pub(super) fn of(endpoint: &str, most: usize) -> Statement {
    Statement::query(
        "SELECT id, at, from_state, to_state, reason FROM breaker_history WHERE endpoint_id = ?
             ORDER BY at DESC, id DESC LIMIT ?",
        params![endpoint, most],
    )
}

/// The answer to [`of`].
pub(super) fn read_all(answer: &StatementResult) -> Result<Vec<BreakerChange>, DbError> {
    let rows = answer.rows.iter();
    rows.map(|row| {
        Ok(BreakerChange {
            id: row.get("id")?,
            at: row.get("at")?,
            from: read_state(row, "from_state")?,
            to: read_state(row, "to_state")?,
            reason: row.get("reason")?,
        })
    })
    .collect()
}

/// A breaker's state as a column spells it.
pub(super) fn read_state(row: &Row, column: &str) -> Result<State, DbError> {
    let text: String = row.get(column)?;
    [State::Closed, State::Open, State::HalfOpen]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| DbError::Decode {
            column: column.to_owned(),
            expected: "state of a breaker",
        })
}
