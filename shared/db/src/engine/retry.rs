//! How often a whole transaction is run again, and how long it waits before that.
//!
//! Only what lost a race runs again, bounded and with jitter, so that the losers do not meet again. An unknown commit
//! is not decided here: it never runs again blindly.

use std::time::Duration;

use crate::fault::{Fate, Fault};
use contract::Entropy;

/// Re-runs after a deadlock or a lost certification.
const RERUNS: u32 = 8;
/// Re-runs after a lock wait: each has already cost the whole lock time-out.
const LOCK_RERUNS: u32 = 1;
/// Re-runs of a transaction whose connection proved to be dead: the next one is a fresh one.
const LOST_RERUNS: u32 = 1;
/// The wait before the first re-run; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(2);
/// The longest wait before a re-run.
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// The share of a wait that is random, in percent either way.
const JITTER_PERCENT: u32 = 100;

/// The re-runs of one operation.
pub(crate) struct Reruns<'e> {
    races: u32,
    locks: u32,
    lost: u32,
    surface_lock_timeouts: bool,
    entropy: &'e dyn Entropy,
}

impl<'e> Reruns<'e> {
    /// `surface_lock_timeouts`: a lock wait is answered at once instead.
    pub fn new(surface_lock_timeouts: bool, entropy: &'e dyn Entropy) -> Self {
        Self {
            races: 0,
            locks: 0,
            lost: 0,
            surface_lock_timeouts,
            entropy,
        }
    }

    /// How long to wait before running the whole transaction again; None when the fault is the answer.
    ///
    /// `kept_connection`: it ran on a connection that had been idle, which a restarted server has forgotten.
    pub fn next(&mut self, fault: &Fault, kept_connection: bool) -> Option<Duration> {
        match fault.fate {
            Fate::Rerun | Fate::NodeNotReady => {
                self.races += 1;
                (self.races <= RERUNS).then(|| self.wait(self.races))
            }
            Fate::LockTimeout if !self.surface_lock_timeouts => {
                self.locks += 1;
                (self.locks <= LOCK_RERUNS).then(|| self.wait(self.locks))
            }
            Fate::ConnectionLost if kept_connection => {
                self.lost += 1;
                (self.lost <= LOST_RERUNS).then_some(Duration::ZERO)
            }
            Fate::LockTimeout | Fate::ConnectionLost | Fate::GoOn | Fate::Final => None,
        }
    }

    fn wait(&self, run: u32) -> Duration {
        let base = FIRST_WAIT.saturating_mul(1 << run.min(16)).min(LONGEST_WAIT);
        self.entropy.jitter(base, JITTER_PERCENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DbError;
    use contract::SeededEntropy;

    fn fault(fate: Fate) -> Fault {
        Fault::new(DbError::Contended, fate)
    }

    #[test]
    fn a_race_runs_again_until_the_bound() {
        let entropy = SeededEntropy::new(1);
        let mut reruns = Reruns::new(false, &entropy);
        for _ in 0..RERUNS {
            assert!(reruns.next(&fault(Fate::Rerun), false).unwrap() <= LONGEST_WAIT * 2);
        }
        assert_eq!(reruns.next(&fault(Fate::Rerun), false), None);
    }

    #[test]
    fn a_lost_connection_runs_again_once_and_only_if_it_had_been_idle() {
        let entropy = SeededEntropy::new(1);
        let mut reruns = Reruns::new(false, &entropy);
        assert_eq!(reruns.next(&fault(Fate::ConnectionLost), false), None);
        assert_eq!(
            reruns.next(&fault(Fate::ConnectionLost), true),
            Some(Duration::ZERO)
        );
        assert_eq!(reruns.next(&fault(Fate::ConnectionLost), true), None);
    }

    #[test]
    fn a_lock_wait_is_surfaced_on_request() {
        let entropy = SeededEntropy::new(1);
        let mut reruns = Reruns::new(true, &entropy);
        assert_eq!(reruns.next(&fault(Fate::LockTimeout), false), None);
        assert!(
            Reruns::new(false, &entropy)
                .next(&fault(Fate::LockTimeout), false)
                .is_some()
        );
    }

    #[test]
    fn what_is_at_fault_itself_never_runs_again() {
        let entropy = SeededEntropy::new(1);
        assert_eq!(Reruns::new(false, &entropy).next(&fault(Fate::Final), true), None);
    }
}
