//! What a database went through.

use std::sync::atomic::AtomicU64;

/// What a database went through since it was opened; for the operator's eyes.
#[derive(Debug, Default)]
pub struct Counts {
    /// Transactions run again after a lost race or a lost connection (MySQL).
    pub reruns: AtomicU64,
    /// Commits of which nobody knew whether they took effect.
    pub unknown_commits: AtomicU64,
    /// Callers answered before their operation had ended.
    pub timeouts: AtomicU64,
}
