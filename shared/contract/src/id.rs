//! Identifiers: their alphabet, and a type for each kind.
//!
//! Ids of ours are a prefix and a time-ordered part (`gst_01jd...`); a sender's may be any text of the same alphabet.
//! A `.` is refused everywhere: "a.123" + "x" and "a" + "123.x" would sign the same bytes.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The longest id, in bytes; the tables' columns are as wide.
pub const ID_LEN_MAX: usize = 64;

/// The text is no id: `^[A-Za-z0-9_-]{1,64}$` (for a property `^[A-Z0-9]{2,16}$`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct InvalidId;

/// What a property's code must be, for people.
pub const PROPERTY_RULE: &str = "a property's code is 2 to 16 capital letters and digits";

/// Whether `text` matches `^[A-Za-z0-9_-]{1,64}$`.
pub fn is_valid_id(text: &str) -> bool {
    (1..=ID_LEN_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn is_valid_property(text: &str) -> bool {
    (2..=16).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// An id type whose new values carry a prefix.
pub trait TypedId: FromStr<Err = InvalidId> + Clone {
    /// What new ids of this type begin with, without the underscore.
    const PREFIX: &'static str;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident if $valid:path $(, prefix $prefix:literal)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if $valid(text) { Ok(Self(text.to_owned())) } else { Err(InvalidId) }
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                if $valid(&text) { Ok(Self(text)) } else { Err(InvalidId) }
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
        $(impl TypedId for $name {
            const PREFIX: &'static str = $prefix;
        })?
    )*};
}

ids! {
    /// A guest record's id in the PMS.
    GuestId if is_valid_id, prefix "gst";
    /// A reservation's id in the PMS.
    ReservationId if is_valid_id, prefix "res";
    /// An event's id. At the emitter it is the idempotency key; the receiver gives each accepted event one of its own.
    EventId if is_valid_id, prefix "evt";
    /// A guest profile's id in the CRM.
    ProfileId if is_valid_id, prefix "prf";
    /// The id of one HTTP request, also the default correlation id.
    RequestId if is_valid_id, prefix "req";
    /// The id of an endpoint that events are delivered to.
    EndpointId if is_valid_id, prefix "ep";
    /// The id of one delivery: one event to one endpoint.
    DeliveryId if is_valid_id, prefix "dlv";
    /// The id of an API key, which is no secret: the key itself is.
    KeyId if is_valid_id, prefix "key";
    /// The id of a secret of a source, which is no secret itself.
    SecretId if is_valid_id, prefix "sec";
    /// The id of a run that gives dead letters back to the projector.
    RequeueId if is_valid_id, prefix "rqu";
    /// The id of a run that has deliveries of an endpoint made again.
    RunId if is_valid_id, prefix "drn";
    /// The id of any entity of any sender.
    EntityId if is_valid_id;
    /// `webhook-id`, which is the idempotency key: the same on every retry and replay.
    IdempotencyKey if is_valid_id;
    /// A job of a source, as its sender names it.
    JobId if is_valid_id;
    /// A sender of webhooks, as the receiver's path names it: `pms` is ours.
    SourceId if is_valid_id;
    /// A property's code, `^[A-Z0-9]{2,16}$`.
    PropertyId if is_valid_property;
}

impl From<EventId> for IdempotencyKey {
    fn from(id: EventId) -> Self {
        Self(id.0)
    }
}

impl From<GuestId> for EntityId {
    fn from(id: GuestId) -> Self {
        Self(id.0)
    }
}

impl From<ReservationId> for EntityId {
    fn from(id: ReservationId) -> Self {
        Self(id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_alphabet_and_the_length_and_nothing_else() {
        for good in ["a", "evt_01jd", "A-Z_09", &"x".repeat(64)] {
            assert!(good.parse::<EventId>().is_ok(), "{good}");
        }
        for bad in ["", "a.b", "a b", " a", "a\n", "é", "a/b", &"x".repeat(65)] {
            assert!(bad.parse::<EventId>().is_err(), "{bad:?}");
            assert!(serde_json::from_value::<EventId>(bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_property_is_a_short_upper_case_code() {
        assert!("LIS01".parse::<PropertyId>().is_ok());
        for bad in ["L", "lis01", "LIS 01", "ABCDEFGHIJKLMNOPQ"] {
            assert!(bad.parse::<PropertyId>().is_err(), "{bad}");
        }
    }
}
