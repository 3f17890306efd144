//! The night audit: the desk closes a property's day.

use super::{AnswerToKeep, Desk, DeskError};
use crate::domain::{origin::Origin, refusal::Refusal};
use crate::store::{NightAudit, NightAuditRequest};
use contract::PropertyId;
use kit::idempotency::Answer;

impl Desk {
    /// Moves a property's business date on by one day, and says what is overdue by then.
    ///
    /// # Errors
    /// `NotFound`; those of the database.
    pub async fn audit_night(
        &self,
        origin: Origin,
        property_id: PropertyId,
        answer: AnswerToKeep<NightAudit>,
    ) -> Result<Answer, DeskError> {
        if !origin.scope.has(property_id.as_str()) {
            return Err(Refusal::NotFound.into());
        }
        let request = NightAuditRequest {
            property_id,
            now: self.clock.now(),
            origin,
            slot: answer.slot,
            answer: answer.make,
        };
        let audited = self.store.night_audit(request).await?;
        Ok(audited.ok_or(Refusal::NotFound)?)
    }
}
