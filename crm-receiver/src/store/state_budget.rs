//! How much memory the states that one transaction reads may take.
//!
//! The text of a state is at most as large as an event's body, the tree that is parsed of it may be a hundred times as
//! large, and a small event may be about a large record. A batch whose records take too much fails, and is tried again
//! in halves; one event alone takes what it needs. What is read beside them, for the profiles, has no bound: no smaller
//! batch would need less of it.

use contract::json::Extent;
use db::DbError;

/// What the trees of one batch may take, as they are counted before the first is built.
const TREES_BYTES_MAX: usize = 64 << 20;

/// What is left of it; None where it has no bound.
pub(super) struct StateBudget(Option<usize>);

impl StateBudget {
    /// For a batch of so many events.
    pub fn of(batch: usize) -> Self {
        Self((batch > 1).then_some(TREES_BYTES_MAX))
    }

    /// For what has to be read, however much it is.
    pub fn without_bound() -> Self {
        Self(None)
    }

    /// Takes what the tree of one state needs.
    ///
    /// # Errors
    /// When there is not enough left.
    pub fn take(&mut self, state: &str) -> Result<(), DbError> {
        let Some(left) = &mut self.0 else {
            return Ok(());
        };
        let rest = left.checked_sub(Extent::of(state.as_bytes()).tree_bytes());
        *left = rest.ok_or_else(|| DbError::Statement {
            code: 0,
            message: "the states of a batch would take too much memory".to_owned(),
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r43_a_batch_reads_no_more_states_than_have_room_and_one_alone_what_it_needs() {
        let state = format!("[{}0]", "0,".repeat(19_000));
        let (mut batch, mut alone) = (StateBudget::of(2), StateBudget::of(1));
        let fitting = (0..1_000).take_while(|_| batch.take(&state).is_ok()).count();
        assert!((1..100).contains(&fitting), "{fitting}");
        assert!(
            batch.take(&state).unwrap_err().may_be_caused_by_rows(),
            "it is halved"
        );
        assert!((0..1_000).all(|_| alone.take(&state).is_ok()));
    }
}
