//! What the desk does with a property: show, make, change. Properties make no events; their record is the audit log.

use super::{
    AnswerToKeep, Desk, DeskError, ExpectedVersion,
    decide_again::{Decision, decide_again},
};
use crate::domain::{origin::Origin, property::Property, refusal::Refusal};
use crate::store::{PropertyWritten, Store};
use contract::PropertyId;
use kit::idempotency::Answer;
use serde_json::{Map, Value};

impl Desk {
    /// A property.
    ///
    /// # Errors
    /// `NotFound`; those of the database.
    pub async fn property(&self, id: &PropertyId) -> Result<Property, DeskError> {
        find(&self.store.for_reads(), id).await
    }

    /// Makes a property.
    ///
    /// # Errors
    /// What the rules refuse; those of the database.
    pub async fn create_property(
        &self,
        origin: &Origin,
        request: Map<String, Value>,
        answer: AnswerToKeep<Property>,
    ) -> Result<Answer, DeskError> {
        let property = Property::create(request, self.clock.now())?;
        let made = answer.of(&property);
        let written = self
            .store
            .create_property(property, origin, made.clone(), answer.slot)
            .await?;
        match written {
            PropertyWritten::Committed => Ok(made),
            PropertyWritten::Taken | PropertyWritten::Overtaken => Err(Refusal::NotUnique {
                pointer: "/id".to_owned(),
            }
            .into()),
        }
    }

    /// Merges a patch (RFC 7396) into a property.
    ///
    /// # Errors
    /// What the rules refuse; `UnexpectedVersion`; `Overtaken`; those of the database.
    pub async fn change_property(
        &self,
        origin: &Origin,
        id: &PropertyId,
        patch: &Map<String, Value>,
        expected: &ExpectedVersion,
    ) -> Result<Property, DeskError> {
        decide_again(|| async {
            let before = find(&self.store, id).await?;
            expected.check(before.version)?;
            let Some(after) = before.merge(patch.clone(), self.clock.now())? else {
                return Ok(Decision::Stands(before));
            };
            let written = self.store.change_property(&before, after.clone(), origin).await?;
            Ok(match written {
                PropertyWritten::Committed => Decision::Stands(after),
                PropertyWritten::Overtaken | PropertyWritten::Taken => Decision::Overtaken,
            })
        })
        .await
    }
}

async fn find(store: &Store, id: &PropertyId) -> Result<Property, DeskError> {
    Ok(store.property(id).await?.ok_or(Refusal::NotFound)?)
}
