//! Deliveries that are claimed and wait for their attempt.
//!
//! What was claimed as it was queued goes first, for it happens now; but while others wait, one in [`OTHERS_SHARE`] is of them, so
//! that a flood of events does not hold up retries.

use super::{places::Place, route::Route};
use crate::store::Claim;
use kit::breaker::Permit;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// One in so many attempts is of those that have waited, while there are any.
const OTHERS_SHARE: usize = 4;

/// A claim that waits for its attempt.
pub(super) struct ReadyClaim {
    pub(super) claim: Claim,
    pub(super) route: Arc<Route>,
    /// Its place in the process.
    pub(super) place: Place,
    /// When the claim began.
    pub(super) since: Instant,
    /// It is the breaker's probe.
    pub(super) probe: Option<Permit>,
}

/// Those of one endpoint.
#[derive(Default)]
pub(super) struct Ready {
    /// Claimed as they were queued.
    immediate: VecDeque<ReadyClaim>,
    others: VecDeque<ReadyClaim>,
    /// How many have begun.
    begun: usize,
}

impl Ready {
    /// Adds claims, behind those of their kind.
    pub(super) fn add(&mut self, claims: impl Iterator<Item = ReadyClaim>, is_immediate: bool) {
        if is_immediate {
            self.immediate.extend(claims);
        } else {
            self.others.extend(claims);
        }
    }

    /// The one whose attempt begins next.
    pub(super) fn next(&mut self) -> Option<&mut ReadyClaim> {
        self.next_queue().front_mut()
    }

    /// Takes out that one.
    pub(super) fn pop(&mut self) -> Option<ReadyClaim> {
        let next = self.next_queue().pop_front();
        self.begun = self.begun.wrapping_add(1);
        next
    }

    fn next_queue(&mut self) -> &mut VecDeque<ReadyClaim> {
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
    pub(super) fn take_where(&mut self, is_stale: impl Fn(&ReadyClaim) -> bool) -> Vec<ReadyClaim> {
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
