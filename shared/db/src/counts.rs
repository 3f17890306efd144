//! Counters of one database since it was opened, for metrics.

use super::DbError;
use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use strum::VariantNames;

/// Why making a counter cannot fail.
const VALID: &str = "names and labels stand in the code";

/// Counters of one database, shown to the operator as metrics.
#[derive(Debug)]
pub struct Counts {
    /// Statements, but for those that begin and end transactions.
    pub statements: IntCounter,
    /// Transactions run again after a lost race or a lost connection (MySQL).
    pub reruns: IntCounter,
    /// Commits whose result is unknown.
    pub unknown_commits: IntCounter,
    /// Callers answered before their operation had ended.
    pub timeouts: IntCounter,
    /// Operations that failed, by the name of their [`DbError`].
    errors: IntCounterVec,
}

impl Default for Counts {
    fn default() -> Self {
        let help = "Operations that failed, by kind; a duplicate is often no fault.";
        let errors = IntCounterVec::new(Opts::new("db_errors_total", help), &["kind"]).expect(VALID);
        for kind in DbError::VARIANTS {
            errors.with_label_values(&[kind]);
        }
        let counter = |name, help| IntCounter::new(name, help).expect(VALID);
        Self {
            statements: counter(
                "db_statements_total",
                "Statements, but for those that begin and end transactions.",
            ),
            reruns: counter(
                "db_reruns_total",
                "Transactions run again after a lost race or a lost connection.",
            ),
            unknown_commits: counter(
                "db_unknown_commits_total",
                "Commits of which nobody knew whether they took effect.",
            ),
            timeouts: counter(
                "db_timeouts_total",
                "Callers answered before their operation had ended.",
            ),
            errors,
        }
    }
}

impl Counts {
    /// Counts an operation that failed.
    pub(crate) fn failed(&self, error: &DbError) {
        self.errors.with_label_values(&[<&str>::from(error)]).inc();
    }

    /// Registers the counters as `db_*`.
    ///
    /// # Panics
    /// When the registry already has metrics of these names: one registry shows one database.
    pub fn register(&self, registry: &Registry) {
        let register = |counter: Box<dyn Collector>| {
            registry.register(counter).expect("a registry shows one database");
        };
        for counter in [
            &self.statements,
            &self.reruns,
            &self.unknown_commits,
            &self.timeouts,
        ] {
            register(Box::new(counter.clone()));
        }
        register(Box::new(self.errors.clone()));
    }
}
