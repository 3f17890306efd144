//! The answer that a retry of the same request gets.
//!
//! It is written in the transaction of the change that it describes, so it is made before that commit. The caller
//! chooses its content: it passes the desk a function that makes the answer from the new state.

use kit::idempotency::{Answer, Slot};
use std::sync::Arc;

/// Makes the answer from the new state.
pub type MakeAnswer<T> = Arc<dyn Fn(&T) -> Answer + Send + Sync>;

/// How the answer to a request is made, and under which idempotency key it is kept.
pub struct AnswerToKeep<T> {
    pub(super) slot: Slot,
    pub(super) make: MakeAnswer<T>,
}

impl<T> AnswerToKeep<T> {
    /// The answer that `make` makes, kept in this slot.
    pub fn new(slot: Slot, make: impl Fn(&T) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            slot,
            make: Arc::new(make),
        }
    }

    /// For a caller that has no retries to answer: nothing is stored.
    pub fn nothing() -> Self {
        Self::new(Slot::without_key(), |_| Answer::no_content())
    }

    pub(super) fn of(&self, state: &T) -> Answer {
        (self.make)(state)
    }
}
