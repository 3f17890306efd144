//! A high dynamic range histogram: microseconds to three digits, from one to over a minute, in a fixed room.
//!
//! Values below 2048 have a cell each; above, every doubling is cut into 1024 cells, so that a cell is never wider than
//! a thousandth of what it holds. Pure.

/// Cells of the smallest values, one for each.
const EXACT: u64 = 2_048;
/// Cells of each doubling above.
const PER_DOUBLING: u64 = EXACT / 2;
/// Doublings above: up to 2048 * 2^16 us, over two minutes.
const DOUBLINGS: u64 = 16;
/// The largest value that is told apart; larger ones count as this.
const LARGEST: u64 = (EXACT << DOUBLINGS) - 1;

/// Counted values.
#[derive(Clone, Debug)]
pub struct Histogram {
    cells: Vec<u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    /// Nothing yet.
    pub fn new() -> Self {
        let cells = usize::try_from(EXACT + DOUBLINGS * PER_DOUBLING).expect("some thousands");
        Self {
            cells: vec![0; cells],
            count: 0,
            max: 0,
        }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_often(value, 1);
    }

    fn record_often(&mut self, value: u64, times: u64) {
        let value = value.min(LARGEST);
        self.cells[cell_of(value)] += times;
        self.count += times;
        self.max = self.max.max(value);
    }

    /// Adds all values of another one.
    pub fn add(&mut self, other: &Self) {
        for (cell, count) in self.cells.iter_mut().zip(&other.cells) {
            *cell += count;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// The value that a share of all values, from 0 to 1, does not exceed; 0 when there is none.
    pub fn at(&self, quantile: f64) -> u64 {
        let wanted = ((self.count as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (cell, count) in self.cells.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return highest_of(cell as u64).min(self.max);
            }
        }
        self.max
    }

    /// The largest value.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The same with the values that were not measured because a longer one stood in their way: of a value beyond
    /// `interval` also the value less one interval, less two, and so on.
    pub fn corrected(&self, interval: u64) -> Self {
        let mut corrected = self.clone();
        let step = interval.max(1);
        for (cell, count) in self.cells.iter().enumerate().filter(|(_, count)| **count > 0) {
            let mut missing = highest_of(cell as u64).min(self.max);
            while missing >= 2 * step {
                missing -= step;
                corrected.record_often(missing, *count);
            }
        }
        corrected
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

fn cell_of(value: u64) -> usize {
    let doublings =
        u64::from(value.checked_ilog2().unwrap_or(0)).saturating_sub(u64::from(EXACT.ilog2() - 1));
    let cell = match doublings {
        0 => value,
        _ => EXACT + (doublings - 1) * PER_DOUBLING + (value >> doublings) - PER_DOUBLING,
    };
    usize::try_from(cell).expect("some thousands")
}

/// The largest value of a cell.
fn highest_of(cell: u64) -> u64 {
    if cell < EXACT {
        return cell;
    }
    let above = cell - EXACT;
    let doublings = above / PER_DOUBLING + 1;
    ((above % PER_DOUBLING + PER_DOUBLING + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_cell_no_wider_than_a_thousandth() {
        let mut last = 0;
        for value in (0..20_000)
            .chain((20_000..LARGEST).step_by(9_973))
            .chain([LARGEST])
        {
            let cell = cell_of(value);
            let highest = highest_of(cell as u64);
            assert!(
                cell >= last && highest >= value,
                "{value}: cell {cell} up to {highest}"
            );
            assert!(
                highest - value <= value / 1_000,
                "{value}: cell {cell} up to {highest}"
            );
            last = cell;
        }
        assert_eq!(last + 1, Histogram::new().cells.len());
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::new();
        assert_eq!((histogram.at(0.5), histogram.max()), (0, 0));
        for value in 1..=1_000 {
            histogram.record(value);
        }
        assert_eq!(
            [0.0, 0.5, 0.99, 0.999, 1.0].map(|quantile| histogram.at(quantile)),
            [1, 500, 990, 999, 1_000]
        );
        histogram.record(u64::MAX);
        assert_eq!(histogram.max(), LARGEST);
        let mut twice = histogram.clone();
        twice.add(&histogram);
        assert_eq!((twice.count, twice.at(0.5)), (2_002, 501));
    }

    #[test]
    fn a_long_value_stands_for_those_that_it_kept_away() {
        let mut histogram = Histogram::new();
        histogram.record(10);
        histogram.record(45);
        // 45 alone is beyond one interval: 35, 25 and 15 would have been measured.
        let corrected = histogram.corrected(10);
        assert_eq!(corrected.count, 5);
        assert_eq!(corrected.at(0.6), 25);
    }
}
