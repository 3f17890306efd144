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
    /// An endpoint was disabled: nothing is sent to it until it is enabled again.
    EndpointDisabled,
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
            AuditAction::EndpointDisabled => "endpoint_disabled",
        })
    }
}
