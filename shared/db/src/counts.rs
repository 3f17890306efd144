//! Counters of one database since it was opened, for metrics.

use super::DbError;
use prometheus::{IntCounter, Opts, Registry};

/// Counters of one database, shown to the operator as metrics.
#[derive(Debug)]
pub struct Counts {
    /// Transactions run again after a lost race or a lost connection (MySQL).
    pub reruns: IntCounter,
    /// Commits whose result is unknown.
    pub unknown_commits: IntCounter,
    /// Callers answered before their operation had ended.
    pub timeouts: IntCounter,
    /// Operations that failed, by [`DbError::KINDS`].
    errors: [IntCounter; DbError::KINDS.len()],
}

impl Default for Counts {
    fn default() -> Self {
        let help = "Operations that failed, by kind; a duplicate is often no fault.";
        Self {
            reruns: counter(Opts::new(
                "db_reruns_total",
                "Transactions run again after a lost race or a lost connection.",
            )),
            unknown_commits: counter(Opts::new(
                "db_unknown_commits_total",
                "Commits of which nobody knew whether they took effect.",
            )),
            timeouts: counter(Opts::new(
                "db_timeouts_total",
                "Callers answered before their operation had ended.",
            )),
            errors: DbError::KINDS
                .map(|kind| counter(Opts::new("db_errors_total", help).const_label("kind", kind))),
        }
    }
}

impl Counts {
    /// Counts an operation that failed.
    pub(crate) fn failed(&self, error: &DbError) {
        self.errors[error.kind()].inc();
    }

    /// Registers the counters as `db_*`.
    ///
    /// # Panics
    /// When the registry already has metrics of these names: one registry shows one database.
    pub fn register(&self, registry: &Registry) {
        let single = [&self.reruns, &self.unknown_commits, &self.timeouts];
        for counter in single.into_iter().chain(&self.errors) {
            let registered = registry.register(Box::new(counter.clone()));
            registered.expect("a registry shows one database");
        }
    }
}

fn counter(opts: Opts) -> IntCounter {
    IntCounter::with_opts(opts).expect("names and labels stand in the code")
}
