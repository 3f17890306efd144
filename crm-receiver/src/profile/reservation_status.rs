//! The statuses that a reservation may have (domain.md, section 4).

use std::str::FromStr;

/// The status of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl ReservationStatus {
    const ALL: [Self; 8] = [
        Self::Inquiry,
        Self::Waitlisted,
        Self::Optional,
        Self::Confirmed,
        Self::CheckedIn,
        Self::CheckedOut,
        Self::Cancelled,
        Self::NoShow,
    ];

    /// The status as payloads spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inquiry => "inquiry",
            Self::Waitlisted => "waitlisted",
            Self::Optional => "optional",
            Self::Confirmed => "confirmed",
            Self::CheckedIn => "checked_in",
            Self::CheckedOut => "checked_out",
            Self::Cancelled => "cancelled",
            Self::NoShow => "no_show",
        }
    }
}

/// The text names no status of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a status of a reservation")]
pub struct UnknownReservationStatus;

impl FromStr for ReservationStatus {
    type Err = UnknownReservationStatus;
    fn from_str(text: &str) -> Result<Self, UnknownReservationStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownReservationStatus)
    }
}
