//! The state machine of a reservation, as data.
//!
//! One row per transition: where from, where to, which event, and under which name the API offers it. What is not in
//! the table is forbidden. The conditions that a permitted transition still has to meet stand in
//! `reservation_rules`.

use contract::EventType;
use serde::{Deserialize, Serialize};

/// Where a reservation is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Somebody asked; nothing is held.
    Inquiry,
    /// Wanted, but there is no room yet.
    Waitlisted,
    /// Held for a time, not yet firm.
    Optional,
    /// Firm.
    #[default]
    Confirmed,
    /// The guest has arrived, and has not left.
    CheckedIn,
    /// The guest has left.
    CheckedOut,
    /// Called off; it has a `cancellation`.
    Cancelled,
    /// The guest did not come.
    NoShow,
}

impl Status {
    /// Every status, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Inquiry,
        Self::Waitlisted,
        Self::Optional,
        Self::Confirmed,
        Self::CheckedIn,
        Self::CheckedOut,
        Self::Cancelled,
        Self::NoShow,
    ];

    /// The status as the API and the tables spell it.
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

    /// The status of that name.
    pub fn known(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether a new reservation may start here; `checked_in` is a walk-in.
    pub const fn may_start(self) -> bool {
        matches!(
            self,
            Self::Inquiry | Self::Waitlisted | Self::Optional | Self::Confirmed | Self::CheckedIn
        )
    }

    /// Whether the stay is still to come, as far as the status tells.
    pub const fn is_ahead(self) -> bool {
        matches!(
            self,
            Self::Inquiry | Self::Waitlisted | Self::Optional | Self::Confirmed
        )
    }

    /// Whether the guest came: from then on `check_in` and the room stand.
    pub const fn has_arrived(self) -> bool {
        matches!(self, Self::CheckedIn | Self::CheckedOut)
    }

    /// Whether it is, or was, firm: at least one person belongs to it then.
    pub const fn is_firm(self) -> bool {
        matches!(
            self,
            Self::Confirmed | Self::CheckedIn | Self::CheckedOut | Self::NoShow
        )
    }

    /// Whether a reservation in this status may be deleted.
    pub const fn is_deletable(self) -> bool {
        matches!(self, Self::Inquiry | Self::Optional | Self::Cancelled)
    }
}

/// A step from one status to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    /// An inquiry is held for a time.
    Hold,
    /// An inquiry goes on the waiting list.
    Waitlist,
    /// It becomes firm.
    Confirm,
    /// It is called off.
    Cancel,
    /// The guest arrives.
    CheckIn,
    /// The check-in was a mistake.
    RevertCheckIn,
    /// The guest leaves.
    CheckOut,
    /// The check-out was a mistake.
    RevertCheckOut,
    /// The guest did not come.
    NoShow,
    /// A cancelled one, or a late arrival, is firm again.
    Reinstate,
}

struct Rule {
    transition: Transition,
    /// The name in `POST /reservations/{id}/{name}`; the other two go through PUT and are named by their status.
    name: &'static str,
    from: &'static [Status],
    to: Status,
    event: EventType,
}

const RULES: [Rule; 10] = [
    Rule {
        transition: Transition::Hold,
        name: "optional",
        from: &[Status::Inquiry],
        to: Status::Optional,
        event: EventType::ReservationUpdated,
    },
    Rule {
        transition: Transition::Waitlist,
        name: "waitlisted",
        from: &[Status::Inquiry],
        to: Status::Waitlisted,
        event: EventType::ReservationUpdated,
    },
    Rule {
        transition: Transition::Confirm,
        name: "confirm",
        from: &[Status::Inquiry, Status::Waitlisted, Status::Optional],
        to: Status::Confirmed,
        event: EventType::ReservationConfirmed,
    },
    Rule {
        transition: Transition::Cancel,
        name: "cancel",
        from: &[
            Status::Inquiry,
            Status::Waitlisted,
            Status::Optional,
            Status::Confirmed,
        ],
        to: Status::Cancelled,
        event: EventType::ReservationCancelled,
    },
    Rule {
        transition: Transition::CheckIn,
        name: "check-in",
        from: &[Status::Confirmed],
        to: Status::CheckedIn,
        event: EventType::ReservationCheckedIn,
    },
    Rule {
        transition: Transition::RevertCheckIn,
        name: "revert-check-in",
        from: &[Status::CheckedIn],
        to: Status::Confirmed,
        event: EventType::ReservationCheckInReverted,
    },
    Rule {
        transition: Transition::CheckOut,
        name: "check-out",
        from: &[Status::CheckedIn],
        to: Status::CheckedOut,
        event: EventType::ReservationCheckedOut,
    },
    Rule {
        transition: Transition::RevertCheckOut,
        name: "revert-check-out",
        from: &[Status::CheckedOut],
        to: Status::CheckedIn,
        event: EventType::ReservationCheckOutReverted,
    },
    Rule {
        transition: Transition::NoShow,
        name: "no-show",
        from: &[Status::Confirmed],
        to: Status::NoShow,
        event: EventType::ReservationNoShow,
    },
    Rule {
        transition: Transition::Reinstate,
        name: "reinstate",
        from: &[Status::Cancelled, Status::NoShow],
        to: Status::Confirmed,
        event: EventType::ReservationReinstated,
    },
];

impl Transition {
    /// Every transition.
    pub fn all() -> impl Iterator<Item = Self> {
        RULES.iter().map(|rule| rule.transition)
    }

    /// The transition from one status to another, if there is one.
    pub fn between(from: Status, to: Status) -> Option<Self> {
        RULES
            .iter()
            .find(|rule| rule.to == to && rule.from.contains(&from))
            .map(|rule| rule.transition)
    }

    /// The names of all transitions that a status allows.
    pub fn allowed_from(status: Status) -> Vec<&'static str> {
        RULES
            .iter()
            .filter(|rule| rule.from.contains(&status))
            .map(|rule| rule.name)
            .collect()
    }

    /// Whether the transition starts at this status.
    pub fn leaves(self, status: Status) -> bool {
        self.rule().from.contains(&status)
    }

    /// The status that it leads to.
    pub fn target(self) -> Status {
        self.rule().to
    }

    /// The event that it makes.
    pub fn event(self) -> EventType {
        self.rule().event
    }

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        self.rule().name
    }

    fn rule(self) -> &'static Rule {
        RULES
            .iter()
            .find(|rule| rule.transition == self)
            .expect("the table has a row for every transition")
    }
}

#[cfg(test)]
mod tests;
