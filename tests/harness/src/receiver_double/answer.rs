//! What the double is to do with a request.

use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the double does with one request.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: &'static str,
    pub(super) gate: Option<Gate>,
    pub(super) forward_to: Option<SocketAddr>,
    pub(super) reset: bool,
}

/// Holds answers back until it is opened; each opening lets so many through.
#[derive(Clone, Debug)]
pub struct Gate(pub(super) Arc<Semaphore>);

impl Answer {
    /// An answer of this status, at once.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: "",
            gate: None,
            forward_to: None,
            reset: false,
        }
    }

    /// The connection is closed without an answer.
    pub fn reset() -> Self {
        Self {
            reset: true,
            ..Self::status(200)
        }
    }

    /// The status that a real receiver gives to the same request.
    pub fn of(receiver: SocketAddr) -> Self {
        Self {
            forward_to: Some(receiver),
            ..Self::status(200)
        }
    }

    /// A real receiver does its work, and then the connection is closed without an answer.
    pub fn reset_after(receiver: SocketAddr) -> Self {
        Self {
            reset: true,
            ..Self::of(receiver)
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a body.
    #[must_use]
    pub fn with_body(mut self, body: &'static str) -> Self {
        self.body = body;
        self
    }

    /// Holds it back until the gate lets it through.
    #[must_use]
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets so many answers through, those that wait and those to come.
    pub fn open(&self, answers: usize) {
        self.0.add_permits(answers);
    }
}
