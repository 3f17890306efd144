//! How many places of the lanes' queues one source has: while entries of others are there, an equal part of half of a queue. The
//! other half stays free for sources that begin.
//!
//! A source's share counts what is being committed too: else it would fill the queue again with each batch, and the others would
//! wait for all of that, in the queue and for the processors.
//!
//! A place is taken for what is authentic alone, so nobody else can use them up. It is counted for each lane, since a source
//! chooses its keys, and so into which lane they go. A source that is alone in a queue leaves an eighth of it free: others would
//! else find no place from which they could wait. Where no other source can sign, it has the whole queue.

use super::{IngestError, lane::LANES_MAX};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What stays free of a queue while one source alone waits in it: one place in so many.
const FREE_FOR_OTHERS: usize = 8;
/// A share never falls below one sixteenth of that half, however many sources there are: else a short burst of one would be refused
/// in a queue with room.
const SHARES_MAX: usize = 16;
/// Nor below so many places, where half of the queue has them.
const SHARE_MIN: usize = 8;

/// Behind the lanes: the updates of jobs, which have a queue of their own.
pub(super) const JOBS_LANE: usize = LANES_MAX;

/// The places that one source has, by lane: of what waits, and of what is being committed.
#[derive(Debug, Default)]
pub(super) struct QueuePlaces([AtomicUsize; LANES_MAX + 1]);

/// The queue of one lane.
#[derive(Debug)]
pub(super) struct LaneQueue {
    lane: usize,
    capacity: usize,
    /// Entries of all sources that are in no batch yet.
    waiting: AtomicUsize,
    /// Those, and the ones that are being committed.
    pending: AtomicUsize,
    /// Sources that have any pending.
    sources: AtomicUsize,
}

/// One place of a source, for as long as this lives.
#[derive(Debug)]
pub(super) struct QueuePlace {
    queue: Arc<LaneQueue>,
    places: Arc<QueuePlaces>,
    is_waiting: bool,
}

impl LaneQueue {
    /// An empty queue.
    pub(super) fn new(lane: usize, capacity: usize) -> Self {
        assert!(lane <= JOBS_LANE, "there are no more lanes");
        Self {
            lane,
            capacity,
            waiting: AtomicUsize::default(),
            pending: AtomicUsize::default(),
            sources: AtomicUsize::default(),
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting() >= self.capacity
    }

    /// How many places a source may have that has its `own` among those that are pending.
    fn share(&self, own: usize, pending: usize, is_only: bool) -> usize {
        let is_alone = pending <= own;
        match (is_only, is_alone) {
            // Then the queue itself is its only end.
            (true, _) => usize::MAX,
            (false, true) => self.capacity - self.capacity / FREE_FOR_OTHERS,
            (false, false) => {
                let sources = self.sources.load(Ordering::Acquire);
                let half = self.capacity / 2;
                (half / sources.clamp(2, SHARES_MAX))
                    .max(SHARE_MIN.min(half))
                    .max(1)
            }
        }
    }
}

impl QueuePlaces {
    /// Whether the source has its share of this queue. What is sent then would be refused in the end, after all the work of
    /// parsing it.
    pub(super) fn are_all_taken(&self, queue: &LaneQueue, is_only: bool) -> bool {
        let own = self.0[queue.lane].load(Ordering::Acquire);
        own >= queue.share(own, queue.pending.load(Ordering::Acquire), is_only)
    }

    /// One more place. `is_only`: no other source can sign.
    ///
    /// It takes no lock: sources that come at once may see a few entries more or less of each other.
    ///
    /// # Errors
    /// `Overloaded` when the queue is full, `OverShare` when the source has its share of it.
    pub(super) fn take(
        self: &Arc<Self>,
        queue: &Arc<LaneQueue>,
        is_only: bool,
    ) -> Result<QueuePlace, IngestError> {
        let own = self.0[queue.lane].fetch_add(1, Ordering::AcqRel);
        if own == 0 {
            queue.sources.fetch_add(1, Ordering::AcqRel);
        }
        let waiting = queue.waiting.fetch_add(1, Ordering::AcqRel);
        let pending = queue.pending.fetch_add(1, Ordering::AcqRel);
        // Given back at once if it is one too many.
        let place = QueuePlace {
            queue: Arc::clone(queue),
            places: Arc::clone(self),
            is_waiting: true,
        };
        if waiting >= queue.capacity {
            return Err(IngestError::Overloaded);
        }
        if own < queue.share(own, pending, is_only) {
            Ok(place)
        } else {
            Err(IngestError::OverShare)
        }
    }
}

impl QueuePlace {
    /// Which source has it, as a number that no other one has while this one has a place.
    pub(super) fn source(&self) -> usize {
        Arc::as_ptr(&self.places).addr()
    }

    /// It is in a batch now, and leaves room in the queue for another.
    pub(super) fn leave_queue(&mut self) {
        if std::mem::take(&mut self.is_waiting) {
            self.queue.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        self.leave_queue();
        self.queue.pending.fetch_sub(1, Ordering::AcqRel);
        if self.places.0[self.queue.lane].fetch_sub(1, Ordering::AcqRel) == 1 {
            self.queue.sources.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a hundred are given a place in a queue of 64 in which other sources have one each.
    fn given(others: usize, is_only: bool) -> usize {
        let places = Arc::new(QueuePlaces::default());
        let queue = Arc::new(LaneQueue::new(0, 64));
        let of_another = || Arc::new(QueuePlaces::default()).take(&queue, true).unwrap();
        let before: Vec<_> = (0..others).map(|_| of_another()).collect();
        let taken: Vec<_> = (0..100)
            .filter_map(|_| places.take(&queue, is_only).ok())
            .collect();
        assert_eq!(queue.waiting(), before.len() + taken.len());
        taken.len()
    }

    #[test]
    fn a_source_has_an_equal_part_of_half_beside_others_and_leaves_room_alone() {
        assert_eq!((given(0, true), given(9, true)), (64, 55));
        assert_eq!(given(0, false), 56);
        assert_eq!(
            [1, 2, 3, 7, 40].map(|others| given(others, false)),
            [16, 10, 8, 8, 8]
        );
    }

    #[test]
    fn what_is_being_committed_counts_for_its_source_and_leaves_room_in_the_queue() {
        let [places, of_another] = [(); 2].map(|()| Arc::new(QueuePlaces::default()));
        let queue = Arc::new(LaneQueue::new(0, 2));
        let _other = of_another.take(&queue, false).unwrap();
        let mut place = places.take(&queue, false).unwrap();
        place.leave_queue();
        assert_eq!(
            (queue.waiting(), places.take(&queue, false).err()),
            (1, Some(IngestError::OverShare))
        );
        drop(place);
        assert!(places.take(&queue, false).is_ok());
        assert_eq!((queue.waiting(), queue.pending.load(Ordering::Acquire)), (1, 1));
    }

    #[test]
    fn a_place_is_given_back_and_lanes_are_counted_apart() {
        let places = Arc::new(QueuePlaces::default());
        let queues = [0, 1].map(|lane| Arc::new(LaneQueue::new(lane, 1)));
        let place = places.take(&queues[0], false);
        assert!(place.is_ok() && queues[0].is_full());
        assert_eq!(
            places.take(&queues[0], false).err(),
            Some(IngestError::Overloaded)
        );
        assert!(places.take(&queues[1], false).is_ok());
        drop(place);
        assert!(!queues[0].is_full());
        assert!(places.take(&queues[0], false).is_ok());
    }
}
