//! What the audit log says was done with an event.

use strum::IntoStaticStr;

/// The action of an audit entry of the receiver, as the audit log spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
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
    /// A run that requeues dead letters was begun.
    RequeueStarted,
    /// It has looked at all dead letters that there were.
    RequeueFinished,
    /// It was ended before.
    RequeueCancelled,
    /// A job was registered.
    JobRegistered,
    /// Another body came under the key of an event that was committed before.
    IdReuse,
}

/// Why projection made an event a dead letter, as the audit log spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum DeadLetterCause {
    /// Another state of the same version is current.
    VersionConflict,
    /// Each of its tries failed.
    Poison,
}
