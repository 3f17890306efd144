//! Repeats a decision when another commit came between a write's read and its own commit.
//!
//! A change is decided on a state that was read before; the store writes it only if that state is still current. If it
//! is not, the change is decided again on the new state, a bounded number of times.

use super::DeskError;
use std::future::Future;

/// How often a write is decided at most.
pub const DECISIONS_MAX: usize = 5;

/// How one decision ended.
pub(super) enum Decision<T> {
    /// Its change is committed, or there was none to commit.
    Stands(T),
    /// The state that it was decided on is no longer current; nothing was written.
    Overtaken,
}

impl<T> Decision<T> {
    /// For what is decided only once.
    pub(super) fn or_overtaken(self) -> Result<T, DeskError> {
        match self {
            Self::Stands(done) => Ok(done),
            Self::Overtaken => Err(DeskError::Overtaken),
        }
    }
}

/// Calls `decide`, which reads, decides and writes, until it is not overtaken, at most [`DECISIONS_MAX`] times.
///
/// # Errors
/// `Overtaken` when every decision was; those of `decide`, at once.
pub(super) async fn decide_again<T, F>(decide: impl Fn() -> F) -> Result<T, DeskError>
where
    F: Future<Output = Result<Decision<T>, DeskError>>,
{
    for _ in 0..DECISIONS_MAX {
        if let Decision::Stands(done) = decide().await? {
            return Ok(done);
        }
    }
    Err(DeskError::Overtaken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::refusal::Refusal;
    use std::cell::Cell;

    #[tokio::test]
    async fn a_write_that_is_overtaken_is_decided_again_up_to_the_bound() {
        let decisions = Cell::new(0);
        let overtaken_before = |last: usize| {
            decisions.set(0);
            let decisions = &decisions;
            decide_again(move || async move {
                decisions.set(decisions.get() + 1);
                Ok(if decisions.get() < last {
                    Decision::Overtaken
                } else {
                    Decision::Stands(decisions.get())
                })
            })
        };
        assert_eq!(overtaken_before(1).await.unwrap(), 1);
        assert_eq!(overtaken_before(DECISIONS_MAX).await.unwrap(), DECISIONS_MAX);
        let never = overtaken_before(DECISIONS_MAX + 1).await;
        assert!(matches!(never, Err(DeskError::Overtaken)));
        assert_eq!(decisions.get(), DECISIONS_MAX);
    }

    #[tokio::test]
    async fn a_refusal_is_final() {
        let decisions = Cell::new(0);
        let refused: Result<(), _> = decide_again(|| async {
            decisions.set(decisions.get() + 1);
            Err(Refusal::NotFound.into())
        })
        .await;
        assert!(matches!(refused, Err(DeskError::Refused(Refusal::NotFound))));
        assert_eq!(decisions.get(), 1);
    }
}
