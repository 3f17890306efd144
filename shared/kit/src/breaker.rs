//! A circuit breaker: stops asking who does not answer, and finds out gently when they do again.
//!
//! The states and their transitions are failsafe's state machine. What it leaves open stands around it: failsafe admits
//! everyone when half-open, counts a success from before it opened, and moves on the system's clock. Here exactly one
//! probe goes out, with a deadline; a generation ignores what began before the last transition; the open period runs on
//! tokio's clock; and after a probe's success a ramp lets 1, 2, 4, 8... calls out at once, up to the limit.

mod circuit;
mod machine;

use circuit::{Circuit, Ticket};
use contract::Entropy;
use contract::{Clock, UnixMillis};
use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Failures in a row that open it by default.
pub const FAILURES: u32 = 5;
/// Results that are looked back on: it opens when half of them are failures.
pub const WINDOW: u32 = 20;
/// The most failures in a row that make sense: so many of the last results open it anyway.
pub const FAILURES_MAX: u32 = WINDOW / 2;
/// The first open period by default.
pub const OPEN_FIRST: Duration = Duration::from_secs(1);
/// The longest open period by default.
pub const OPEN_MAX: Duration = Duration::from_secs(60);
/// By how much an open period is moved either way, so that many breakers do not probe together.
const JITTER_PERCENT: u32 = 20;
/// When a call that the ramp has no room for may ask again, unless one of the others ends before.
const RAMP_PAUSE: Duration = Duration::from_millis(50);

/// How sensitive it is.
#[derive(Clone, Copy, Debug)]
pub struct BreakerSettings {
    /// Failures in a row that open it; beyond [`FAILURES_MAX`] they say nothing more.
    pub failures: u32,
    /// The first open period; each further one without a close in between doubles.
    pub open_first: Duration,
    /// The longest open period.
    pub open_max: Duration,
    /// How long a probe may take before it counts as failed.
    pub probe_deadline: Duration,
    /// Calls at once at which the ramp ends: the caller's own concurrency.
    pub ramp_limit: u32,
}

/// Whether calls go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// They do.
    Closed,
    /// They do not.
    Open,
    /// One does, to find out.
    HalfOpen,
}

impl State {
    /// `closed`, `open` or `half_open`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }

    /// As metrics show it: 0 closed, 1 half-open, 2 open.
    pub fn as_number(self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::HalfOpen => 1.0,
            Self::Open => 2.0,
        }
    }
}

/// A transition, for the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: UnixMillis,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// What caused it: the last failure's reason, `probe succeeded`, `open period over`.
    pub reason: Cow<'static, str>,
}

/// What there is to see of a breaker. Looking moves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: UnixMillis,
    /// When an open one lets a probe out.
    pub probe_at: Option<UnixMillis>,
    /// Calls at once that a ramp allows.
    pub ramp: Option<u32>,
}

/// Whether a call may go out now.
#[derive(Debug)]
pub enum Admit {
    /// It may.
    Pass(Permit),
    /// It may, and its result decides for all others: it must end within the probe's deadline.
    Probe(Permit),
    /// It may not, at least until then.
    Refused {
        /// When asking again makes sense.
        until: Instant,
    },
}

/// Called at every transition, in their order. It must return at once and not ask the breaker.
pub type OnChange = Arc<dyn Fn(&Change) + Send + Sync>;

/// A breaker. Clones are the same one.
#[derive(Clone)]
pub struct Breaker {
    circuit: Arc<Mutex<Circuit>>,
    clock: Arc<dyn Clock>,
    on_change: OnChange,
}

impl Breaker {
    /// A closed one. `on_change` writes its history.
    pub fn new(
        settings: BreakerSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        on_change: OnChange,
    ) -> Self {
        let circuit = Circuit::new(settings, entropy, clock.now());
        Self {
            circuit: Arc::new(Mutex::new(circuit)),
            clock,
            on_change,
        }
    }

    /// Asks for a call. Ask only when one would go out at once: an open period ends by being asked.
    pub fn admit(&self) -> Admit {
        let mut circuit = self.locked();
        let admitted = circuit.admit(Instant::now(), &mut |change| self.note(change));
        drop(circuit);
        let permit = |ticket| Permit {
            breaker: self.clone(),
            ticket: Some(ticket),
        };
        match admitted {
            circuit::Admitted::Pass(ticket) => Admit::Pass(permit(ticket)),
            circuit::Admitted::Probe(ticket) => Admit::Probe(permit(ticket)),
            circuit::Admitted::Refused(until) => Admit::Refused { until },
        }
    }

    /// Its state, without moving it.
    pub fn snapshot(&self) -> Snapshot {
        self.locked().snapshot(Instant::now(), self.clock.now())
    }

    fn note(&self, (from, to, reason): (State, State, Cow<'static, str>)) -> UnixMillis {
        let change = Change {
            at: self.clock.now(),
            from,
            to,
            reason,
        };
        (self.on_change)(&change);
        change.at
    }

    fn settle(&self, ticket: &Ticket, result: &Outcome) {
        self.locked()
            .settle(ticket, result, Instant::now(), &mut |change| self.note(change));
    }

    fn locked(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Breaker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Breaker")
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}

/// How a call ended.
enum Outcome {
    Success,
    Failure(Cow<'static, str>),
    Neutral,
}

/// A call that is out. It ends by saying how it went; dropped before, it counts as failed.
#[derive(Debug)]
#[must_use = "a permit that is dropped counts as a failure"]
pub struct Permit {
    breaker: Breaker,
    ticket: Option<Ticket>,
}

impl Permit {
    /// They answered, and well.
    pub fn succeed(self) {
        self.end(&Outcome::Success);
    }

    /// They did not, for this reason, which holds no personal data.
    pub fn fail(self, reason: impl Into<Cow<'static, str>>) {
        self.end(&Outcome::Failure(reason.into()));
    }

    /// It says nothing about them. A probe that ends so leaves its place to the next call.
    pub fn neutral(self) {
        self.end(&Outcome::Neutral);
    }

    fn end(mut self, outcome: &Outcome) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.settle(&ticket, outcome);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker
                .settle(&ticket, &Outcome::Failure("the call was abandoned".into()));
        }
    }
}

#[cfg(test)]
mod tests;
