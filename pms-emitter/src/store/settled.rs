//! What became of a batch of settlements.

use super::settlements::{Settlement, Verdict};

/// What a batch really settled: each delivery of it counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Deliveries that are done now.
    pub delivered: usize,
    /// Deliveries that are dead now.
    pub dead: usize,
    /// Deliveries that are tried again later.
    pub retried: usize,
    /// Deliveries that are kept for an endpoint that takes none now.
    pub kept: usize,
    /// Deliveries given back without an attempt; whether another claim had them is not asked.
    pub deferred: usize,
    /// Deliveries that another claim had taken over: nothing was written about them.
    pub lost: usize,
}

impl Settled {
    /// Of deliveries none of which was lost.
    pub(super) fn of(settlements: &[&Settlement]) -> Self {
        let mut settled = Self::default();
        for settlement in settlements {
            *match settlement.verdict {
                Verdict::Delivered => &mut settled.delivered,
                Verdict::Dead(_) => &mut settled.dead,
                Verdict::RetryAt(_) => &mut settled.retried,
                Verdict::Kept => &mut settled.kept,
                Verdict::Deferred => &mut settled.deferred,
            } += 1;
        }
        settled
    }
}
