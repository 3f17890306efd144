//! Wakes the dispatchers: one waker for each endpoint, and one listener to the database that notifies them.
//!
//! A transaction that writes an event says so to its database (`Tx::signal`, called by `store::outbox`). Once it is
//! committed, the listener wakes the dispatcher of every endpoint, which looks for what is due. It does not depend on
//! the request that wrote the event, whose client may have disconnected. What other replicas commit is found by looking
//! from time to time (`LOOK_EVERY`).

use contract::id::EndpointId;
use db::Db;
use kit::lifecycle::Lifecycle;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Notify;

/// The wakers by endpoint. Clones share them.
///
/// Invariant: an endpoint that has had a waker keeps it, so a wake-up is never lost.
#[derive(Clone, Debug, Default)]
pub struct Wakers(Arc<Mutex<HashMap<EndpointId, Arc<Notify>>>>);

impl Wakers {
    /// The waker of an endpoint. A wake-up that comes while its dispatcher is busy is kept for when it waits next.
    pub fn of(&self, endpoint: &EndpointId) -> Arc<Notify> {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(wakers.entry(endpoint.clone()).or_default())
    }

    /// Wakes the dispatcher of every endpoint.
    pub fn wake_all(&self) {
        let wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.values().for_each(|waker| waker.notify_one());
    }

    /// Wakes every endpoint's dispatcher after each commit of an event, until a stop.
    pub async fn listen(self, db: Db, lifecycle: Lifecycle) {
        loop {
            tokio::select! {
                biased;
                () = lifecycle.stopping() => return,
                () = db.committed() => self.wake_all(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn endpoint(id: &str) -> EndpointId {
        id.parse().unwrap()
    }

    #[test]
    fn every_endpoint_has_a_waker_of_its_own_which_keeps_one_wake_up() {
        let wakers = Wakers::default();
        let (one, other) = (wakers.of(&endpoint("one")), wakers.of(&endpoint("other")));
        wakers.wake_all();
        wakers.wake_all();
        for waker in [&one, &other] {
            assert_eq!(waker.notified().now_or_never(), Some(()));
            assert_eq!(waker.notified().now_or_never(), None);
        }
        assert!(Arc::ptr_eq(&one, &wakers.of(&endpoint("one"))));
    }
}
