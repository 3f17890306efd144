//! What an endpoint is subscribed to: which types of events, and of which properties.
//!
//! In the tables both are one text: `*` for all, or names with commas between them. A name of a type may also be all that concern
//! one kind of thing: `reservation.*`.

use super::notice::is_notice;
use contract::event_type::{EVENT_TYPE_LEN_MAX, EventType};
use contract::{Scope, scope::InvalidScope};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How all of them is written.
const ALL: &str = "*";

/// What an endpoint gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    types: Vec<TypePattern>,
    properties: Scope,
}

/// What is asked of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFacts<'e> {
    /// Its type.
    pub event_type: &'e str,
    /// The endpoint that it is about, where it is about one.
    pub about: Option<&'e str>,
    /// Whose it is; none for what belongs to no property.
    pub property_id: Option<&'e str>,
}

/// Types of events: all, all that concern one kind of thing, or one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TypePattern {
    /// `*`
    All,
    /// `reservation.*`, kept with the dot at its end.
    Of(String),
    /// `reservation.created`
    Exactly(String),
}

/// A text is no pattern of types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it must be *, the name of a type, or the kind of thing that types concern and .*, such as reservation.*"
)]
pub struct InvalidPattern;

impl Subscription {
    /// Reads what the tables have of it.
    ///
    /// # Errors
    /// When the properties are no list of ids.
    pub fn read(types: &str, properties: &str) -> Result<Self, InvalidScope> {
        Ok(Self {
            types: types.split(',').map(TypePattern::read).collect(),
            properties: Scope::read_names(properties)?,
        })
    }

    /// Whether the endpoint of this id gets this event. What belongs to no property is for those with all of them. What is said of
    /// endpoints is for those that name such types, but not for the one that it is about; a ping is for that one alone.
    pub fn matches(&self, id: &str, event: EventFacts<'_>) -> bool {
        if let Some(about) = event.about {
            let is_ping = event.event_type == EventType::Ping.as_str();
            return (about == id) == is_ping && (is_ping || self.is_subscribed(event));
        }
        self.is_subscribed(event)
    }

    fn is_subscribed(&self, event: EventFacts<'_>) -> bool {
        self.types.iter().any(|pattern| pattern.matches(event.event_type))
            && self.properties.has_optional(event.property_id)
    }
}

impl FromStr for TypePattern {
    type Err = InvalidPattern;
    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let pattern = Self::read(text);
        let name = match &pattern {
            Self::All => return Ok(pattern),
            Self::Of(kind) => kind.trim_end_matches('.'),
            Self::Exactly(name) => name,
        };
        let is_word = |word: &str| {
            let mut bytes = word.bytes();
            bytes.next().is_some_and(|first| first.is_ascii_lowercase())
                && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let is_name = text.len() <= EVENT_TYPE_LEN_MAX && name.split('.').all(is_word);
        is_name.then_some(pattern).ok_or(InvalidPattern)
    }
}

impl TryFrom<String> for TypePattern {
    type Error = InvalidPattern;
    fn try_from(text: String) -> Result<Self, InvalidPattern> {
        text.parse()
    }
}

impl From<TypePattern> for String {
    fn from(pattern: TypePattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => out.write_str(ALL),
            Self::Of(kind) => write!(out, "{kind}*"),
            Self::Exactly(name) => out.write_str(name),
        }
    }
}

impl TypePattern {
    fn read(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some("") => Self::All,
            Some(kind) if kind.ends_with('.') => Self::Of(kind.to_owned()),
            _ => Self::Exactly(text.to_owned()),
        }
    }

    /// Whether a type is one of these.
    pub fn matches(&self, event_type: &str) -> bool {
        match self {
            Self::All => !is_notice(event_type),
            Self::Of(kind) => event_type.starts_with(kind),
            Self::Exactly(name) => event_type == name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gets(types: &str, properties: &str, event_type: &str, property_id: Option<&str>) -> bool {
        let subscription = Subscription::read(types, properties).unwrap();
        let event = EventFacts {
            event_type,
            about: None,
            property_id,
        };
        subscription.matches("ep_1", event)
    }

    #[test]
    fn a_type_is_named_whole_or_by_its_kind() {
        for (types, event_type, expected) in [
            ("*", "reservation.created", true),
            ("*", "webhook.failing", false),
            ("webhook.*", "webhook.failing", true),
            ("delivery.dead", "delivery.dead", true),
            ("reservation.*", "reservation.created", true),
            ("reservation.*", "reservation.checked_in", true),
            ("reservation.*", "reservations.created", false),
            ("reservation.*", "guest.created", false),
            ("reservation.created", "reservation.created", true),
            ("reservation.created", "reservation.created_late", false),
            ("guest.created,reservation.*", "guest.created", true),
            ("guest.created,reservation.*", "guest.updated", false),
            ("reservation*", "reservation.created", false),
            ("", "reservation.created", false),
        ] {
            assert_eq!(
                gets(types, "*", event_type, Some("LIS01")),
                expected,
                "{types}: {event_type}"
            );
        }
    }

    #[test]
    fn properties_are_all_or_those_that_are_named() {
        for (properties, property_id, expected) in [
            ("*", Some("LIS01"), true),
            ("*", None, true),
            ("LIS01", Some("LIS01"), true),
            ("LIS01,OPO02", Some("OPO02"), true),
            ("LIS01", Some("LIS012"), false),
            ("LIS01", None, false),
        ] {
            assert_eq!(
                gets("*", properties, "guest.created", property_id),
                expected,
                "{properties}: {property_id:?}"
            );
        }
        assert_eq!(Subscription::read("*", "LIS 01"), Err(InvalidScope));
    }
}
