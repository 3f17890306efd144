//! How often a whole transaction is run again, and how long it waits before that.
//!
//! Only a transaction that lost to a concurrent one runs again, a bounded number of times and with jitter, so that the
//! losers do not collide again. A commit of unknown result is handled elsewhere: it is never repeated blindly.

use std::time::Duration;

use crate::fault::{ErrorEffect, Fault};
use contract::Entropy;

/// Re-runs after a deadlock or a lost certification.
const RERUNS: u32 = 8;
/// Re-runs after a lock wait: each has already cost the whole lock time-out.
const LOCK_RERUNS: u32 = 1;
/// Re-runs of a transaction whose connection turned out to be dead; the next run gets a new connection.
const LOST_RERUNS: u32 = 1;
/// The wait before the first re-run; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(2);
/// The longest wait before a re-run.
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// How much of a wait is random, in percent either way.
const JITTER_PERCENT: u32 = 100;

/// The re-runs of one operation.
pub(crate) struct Reruns<'e> {
    races: u32,
    locks: u32,
    lost: u32,
    fail_on_lock_timeout: bool,
    entropy: &'e dyn Entropy,
}

impl<'e> Reruns<'e> {
    /// `fail_on_lock_timeout`: a lock timeout is returned at once instead.
    pub fn new(fail_on_lock_timeout: bool, entropy: &'e dyn Entropy) -> Self {
        Self {
            races: 0,
            locks: 0,
            lost: 0,
            fail_on_lock_timeout,
            entropy,
        }
    }

    /// How long to wait before running the whole transaction again; None when it must not run again.
    ///
    /// `kept_connection`: it ran on a connection that had been idle, which a restarted server has forgotten.
    pub fn next(&mut self, fault: &Fault, kept_connection: bool) -> Option<Duration> {
        match fault.effect {
            ErrorEffect::Rerun | ErrorEffect::NodeNotReady => {
                self.races += 1;
                (self.races <= RERUNS).then(|| self.wait(self.races))
            }
            ErrorEffect::LockTimeout if !self.fail_on_lock_timeout => {
                self.locks += 1;
                (self.locks <= LOCK_RERUNS).then(|| self.wait(self.locks))
            }
            ErrorEffect::ConnectionLost if kept_connection => {
                self.lost += 1;
                (self.lost <= LOST_RERUNS).then_some(Duration::ZERO)
            }
            ErrorEffect::LockTimeout
            | ErrorEffect::ConnectionLost
            | ErrorEffect::GoOn
            | ErrorEffect::Final => None,
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

    fn fault(effect: ErrorEffect) -> Fault {
        Fault::new(DbError::Contended, effect)
    }

    #[test]
    fn a_race_runs_again_until_the_bound() {
        let entropy = SeededEntropy::new(1);
        let mut reruns = Reruns::new(false, &entropy);
        for _ in 0..RERUNS {
            assert!(reruns.next(&fault(ErrorEffect::Rerun), false).unwrap() <= LONGEST_WAIT * 2);
        }
        assert_eq!(reruns.next(&fault(ErrorEffect::Rerun), false), None);
    }

    #[test]
    fn a_lost_connection_runs_again_once_and_only_if_it_had_been_idle() {
        let entropy = SeededEntropy::new(1);
        let mut reruns = Reruns::new(false, &entropy);
        assert_eq!(reruns.next(&fault(ErrorEffect::ConnectionLost), false), None);
        assert_eq!(
            reruns.next(&fault(ErrorEffect::ConnectionLost), true),
            Some(Duration::ZERO)
        );
        assert_eq!(reruns.next(&fault(ErrorEffect::ConnectionLost), true), None);
    }

    #[test]
    fn a_lock_wait_is_surfaced_on_request() {
        let entropy = SeededEntropy::new(1);
        let mut reruns = Reruns::new(true, &entropy);
        assert_eq!(reruns.next(&fault(ErrorEffect::LockTimeout), false), None);
        assert!(
            Reruns::new(false, &entropy)
                .next(&fault(ErrorEffect::LockTimeout), false)
                .is_some()
        );
    }

    #[test]
    fn what_is_at_fault_itself_never_runs_again() {
        let entropy = SeededEntropy::new(1);
        assert_eq!(
            Reruns::new(false, &entropy).next(&fault(ErrorEffect::Final), true),
            None
        );
    }
}
