//! Sets of records of one group, as bits: a group has up to 2,000 records, and all pairs of them are looked at.

/// A set of numbers below a bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// An empty set of numbers below `bound`.
    pub fn new(bound: usize) -> Self {
        Self(vec![0; bound.div_ceil(64)])
    }

    /// Adds a number.
    pub fn insert(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    /// Takes a number out.
    pub fn remove(&mut self, number: usize) {
        self.0[number / 64] &= !(1 << (number % 64));
    }

    /// Whether a number is in it.
    pub fn contains(&self, number: usize) -> bool {
        self.0[number / 64] & (1 << (number % 64)) != 0
    }

    /// Adds all of another set.
    pub fn insert_all(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Whether the sets have a number in common.
    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(word, other)| word & other != 0)
    }

    /// Whether the sets have a number in common that is not in `except`.
    pub fn meets_outside(&self, other: &Self, except: &Self) -> bool {
        let words = self.0.iter().zip(&other.0).zip(&except.0);
        words
            .into_iter()
            .any(|((word, other), except)| word & other & !except != 0)
    }

    /// The numbers, from the smallest.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let some = |rest: u64| (rest != 0).then_some(rest);
            let rest = std::iter::successors(some(*word), move |rest| some(rest & (rest - 1)));
            rest.map(move |rest| at * 64 + usize::try_from(rest.trailing_zeros()).unwrap_or(0))
        })
    }
}

/// A relation among records: for each, the set of the others; what holds one way holds the other way.
#[derive(Clone, Debug)]
pub struct Relation(Vec<Bits>);

impl Relation {
    /// An empty relation among `count` records.
    pub fn new(count: usize) -> Self {
        Self(vec![Bits::new(count); count])
    }

    /// A set of none of them.
    pub fn none(&self) -> Bits {
        Bits::new(self.0.len())
    }

    /// Relates two records.
    pub fn insert(&mut self, one: usize, other: usize) {
        self.0[one].insert(other);
        self.0[other].insert(one);
    }

    /// Relates them no more.
    pub fn remove(&mut self, one: usize, other: usize) {
        self.0[one].remove(other);
        self.0[other].remove(one);
    }

    /// Whether two records are related.
    pub fn contains(&self, one: usize, other: usize) -> bool {
        self.0[one].contains(other)
    }

    /// Those that a record is related to.
    pub fn of(&self, record: usize) -> &Bits {
        &self.0[record]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in() {
        let mut set = Bits::new(130);
        for number in [0, 63, 64, 129] {
            set.insert(number);
        }
        set.remove(63);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 64, 129]);
        let mut other = Bits::new(130);
        other.insert(64);
        assert!(set.meets(&other) && !set.meets_outside(&other, &other));
        assert!(set.contains(129) && !set.contains(63));
    }
}
