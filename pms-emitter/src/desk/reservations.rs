//! What the desk does with a reservation: show it, book it, and change it with every command (check-in, cancel, assign a
//! room, merge, delete, ...).

use super::{
    AnswerToKeep, Desk, DeskError, ExpectedVersion,
    decide_again::{Decision, decide_again},
};
use crate::domain::{
    change::{Change, ChangeOutcome},
    event::add_property_day,
    guest_command::no_property,
    origin::Origin,
    property::Property,
    refusal::Refusal,
    reservation::Reservation,
    reservation_command::{self, Command},
    stay::ComputedStatus,
};
use crate::store::{ReservationWrite, ReservationWritten, Store};
use contract::{PropertyId, ReservationId, Scope};
use jiff::civil::Date;
use kit::idempotency::Answer;
use serde_json::{Map, Value};

/// A reservation and its property's business date, which its computed status follows from.
#[derive(Clone, Debug, PartialEq)]
pub struct DatedReservation {
    /// The reservation.
    pub reservation: Reservation,
    /// The property's day.
    pub business_date: Date,
}

impl DatedReservation {
    /// The reservation as the API shows it on that day.
    pub fn view(&self) -> Map<String, Value> {
        self.reservation.view(self.business_date)
    }

    /// Its computed status, where that is not the stored one.
    pub fn computed_status_beside(&self) -> Option<&'static str> {
        match self.reservation.computed_status(self.business_date) {
            ComputedStatus::Stored(_) => None,
            computed => Some(computed.as_str()),
        }
    }
}

impl Desk {
    /// A reservation that is not deleted.
    ///
    /// # Errors
    /// `NotFound`; those of the database.
    pub async fn reservation(&self, scope: &Scope, id: ReservationId) -> Result<DatedReservation, DeskError> {
        let (reservation, property) = find(&self.store.for_reads(), scope, id).await?;
        Ok(DatedReservation {
            reservation,
            business_date: property.business_date,
        })
    }

    /// Books a reservation of a property.
    ///
    /// # Errors
    /// What the rules refuse; `Overtaken`; those of the database.
    pub async fn book(
        &self,
        origin: &Origin,
        property_id: &PropertyId,
        request: &Map<String, Value>,
        answer: &AnswerToKeep<DatedReservation>,
    ) -> Result<Answer, DeskError> {
        let names_number = request
            .get("confirmation_number")
            .is_some_and(|number| !number.is_null());
        decide_again(|| async {
            let property = self
                .property_in(&origin.scope, property_id)
                .await?
                .ok_or_else(no_property)?;
            let now = self.clock.now();
            let change = reservation_command::create(self.new_id(), request.clone(), &property, now)?;
            match self
                .write_reservation(origin, None, change, property, answer)
                .await?
            {
                // It was a number of our own making: the next id makes another one.
                (ReservationWritten::NotUnique { pointer }, _)
                    if pointer == "/confirmation_number" && !names_number =>
                {
                    Ok(Decision::Overtaken)
                }
                (written, made) => decision(written, made),
            }
        })
        .await
    }

    /// Applies a command to a reservation. When it changes nothing, only the answer is kept.
    ///
    /// # Errors
    /// What the rules refuse; `UnexpectedVersion`; `Overtaken`; those of the database.
    pub async fn change_reservation(
        &self,
        origin: &Origin,
        id: &ReservationId,
        command: &Command,
        expected: &ExpectedVersion,
        answer: &AnswerToKeep<DatedReservation>,
    ) -> Result<Answer, DeskError> {
        decide_again(|| async {
            let (before, property) = find(&self.store, &origin.scope, id.clone()).await?;
            expected.check(before.version)?;
            let now = self.clock.now();
            match reservation_command::apply(&before, command, &property, now)? {
                ChangeOutcome::Changed(change) => {
                    let write = self.write_reservation(origin, Some(before), change, property, answer);
                    let (written, made) = write.await?;
                    decision(written, made)
                }
                ChangeOutcome::Unchanged => {
                    let (made, _) = make(before, &property, answer);
                    let slot = answer.slot.clone();
                    self.store.keep_answer(slot, made.clone()).await?;
                    Ok(Decision::Stands(made))
                }
            }
        })
        .await
    }

    async fn write_reservation(
        &self,
        origin: &Origin,
        before: Option<Reservation>,
        mut change: Change<Reservation>,
        property: Property,
        answer: &AnswerToKeep<DatedReservation>,
    ) -> Result<(ReservationWritten, Answer), DeskError> {
        let made;
        (made, change.state) = make(change.state, &property, answer);
        let mut event = self.new_event(origin, &change, change.state.updated_at);
        add_property_day(&mut event.envelope, &property);
        let write = ReservationWrite {
            before,
            change,
            property,
            event,
            slot: answer.slot.clone(),
            answer: made.clone(),
        };
        Ok((self.store.write_reservation(write).await?, made))
    }
}

/// A reservation of a scope and its property.
async fn find(store: &Store, scope: &Scope, id: ReservationId) -> Result<(Reservation, Property), DeskError> {
    let found = store.reservation(id).await?;
    let seen = found.filter(|(_, property)| scope.has(property.id.as_str()));
    Ok(seen.ok_or(Refusal::NotFound)?)
}

/// The answer, and the state as it came: it is moved there and back, since a copy would live as long as the write.
fn make(
    state: Reservation,
    property: &Property,
    answer: &AnswerToKeep<DatedReservation>,
) -> (Answer, Reservation) {
    let dated = DatedReservation {
        reservation: state,
        business_date: property.business_date,
    };
    (answer.of(&dated), dated.reservation)
}

fn decision<T>(written: ReservationWritten, done: T) -> Result<Decision<T>, DeskError> {
    match written {
        ReservationWritten::Committed => Ok(Decision::Stands(done)),
        ReservationWritten::Overtaken => Ok(Decision::Overtaken),
        ReservationWritten::NotUnique { pointer } => Err(Refusal::NotUnique {
            pointer: pointer.to_owned(),
        }
        .into()),
        ReservationWritten::NoSuchGuests(errors) => Err(Refusal::Invalid(errors).into()),
    }
}
