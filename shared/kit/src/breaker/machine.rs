//! failsafe's state machine with this project's policy, and a copy of its state that can be read.

use super::{State, WINDOW};
use failsafe::{FailurePolicy, Instrument, StateMachine, failure_policy};
use std::{
    collections::VecDeque,
    iter::{Repeat, repeat},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

/// failsafe's own open period: none, since ours runs on another clock and it is asked only when that has passed.
type NoWait = Repeat<Duration>;
type Policy = failure_policy::OrElse<failure_policy::ConsecutiveFailures<NoWait>, HalfFailed>;

/// Opens when half of the last results are failures.
struct HalfFailed {
    failed: VecDeque<bool>,
}

impl HalfFailed {
    fn push(&mut self, failed: bool) {
        if self.failed.len() == WINDOW as usize {
            self.failed.pop_front();
        }
        self.failed.push_back(failed);
    }
}

impl FailurePolicy for HalfFailed {
    fn record_success(&mut self) {
        self.push(false);
    }

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        self.push(true);
        let failures = self.failed.iter().filter(|failed| **failed).count();
        (failures * 2 >= WINDOW as usize).then_some(Duration::ZERO)
    }

    fn revived(&mut self) {
        self.failed.clear();
    }
}

/// A copy of the state: asking failsafe for it could cause a transition.
#[derive(Clone, Default)]
struct Mirror(Arc<AtomicU8>);

impl Instrument for Mirror {
    fn on_call_rejected(&self) {}
    fn on_open(&self) {
        self.0.store(State::Open as u8, Ordering::Release);
    }
    fn on_half_open(&self) {
        self.0.store(State::HalfOpen as u8, Ordering::Release);
    }
    fn on_closed(&self) {
        self.0.store(State::Closed as u8, Ordering::Release);
    }
}

/// The machine. Its owner decides when an open period is over, and which results count.
pub(super) struct Machine {
    machine: StateMachine<Policy, Mirror>,
    mirror: Mirror,
}

impl Machine {
    pub(super) fn new(failures: u32) -> Self {
        let mirror = Mirror::default();
        let in_a_row = failure_policy::consecutive_failures(failures, repeat(Duration::ZERO));
        let policy = in_a_row.or_else(HalfFailed {
            failed: VecDeque::with_capacity(WINDOW as usize),
        });
        Self {
            machine: StateMachine::new(policy, mirror.clone()),
            mirror,
        }
    }

    pub(super) fn state(&self) -> State {
        State::from_repr(self.mirror.0.load(Ordering::Acquire)).unwrap_or(State::Closed)
    }

    /// From open to half-open.
    pub(super) fn half_open(&self) {
        // failsafe's period of zero is over as soon as its clock has ticked once.
        while self.state() == State::Open && !self.machine.is_call_permitted() {
            std::hint::spin_loop();
        }
    }

    /// To open, from any state.
    pub(super) fn open(&self) {
        // Half of the last results are failures soon, whatever they were.
        while self.state() != State::Open {
            self.machine.on_error();
        }
    }

    /// To closed, from any state.
    pub(super) fn close(&self) {
        self.half_open();
        if self.state() == State::HalfOpen {
            self.machine.on_success();
        }
    }

    pub(super) fn succeed(&self) {
        self.machine.on_success();
    }

    pub(super) fn fail(&self) {
        self.machine.on_error();
    }
}
