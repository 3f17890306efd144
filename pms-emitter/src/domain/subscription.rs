//! What an endpoint is subscribed to: which types of events, and of which properties.
//!
//! In the tables both are one text: `*` for all, or names with commas between them. A name of a type may also be all that concern
//! one kind of thing: `reservation.*`.

use contract::{Scope, scope::InvalidScope};

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
    /// Whose it is; none for what belongs to no property.
    pub property_id: Option<&'e str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TypePattern {
    All,
    /// With the dot at its end.
    Of(String),
    Exactly(String),
}

impl Subscription {
    /// Reads what the tables have of it.
    ///
    /// # Errors
    /// When the properties are no list of ids.
    pub fn read(types: &str, properties: &str) -> Result<Self, InvalidScope> {
        let properties = match properties {
            ALL => Scope::All,
            list => Scope::of(list.split(','))?,
        };
        Ok(Self {
            types: types.split(',').map(TypePattern::read).collect(),
            properties,
        })
    }

    /// Whether the endpoint gets this event. What belongs to no property is for those with all of them.
    pub fn matches(&self, event: EventFacts<'_>) -> bool {
        self.types.iter().any(|pattern| pattern.matches(event.event_type))
            && self.properties.has_optional(event.property_id)
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

    fn matches(&self, event_type: &str) -> bool {
        match self {
            Self::All => true,
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
        subscription.matches(EventFacts {
            event_type,
            property_id,
        })
    }

    #[test]
    fn a_type_is_named_whole_or_by_its_kind() {
        for (types, event_type, expected) in [
            ("*", "reservation.created", true),
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
