//! Planted bugs: known mistakes, one at a time, that prove that the checks of the tests find them.
//!
//! Without the feature `planted-bugs`, which no crate turns on by default, nothing is ever planted, and the compiler
//! removes the wrong code; with it, a process that was started with `PLANTED_BUG=name` runs the wrong code where the
//! service asks [`is_planted`].

/// The classic mistakes of a system with exactly-once effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Bug {
    /// The answer is sent before its commit.
    AckBeforeCommit,
    /// A result is written without checking that the claim is still held.
    MissingFence,
    /// A cache that is filled before the commit decides what is a duplicate.
    CacheAsTruth,
    /// Something is marked as done in a commit of its own, and then done.
    MarkBeforeProcessing,
    /// Events get their places in one commit, and are queued in the next one.
    PlaceBeforeQueue,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::AckBeforeCommit,
        Self::MissingFence,
        Self::CacheAsTruth,
        Self::MarkBeforeProcessing,
        Self::PlaceBeforeQueue,
    ];

    /// As the environment names it.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

/// Whether this process makes that mistake.
#[cfg(not(feature = "planted-bugs"))]
#[inline]
pub const fn is_planted(_bug: Bug) -> bool {
    false
}

/// Whether this process makes that mistake.
#[cfg(feature = "planted-bugs")]
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(&bug)
}

/// Has this process make that mistake. The first call counts.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Bug) {
    let _ = PLANTED.set(bug);
}

#[cfg(feature = "planted-bugs")]
static PLANTED: std::sync::OnceLock<Bug> = std::sync::OnceLock::new();
