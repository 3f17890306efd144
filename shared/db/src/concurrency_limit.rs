//! Limits how many operations of one kind use a database's connections at a time.
//!
//! Lists would otherwise use every connection, and single reads, ingest and delivery would wait until they end. When
//! all permits are taken an operation waits up to a second, and then fails as `Unavailable`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::DbError;

/// How long an operation waits for a permit.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Operations that may wait; the next is answered at once.
const WAITING_MAX: usize = 256;

/// The permits for one kind of operation.
pub(super) struct ConcurrencyLimit {
    permits: Arc<Semaphore>,
    waiting: Semaphore,
}

impl ConcurrencyLimit {
    pub fn new(at_once: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(at_once)),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    /// A permit, to be held until the operation has ended. Ready at once where one is free.
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit, DbError> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(DbError::Unavailable);
        };
        match timeout(WAIT_MAX, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(DbError::Unavailable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_operation_waits_a_moment_for_a_permit_and_no_longer() {
        let limit = ConcurrencyLimit::new(1);
        let permit = limit.enter().await.unwrap();
        assert_eq!(limit.enter().await.map(drop), Err(DbError::Unavailable));
        let (next, ()) = tokio::join!(limit.enter(), async move { drop(permit) });
        assert!(next.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_wait() {
        let limit = ConcurrencyLimit::new(1);
        let _permit = limit.enter().await.unwrap();
        let mut waiting: Vec<_> = (0..=WAITING_MAX).map(|_| Box::pin(limit.enter())).collect();
        let refused = waiting
            .iter_mut()
            .filter_map(|wait| futures::FutureExt::now_or_never(wait.as_mut()));
        assert_eq!(
            refused.map(|permit| permit.map(drop)).collect::<Vec<_>>(),
            [Err(DbError::Unavailable)]
        );
    }
}
