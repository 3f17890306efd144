//! What a client of the stream asked for, and may see.

use super::message::Message;
use crate::event::EventStatus;
use contract::Scope;

/// What a change must have to be sent. Absent: anything.
#[derive(Clone, Debug, Default)]
pub struct StreamFilter {
    /// Who sent the event.
    pub source: Option<String>,
    /// Its type.
    pub event_type: Option<String>,
    /// Its status since the change.
    pub status: Option<EventStatus>,
    /// The property.
    pub property_id: Option<String>,
    /// The kind of the entity that it is about.
    pub entity_kind: Option<String>,
    /// The entity.
    pub entity_id: Option<String>,
    /// What links it to a request.
    pub correlation_id: Option<String>,
    /// Of these properties.
    pub scope: Scope,
}

impl StreamFilter {
    pub(super) fn lets_through(&self, message: &Message) -> bool {
        let event = &message.event;
        let entity = event.entity.as_ref();
        let is = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| is == Some(wanted))
        };
        self.scope.has_optional(event.property_id.as_deref())
            && self.status.is_none_or(|status| status == message.status)
            && is(&self.source, Some(&event.source))
            && is(&self.event_type, Some(&event.event_type))
            && is(&self.property_id, event.property_id.as_deref())
            && is(&self.entity_kind, entity.map(|entity| entity.kind.as_str()))
            && is(&self.entity_id, entity.map(|entity| entity.id.as_str()))
            && is(&self.correlation_id, Some(&event.correlation_id))
    }
}
