//! What a person does about deliveries: looks at how a webhook stands, and makes one delivery due again.

use super::{Desk, DeskError, webhooks};
use crate::domain::{audit_action::AuditAction, origin::Origin, refusal::Refusal};
use crate::store::{DeliveryAttempt, DeliveryRow, EndpointDetails, MadeDue, Queued};
use contract::{
    Scope,
    id::{EndpointId, IdempotencyKey},
};
use std::sync::Arc;
use tokio::sync::Notify;

/// Wakes those that work on what a request has made due. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Wakeups {
    /// The dispatchers of endpoints.
    pub queued: Queued,
    /// The worker that carries out runs.
    pub runs: Arc<Notify>,
}

impl Desk {
    /// Refuses what belongs to an endpoint that a scope does not see; one that was deleted is seen as before.
    ///
    /// # Errors
    /// `NotFound`; those of the database.
    pub async fn check_sees(&self, scope: &Scope, endpoint: &EndpointId) -> Result<(), DeskError> {
        let of_endpoint = self.store.scope_of_endpoint(endpoint).await?;
        let is_seen = of_endpoint.is_some_and(|of_endpoint| scope.covers(&of_endpoint));
        Ok(is_seen.then_some(()).ok_or(Refusal::NotFound)?)
    }

    /// A delivery and its attempts.
    ///
    /// # Errors
    /// `NotFound`; those of the database.
    pub async fn delivery(
        &self,
        scope: &Scope,
        endpoint: &EndpointId,
        event: &IdempotencyKey,
    ) -> Result<(DeliveryRow, Vec<DeliveryAttempt>), DeskError> {
        self.check_sees(scope, endpoint).await?;
        let found = self.store.delivery(endpoint, event).await?;
        Ok(found.ok_or(Refusal::NotFound)?)
    }

    /// Makes a delivery due now, with the whole schedule before it, and answers how it stands then.
    ///
    /// # Errors
    /// `NotFound`, `WebhookDeleted`, `BodyGone`; those of the database.
    pub async fn retry_delivery(
        &self,
        origin: &Origin,
        endpoint: &EndpointId,
        event: &IdempotencyKey,
    ) -> Result<(DeliveryRow, Vec<DeliveryAttempt>), DeskError> {
        self.check_sees(&origin.scope, endpoint).await?;
        let entry = webhooks::entry(origin, AuditAction::DeliveryRetried, endpoint, self.clock.now());
        match self.store.make_due(endpoint, event, entry).await? {
            MadeDue::Done => self.wakeups.queued.wake(endpoint),
            MadeDue::NoDelivery => return Err(Refusal::NotFound.into()),
            MadeDue::EndpointDeleted => return Err(Refusal::WebhookDeleted.into()),
            MadeDue::NoBody => return Err(Refusal::BodyGone.into()),
        }
        self.delivery(&origin.scope, endpoint, event).await
    }

    /// How an endpoint stands.
    ///
    /// # Errors
    /// `NotFound`; those of the database.
    pub async fn endpoint_details(
        &self,
        scope: &Scope,
        endpoint: &EndpointId,
    ) -> Result<EndpointDetails, DeskError> {
        self.check_sees(scope, endpoint).await?;
        let found = self.store.endpoint_details(endpoint, self.clock.now()).await?;
        Ok(found.ok_or(Refusal::NotFound)?)
    }
}
