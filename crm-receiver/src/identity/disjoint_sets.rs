//! A partition of records, made by uniting them two by two.

/// Disjoint sets of the numbers below a bound. The smallest of a set stands for it, whatever the order of the unions.
#[derive(Clone, Debug)]
pub struct DisjointSets(Vec<usize>);

impl DisjointSets {
    /// Each number alone.
    pub fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    /// The smallest number of the set that this one is in.
    pub fn of(&mut self, number: usize) -> usize {
        let mut root = number;
        while self.0[root] != root {
            root = self.0[root];
        }
        let mut at = number;
        while self.0[at] != root {
            at = std::mem::replace(&mut self.0[at], root);
        }
        root
    }

    /// Makes one set of two; whether they were two.
    pub fn unite(&mut self, one: usize, other: usize) -> bool {
        let (one, other) = (self.of(one), self.of(other));
        self.0[one.max(other)] = one.min(other);
        one != other
    }

    /// Makes one set of all that these are in.
    pub fn unite_all(&mut self, numbers: &[usize]) {
        for two in numbers.windows(2) {
            self.unite(two[0], two[1]);
        }
    }

    /// The sets, each in order, by their smallest numbers.
    pub fn sets(&mut self) -> Vec<Vec<usize>> {
        let mut sets = vec![Vec::new(); self.0.len()];
        for number in 0..self.0.len() {
            let of = self.of(number);
            sets[of].push(number);
        }
        sets.retain(|set: &Vec<usize>| !set.is_empty());
        sets
    }
}
