//! The types of events that come with the program: ours, and packs of those that other systems publish. They are constants, each
//! with a schema and an example that satisfies it, in a file of JSON for each pack.

use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// A type that comes with the program.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShippedType {
    /// What it is called.
    #[serde(rename = "type")]
    pub name: String,
    /// What it is found by.
    pub category: String,
    /// What it means.
    pub description: String,
    /// What a payload must satisfy.
    pub schema: Value,
    /// A payload.
    pub example: Value,
    /// The packs that have it; none has one of ours.
    #[serde(skip)]
    pub packs: &'static [&'static str],
}

/// The packs, each with the types of its file.
const PACKS: [(&[&str], &str); 4] = [
    (&[], include_str!("shipped_types/guestwire.json")),
    (&["lokroom"], include_str!("shipped_types/lokroom.json")),
    (&["chatbot"], include_str!("shipped_types/chatbot.json")),
    (&["powalyze"], include_str!("shipped_types/powalyze.json")),
];
/// One type is in two packs.
const SHARED: (&str, &[&str]) = ("message.received", &["lokroom", "chatbot"]);

static ALL: LazyLock<Vec<ShippedType>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for (packs, file) in PACKS {
        let types: Vec<ShippedType> = serde_json::from_str(file).expect("a test reads every file");
        all.extend(types.into_iter().map(|one| ShippedType {
            packs: if one.name == SHARED.0 { SHARED.1 } else { packs },
            ..one
        }));
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
});

/// All of them, in the order of their names.
pub fn all() -> &'static [ShippedType] {
    &ALL
}

/// The one of this name.
pub fn find(name: &str) -> Option<&'static ShippedType> {
    let place = ALL.binary_search_by(|one| one.name.as_str().cmp(name)).ok()?;
    ALL.get(place)
}

impl ShippedType {
    /// Where it comes from.
    pub fn origin(&self) -> &'static str {
        if self.packs.is_empty() {
            "guestwire"
        } else {
            "pack"
        }
    }

    /// The type as the API shows it.
    pub fn to_json(&self) -> Value {
        json!({
            "type": self.name,
            "origin": self.origin(),
            "packs": self.packs,
            "category": self.category,
            "description": self.description,
            "schema": self.schema,
            "example": self.example,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::payload_schema::PayloadSchema;
    use crate::domain::type_definition::{TypeName, is_ours};
    use contract::EventType;
    use std::collections::BTreeSet;

    #[test]
    fn each_has_a_schema_that_its_example_satisfies() {
        for one in all() {
            let schema = PayloadSchema::compile(&one.schema, "")
                .unwrap_or_else(|error| panic!("{}: {error:?}", one.name));
            assert_eq!(schema.check(&one.example, ""), Ok(()), "{}", one.name);
            assert!(one.example.is_object(), "{}", one.name);
            assert!(
                one.name == "ping" || one.name.parse::<TypeName>().is_ok(),
                "{}",
                one.name
            );
            assert_eq!(is_ours(&one.name), one.packs.is_empty(), "{}", one.name);
            assert!(find(&one.name).is_some_and(|found| found.name == one.name));
        }
        let names: BTreeSet<_> = all().iter().map(|one| &one.name).collect();
        assert_eq!(names.len(), all().len(), "each once");
        assert!(find("booking.createe").is_none());
    }

    #[test]
    fn the_packs_have_their_types() {
        let names = |pack: &str| -> Vec<&str> {
            let of_pack = all().iter().filter(|one| one.packs.contains(&pack));
            of_pack.map(|one| one.name.as_str()).collect()
        };
        assert_eq!(
            names("lokroom"),
            [
                "booking.cancelled",
                "booking.completed",
                "booking.confirmed",
                "booking.created",
                "listing.created",
                "listing.deleted",
                "listing.updated",
                "message.received",
                "payment.failed",
                "payment.succeeded",
                "review.created"
            ]
        );
        assert_eq!(
            names("chatbot"),
            [
                "chatbot.created",
                "chatbot.updated",
                "conversation.closed",
                "conversation.created",
                "message.received",
                "message.sent"
            ]
        );
        assert_eq!(
            names("powalyze"),
            [
                "decision.approved",
                "decision.created",
                "decision.rejected",
                "project.created",
                "project.deleted",
                "project.status_changed",
                "project.updated",
                "report.generated",
                "resource.overallocated",
                "risk.created",
                "risk.escalated",
                "risk.resolved",
                "sprint.completed",
                "sprint.velocity_drop"
            ]
        );
    }

    #[test]
    fn every_type_of_ours_on_the_wire_is_among_them() {
        let ours = all().iter().filter(|one| one.packs.is_empty());
        let known = ours.filter(|one| one.name.parse::<EventType>().is_ok()).count();
        assert_eq!(known, 20);
        for name in [
            "webhook.failing",
            "webhook.disabled",
            "webhook.recovered",
            "webhook.secret_rotated",
            "webhook.failure_rate",
            "delivery.dead",
        ] {
            assert!(find(name).is_some(), "{name}");
        }
    }
}
