//! How many deliveries a process holds at once, claimed or in an attempt, and how many of them one endpoint may.
//!
//! One that is alone may hold [`SHARE_MAX`]; beside others it is an equal part of that, at least one. The sum of such parts stays
//! below [`HELD_MAX`] for some 700 endpoints that hang and were busy one after the other, so one that holds none finds a place.
//! While the bodies take more than [`HELD_BYTES_MAX`], it is one. What waits takes three quarters of a share at most, and so does what
//! is claimed as it is queued: neither keeps the other out.

use std::sync::{Arc, Mutex, PoisonError};

/// Deliveries that are held at once, over all endpoints.
pub const HELD_MAX: usize = 2_048;
/// Deliveries that an endpoint holds at once.
const SHARE_MAX: usize = 256;
/// How much of its share one kind takes at most; always one.
const KIND_SHARE: (usize, usize) = (3, 4);
/// Bytes of bodies from which on each endpoint holds one.
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a body counts until it is read: most are shorter, and none is longer than four of it.
const ASSUMED_BYTES: usize = 64 * 1024;

/// The places of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Places(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    deliveries: usize,
    /// Endpoints that hold any.
    endpoints: usize,
    bytes: usize,
}

/// What a place is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Found by a look at what is due.
    Waiting,
    /// Claimed as it is queued.
    Immediate,
}

/// The places of one endpoint. Clones are the same one's.
#[derive(Clone, Debug)]
pub(super) struct EndpointPlaces {
    places: Places,
    /// Of this endpoint, by their kind; changed under the lock of all.
    held: Arc<Mutex<[usize; 2]>>,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: EndpointPlaces,
    kind: Kind,
    bytes: usize,
}

impl Places {
    /// The places of one endpoint, which holds none yet.
    pub(super) fn of_endpoint(&self) -> EndpointPlaces {
        EndpointPlaces {
            places: self.clone(),
            held: Arc::default(),
        }
    }

    fn locked<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl EndpointPlaces {
    /// Takes up to `wanted` places.
    pub(super) fn take(&self, wanted: usize, kind: Kind) -> Vec<Place> {
        let taken = self.places.locked(|all| {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let of_endpoint: usize = held.iter().sum();
            let endpoints = all.endpoints + usize::from(of_endpoint == 0);
            let share = if all.bytes > HELD_BYTES_MAX {
                1
            } else {
                (SHARE_MAX / endpoints).max(1)
            };
            let of_kind = (share * KIND_SHARE.0 / KIND_SHARE.1).max(1);
            let room = share
                .saturating_sub(of_endpoint)
                .min(of_kind.saturating_sub(held[kind as usize]))
                .min(HELD_MAX.saturating_sub(all.deliveries));
            let taken = wanted.min(room);
            if taken > 0 {
                all.endpoints = endpoints;
            }
            all.deliveries += taken;
            all.bytes += taken * ASSUMED_BYTES;
            held[kind as usize] += taken;
            taken
        });
        let place = || Place {
            of: self.clone(),
            kind,
            bytes: ASSUMED_BYTES,
        };
        std::iter::repeat_with(place).take(taken).collect()
    }
}

impl Place {
    /// So long is the body of what it is for.
    pub(super) fn with_bytes(mut self, bytes: usize) -> Self {
        let assumed = std::mem::replace(&mut self.bytes, bytes);
        self.of
            .places
            .locked(|all| all.bytes = all.bytes - assumed + bytes);
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.places.locked(|all| {
            let mut held = self.of.held.lock().unwrap_or_else(PoisonError::into_inner);
            held[self.kind as usize] -= 1;
            all.deliveries -= 1;
            all.bytes -= self.bytes;
            all.endpoints -= usize::from(held.iter().all(|held| *held == 0));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::Kind::{Immediate, Waiting};
    use super::*;

    fn held(places: &Places) -> (usize, usize, usize) {
        places.locked(|held| (held.deliveries, held.endpoints, held.bytes))
    }

    #[test]
    fn one_alone_gets_a_share_and_others_find_places_beside_any_that_hang() {
        let places = Places::default();
        let alone = places.of_endpoint();
        let short = |taken: Vec<Place>| -> Vec<Place> {
            let places = taken.into_iter();
            places.map(|place| place.with_bytes(1_000)).collect()
        };
        let mut hanging: Vec<Vec<Place>> = (0..4).map(|_| short(alone.take(100, Waiting))).collect();
        assert_eq!(hanging.iter().map(Vec::len).sum::<usize>(), SHARE_MAX * 3 / 4);
        let others: Vec<EndpointPlaces> = (0..700).map(|_| places.of_endpoint()).collect();
        for other in &others {
            let taken = other.take(64, Waiting);
            assert!(!taken.is_empty());
            hanging.push(short(taken));
        }
        assert!(others[0].take(64, Waiting).is_empty(), "it has its part already");
        assert!(!places.of_endpoint().take(1, Waiting).is_empty());
        drop(hanging);
        assert_eq!(held(&places), (0, 0, 0));
        assert_eq!(alone.take(1_000, Waiting).len(), SHARE_MAX * 3 / 4);
    }

    #[test]
    fn large_bodies_leave_one_place_to_each() {
        let places = Places::default();
        let one = places.of_endpoint();
        let mut taken = one.take(2, Waiting);
        let large = taken.pop().map(|place| place.with_bytes(HELD_BYTES_MAX + 1));
        assert_eq!(one.take(1, Waiting).len(), 0);
        assert_eq!(places.of_endpoint().take(64, Waiting).len(), 1);
        drop(large);
        assert_eq!(held(&places), (1, 1, ASSUMED_BYTES));
        assert_eq!(one.take(64, Waiting).len(), 64);
    }

    #[test]
    fn neither_kind_keeps_the_other_out() {
        let places = Places::default();
        for (first, second) in [(Waiting, Immediate), (Immediate, Waiting)] {
            let endpoints: Vec<EndpointPlaces> = (0..16).map(|_| places.of_endpoint()).collect();
            // Each has some, so that the shares are of 16.
            let begun: Vec<_> = endpoints.iter().map(|one| one.take(1, first)).collect();
            let held: Vec<_> = endpoints.iter().map(|one| one.take(64, first)).collect();
            assert!(held.iter().all(|taken| taken.len() == 11), "12 of 16");
            let others: Vec<_> = endpoints.iter().map(|one| one.take(64, second)).collect();
            assert!(others.iter().all(|taken| taken.len() == 4));
            drop((begun, held, others));
        }
        assert_eq!(held(&places), (0, 0, 0));
    }
}
