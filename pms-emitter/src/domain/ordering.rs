//! In which order an endpoint gets its deliveries.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

/// What waits for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum DeliveryOrdering {
    /// Nothing: a receiver sees by their versions which of two is the later one.
    #[default]
    None,
    /// An event for the earlier ones of its entity, until these are delivered, dead or cancelled.
    Entity,
}

impl DeliveryOrdering {
    /// Its name, in the API and in the tables.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}
