//! Why no answer came.

use super::resolver::ForbiddenName;
use std::{error::Error, io, time::Duration};

/// What kind of failure it was, as logs and the history of attempts name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum EgressErrorKind {
    /// The name could not be resolved.
    Dns,
    /// No connection: refused, unreachable, or not within 5 s.
    Connect,
    /// The certificate or the handshake was not acceptable.
    Tls,
    /// The total time-out passed.
    Timeout,
    /// The connection broke before the status line arrived.
    Reset,
    /// The answer is not HTTP.
    Protocol,
    /// Nothing was sent: the address may not be called.
    Forbidden,
    /// Nothing was sent: as many calls as may go to this address at once were going on until the time was over.
    Busy,
}

impl EgressErrorKind {
    /// Whether it is certain that no request was made, for a reason of our own.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Forbidden | Self::Busy)
    }
}

/// A call without an answer. It holds no URL: it may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer: {kind}")]
pub struct EgressError {
    /// What kind of failure it was.
    pub kind: EgressErrorKind,
    /// How long it took.
    pub duration: Duration,
}

/// A name that was not resolved: `reqwest` distinguishes it by its message only.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name could not be resolved")]
pub(super) struct ResolveFailed;

impl EgressError {
    pub(super) fn new(error: &reqwest::Error, duration: Duration) -> Self {
        Self {
            kind: kind(error),
            duration,
        }
    }
}

fn kind(error: &reqwest::Error) -> EgressErrorKind {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<ResolveFailed>() {
            return EgressErrorKind::Dns;
        }
        if error.is::<ForbiddenName>() {
            return EgressErrorKind::Forbidden;
        }
        if is_tls(error) {
            return EgressErrorKind::Tls;
        }
        if let Some(kind) = error.downcast_ref::<hyper::Error>().and_then(of_hyper) {
            return kind;
        }
        if error.downcast_ref::<io::Error>().is_some_and(is_reset) {
            return EgressErrorKind::Reset;
        }
        cause = error.source();
    }
    match error {
        error if error.is_connect() => EgressErrorKind::Connect,
        error if error.is_timeout() => EgressErrorKind::Timeout,
        _ => EgressErrorKind::Protocol,
    }
}

/// rustls errors are nested inside I/O errors.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || inside.is_some_and(|inner| is_tls(inner))
}

fn of_hyper(error: &hyper::Error) -> Option<EgressErrorKind> {
    if error.is_parse() {
        return Some(EgressErrorKind::Protocol);
    }
    (error.is_incomplete_message() || error.is_canceled() || error.is_closed())
        .then_some(EgressErrorKind::Reset)
}

fn is_reset(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof
    )
}
