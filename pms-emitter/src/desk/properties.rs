//! What the desk does with a property: show, make, change. Properties make no events; their record is the audit log.

use super::{
    AnswerToKeep, Desk, DeskError, ExpectedVersion,
    decide_again::{Decision, decide_again},
};
use crate::domain::{origin::Origin, property::Property, refusal::Refusal};
use crate::store::{PropertyWrite, PropertyWritten, Store};
use contract::{PropertyId, Scope};
use kit::idempotency::Answer;
use serde_json::{Map, Value};

impl Desk {
    /// A property.
    ///
    /// # Errors
    /// `NotFound`; those of the database.
    pub async fn property(&self, scope: &Scope, id: &PropertyId) -> Result<Property, DeskError> {
        find(&self.store.for_reads(), scope, id).await
    }

    /// A property that is to get something, if it is there and in a scope.
    pub(super) async fn property_in(
        &self,
        scope: &Scope,
        id: &PropertyId,
    ) -> Result<Option<Property>, DeskError> {
        let found = self.store.property(id).await?;
        Ok(found.filter(|property| scope.has(property.id.as_str())))
    }

    /// Makes a property.
    ///
    /// # Errors
    /// What the rules refuse; `NotFound` for an id that is not in the scope; those of the database.
    pub async fn create_property(
        &self,
        origin: &Origin,
        request: Map<String, Value>,
        answer: &AnswerToKeep<Property>,
    ) -> Result<Answer, DeskError> {
        let property = Property::create(request, self.clock.now())?;
        if !origin.scope.has(property.id.as_str()) {
            return Err(Refusal::NotFound.into());
        }
        let written = self.write_property(origin, None, property, answer);
        written.await?.or_overtaken()
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
        answer: &AnswerToKeep<Property>,
    ) -> Result<Answer, DeskError> {
        decide_again(|| async {
            let before = find(&self.store, &origin.scope, id).await?;
            expected.check(before.version)?;
            match before.merge(patch.clone(), self.clock.now())? {
                Some(after) => self.write_property(origin, Some(before), after, answer).await,
                None => Ok(Decision::Stands(answer.of(&before))),
            }
        })
        .await
    }

    async fn write_property(
        &self,
        origin: &Origin,
        before: Option<Property>,
        property: Property,
        answer: &AnswerToKeep<Property>,
    ) -> Result<Decision<Answer>, DeskError> {
        let made = answer.of(&property);
        let write = PropertyWrite {
            before,
            property,
            origin: origin.clone(),
            slot: answer.slot.clone(),
            answer: made.clone(),
        };
        match self.store.write_property(write).await? {
            PropertyWritten::Committed => Ok(Decision::Stands(made)),
            PropertyWritten::Overtaken => Ok(Decision::Overtaken),
            PropertyWritten::Taken => Err(Refusal::NotUnique {
                pointer: "/id".to_owned(),
            }
            .into()),
        }
    }
}

async fn find(store: &Store, scope: &Scope, id: &PropertyId) -> Result<Property, DeskError> {
    let found = store.property(id).await?;
    let seen = found.filter(|property| scope.has(property.id.as_str()));
    Ok(seen.ok_or(Refusal::NotFound)?)
}
