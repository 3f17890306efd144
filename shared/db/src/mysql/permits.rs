//! How many connections there may be at once: as many as are configured, or as many as the server allows.
//!
//! Each is a permit. Where the server refuses another connection (`max_connections`, `max_user_connections`), that
//! permit is withdrawn and its holder waits for an existing connection. After a while permits are added again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

/// How long after the last refusal more connections are tried again, each time up to twice as many.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(5);

pub(crate) struct Permits {
    permits: Arc<Semaphore>,
    wanted: usize,
    granted: Mutex<Granted>,
}

struct Granted {
    /// Permits that exist.
    count: usize,
    /// When permits are added again, if there are fewer than wanted.
    grows_at: Instant,
}

impl Permits {
    /// Permits for `wanted` connections, at least 1.
    pub fn new(wanted: usize) -> Self {
        let wanted = wanted.max(1);
        let granted = Granted {
            count: wanted,
            grows_at: Instant::now(),
        };
        Self {
            permits: Arc::new(Semaphore::new(wanted)),
            wanted,
            granted: Mutex::new(granted),
        }
    }

    /// How many there are when the server allows them all.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// A permit; None after the deadline or when closed.
    pub async fn permit(&self, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        self.grow();
        let permit = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await;
        permit.ok()?.ok()
    }

    /// Withdraws a permit with which the server gave no connection. False for the last one.
    pub fn withdraw(&self, permit: OwnedSemaphorePermit) -> bool {
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.grows_at = Instant::now() + TRIED_AGAIN_AFTER;
        if granted.count == 1 {
            return false;
        }
        if granted.count == self.wanted {
            tracing::warn!(
                wanted = self.wanted,
                "the server gives no more connections (max_connections or max_user_connections): going on with fewer"
            );
        }
        granted.count -= 1;
        permit.forget();
        true
    }

    fn grow(&self) {
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if granted.count == self.wanted || now < granted.grows_at {
            return;
        }
        let more = granted.count.min(self.wanted - granted.count);
        granted.count += more;
        granted.grows_at = now + TRIED_AGAIN_AFTER;
        self.permits.add_permits(more);
    }

    /// Waits until every permit is back, and hands none out any more.
    pub async fn close(&self, within: Duration) {
        let all = self.granted.lock().unwrap_or_else(PoisonError::into_inner).count;
        let all = u32::try_from(all).unwrap_or(u32::MAX);
        drop(timeout(within, self.permits.acquire_many(all)).await);
        self.permits.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn permits_shrink_to_what_the_server_gives_and_grow_again() {
        let permits = Permits::new(8);
        let soon = || Instant::now() + Duration::from_millis(1);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(permits.permit(soon()).await.unwrap());
        }
        // The server gives three connections, and five in vain.
        for _ in 0..5 {
            let permit = permits.permit(soon()).await.unwrap();
            assert!(permits.withdraw(permit));
        }
        assert!(permits.permit(soon()).await.is_none(), "all three are in use");
        held.pop();
        held.push(permits.permit(soon()).await.unwrap());
        tokio::time::advance(TRIED_AGAIN_AFTER).await;
        let mut more = 0;
        while permits.permit(soon()).await.is_some_and(|permit| {
            held.push(permit);
            true
        }) {
            more += 1;
        }
        assert_eq!(more, 3, "twice as many");
        held.clear();
        let last = Permits::new(1);
        let permit = last.permit(soon()).await.unwrap();
        assert!(!last.withdraw(permit), "the last one stays");
        assert!(last.permit(soon()).await.is_some());
        permits.close(Duration::from_secs(1)).await;
        assert!(permits.permit(soon()).await.is_none());
    }
}
