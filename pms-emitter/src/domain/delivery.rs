//! A delivery: one event on its way to one endpoint.

use std::str::FromStr;

/// Where a delivery is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryStatus {
    /// It waits for an attempt, or an attempt is going on.
    Pending,
    /// The endpoint has taken it.
    Delivered,
    /// It was given up; it stays, and can be made due again by hand.
    Dead,
    /// Its endpoint was deleted before.
    Cancelled,
}

/// The text is no status of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be pending, delivered, dead or cancelled")]
pub struct InvalidDeliveryStatus;

impl FromStr for DeliveryStatus {
    type Err = InvalidDeliveryStatus;
    fn from_str(text: &str) -> Result<Self, InvalidDeliveryStatus> {
        let all = [Self::Pending, Self::Delivered, Self::Dead, Self::Cancelled];
        let mut named = all.into_iter().filter(|status| status.as_str() == text);
        named.next().ok_or(InvalidDeliveryStatus)
    }
}

impl DeliveryStatus {
    /// The status as the tables spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}
