//! Entries of several sources, which take turns: a source that sends much waits behind its own entries, and others do not.
//!
//! One lane has it for itself: it moves into it what its channel holds, and takes a batch out. How much may wait is decided where
//! entries are sent (`queue_share`).

use std::collections::{BTreeMap, VecDeque};

/// What waits, by source; each source's entries in the order in which they came.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    entries: BTreeMap<usize, VecDeque<T>>,
    /// Each source that has an entry, once: whose turn is next first.
    turns: VecDeque<usize>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            turns: VecDeque::new(),
        }
    }
}

impl<T> FairQueue<T> {
    /// Adds an entry behind those of its source.
    pub(super) fn push(&mut self, source: usize, entry: T) {
        let of_source = self.entries.entry(source).or_default();
        if of_source.is_empty() {
            self.turns.push_back(source);
        }
        of_source.push_back(entry);
    }

    /// The entry whose turn it is.
    pub(super) fn peek(&self) -> Option<&T> {
        self.entries.get(self.turns.front()?)?.front()
    }

    /// Takes that entry out; its source has its next turn after the others.
    pub(super) fn pop(&mut self) -> Option<T> {
        let source = self.turns.pop_front()?;
        let of_source = self.entries.get_mut(&source)?;
        let entry = of_source.pop_front();
        if of_source.is_empty() {
            self.entries.remove(&source);
        } else {
            self.turns.push_back(source);
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_take_turns_and_each_keeps_its_order() {
        let mut queue = FairQueue::default();
        for entry in ["a1", "a2", "a3", "a4"] {
            queue.push(1, entry);
        }
        queue.push(2, "b1");
        assert_eq!((queue.pop(), queue.peek()), (Some("a1"), Some(&"b1")));
        queue.push(3, "c1");
        queue.push(2, "b2");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, ["b1", "a2", "c1", "b2", "a3", "a4"]);
        assert!(queue.entries.is_empty() && queue.turns.is_empty());
        queue.push(1, "a5");
        assert_eq!((queue.pop(), queue.pop()), (Some("a5"), None));
    }
}
