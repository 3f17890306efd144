//! How many places of the lanes' queues one source has: at most half of a queue while entries of others wait there.
//!
//! A place is taken for what is authentic alone, so nobody else can use them up. It is counted for each lane, since a source
//! chooses its keys, and so into which lane they go. A source that is alone in a queue leaves an eighth of it free: others would
//! else find no place from which they could wait. Where no other source can sign, it has the whole queue.

use super::lane::LANES_MAX;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What stays free of a queue while one source alone waits in it: one place in so many.
const FREE_FOR_OTHERS: usize = 8;

/// The places that one source has, by lane.
#[derive(Debug, Default)]
pub(super) struct QueuePlaces([AtomicUsize; LANES_MAX]);

/// One place, for as long as this lives.
#[derive(Debug)]
pub(super) struct QueuePlace {
    places: Arc<QueuePlaces>,
    lane: usize,
}

/// A lane's queue at some instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    pub(super) lane: usize,
    pub(super) capacity: usize,
    /// Entries of all sources.
    pub(super) waiting: usize,
}

impl QueuePlaces {
    /// One more place, unless the source has its share. `is_only`: no other source can sign.
    ///
    /// It takes no lock: sources that come at once may see a few entries more or less of each other.
    pub(super) fn take(self: &Arc<Self>, queue: Queue, is_only: bool) -> Option<QueuePlace> {
        let own = self.0[queue.lane].fetch_add(1, Ordering::AcqRel);
        // Given back at once if it is one too many.
        let place = QueuePlace {
            places: Arc::clone(self),
            lane: queue.lane,
        };
        let is_alone = queue.waiting <= own;
        let share = match (is_only, is_alone) {
            // Then only the queue itself ends.
            (true, _) => usize::MAX,
            (false, true) => queue.capacity - queue.capacity / FREE_FOR_OTHERS,
            (false, false) => (queue.capacity / 2).max(1),
        };
        (own < share).then_some(place)
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        self.places.0[self.lane].fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a hundred are given a place in a queue of 16 in which so many of others wait.
    fn given(others: usize, is_only: bool) -> usize {
        let places = Arc::new(QueuePlaces::default());
        let mut taken = Vec::new();
        for _ in 0..100 {
            let queue = Queue {
                lane: 0,
                capacity: 16,
                waiting: others + taken.len(),
            };
            taken.extend(places.take(queue, is_only));
        }
        taken.len()
    }

    #[test]
    fn a_source_has_half_of_a_queue_beside_others_and_leaves_room_alone() {
        assert_eq!((given(0, true), given(9, true)), (100, 100));
        assert_eq!(given(0, false), 14);
        assert_eq!((given(1, false), given(9, false)), (8, 8));
    }

    #[test]
    fn a_place_is_given_back_and_lanes_are_counted_apart() {
        let places = Arc::new(QueuePlaces::default());
        let of_lane = |lane| Queue {
            lane,
            capacity: 1,
            waiting: 1,
        };
        let place = places.take(of_lane(0), false);
        assert!(place.is_some());
        assert!(places.take(of_lane(0), false).is_none());
        assert!(places.take(of_lane(1), false).is_some());
        drop(place);
        assert!(places.take(of_lane(0), false).is_some());
    }
}
