//! A circuit breaker: it stops calls to a peer that fails, and resumes them gradually once the peer answers again.
//!
//! The states and their transitions are failsafe's state machine. Three things are different here. failsafe admits
//! every call when half-open; here exactly one probe is admitted, with a deadline. failsafe counts a success from
//! before it opened; here a generation number ignores calls that began before the last transition. failsafe uses the
//! system's clock; here the open period runs on tokio's clock. In addition a ramp admits 1, 2, 4, 8... concurrent calls
//! after a successful probe, up to the limit.

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
/// The last results that count: it opens when half of them are failures.
pub const WINDOW: u32 = 20;
/// The most failures in a row that make sense: so many of the last results open it anyway.
pub const FAILURES_MAX: u32 = WINDOW / 2;
/// The first open period by default.
pub const OPEN_FIRST: Duration = Duration::from_secs(1);
/// The longest open period by default.
pub const OPEN_MAX: Duration = Duration::from_secs(60);
/// By how much an open period is moved either way, so that many breakers do not probe together.
const JITTER_PERCENT: u32 = 20;
/// When a call beyond the ramp's limit may ask again, unless another call ends before.
const RAMP_PAUSE: Duration = Duration::from_millis(50);

/// How sensitive it is.
#[derive(Clone, Copy, Debug)]
pub struct BreakerSettings {
    /// Failures in a row that open it; values above [`FAILURES_MAX`] have no further effect.
    pub failures: u32,
    /// The first open period; each further one without a close in between doubles.
    pub open_first: Duration,
    /// The longest open period.
    pub open_max: Duration,
    /// The number of concurrent calls at which the ramp ends: the caller's own concurrency.
    pub ramp_limit: u32,
    /// Who decides that a probe may go out.
    pub probes: Probes,
}

/// Who decides that a probe may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probes {
    /// The breaker, once its open period is over.
    Own {
        /// How long a probe may take before it counts as failed.
        deadline: Duration,
    },
    /// Its caller, who claims each in a place that several processes share ([`Breaker::probe`]), until then and no longer, and says
    /// what others have found ([`Breaker::open`], [`Breaker::close`]). While it is not closed, asking for admission is refused.
    Claimed,
}

/// Whether calls are admitted. The order is that of the numbers that metrics show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::FromRepr)]
#[repr(u8)]
pub enum State {
    /// All calls are admitted.
    Closed,
    /// One call is admitted, as a probe.
    HalfOpen,
    /// No call is admitted.
    Open,
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
        f64::from(self as u8)
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

/// The observable state of a breaker. Reading it causes no transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: UnixMillis,
    /// When an open breaker admits a probe.
    pub probe_at: Option<UnixMillis>,
    /// Concurrent calls that the ramp allows.
    pub ramp: Option<u32>,
}

/// Whether a call is admitted now.
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

/// Called at every transition, in order. It must return at once and must not call the breaker.
pub type OnChange = Arc<dyn Fn(&Change) + Send + Sync>;

/// A breaker. Clones are the same one.
#[derive(Clone)]
pub struct Breaker {
    circuit: Arc<Mutex<Circuit>>,
}

impl Breaker {
    /// A closed one. `on_change` writes its history.
    pub fn new(
        settings: BreakerSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        on_change: OnChange,
    ) -> Self {
        let circuit = Circuit::new(settings, clock, entropy, on_change);
        Self {
            circuit: Arc::new(Mutex::new(circuit)),
        }
    }

    /// Asks for the admission of a call. Call it only to make a call at once: after an open period this admits the
    /// probe.
    pub fn admit(&self) -> Admit {
        let admitted = self.locked().admit(Instant::now());
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

    /// The permit of a probe that its caller has claimed, after so many open periods since the last close. Whatever its state was,
    /// it is half-open from then on.
    pub fn probe(&self, openings: u32) -> Permit {
        let ticket = self.locked().claimed(openings, Instant::now());
        Permit {
            breaker: self.clone(),
            ticket: Some(ticket),
        }
    }

    /// Another process has found the peer failing: it is open. No transition is reported.
    pub fn open(&self) {
        self.locked().open(Instant::now());
    }

    /// Another process's probe has succeeded: unless it is closed, it closes and its ramp begins. No transition is reported.
    pub fn close(&self) {
        self.locked().close(Instant::now());
    }

    /// Its state, without a transition.
    pub fn snapshot(&self) -> Snapshot {
        self.locked().snapshot(Instant::now())
    }

    fn settle(&self, ticket: &Ticket, result: &Outcome) {
        self.locked().settle(ticket, result, Instant::now());
    }

    fn locked(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a call ended.
enum Outcome {
    Success,
    Failure(Cow<'static, str>),
    Neutral,
}

/// An admitted call. Its holder reports the result; dropped without a report, it counts as failed.
#[must_use = "a permit that is dropped counts as a failure"]
pub struct Permit {
    breaker: Breaker,
    ticket: Option<Ticket>,
}

impl Permit {
    /// The peer answered successfully.
    pub fn succeed(self) {
        self.end(&Outcome::Success);
    }

    /// The call failed for this reason, which holds no personal data.
    pub fn fail(self, reason: impl Into<Cow<'static, str>>) {
        self.end(&Outcome::Failure(reason.into()));
    }

    /// The result says nothing about the peer. After a probe with this result the next call becomes the probe.
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
