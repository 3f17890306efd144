//! What the emitter writes into its audit log: one entry for each of these effects.

use std::borrow::Cow;

/// An effect that has an audit entry. Changes of guests and reservations have none: their events are their record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditAction {
    /// A property was made.
    PropertyCreated,
    /// A property was changed.
    PropertyUpdated,
    /// A property's day was closed.
    NightAudit,
    /// An endpoint accepted an event.
    Delivered,
    /// A delivery was given up.
    Dead,
    /// A delivery that was given up was made due again by hand.
    DeadRetried,
    /// Deliveries that were given up were deleted by hand; the outcome is their number.
    DeadDropped,
    /// A person made one delivery due at once; the outcome says what it was before.
    DeliveryRetried,
    /// A run made a delivery due that was delivered before, or was never queued.
    DeliveryReplayed,
    /// A person began a run over deliveries.
    RunStarted,
    /// A run came to its end.
    RunFinished,
    /// A run was ended before its end.
    RunCancelled,
    /// A person made an endpoint.
    EndpointCreated,
    /// A person changed an endpoint.
    EndpointChanged,
    /// A person paused an endpoint.
    EndpointPaused,
    /// A person let a paused endpoint go on.
    EndpointResumed,
    /// A person let a disabled endpoint go on.
    EndpointEnabled,
    /// A person deleted an endpoint.
    EndpointDeleted,
    /// Deliveries of a deleted endpoint were ended; the outcome is their number.
    DeliveriesCancelled,
    /// An endpoint got a secret.
    SecretRotated,
    /// A secret of an endpoint was ended.
    SecretEnded,
    /// An endpoint was disabled: nothing is sent to it until it is enabled again.
    EndpointDisabled,
    /// A type of events was registered.
    EventTypeCreated,
    /// A type of events was changed.
    EventTypeUpdated,
    /// A type of events was deleted.
    EventTypeDeleted,
}

/// The action as the audit log spells it.
impl From<AuditAction> for Cow<'static, str> {
    fn from(action: AuditAction) -> Self {
        Self::Borrowed(match action {
            AuditAction::PropertyCreated => "property_created",
            AuditAction::PropertyUpdated => "property_updated",
            AuditAction::NightAudit => "night_audit",
            AuditAction::Delivered => "delivered",
            AuditAction::Dead => "dead",
            AuditAction::DeadRetried => "dead_retried",
            AuditAction::DeadDropped => "dead_dropped",
            AuditAction::DeliveryRetried => "delivery_retried",
            AuditAction::DeliveryReplayed => "delivery_replayed",
            AuditAction::RunStarted => "run_started",
            AuditAction::RunFinished => "run_finished",
            AuditAction::RunCancelled => "run_cancelled",
            AuditAction::EndpointCreated => "endpoint_created",
            AuditAction::EndpointChanged => "endpoint_changed",
            AuditAction::EndpointPaused => "endpoint_paused",
            AuditAction::EndpointResumed => "endpoint_resumed",
            AuditAction::EndpointEnabled => "endpoint_enabled",
            AuditAction::EndpointDeleted => "endpoint_deleted",
            AuditAction::DeliveriesCancelled => "deliveries_cancelled",
            AuditAction::SecretRotated => "endpoint_secret_rotated",
            AuditAction::SecretEnded => "endpoint_secret_ended",
            AuditAction::EndpointDisabled => "endpoint_disabled",
            AuditAction::EventTypeCreated => "event_type_created",
            AuditAction::EventTypeUpdated => "event_type_updated",
            AuditAction::EventTypeDeleted => "event_type_deleted",
        })
    }
}
