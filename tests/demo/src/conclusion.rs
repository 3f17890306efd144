//! How the demo ends: the result of balancing the books, and its exit code.
//!
//! All decisions are in this module, which the suite tests with good and faulty books; the program only shows the
//! result. A run that is interrupted in mid-load has no books to balance, and ends as its signal says.

use crate::report::Report;
use anyhow::Result;
use harness::bookings::{Booking, CSV};
use harness::database::Databases;
use harness::expected::Totals;
use harness::ledger::{self, Ledger};
use harness::loader::Loaded;
use harness::people::Cast;
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing lost, nothing doubled, nothing wrong.
    Balanced,
    /// At least one of the three.
    Unbalanced,
    /// SIGINT came before the books were balanced.
    Interrupted,
    /// SIGTERM came before the books were balanced.
    Terminated,
}

impl End {
    /// The result of a run with these books.
    pub fn of(ledger: &Ledger) -> Self {
        if ledger.is_balanced() {
            Self::Balanced
        } else {
            Self::Unbalanced
        }
    }

    /// The exit code: 0, 1, or 128 and the number of the signal, as shells have it.
    pub fn code(self) -> u8 {
        match self {
            Self::Balanced => 0,
            Self::Unbalanced => 1,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// Whether a signal ended the run in the middle.
    pub fn is_early(self) -> bool {
        matches!(self, Self::Interrupted | Self::Terminated)
    }
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        end.code().into()
    }
}

/// The result of a run whose events have all had their effect.
#[derive(Debug)]
pub struct Conclusion {
    /// For people and for programs.
    pub report: Report,
    /// The totals of each guest by their id at the emitter.
    pub expected: HashMap<String, Totals>,
    /// How the run ends.
    pub end: End,
}

impl Conclusion {
    /// Balances the books of a run over `bookings`, rows of the demo's file, that took `elapsed`.
    ///
    /// # Errors
    /// When the books or the file cannot be read.
    pub async fn of(
        databases: &mut Databases,
        bookings: &[Booking],
        cast: &Cast,
        loaded: &Loaded,
        elapsed: Duration,
    ) -> Result<Self> {
        let expected = ledger::expected_by_guest(CSV, bookings, cast, loaded)?;
        let ledger = ledger::balance(databases, &expected).await?;
        Ok(Self {
            report: Report::new(bookings.len(), loaded, &ledger, elapsed),
            expected,
            end: End::of(&ledger),
        })
    }

    /// The result as one JSON object: the demo's last line.
    ///
    /// # Errors
    /// Never for a report.
    pub fn last_line(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.report)
    }
}

/// SIGINT and SIGTERM, which no longer end the process from here on: the owner of this value handles them.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens; a signal that comes before anybody looks is kept.
    ///
    /// # Errors
    /// When the system refuses a signal handler.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for either, and returns how it ends a run.
    pub async fn next(&mut self) -> End {
        tokio::select! {
            _ = self.interrupt.recv() => End::Interrupted,
            _ = self.terminate.recv() => End::Terminated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_the_books_ends_in_one_and_none_in_zero() {
        let books = |lost, doubled, wrong_totals| Ledger {
            lost,
            doubled,
            wrong_totals,
            ..Ledger::default()
        };
        assert_eq!(End::of(&books(0, 0, 0)).code(), 0);
        for faulty in [books(1, 0, 0), books(0, 1, 0), books(0, 0, 1)] {
            assert_eq!(End::of(&faulty).code(), 1, "{faulty:?}");
        }
    }
}
