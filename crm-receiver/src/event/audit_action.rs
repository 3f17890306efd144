//! What the audit log says was done with an event.

use std::borrow::Cow;

/// The action of an audit entry of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditAction {
    /// Its state is current, or was for a while.
    Applied,
    /// It changed nothing: a newer state, or the same one, was current already.
    Stale,
    /// Its guest is erased, so that nothing of it was kept but its key.
    Suppressed,
    /// It erased a guest.
    Erased,
    /// It is a dead letter, for a [`DeadLetterCause`] or because it was quarantined.
    DeadLettered,
    /// A dead letter was given back to the projector.
    Requeued,
    /// Another body came under the key of an event that was committed before.
    IdReuse,
}

impl AuditAction {
    /// The action as the audit log spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Stale => "stale",
            Self::Suppressed => "suppressed",
            Self::Erased => "erased",
            Self::DeadLettered => "dead_lettered",
            Self::Requeued => "requeued",
            Self::IdReuse => "id_reuse",
        }
    }
}

impl From<AuditAction> for Cow<'static, str> {
    fn from(action: AuditAction) -> Self {
        Cow::Borrowed(action.as_str())
    }
}

/// Why projection made an event a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterCause {
    /// Another state of the same version is current.
    VersionConflict,
    /// Each of its tries failed.
    Poison,
}

impl DeadLetterCause {
    /// The cause as the audit log spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VersionConflict => "version_conflict",
            Self::Poison => "poison",
        }
    }
}

impl From<DeadLetterCause> for Cow<'static, str> {
    fn from(cause: DeadLetterCause) -> Self {
        Cow::Borrowed(cause.as_str())
    }
}
