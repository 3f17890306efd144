//! What is counted: a counter and a histogram, each a few numbers that anyone adds to without a lock.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A number that grows. Clones are the same one; one addition is one atomic operation.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

/// How many of what was observed lie up to each of some bounds, and their sum. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    /// Upper ends, ascending.
    bounds: &'static [f64],
    /// How many lie within each; the last one has what lies beyond all bounds.
    within: Vec<AtomicU64>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

/// A histogram at one moment.
pub(super) struct Observed {
    /// Each bound with how many lie up to it; the last bound is infinite, and so has all of them.
    pub(super) up_to: Vec<(f64, u64)>,
    pub(super) sum: f64,
}

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        debug_assert!(bounds.is_sorted(), "the upper ends ascend");
        let within = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets {
            bounds,
            within,
            sum: AtomicU64::new(0_f64.to_bits()),
        }))
    }

    /// Adds one observation.
    pub fn observe(&self, value: f64) {
        let Buckets { bounds, within, sum } = &*self.0;
        let place = bounds.partition_point(|bound| *bound < value);
        within[place].fetch_add(1, Ordering::Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // The closure never declines.
        let _ = sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    pub(super) fn observed(&self) -> Observed {
        let Buckets { bounds, within, sum } = &*self.0;
        let ends = bounds.iter().copied().chain([f64::INFINITY]);
        let mut all = 0;
        let up_to = ends.zip(within).map(|(end, within)| {
            all += within.load(Ordering::Relaxed);
            (end, all)
        });
        Observed {
            up_to: up_to.collect(),
            sum: f64::from_bits(sum.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_lies_in_every_bucket_that_reaches_it() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 9.0] {
            histogram.clone().observe(value);
        }
        let observed = histogram.observed();
        assert_eq!(observed.up_to, [(1.0, 2), (2.0, 3), (f64::INFINITY, 4)]);
        assert_eq!(observed.sum, 12.0);
    }
}
