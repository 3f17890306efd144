//! The status of an event, from its commit to its projection.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

/// The status of an event in the inbox, as the tables and answers spell it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum EventStatus {
    /// It waits for the projector.
    Accepted,
    /// Its state became current, at least for a while.
    Applied,
    /// A newer state of its record, or the same one, was current already.
    Stale,
    /// Its type or schema version is not known, or it is about no entity: kept, never projected.
    Ignored,
    /// It could not be projected, lost a conflict, or was quarantined. An operator may requeue it.
    DeadLetter,
    /// Its guest is erased: nothing of it is kept but its key.
    Suppressed,
}
