//! The statuses that a reservation may have (domain.md, section 4).

use strum::EnumString;

/// The status of a reservation, as payloads spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum ReservationStatus {
    /// Somebody asked.
    Inquiry,
    /// On the waiting list.
    Waitlisted,
    /// Held for a while.
    Optional,
    /// Booked.
    Confirmed,
    /// The guest has arrived.
    CheckedIn,
    /// The guest came and went.
    CheckedOut,
    /// It was cancelled.
    Cancelled,
    /// The guest did not come.
    NoShow,
}
