//! What the desk does with the registered types of events: show, make, change and delete one.

use super::{
    AnswerToKeep, Desk, DeskError, ExpectedVersion,
    decide_again::{Decision, decide_again},
};
use crate::domain::{
    origin::Origin,
    refusal::Refusal,
    shipped_types,
    type_definition::{TypeDefinition, TypeName},
};
use crate::store::{TypeWrite, TypeWritten};
use kit::idempotency::{Answer, Slot};
use serde_json::{Map, Value};

impl Desk {
    /// A registered type.
    ///
    /// # Errors
    /// `NotFound`; those of the database.
    pub async fn event_type(&self, name: &TypeName) -> Result<TypeDefinition, DeskError> {
        Ok(self.store.event_type(name).await?.ok_or(Refusal::NotFound)?)
    }

    /// Registers a type.
    ///
    /// # Errors
    /// What the rules refuse; those of the database.
    pub async fn create_event_type(
        &self,
        origin: &Origin,
        request: Map<String, Value>,
        answer: &AnswerToKeep<TypeDefinition>,
    ) -> Result<Answer, DeskError> {
        let made = TypeDefinition::create(request, self.revision(), self.clock.now())?;
        let (kept, slot) = (answer.of(&made), answer.slot.clone());
        let written = self.write_event_type(origin, None, Some(made), slot, kept);
        written.await?.or_overtaken()
    }

    /// Changes a type: members of the patch replace its own.
    ///
    /// # Errors
    /// What the rules refuse; `UnexpectedVersion`; `Overtaken`; those of the database.
    pub async fn change_event_type(
        &self,
        origin: &Origin,
        name: &TypeName,
        patch: &Map<String, Value>,
        expected: &ExpectedVersion,
        answer: &AnswerToKeep<TypeDefinition>,
    ) -> Result<Answer, DeskError> {
        decide_again(|| async {
            let before = self.changeable(name).await?;
            expected.check(before.version)?;
            let Some(after) = before.merge(patch.clone(), self.revision(), self.clock.now())? else {
                return Ok(Decision::Stands(answer.of(&before)));
            };
            let (made, slot) = (answer.of(&after), answer.slot.clone());
            self.write_event_type(origin, Some(before), Some(after), slot, made)
                .await
        })
        .await
    }

    /// Deletes a type. Events of it that were published stay what they are; no more are taken.
    ///
    /// # Errors
    /// `NotFound`; `ShippedType`; `UnexpectedVersion`; `Overtaken`; those of the database.
    pub async fn delete_event_type(
        &self,
        origin: &Origin,
        name: &TypeName,
        expected: &ExpectedVersion,
    ) -> Result<(), DeskError> {
        let deleted = decide_again(|| async {
            let before = self.changeable(name).await?;
            expected.check(before.version)?;
            let (slot, answer) = (Slot::without_key(), Answer::no_content());
            self.write_event_type(origin, Some(before), None, slot, answer)
                .await
        });
        deleted.await.map(drop)
    }

    async fn changeable(&self, name: &TypeName) -> Result<TypeDefinition, DeskError> {
        if shipped_types::find(name.as_str()).is_some() {
            return Err(Refusal::ShippedType.into());
        }
        self.event_type(name).await
    }

    fn revision(&self) -> String {
        self.ids.new_id("rev")
    }

    async fn write_event_type(
        &self,
        origin: &Origin,
        before: Option<TypeDefinition>,
        after: Option<TypeDefinition>,
        slot: Slot,
        answer: Answer,
    ) -> Result<Decision<Answer>, DeskError> {
        let name = after.as_ref().or(before.as_ref()).map(|one| one.name.to_string());
        let write = TypeWrite {
            before,
            after,
            at: self.clock.now(),
            origin: origin.clone(),
            slot,
            answer: answer.clone(),
        };
        let written = self.store.write_event_type(write).await?;
        if let Some(name) = name {
            self.catalogue.forget(&name);
        }
        match written {
            TypeWritten::Committed => Ok(Decision::Stands(answer)),
            TypeWritten::Overtaken => Ok(Decision::Overtaken),
            TypeWritten::TooMany => Err(Refusal::TooManyTypes.into()),
            TypeWritten::Taken => Err(Refusal::NotUnique {
                pointer: "/type".to_owned(),
            }
            .into()),
        }
    }
}
