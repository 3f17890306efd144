//! The answer that a retry of the same request gets.
//!
//! It is written in the transaction of the change that it describes, so it is made before that commit, while what it says is
//! the caller's choice: the desk is given a function that makes it of what was done.

use kit::idempotency::{Answer, Slot};
use std::sync::Arc;

/// Makes the answer of what was done.
pub type MakeAnswer<T> = Arc<dyn Fn(&T) -> Answer + Send + Sync>;

/// How the answer to a request is made, and under which idempotency key it is kept.
pub struct AnswerToKeep<T> {
    pub(super) slot: Slot,
    pub(super) make: MakeAnswer<T>,
}

/// What was done, and the answer that was kept for it.
#[derive(Clone, Debug)]
pub struct Done<T> {
    /// The state after it.
    pub state: T,
    /// The answer, also when there was no key to keep it under.
    pub answer: Answer,
}

impl<T> AnswerToKeep<T> {
    /// The answer that `make` makes, kept in this slot.
    pub fn new(slot: Slot, make: impl Fn(&T) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            slot,
            make: Arc::new(make),
        }
    }

    /// For a caller that has no retries to answer: nothing is kept.
    pub fn nothing() -> Self {
        Self::new(Slot::without_key(), |_| Answer::no_content())
    }

    pub(super) fn of(&self, state: &T) -> Answer {
        (self.make)(state)
    }
}
