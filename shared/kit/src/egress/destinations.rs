//! How many calls go to one address at once. Endpoints are many and their names cost nothing, so that without this a victim's
//! address could get what all of them together may send.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is called: an address, or behind a proxy, which alone knows the address, a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Destination {
    Address(IpAddr),
    Name(String),
}

/// The calls at once to each destination. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Destinations {
    per_destination: usize,
    /// Only those that are called now.
    called: Arc<Mutex<HashMap<Destination, Arc<Semaphore>>>>,
}

/// The right to one call to each of its destinations.
#[derive(Debug)]
pub(super) struct Slot {
    destinations: Destinations,
    /// In their order.
    held: Vec<(Destination, OwnedSemaphorePermit)>,
}

impl Destinations {
    pub fn new(per_destination: usize) -> Self {
        Self {
            per_destination,
            called: Arc::default(),
        }
    }

    /// Waits until there is room for a call to every one of these. They are taken in one order by all, so that no two calls wait
    /// for each other; what is dropped meanwhile holds nothing.
    pub async fn slot(&self, mut destinations: Vec<Destination>) -> Slot {
        destinations.sort_unstable();
        destinations.dedup();
        let mut slot = Slot {
            destinations: self.clone(),
            held: Vec::with_capacity(destinations.len()),
        };
        for destination in destinations {
            let waiting = Waiting {
                destinations: self,
                semaphore: Some(self.semaphore(&destination)),
                destination: &destination,
            };
            let permit = waiting.permit().await;
            slot.held.push((destination, permit));
        }
        slot
    }

    fn semaphore(&self, destination: &Destination) -> Arc<Semaphore> {
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        let semaphore = called
            .entry(destination.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(self.per_destination)));
        Arc::clone(semaphore)
    }

    /// Forgets a destination that nobody calls and nobody waits for.
    fn forget_unused(&self, destination: &Destination) {
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        if called
            .get(destination)
            .is_some_and(|semaphore| Arc::strong_count(semaphore) == 1)
        {
            called.remove(destination);
        }
    }

    #[cfg(test)]
    pub fn called(&self) -> usize {
        self.called.lock().unwrap().len()
    }
}

/// A call that waits for its permit. When it is dropped, its destination may be forgotten.
struct Waiting<'w> {
    destinations: &'w Destinations,
    destination: &'w Destination,
    /// There until the drop.
    semaphore: Option<Arc<Semaphore>>,
}

impl Waiting<'_> {
    async fn permit(self) -> OwnedSemaphorePermit {
        let semaphore = self.semaphore.as_ref().expect("it is there until the drop");
        let permit = Arc::clone(semaphore).acquire_owned().await;
        permit.expect("nobody closes the semaphore of a destination")
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.semaphore = None;
        self.destinations.forget_unused(self.destination);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        for (destination, permit) in self.held.drain(..) {
            drop(permit);
            self.destinations.forget_unused(&destination);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn address(text: &str) -> Destination {
        Destination::Address(text.parse().unwrap())
    }

    #[tokio::test]
    async fn e15_one_address_gets_no_more_calls_at_once_under_any_names() {
        let destinations = Destinations::new(2);
        let (victim, other) = (address("203.0.113.1"), address("203.0.113.2"));
        let first = destinations.slot(vec![victim.clone()]).await;
        // A name with another address beside it is counted for both.
        let _second = destinations.slot(vec![other.clone(), victim.clone()]).await;
        let mut third = Box::pin(destinations.slot(vec![victim.clone(), other.clone()]));
        assert!(third.as_mut().now_or_never().is_none());
        let beside = destinations.slot(vec![other.clone()]).await;
        drop(first);
        assert!(
            third.as_mut().now_or_never().is_none(),
            "the other address is full"
        );
        drop(beside);
        assert!(third.now_or_never().is_some());
    }

    #[tokio::test]
    async fn destinations_that_nobody_calls_are_forgotten() {
        let destinations = Destinations::new(1);
        let names = |name: &str| vec![Destination::Name(name.to_owned()), address("203.0.113.1")];
        let first = destinations.slot(names("a")).await;
        assert!(
            destinations.slot(names("b")).now_or_never().is_none(),
            "it was dropped in mid-wait"
        );
        assert_eq!(destinations.called(), 2);
        drop(first);
        assert_eq!(destinations.called(), 0);
        let _again = destinations.slot(names("b")).await;
    }
}
