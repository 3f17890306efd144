//! Deliveries that are claimed and wait for their attempt.
//!
//! What was claimed as it was queued goes first, for it happens now; but while others wait, one in [`OTHERS_SHARE`] is of them, so
//! that a flood of events does not hold up retries.

use std::collections::VecDeque;

/// One in so many attempts is of those that have waited, while there are any.
const OTHERS_SHARE: usize = 4;

/// Those of one endpoint.
pub(super) struct Ready<T> {
    /// Claimed as they were queued.
    immediate: VecDeque<T>,
    others: VecDeque<T>,
    /// How many have begun.
    begun: usize,
}

impl<T> Ready<T> {
    /// There are none.
    pub(super) fn new() -> Self {
        Self {
            immediate: VecDeque::new(),
            others: VecDeque::new(),
            begun: 0,
        }
    }

    /// Adds claims, behind those of their kind.
    pub(super) fn add(&mut self, claims: impl Iterator<Item = T>, is_immediate: bool) {
        if is_immediate {
            self.immediate.extend(claims);
        } else {
            self.others.extend(claims);
        }
    }

    /// The one whose attempt begins next.
    pub(super) fn next(&mut self) -> Option<&mut T> {
        self.next_queue().front_mut()
    }

    /// Takes out that one.
    pub(super) fn pop(&mut self) -> Option<T> {
        let next = self.next_queue().pop_front();
        self.begun = self.begun.wrapping_add(1);
        next
    }

    fn next_queue(&mut self) -> &mut VecDeque<T> {
        let is_turn_of_others = self.begun.is_multiple_of(OTHERS_SHARE);
        if self.immediate.is_empty() || (is_turn_of_others && !self.others.is_empty()) {
            &mut self.others
        } else {
            &mut self.immediate
        }
    }

    pub(super) fn len(&self) -> usize {
        self.immediate.len() + self.others.len()
    }

    pub(super) fn immediate(&self) -> usize {
        self.immediate.len()
    }

    pub(super) fn others(&self) -> usize {
        self.others.len()
    }

    /// Takes out those that are not to be sent any more; often there are none.
    pub(super) fn take_where(&mut self, is_stale: impl Fn(&T) -> bool) -> Vec<T> {
        let mut stale = Vec::new();
        for queue in [&mut self.immediate, &mut self.others] {
            if queue.iter().any(&is_stale) {
                let (taken, kept): (Vec<_>, Vec<_>) = queue.drain(..).partition(&is_stale);
                *queue = kept.into();
                stale.extend(taken);
            }
        }
        stale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_four_is_of_those_that_waited_and_each_kind_keeps_its_order() {
        let mut ready = Ready::new();
        ready.add(0..6, true);
        ready.add(100..104, false);
        let begun: Vec<i32> = std::iter::from_fn(|| ready.pop()).collect();
        assert_eq!(begun, [100, 0, 1, 2, 101, 3, 4, 5, 102, 103]);
    }

    #[test]
    fn what_is_stale_is_taken_of_both_kinds() {
        let mut ready = Ready::new();
        ready.add(0..4, true);
        ready.add(100..104, false);
        assert_eq!(ready.take_where(|n| n % 2 == 0), [0, 2, 100, 102]);
        assert_eq!((ready.len(), ready.immediate(), ready.others()), (4, 2, 2));
        assert_eq!(ready.take_where(|_| true).len(), 4);
        assert_eq!(ready.next(), None);
    }
}
