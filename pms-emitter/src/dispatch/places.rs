//! How many deliveries a process holds at once, claimed or in an attempt, and how many of them one endpoint may.
//!
//! One that is alone may hold [`SHARE_MAX`]; beside others it is an equal part of that, at least one. The sum of such parts stays
//! below [`HELD_MAX`] for some 700 endpoints that hang and were busy one after the other, so one that holds none finds a place.
//! While the bodies take more than [`HELD_BYTES_MAX`], it is one.

use std::sync::{Arc, Mutex, PoisonError};

/// Deliveries that are held at once, over all endpoints.
pub const HELD_MAX: usize = 2_048;
/// Deliveries that an endpoint holds at once.
const SHARE_MAX: usize = 256;
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

/// The places of one endpoint. Clones are the same one's.
#[derive(Clone, Debug)]
pub(super) struct EndpointPlaces {
    places: Places,
    /// Of this endpoint; changed under the lock of all.
    held: Arc<Mutex<usize>>,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: EndpointPlaces,
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
    pub(super) fn take(&self, wanted: usize) -> Vec<Place> {
        let taken = self.places.locked(|all| {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let endpoints = all.endpoints + usize::from(*held == 0);
            let share = if all.bytes > HELD_BYTES_MAX {
                1
            } else {
                (SHARE_MAX / endpoints).max(1)
            };
            let room = share
                .saturating_sub(*held)
                .min(HELD_MAX.saturating_sub(all.deliveries));
            let taken = wanted.min(room);
            if taken > 0 {
                all.endpoints = endpoints;
            }
            all.deliveries += taken;
            all.bytes += taken * ASSUMED_BYTES;
            *held += taken;
            taken
        });
        let place = || Place {
            of: self.clone(),
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
            *held -= 1;
            all.deliveries -= 1;
            all.bytes -= self.bytes;
            all.endpoints -= usize::from(*held == 0);
        });
    }
}

#[cfg(test)]
mod tests {
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
        let mut hanging: Vec<Vec<Place>> = (0..4).map(|_| short(alone.take(100))).collect();
        assert_eq!(hanging.iter().map(Vec::len).sum::<usize>(), SHARE_MAX);
        let others: Vec<EndpointPlaces> = (0..700).map(|_| places.of_endpoint()).collect();
        for other in &others {
            let taken = other.take(64);
            assert!(!taken.is_empty());
            hanging.push(short(taken));
        }
        assert!(others[0].take(64).is_empty(), "it has its part already");
        assert!(!places.of_endpoint().take(1).is_empty());
        drop(hanging);
        assert_eq!(held(&places), (0, 0, 0));
        assert_eq!(alone.take(1_000).len(), SHARE_MAX);
    }

    #[test]
    fn large_bodies_leave_one_place_to_each() {
        let places = Places::default();
        let one = places.of_endpoint();
        let mut taken = one.take(2);
        let large = taken.pop().map(|place| place.with_bytes(HELD_BYTES_MAX + 1));
        assert_eq!(one.take(1).len(), 0);
        assert_eq!(places.of_endpoint().take(64).len(), 1);
        drop(large);
        assert_eq!(held(&places), (1, 1, ASSUMED_BYTES));
        assert_eq!(one.take(64).len(), 64);
    }
}
