//! A delivery: one event on its way to one endpoint.

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
