//! Events about endpoints themselves: that one is failing, was stopped, goes on, has another secret; that a delivery was given up;
//! and the pings that one asked for.
//!
//! Only endpoints that name such types get them, `*` does not mean them; never the endpoint that one is about, and none is about a
//! delivery of one. A ping goes to its endpoint alone.

use contract::event_type::{EventType, SCHEMA_VERSION};
use contract::{EntityKind, EntityRef, Envelope, EventId, Scope, UnixMillis, id::EndpointId};
use serde_json::{Map, Value};

/// The kind of thing that these are about.
pub const WEBHOOK: &str = "webhook";

/// What is said of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It has failed for so many percent of the time after which it is stopped.
    Failing(u32),
    /// Nothing is sent to it any more, for this reason.
    Disabled(&'static str),
    /// It was failing, and accepts deliveries again.
    Recovered,
    /// More than a tenth of the attempts of the last quarter of an hour failed.
    FailureRate,
    /// It has another secret.
    SecretRotated,
    /// A delivery was given up.
    Dead {
        /// Of which event.
        event: String,
        /// Its type.
        event_type: String,
        /// Why.
        reason: String,
    },
    /// The way is open.
    Ping,
}

/// The endpoint that a notice is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// Its id.
    pub id: EndpointId,
    /// What it gets events of.
    pub scope: Scope,
    /// The number of this notice among those about it, from 1.
    pub number: u64,
}

impl Notice {
    /// Its type as it stands on the wire.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Failing(_) => "webhook.failing",
            Self::Disabled(_) => "webhook.disabled",
            Self::Recovered => "webhook.recovered",
            Self::FailureRate => "webhook.failure_rate",
            Self::SecretRotated => "webhook.secret_rotated",
            Self::Dead { .. } => "delivery.dead",
            Self::Ping => EventType::Ping.as_str(),
        }
    }

    /// The event that says it. It belongs to the property of an endpoint that has one, and else to none.
    pub fn envelope(&self, id: &EventId, about: &Noticed, now: UnixMillis) -> Envelope {
        let property = about.scope.only().and_then(|code| code.parse().ok());
        let entity = EntityRef {
            kind: EntityKind::Other(WEBHOOK.to_owned()),
            id: about
                .id
                .as_str()
                .parse()
                .expect("an endpoint's id is one of an entity"),
            version: about.number,
        };
        Envelope {
            test: false,
            event_type: self.event_type().to_owned(),
            idempotency_key: id.clone().into(),
            timestamp: now,
            schema_version: SCHEMA_VERSION,
            property_id: property,
            entity: Some(entity),
            correlation_id: None,
            changed: Vec::new(),
            payload: self.payload(&about.id),
        }
    }

    fn payload(&self, endpoint: &EndpointId) -> Map<String, Value> {
        let mut payload = Map::new();
        let mut insert = |name: &str, value: Value| payload.insert(name.to_owned(), value);
        insert("endpoint_id", endpoint.as_str().into());
        match self {
            Self::Failing(percent) => {
                insert("percent", (*percent).into());
            }
            Self::Disabled(reason) => {
                insert("reason", (*reason).into());
            }
            Self::Dead {
                event,
                event_type,
                reason,
            } => {
                insert("event_id", event.as_str().into());
                insert("type", event_type.as_str().into());
                insert("reason", reason.as_str().into());
            }
            Self::Recovered | Self::FailureRate | Self::SecretRotated | Self::Ping => {}
        }
        payload
    }
}

/// Whether a type is one of these; a ping is not.
pub fn is_notice(event_type: &str) -> bool {
    event_type.starts_with("webhook.") || event_type.starts_with("delivery.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::shipped_types;

    #[test]
    fn every_notice_is_a_type_of_the_catalogue_with_the_payload_that_its_schema_asks_for() {
        let about = Noticed {
            id: "ep_1".parse().unwrap(),
            scope: Scope::of(["LIS01"]).unwrap(),
            number: 3,
        };
        let dead = Notice::Dead {
            event: "evt_1".to_owned(),
            event_type: "guest.created".to_owned(),
            reason: "no attempt is left".to_owned(),
        };
        for notice in [
            Notice::Failing(50),
            Notice::Disabled("gone"),
            Notice::Recovered,
            Notice::FailureRate,
            Notice::SecretRotated,
            dead,
            Notice::Ping,
        ] {
            let shipped = shipped_types::find(notice.event_type()).expect("it is in the catalogue");
            let schema = super::super::payload_schema::PayloadSchema::compile(&shipped.schema, "").unwrap();
            let envelope = notice.envelope(&"evt_2".parse().unwrap(), &about, UnixMillis(1));
            assert_eq!(schema.check(&envelope.payload.clone().into(), ""), Ok(()));
            assert_eq!(
                envelope.property_id.as_ref().map(ToString::to_string).as_deref(),
                Some("LIS01")
            );
            assert_eq!(is_notice(notice.event_type()), notice != Notice::Ping);
        }
    }
}
