//! The memory budget for all request bodies of a server and for the data made from them, and which body is evicted when
//! it is used up.
//!
//! A body that has arrived at once reserves its bytes with one subtraction. One that is still arriving is slow: it has
//! an entry in a queue, and all slow ones together may use half of the budget. When that half is used up the oldest
//! slow body is evicted. So a client that sends thousands of bodies that never end evicts its own, and complete bodies
//! still fit.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::oneshot;

/// Slow bodies may use one part in so many of the budget.
pub(super) const SLOW_DIVISOR: usize = 2;

/// The budget. Clones share it.
#[derive(Clone, Debug)]
pub struct ByteBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    total: usize,
    left: AtomicUsize,
    slow_max: usize,
    slow: Mutex<Queue>,
}

/// Invariant: `bytes` is the sum over the entries, at most `slow_max`, and is subtracted from `left`.
#[derive(Debug, Default)]
struct Queue {
    bytes: usize,
    next: u64,
    /// By age, the oldest first.
    entries: BTreeMap<u64, QueueEntry>,
}

#[derive(Debug)]
struct QueueEntry {
    bytes: usize,
    /// Dropped with the entry, which notifies the task that reads the body.
    _evicted: oneshot::Sender<()>,
}

/// Bytes reserved from the budget; they are freed when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: ByteBudget,
    bytes: usize,
}

/// A slow body's queue entry. It may be evicted; it is removed when this is dropped.
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
            slow_max: bytes / SLOW_DIVISOR,
            slow: Mutex::default(),
        }))
    }

    /// What is left.
    pub fn left(&self) -> usize {
        self.0.left.load(Ordering::Acquire)
    }

    /// Reserves the bytes of a complete body; None when there is not enough.
    pub(super) fn reserve(&self, bytes: usize) -> Option<Reservation> {
        self.take(bytes).then(|| Reservation {
            budget: self.clone(),
            bytes,
        })
    }

    /// A queue entry for a body that is still arriving, with so many bytes; None when there is not enough. The receiver
    /// completes when the entry is evicted.
    pub(super) fn wait(&self, bytes: usize) -> Option<(Slow, oneshot::Receiver<()>)> {
        let (evicted, on_eviction) = oneshot::channel();
        let number = {
            let mut queue = self.queue();
            let number = queue.next;
            queue.next += 1;
            let entry = QueueEntry {
                bytes: 0,
                _evicted: evicted,
            };
            queue.entries.insert(number, entry);
            number
        };
        let slow = Slow {
            budget: self.clone(),
            number,
        };
        slow.grow(bytes).then_some((slow, on_eviction))
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
    /// Reserves more bytes; older slow bodies are evicted for it. False when there is not enough, or the entry was
    /// evicted.
    #[must_use]
    pub(super) fn grow(&self, bytes: usize) -> bool {
        let (budget, mut queue) = (&self.budget, self.budget.queue());
        while queue.entries.contains_key(&self.number) {
            if queue.bytes + bytes <= budget.0.slow_max {
                let taken = budget.take(bytes);
                if taken {
                    queue.add(self.number, bytes);
                }
                return taken;
            }
            if let Some((_, oldest)) = queue.entries.pop_first() {
                queue.bytes -= oldest.bytes;
                // Freed at once, not when its reader notices, so that the next body finds the bytes free.
                budget.give_back(oldest.bytes);
            }
        }
        false
    }

    /// The body is complete: its `bytes` stay reserved, its queue entry is removed. None when it was evicted.
    pub(super) fn finish(self, bytes: usize) -> Option<Reservation> {
        let entry = self.budget.queue().remove(self.number)?;
        self.budget.give_back(entry.bytes - bytes);
        Some(Reservation {
            budget: self.budget.clone(),
            bytes,
        })
    }
}

impl Queue {
    fn add(&mut self, number: u64, bytes: usize) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.bytes += bytes;
            self.bytes += bytes;
        }
    }

    fn remove(&mut self, number: u64) -> Option<QueueEntry> {
        let entry = self.entries.remove(&number)?;
        self.bytes -= entry.bytes;
        Some(entry)
    }
}

impl Reservation {
    /// Whether so many bytes would fit in addition to it if nothing else were reserved.
    pub fn could_grow(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= self.budget.0.total
    }

    /// A second reservation from the same budget, for data that is made from the bytes; None when there is not enough.
    pub fn reserve_more(&self, bytes: usize) -> Option<Self> {
        self.budget.reserve(bytes)
    }

    /// Reserves more bytes, freed together with the rest; false when there is not enough.
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
        if let Some(entry) = left {
            self.budget.give_back(entry.bytes);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}
