//! The additions to failsafe's state machine: open period, probe, ramp, generation. It has no lock, and
//! the instants that it waits for are its caller's.

use super::{
    BreakerSettings, Change, JITTER_PERCENT, OnChange, Outcome, Probes, RAMP_PAUSE, Snapshot, State,
    machine::Machine,
};
use contract::{Clock, Entropy, UnixMillis};
use std::{borrow::Cow, sync::Arc};
use tokio::time::Instant;

/// What a probe is the end of.
const OPEN_PERIOD_OVER: &str = "open period over";

/// An admitted call.
///
/// Invariant: it counts only in the generation in which it was handed out.
#[derive(Debug)]
pub(super) struct Ticket {
    generation: u64,
}

pub(super) enum Admitted {
    Pass(Ticket),
    Probe(Ticket),
    Refused(Instant),
}

/// Calls at once after a close.
struct Ramp {
    allowed: u32,
    succeeded: u32,
    out: u32,
}

pub(super) struct Circuit {
    settings: BreakerSettings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    on_change: OnChange,
    machine: Machine,
    since: UnixMillis,
    /// Grows with every transition: results of calls that began before the last one are ignored.
    generation: u64,
    /// Periods since it was last closed.
    openings: u32,
    open_until: Option<Instant>,
    probe_until: Option<Instant>,
    ramp: Option<Ramp>,
}

impl Circuit {
    pub(super) fn new(
        settings: BreakerSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        on_change: OnChange,
    ) -> Self {
        Self {
            machine: Machine::new(settings.failures),
            settings,
            since: clock.now(),
            clock,
            entropy,
            on_change,
            generation: 0,
            openings: 0,
            open_until: None,
            probe_until: None,
            ramp: None,
        }
    }

    pub(super) fn admit(&mut self, now: Instant) -> Admitted {
        if self.settings.probes == Probes::Claimed && self.machine.state() != State::Closed {
            // Its caller knows when a probe can be claimed.
            return Admitted::Refused(now + RAMP_PAUSE);
        }
        if let Some(until) = self.open_until {
            if now < until {
                return Admitted::Refused(until);
            }
            self.move_by(Machine::half_open, now, OPEN_PERIOD_OVER.into());
        }
        if let Some(until) = self.probe_until {
            if now < until {
                return Admitted::Refused(until);
            }
            self.move_by(Machine::fail, now, "the probe took too long".into());
            return Admitted::Refused(self.open_until.unwrap_or(now));
        }
        let ticket = Ticket {
            generation: self.generation,
        };
        if let Probes::Own { deadline } = self.settings.probes
            && self.machine.state() == State::HalfOpen
        {
            self.probe_until = Some(now + deadline);
            return Admitted::Probe(ticket);
        }
        match &mut self.ramp {
            Some(ramp) if ramp.out >= ramp.allowed => Admitted::Refused(now + RAMP_PAUSE),
            Some(ramp) => {
                ramp.out += 1;
                Admitted::Pass(ticket)
            }
            None => Admitted::Pass(ticket),
        }
    }

    /// The ticket of a probe that was claimed.
    pub(super) fn claimed(&mut self, openings: u32, now: Instant) -> Ticket {
        if self.machine.state() != State::HalfOpen {
            self.open(now);
            self.move_by(Machine::half_open, now, OPEN_PERIOD_OVER.into());
        }
        // What an earlier probe may still answer counts no more.
        self.generation += 1;
        self.openings = openings;
        Ticket {
            generation: self.generation,
        }
    }

    /// Opens it for as long as another process says.
    pub(super) fn open(&mut self, now: Instant) {
        self.follow(Machine::open, now);
        self.open_until = None;
    }

    /// Closes it, unless it is closed.
    pub(super) fn close(&mut self, now: Instant) {
        self.follow(Machine::close, now);
    }

    /// A transition of another process's making, which that one reports.
    fn follow(&mut self, step: impl Fn(&Machine), now: Instant) {
        let on_change = std::mem::replace(&mut self.on_change, Arc::new(|_| {}));
        self.move_by(step, now, Cow::Borrowed(""));
        self.on_change = on_change;
    }

    pub(super) fn settle(&mut self, ticket: &Ticket, outcome: &Outcome, now: Instant) {
        if ticket.generation != self.generation {
            return;
        }
        self.probe_until = None;
        if let Some(ramp) = &mut self.ramp {
            ramp.out -= 1;
        }
        match outcome {
            Outcome::Success => {
                self.climb();
                self.move_by(Machine::succeed, now, "the probe succeeded".into());
            }
            Outcome::Failure(reason) => self.move_by(Machine::fail, now, reason.clone()),
            Outcome::Neutral => {}
        }
    }

    /// Counts a success of the ramp: after as many as it allows at once, the limit doubles.
    fn climb(&mut self) {
        let Some(ramp) = &mut self.ramp else { return };
        ramp.succeeded += 1;
        if ramp.succeeded >= ramp.allowed {
            ramp.allowed *= 2;
            ramp.succeeded = 0;
        }
        if ramp.allowed >= self.settings.ramp_limit {
            self.ramp = None;
        }
    }

    /// Makes a step of the machine, and reports a transition if there was one.
    fn move_by(&mut self, step: impl Fn(&Machine), now: Instant, reason: Cow<'static, str>) {
        let from = self.machine.state();
        step(&self.machine);
        let to = self.machine.state();
        if from == to {
            return;
        }
        self.generation += 1;
        (self.open_until, self.probe_until, self.ramp) = (None, None, None);
        match to {
            State::Open => {
                self.open_until = Some(now + self.next_period());
                self.openings += 1;
            }
            State::HalfOpen => {}
            State::Closed => {
                self.openings = 0;
                if self.settings.ramp_limit > 1 {
                    self.ramp = Some(Ramp {
                        allowed: 1,
                        succeeded: 0,
                        out: 0,
                    });
                }
            }
        }
        self.since = self.clock.now();
        (self.on_change)(&Change {
            at: self.since,
            from,
            to,
            reason,
        });
    }

    fn next_period(&self) -> std::time::Duration {
        let factor = 2_u32.saturating_pow(self.openings);
        let longest = self.settings.open_max;
        let period = self.settings.open_first.saturating_mul(factor).min(longest);
        self.entropy.jitter(period, JITTER_PERCENT).min(longest)
    }

    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        let left = self
            .open_until
            .map(|until| until.saturating_duration_since(now).as_millis());
        Snapshot {
            state: self.machine.state(),
            since: self.since,
            probe_at: left.map(|millis| {
                self.clock
                    .now()
                    .plus_millis(i64::try_from(millis).unwrap_or(i64::MAX))
            }),
            ramp: self.ramp.as_ref().map(|ramp| ramp.allowed),
        }
    }
}
