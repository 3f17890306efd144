//! What a database went through, and how metrics show it.

use super::{Db, DbError};
use crate::metrics::Metrics;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a database went through since it was opened; for the operator's eyes.
#[derive(Debug, Default)]
pub struct Counts {
    /// Transactions run again after a lost race or a lost connection (MySQL).
    pub reruns: AtomicU64,
    /// Commits of which nobody knew whether they took effect.
    pub unknown_commits: AtomicU64,
    /// Callers answered before their operation had ended.
    pub timeouts: AtomicU64,
    /// Operations that failed, by [`DbError::KINDS`].
    pub(super) errors: [AtomicU64; DbError::KINDS.len()],
}

impl Db {
    /// Shows what it went through.
    pub fn expose(&self, metrics: &Metrics) {
        let counter = |name, help, pick: fn(&Counts) -> &AtomicU64| {
            let db = self.clone();
            metrics.read_counter(name, help, &[], move || pick(db.counts()).load(Ordering::Relaxed));
        };
        let help = "Transactions run again after a lost race or a lost connection.";
        counter("db_reruns_total", help, |counts| &counts.reruns);
        let help = "Commits of which nobody knew whether they took effect.";
        counter("db_unknown_commits_total", help, |counts| &counts.unknown_commits);
        let help = "Callers answered before their operation had ended.";
        counter("db_timeouts_total", help, |counts| &counts.timeouts);
        for (kind, name) in DbError::KINDS.iter().enumerate() {
            let db = self.clone();
            let help = "Operations that failed, by kind; a duplicate is often no fault.";
            metrics.read_counter("db_errors_total", help, &[("kind", name)], move || {
                db.counts().errors[kind].load(Ordering::Relaxed)
            });
        }
    }
}
