//! Runs that have deliveries made again: what they go through, and how far they are.

use std::str::FromStr;

/// What a run goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// Deliveries that died in a span.
    Recover,
    /// Events that match the endpoint now, by when they were committed.
    Replay,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// There may be something at which it has not looked.
    Running,
    /// It has looked at all.
    Finished,
    /// It was ended before.
    Cancelled,
}

/// The text is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is none that a run has")]
pub struct UnknownOfRun;

impl RunKind {
    /// As the tables and the API spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recover => "recover",
            Self::Replay => "replay",
        }
    }
}

impl FromStr for RunKind {
    type Err = UnknownOfRun;
    fn from_str(text: &str) -> Result<Self, UnknownOfRun> {
        let mut all = [Self::Recover, Self::Replay].into_iter();
        all.find(|kind| kind.as_str() == text).ok_or(UnknownOfRun)
    }
}

impl RunStatus {
    /// As the tables and the API spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for RunStatus {
    type Err = UnknownOfRun;
    fn from_str(text: &str) -> Result<Self, UnknownOfRun> {
        let mut all = [Self::Running, Self::Finished, Self::Cancelled].into_iter();
        all.find(|status| status.as_str() == text).ok_or(UnknownOfRun)
    }
}
