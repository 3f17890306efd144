//! The catalogue of events: the name of each type on the wire.
//!
//! One commit makes one event of the most specific type. Every event carries the full state, so a consumer may ignore
//! the type; a type that is not in this list is kept by the receiver and marked `ignored`.

use crate::entity::EntityKind;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr};

/// The longest event type, in bytes; the tables' columns are as wide.
pub const EVENT_TYPE_LEN_MAX: usize = 64;

/// The version of the payloads that this code writes and folds.
pub const SCHEMA_VERSION: u32 = 1;

macro_rules! event_types {
    ($($variant:ident = $name:literal,)*) => {
        /// A type of event that Guestwire knows, as it stands on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[derive(Display, EnumString, IntoStaticStr)]
        pub enum EventType {
            $(
                #[doc = concat!("`", $name, "`")]
                #[serde(rename = $name)]
                #[strum(serialize = $name)]
                $variant,
            )*
        }
    };
}

event_types! {
    GuestCreated = "guest.created",
    GuestUpdated = "guest.updated",
    GuestConsentChanged = "guest.consent_changed",
    GuestMerged = "guest.merged",
    GuestUnmerged = "guest.unmerged",
    GuestDeleted = "guest.deleted",
    GuestErased = "guest.erased",
    ReservationCreated = "reservation.created",
    ReservationUpdated = "reservation.updated",
    ReservationConfirmed = "reservation.confirmed",
    ReservationCancelled = "reservation.cancelled",
    ReservationReinstated = "reservation.reinstated",
    ReservationCheckedIn = "reservation.checked_in",
    ReservationCheckInReverted = "reservation.check_in_reverted",
    ReservationCheckedOut = "reservation.checked_out",
    ReservationCheckOutReverted = "reservation.check_out_reverted",
    ReservationNoShow = "reservation.no_show",
    ReservationRoomAssigned = "reservation.room_assigned",
    ReservationDeleted = "reservation.deleted",
    Ping = "ping",
}

impl EventType {
    /// The type as it stands on the wire.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The kind of entity that events of this type are about; `ping` is about none.
    pub fn entity_kind(self) -> Option<EntityKind> {
        match self.as_str().split_once('.') {
            Some(("guest", _)) => Some(EntityKind::Guest),
            Some(("reservation", _)) => Some(EntityKind::Reservation),
            _ => None,
        }
    }
}
