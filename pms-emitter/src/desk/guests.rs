//! What the desk does with a guest: show, make, change, delete.

use super::{
    AnswerToKeep, Desk, DeskError, ExpectedVersion,
    decide_again::{Decision, decide_again},
};
use crate::domain::{
    change::{Change, ChangeOutcome},
    guest::{Guest, GuestStatus},
    guest_command::{self, Applied, Situation, no_property},
    origin::Origin,
    property::Property,
    refusal::Refusal,
};
use crate::store::{GuestWrite, GuestWritten, Store};
use contract::{FieldError, GuestId, PropertyId, Scope, UnixMillis};
use kit::idempotency::Answer;
use serde_json::{Map, Value};

/// A guest after a write, with warnings about what was not taken as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestWithWarnings {
    /// The guest.
    pub guest: Guest,
    /// They are shown once, and kept nowhere.
    pub warnings: Vec<FieldError>,
}

impl Desk {
    /// An active guest.
    ///
    /// # Errors
    /// `NotFound`, also for one that is merged, deleted or erased; those of the database.
    pub async fn guest(&self, scope: &Scope, id: &GuestId) -> Result<Guest, DeskError> {
        let (guest, _) = find(&self.store.for_reads(), scope, id).await?;
        Ok(guest)
    }

    /// Makes a guest of a property from a request without `property_id`.
    ///
    /// # Errors
    /// What the rules refuse; those of the database.
    pub async fn create_guest(
        &self,
        origin: &Origin,
        property: &PropertyId,
        request: Map<String, Value>,
        answer: &AnswerToKeep<GuestWithWarnings>,
    ) -> Result<Answer, DeskError> {
        let property = self
            .property_in(&origin.scope, property)
            .await?
            .ok_or_else(no_property)?;
        let now = self.clock.now();
        let Applied { outcome, warnings } =
            guest_command::create(self.new_id(), request, self.situation(&property, now))?;
        let written = self.write_guest(origin, None, outcome, warnings, answer);
        written.await?.or_overtaken()
    }

    /// Merges a patch (RFC 7396) into a guest.
    ///
    /// # Errors
    /// What the rules refuse; `UnexpectedVersion`; `Overtaken`; those of the database.
    pub async fn change_guest(
        &self,
        origin: &Origin,
        id: &GuestId,
        patch: &Map<String, Value>,
        expected: &ExpectedVersion,
        answer: &AnswerToKeep<GuestWithWarnings>,
    ) -> Result<Answer, DeskError> {
        decide_again(|| async {
            let (guest, property) = find(&self.store, &origin.scope, id).await?;
            expected.check(guest.version)?;
            let situation = self.situation(&property, self.clock.now());
            let Applied { outcome, warnings } = guest_command::merge(&guest, patch.clone(), situation)?;
            match outcome {
                ChangeOutcome::Changed(change) => {
                    self.write_guest(origin, Some(guest), change, warnings, answer)
                        .await
                }
                ChangeOutcome::Unchanged => Ok(Decision::Stands(
                    answer.of(&GuestWithWarnings { guest, warnings }),
                )),
            }
        })
        .await
    }

    /// Deletes a guest who has no stay now or ahead.
    ///
    /// # Errors
    /// `NotFound`, `GuestInUse`; `UnexpectedVersion`; `Overtaken`; those of the database.
    pub async fn delete_guest(
        &self,
        origin: &Origin,
        id: &GuestId,
        expected: &ExpectedVersion,
    ) -> Result<(), DeskError> {
        decide_again(|| async {
            let (before, _) = find(&self.store, &origin.scope, id).await?;
            expected.check(before.version)?;
            let now = self.clock.now();
            let change = guest_command::delete(&before, now)?;
            let event = self.new_event(origin, &change, now);
            let written = self.store.delete_guest(before, change, event).await?;
            decision(&written, ())
        })
        .await
    }

    async fn write_guest(
        &self,
        origin: &Origin,
        before: Option<Guest>,
        mut change: Change<Guest>,
        warnings: Vec<FieldError>,
        answer: &AnswerToKeep<GuestWithWarnings>,
    ) -> Result<Decision<Answer>, DeskError> {
        // The guest is moved there and back: a copy would live as long as the write.
        let shown = GuestWithWarnings {
            guest: change.state,
            warnings,
        };
        let made = answer.of(&shown);
        change.state = shown.guest;
        let write = GuestWrite {
            before,
            event: self.new_event(origin, &change, change.state.updated_at),
            change,
            slot: answer.slot.clone(),
            answer: made.clone(),
        };
        decision(&self.store.write_guest(write).await?, made)
    }

    fn situation<'a>(&'a self, property: &'a Property, now: UnixMillis) -> Situation<'a> {
        Situation {
            property,
            now,
            digest_key: &self.digest_key,
        }
    }
}

/// An active guest of a scope and its property; a merged, deleted or erased one is not found.
async fn find(store: &Store, scope: &Scope, id: &GuestId) -> Result<(Guest, Property), DeskError> {
    let found = store.guest(id).await?;
    let seen = found.filter(|(_, property)| scope.has(property.id.as_str()));
    let active = seen.filter(|(guest, _)| guest.status == GuestStatus::Active);
    Ok(active.ok_or(Refusal::NotFound)?)
}

fn decision<T>(written: &GuestWritten, done: T) -> Result<Decision<T>, DeskError> {
    match written {
        GuestWritten::Committed => Ok(Decision::Stands(done)),
        GuestWritten::Overtaken => Ok(Decision::Overtaken),
        GuestWritten::Taken { index } => Err(Refusal::NotUnique {
            pointer: format!("/external_ids/{index}"),
        }
        .into()),
        GuestWritten::InUse => Err(Refusal::GuestInUse.into()),
    }
}
