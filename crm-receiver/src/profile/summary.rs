//! What lists show of a profile: its text without the members that only the whole profile has.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::fmt;

/// The members of a profile that only the whole shows, not the lists.
const NOT_IN_LISTS: [&str; 6] = [
    "names",
    "contact_points",
    "consent_history",
    "reservations",
    "timeline",
    "timeline_count",
];

/// The summary of a profile's JSON text, its members as they stand there.
pub fn summary(whole: &str) -> String {
    let Members(mut members) =
        serde_json::from_str(whole).expect("a profile's text is an object with plain names");
    members.retain(|(name, _)| !NOT_IN_LISTS.contains(name));
    serde_json::to_string(&Members(members)).expect("an object always serialises")
}

/// The members of an object in their order, unread.
struct Members<'m>(Vec<(&'m str, &'m RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}
