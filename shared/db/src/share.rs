//! A share of a database's connections: so many operations of one kind at a time, and no more.
//!
//! Lists would otherwise take every connection, and what must go on beside them, single reads, taking in and delivering,
//! would wait until they end. Who finds all places of the share taken waits a moment, and then hears that the database is
//! unavailable.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::DbError;

/// How long an operation waits for a place.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Operations that may wait; the next is answered at once.
const WAITING_MAX: usize = 256;

/// The places of one kind of operations.
pub(super) struct Share {
    places: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Share {
    pub fn new(at_once: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(at_once)),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    /// A place, to be held until the operation has ended. Ready at once where one is free.
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit, DbError> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(DbError::Unavailable);
        };
        match timeout(WAIT_MAX, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(DbError::Unavailable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_every_place_taken_waits_a_moment_and_no_longer() {
        let share = Share::new(1);
        let place = share.enter().await.unwrap();
        assert_eq!(share.enter().await.map(drop), Err(DbError::Unavailable));
        let (next, ()) = tokio::join!(share.enter(), async move { drop(place) });
        assert!(next.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_wait() {
        let share = Share::new(1);
        let _place = share.enter().await.unwrap();
        let mut waiting: Vec<_> = (0..=WAITING_MAX).map(|_| Box::pin(share.enter())).collect();
        let refused = waiting
            .iter_mut()
            .filter_map(|wait| futures::FutureExt::now_or_never(wait.as_mut()));
        assert_eq!(
            refused.map(|place| place.map(drop)).collect::<Vec<_>>(),
            [Err(DbError::Unavailable)]
        );
    }
}
