//! Wakes the dispatchers: one waker for each endpoint, and one listener to the sequencer that notifies them.
//!
//! A transaction that writes an event says so to its database (`Tx::signal`, called by `store::outbox`). Once it is committed, that
//! wakes the sequencer, which queues the event for the endpoints; once that is committed, the listener wakes the dispatcher of
//! every endpoint, which looks for what is due. None of it depends on the request that wrote the event, whose client may have
//! disconnected. What other replicas queue is found by looking from time to time (`LOOK_EVERY`).

use contract::id::EndpointId;
use kit::lifecycle::Lifecycle;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{Notify, watch};

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

    /// Wakes every endpoint's dispatcher whenever the sequencer has queued something, as `given` signals, until a stop.
    pub async fn listen(self, mut given: watch::Receiver<i64>, lifecycle: Lifecycle) {
        loop {
            tokio::select! {
                biased;
                () = lifecycle.stopping() => return,
                changed = given.changed() => match changed {
                    Ok(()) => self.wake_all(),
                    // The sequencer has stopped.
                    Err(_) => return,
                },
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
