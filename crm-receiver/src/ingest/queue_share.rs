//! How many places of the lanes' queues one source has: at most half of a queue while entries of others wait there.
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

/// Behind the lanes: the updates of jobs, which have a queue of their own.
pub(super) const JOBS_LANE: usize = LANES_MAX;

/// The places that one source has, by lane.
#[derive(Debug, Default)]
pub(super) struct QueuePlaces([AtomicUsize; LANES_MAX + 1]);

/// The queue of one lane.
#[derive(Debug)]
pub(super) struct LaneQueue {
    lane: usize,
    capacity: usize,
    /// Entries of all sources.
    waiting: AtomicUsize,
}

/// One place, for as long as this lives.
#[derive(Debug)]
pub(super) struct QueuePlace {
    queue: Arc<LaneQueue>,
    places: Arc<QueuePlaces>,
}

impl LaneQueue {
    /// An empty queue.
    pub(super) fn new(lane: usize, capacity: usize) -> Self {
        assert!(lane <= JOBS_LANE, "there are no more lanes");
        Self {
            lane,
            capacity,
            waiting: AtomicUsize::default(),
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting() >= self.capacity
    }
}

impl QueuePlaces {
    /// Whether the source has its share of this queue. What is sent then would be refused in the end, after all the work of
    /// parsing it.
    pub(super) fn are_all_taken(&self, queue: &LaneQueue, is_only: bool) -> bool {
        let own = self.0[queue.lane].load(Ordering::Acquire);
        own >= share(queue.capacity, own, queue.waiting(), is_only)
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
        let waiting = queue.waiting.fetch_add(1, Ordering::AcqRel);
        // Given back at once if it is one too many.
        let place = QueuePlace {
            queue: Arc::clone(queue),
            places: Arc::clone(self),
        };
        if waiting >= queue.capacity {
            return Err(IngestError::Overloaded);
        }
        if own < share(queue.capacity, own, waiting, is_only) {
            Ok(place)
        } else {
            Err(IngestError::OverShare)
        }
    }
}

/// How many places a source may have that has its `own` among those that are waiting.
fn share(capacity: usize, own: usize, waiting: usize, is_only: bool) -> usize {
    let is_alone = waiting <= own;
    match (is_only, is_alone) {
        // Then the queue itself is its only end.
        (true, _) => usize::MAX,
        (false, true) => capacity - capacity / FREE_FOR_OTHERS,
        (false, false) => (capacity / 2).max(1),
    }
}

impl QueuePlace {
    /// Which source has it, as a number that no other one has while this one has a place.
    pub(super) fn source(&self) -> usize {
        Arc::as_ptr(&self.places).addr()
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::AcqRel);
        self.places.0[self.queue.lane].fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a hundred are given a place in a queue of 16 in which so many of others wait.
    fn given(others: usize, is_only: bool) -> usize {
        let (places, of_others) = (Arc::new(QueuePlaces::default()), Arc::new(QueuePlaces::default()));
        let queue = Arc::new(LaneQueue::new(0, 16));
        let before: Vec<_> = (0..others)
            .map(|_| of_others.take(&queue, true).unwrap())
            .collect();
        let taken: Vec<_> = (0..100)
            .filter_map(|_| places.take(&queue, is_only).ok())
            .collect();
        assert_eq!(queue.waiting(), before.len() + taken.len());
        taken.len()
    }

    #[test]
    fn a_source_has_half_of_a_queue_beside_others_and_leaves_room_alone() {
        assert_eq!((given(0, true), given(9, true)), (16, 7));
        assert_eq!(given(0, false), 14);
        assert_eq!((given(1, false), given(8, false), given(9, false)), (8, 8, 7));
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
