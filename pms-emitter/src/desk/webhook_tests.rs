//! An example event that is sent to an endpoint now, to see whether it arrives. It stands in no table and in no feed.

use super::{Desk, DeskError};
use crate::domain::{
    endpoint::EndpointSettings,
    origin::Origin,
    refusal::Refusal,
    shipped_types,
    subscription::TypePattern,
    test_event::{TestEvent, TestOutcome},
    type_definition::TypeName,
};
use contract::event_type::{EventType, SCHEMA_VERSION};
use contract::id::EndpointId;
use contract::{Envelope, EventId};
use db::DbError;
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Sends an event at once, as a delivery of its endpoint is sent.
pub type SendTest = Arc<dyn Fn(TestEvent) -> BoxFuture<'static, Result<TestOutcome, DbError>> + Send + Sync>;

impl Desk {
    /// Sends an example of a type to an endpoint, by default of the first type that it names.
    ///
    /// # Errors
    /// `Invalid` for a type that is not in the catalogue; `NotFound`; those of the database.
    pub async fn test_endpoint(
        &self,
        origin: &Origin,
        id: &EndpointId,
        event_type: Option<String>,
    ) -> Result<TestOutcome, DeskError> {
        let endpoint = self.endpoint(&origin.scope, id).await?;
        let settings = endpoint.settings.as_ref();
        let name = event_type.unwrap_or_else(|| first_type(settings));
        let payload = self.example_of(&name).await?;
        let now = self.clock.now();
        let event: EventId = self.new_id();
        let property = settings.and_then(|settings| settings.property_ids.names().next());
        let envelope = Envelope {
            test: true,
            event_type: name,
            idempotency_key: event.clone().into(),
            timestamp: now,
            schema_version: SCHEMA_VERSION,
            property_id: property.and_then(|code| code.parse().ok()),
            entity: None,
            correlation_id: Some(origin.correlation_id.to_string()),
            changed: Vec::new(),
            payload,
        };
        let test = TestEvent {
            endpoint: id.clone(),
            id: event,
            body: envelope.to_bytes(),
        };
        Ok((self.send_test)(test).await?)
    }

    /// The example of a type in the catalogue; of one without an example, nothing.
    async fn example_of(&self, name: &str) -> Result<Map<String, Value>, DeskError> {
        let example = match shipped_types::find(name) {
            Some(shipped) => Some(shipped.example.clone()),
            None => {
                let unknown = || {
                    Refusal::field(
                        "/event",
                        "unknown_type",
                        "it is not in the catalogue of event types",
                    )
                };
                let name: TypeName = name.parse().map_err(|_| unknown())?;
                self.store.event_type(&name).await?.ok_or_else(unknown)?.example
            }
        };
        Ok(example
            .and_then(|example| example.as_object().cloned())
            .unwrap_or_default())
    }

    /// Refuses a type that nobody can publish: a misspelt name would never match.
    pub(super) async fn check_types(
        &self,
        settings: &EndpointSettings,
        before: Option<&EndpointSettings>,
    ) -> Result<(), DeskError> {
        for (index, pattern) in settings.events.iter().enumerate() {
            let is_old = before.is_some_and(|before| before.events.contains(pattern));
            let TypePattern::Exactly(name) = pattern else {
                continue;
            };
            if is_old || shipped_types::find(name).is_some() {
                continue;
            }
            let unknown = || {
                let pointer = format!("/events/{index}");
                Refusal::field(
                    pointer,
                    "unknown_type",
                    "it is not in the catalogue of event types",
                )
            };
            let name: TypeName = name.parse().map_err(|_| unknown())?;
            self.store.event_type(&name).await?.ok_or_else(unknown)?;
        }
        Ok(())
    }
}

/// The first type that an endpoint names; a ping where it names none whole.
fn first_type(settings: Option<&EndpointSettings>) -> String {
    let patterns = settings
        .map(|settings| settings.events.as_slice())
        .unwrap_or_default();
    let first = patterns.iter().find_map(|pattern| match pattern {
        TypePattern::Exactly(name) => Some(name.clone()),
        TypePattern::All | TypePattern::Of(_) => None,
    });
    first.unwrap_or_else(|| EventType::Ping.as_str().to_owned())
}
