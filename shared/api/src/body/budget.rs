//! The bytes that all request bodies of a server may take together, with what is made of them, and who gives way when
//! they are used up.
//!
//! A body that is there at once takes its bytes with one subtraction. One that has to be waited for is slow: it takes a
//! place in a queue, and all slow ones together have half of the budget. Where that is used up the oldest gives way, so
//! whoever sends thousands of bodies that never end drives out its own, and whoever sends a whole one finds room.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::oneshot;

/// The slow bodies' share of the budget is one part in so many.
pub(super) const SLOW_SHARE: usize = 2;

/// The bytes that all bodies together may still take. Clones share one budget.
#[derive(Clone, Debug)]
pub struct ByteBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    total: usize,
    left: AtomicUsize,
    slow_max: usize,
    slow: Mutex<Queue>,
}

/// Invariant: `bytes` is the sum over the places, at most `slow_max`, and taken from `left`.
#[derive(Debug, Default)]
struct Queue {
    bytes: usize,
    next: u64,
    /// By age, the oldest first.
    places: BTreeMap<u64, Place>,
}

#[derive(Debug)]
struct Place {
    bytes: usize,
    /// Dropped with the place, which tells the one who reads.
    _told: oneshot::Sender<()>,
}

/// Bytes taken from the budget; they go back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: ByteBudget,
    bytes: usize,
}

/// A slow body's place in the queue, which may be taken from it; it is left when this is dropped.
#[derive(Debug)]
pub(super) struct Slow {
    budget: ByteBudget,
    number: u64,
}

impl ByteBudget {
    /// A budget of `bytes` in all.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Shared {
            total: bytes,
            left: AtomicUsize::new(bytes),
            slow_max: bytes / SLOW_SHARE,
            slow: Mutex::default(),
        }))
    }

    /// What is left.
    pub fn left(&self) -> usize {
        self.0.left.load(Ordering::Acquire)
    }

    /// Takes the bytes of a body that is there; None when there is not enough.
    pub(super) fn reserve(&self, bytes: usize) -> Option<Reservation> {
        self.take(bytes).then(|| Reservation {
            budget: self.clone(),
            bytes,
        })
    }

    /// A place for a body that is waited for, with so many bytes; None when there is not enough. What is answered beside
    /// it ends when the place is taken from it.
    pub(super) fn wait(&self, bytes: usize) -> Option<(Slow, oneshot::Receiver<()>)> {
        let (told, gives_way) = oneshot::channel();
        let number = {
            let mut queue = self.queue();
            let number = queue.next;
            queue.next += 1;
            let place = Place {
                bytes: 0,
                _told: told,
            };
            queue.places.insert(number, place);
            number
        };
        let slow = Slow {
            budget: self.clone(),
            number,
        };
        slow.grow(bytes).then_some((slow, gives_way))
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        let left = &self.0.left;
        left.fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.left.fetch_add(bytes, Ordering::AcqRel);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slow {
    /// Takes more, for which older ones give way; false when there is not enough, or the place is lost.
    #[must_use]
    pub(super) fn grow(&self, bytes: usize) -> bool {
        let (budget, mut queue) = (&self.budget, self.budget.queue());
        while queue.places.contains_key(&self.number) {
            if queue.bytes + bytes <= budget.0.slow_max {
                let taken = budget.take(bytes);
                if taken {
                    queue.add(self.number, bytes);
                }
                return taken;
            }
            if let Some((_, oldest)) = queue.places.pop_first() {
                queue.bytes -= oldest.bytes;
                // At once, not when its reader has heard of it: whoever comes next must find the room.
                budget.give_back(oldest.bytes);
            }
        }
        false
    }

    /// The body is there: its `bytes` stay taken, its place is free. None when the place is lost.
    pub(super) fn finish(self, bytes: usize) -> Option<Reservation> {
        let place = self.budget.queue().remove(self.number)?;
        self.budget.give_back(place.bytes - bytes);
        Some(Reservation {
            budget: self.budget.clone(),
            bytes,
        })
    }
}

impl Queue {
    fn add(&mut self, number: u64, bytes: usize) {
        if let Some(place) = self.places.get_mut(&number) {
            place.bytes += bytes;
            self.bytes += bytes;
        }
    }

    fn remove(&mut self, number: u64) -> Option<Place> {
        let place = self.places.remove(&number)?;
        self.bytes -= place.bytes;
        Some(place)
    }
}

impl Reservation {
    /// Whether so many bytes would fit beside it if nothing else were in memory.
    pub fn could_grow(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= self.budget.0.total
    }

    /// Room in the same budget for what is made of the bytes, for as long as that lives; None when there is not enough.
    pub fn beside(&self, bytes: usize) -> Option<Self> {
        self.budget.reserve(bytes)
    }

    /// Takes more, which goes back with the rest; false when there is not enough.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let taken = self.budget.take(bytes);
        if taken {
            self.bytes += bytes;
        }
        taken
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let left = self.budget.queue().remove(self.number);
        if let Some(place) = left {
            self.budget.give_back(place.bytes);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}
