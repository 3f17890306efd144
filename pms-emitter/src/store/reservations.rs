//! Reservations: read one, list them, make one, change one; each write with its event in one transaction.
//!
//! A write is decided outside, on a state that was read before; here it is guarded. By the version that it was decided
//! on; by the property's business date where a condition rested on it; and by the guests that have to be active, whose
//! rows it writes, so that deleting one of them at the same time sees this reservation, or this sees the deletion.

use super::{
    Store,
    changed_columns::changed_columns,
    outbox::{self, NewEvent},
    properties::find_with_property,
    reservation_guests::{hold_guests, list_guests, no_such_guest},
};
use crate::domain::{
    change::Change, property::Property, reservation::Reservation, stay::ComputedStatus, transition::Status,
};
use api::ListQuery;
use contract::{FieldError, GuestId, PropertyId, ReservationId, Scope};
use db::{DbError, Params, Row, Statement, Tx, params, read_id};
use jiff::civil::Date;
use kit::{
    idempotency::{Answer, Slot},
    listing::{Index, Link, Listing, Order, Reading, Rows, Table},
};
use std::sync::Arc;

/// The table as it is listed.
const RESERVATIONS: Table = Table {
    name: "reservations",
    id: "id",
    orders: &[
        Order {
            field: "created_at",
            column: "created_at",
            index: "reservations_created",
        },
        Order {
            field: "updated_at",
            column: "updated_at",
            index: "reservations_updated",
        },
        Order {
            field: "check_in",
            column: "check_in",
            index: "reservations_check_in",
        },
    ],
};

const GUESTS: Link = Link {
    table: "reservation_guests",
    id: "reservation_id",
    by_value: Index::Primary,
    by_row: Index::Named("reservation_guests_reservation"),
};

/// What a list shows of each.
const SELECT_LISTED: &str = "SELECT id, body, (SELECT p.business_date FROM properties p WHERE p.id = property_id) \
                      AS business_date FROM reservations";

/// The business date of a reservation's property.
const BUSINESS_DATE: &str = "(SELECT p.business_date FROM properties p WHERE p.id = property_id)";

/// What a list of reservations is narrowed to. Without a status, deleted ones are left out.
#[derive(Clone, Debug, Default)]
pub struct ReservationFilter {
    /// In this status, or deleted.
    pub status: Option<StatusFilter>,
    /// Whose status looks like this on the business date of the property.
    pub computed: Option<ComputedStatus>,
    /// Of this property.
    pub property_id: Option<PropertyId>,
    /// Of this guest, as the primary one.
    pub primary_guest_id: Option<GuestId>,
    /// Naming this guest, in any role.
    pub guest_id: Option<GuestId>,
    /// With this number.
    pub confirmation_number: Option<String>,
    /// That came in this way.
    pub channel: Option<String>,
    /// Arriving from this date on.
    pub check_in_from: Option<Date>,
    /// Arriving up to this date.
    pub check_in_to: Option<Date>,
    /// Leaving from this date on.
    pub check_out_from: Option<Date>,
    /// Leaving up to this date.
    pub check_out_to: Option<Date>,
    /// Of these properties.
    pub scope: Scope,
}

/// A status to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// A status of a reservation that is not deleted.
    Is(Status),
    /// Deleted, in any status.
    Deleted,
}

/// A change of a reservation that is about to be committed.
#[derive(Clone, Debug)]
pub struct ReservationWrite {
    /// The state that it was decided on; none when the reservation is new.
    pub before: Option<Reservation>,
    /// What it was decided to become.
    pub change: Change<Reservation>,
    /// The property that it was decided with.
    pub property: Property,
    /// The event of the change.
    pub event: NewEvent,
    /// Where a retry finds the answer.
    pub slot: Slot,
    /// What the client is answered.
    pub answer: Answer,
}

/// How a write ended. Only `Committed` wrote anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReservationWritten {
    /// It is committed, with its event.
    Committed,
    /// The state that it was decided on has changed since: decide again.
    Overtaken,
    /// Another reservation of the property has this value.
    NotUnique {
        /// The field, as a JSON pointer.
        pointer: &'static str,
    },
    /// These guests are not there, not active, or of another property.
    NoSuchGuests(Vec<FieldError>),
}

impl Store {
    /// A reservation that is not deleted, with its property.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn reservation(&self, id: ReservationId) -> Result<Option<(Reservation, Property)>, DbError> {
        self.db
            .read("reservation", move |tx| Box::pin(find(tx, id.clone())))
            .await
    }

    /// The reservations of one page, each with the business date of its property.
    ///
    /// # Errors
    /// The database's.
    pub async fn reservations(
        &self,
        filter: &ReservationFilter,
        query: &ListQuery,
    ) -> Result<Rows<(Reservation, Date)>, DbError> {
        let reading = Reading {
            name: "list_reservations",
            select: SELECT_LISTED,
            read: listed,
        };
        self.lists.find(filter.listing(query), query, reading).await
    }

    /// Keeps the answer to a request that changed nothing, for its retries, if it has a key; nothing else is written.
    ///
    /// # Errors
    /// `Duplicate` when the slot was taken meanwhile. Otherwise those of the database.
    pub async fn keep_answer(&self, slot: Slot, answer: Answer) -> Result<(), DbError> {
        if !slot.is_keyed() {
            return Ok(());
        }
        let kept = Arc::new((slot, answer));
        self.db
            .transaction("keep_answer", move |tx| {
                let kept = Arc::clone(&kept);
                Box::pin(async move { kept.0.share(tx, &kept.1).await })
            })
            .await
    }

    /// Commits a change with its event, or says why not; then nothing is written.
    ///
    /// # Errors
    /// `Duplicate` when the slot was taken meanwhile. Otherwise those of the database.
    pub async fn write_reservation(&self, write: ReservationWrite) -> Result<ReservationWritten, DbError> {
        let (event, committed) = (write.event.id.clone(), ReservationWritten::Committed);
        self.write_with_event("write_reservation", event, committed, write, |tx, write| {
            Box::pin(commit(tx, write))
        })
        .await
    }
}

/// Narrows a list to a computed status: [`ComputedStatus::on`] in SQL.
fn narrow_to_computed(listing: &mut Listing, computed: ComputedStatus) {
    let (status, date) = match computed {
        ComputedStatus::DueIn => (Status::Confirmed, Some("check_in <=")),
        ComputedStatus::Stored(Status::Confirmed) => (Status::Confirmed, Some("check_in >")),
        ComputedStatus::DueOut => (Status::CheckedIn, Some("check_out =")),
        ComputedStatus::Overstay => (Status::CheckedIn, Some("check_out <")),
        ComputedStatus::Stored(Status::CheckedIn) => (Status::CheckedIn, Some("check_out >")),
        ComputedStatus::Stored(other) => (other, None),
    };
    listing.equal("status", Some(status.as_str()));
    if let Some(date) = date {
        listing.require(format!("{date} {BUSINESS_DATE}"), Params::new());
    }
}

impl ReservationFilter {
    fn listing(&self, query: &ListQuery) -> Listing {
        let mut listing = Listing::of(&RESERVATIONS);
        let deleted = self.status == Some(StatusFilter::Deleted);
        let condition = if deleted {
            "deleted_at IS NOT NULL"
        } else {
            "deleted_at IS NULL"
        };
        listing.require(condition, Params::new());
        if let Some(StatusFilter::Is(status)) = self.status {
            listing.equal("status", Some(status.as_str()));
        }
        if let Some(computed) = self.computed {
            narrow_to_computed(&mut listing, computed);
        }
        let confirmation = "reservations_confirmation";
        listing.equal_by(
            confirmation,
            "confirmation_number",
            self.confirmation_number.as_ref(),
        );
        let guest = self.primary_guest_id.as_ref().map(GuestId::as_str);
        listing.equal_by("reservations_primary_guest", "primary_guest_id", guest);
        if let Some(guest) = &self.guest_id {
            listing.linked(GUESTS, "guest_id = ?", params![guest.as_str()]);
        }
        let property = self.property_id.as_ref().map(PropertyId::as_str);
        listing.within("property_id", &self.scope);
        listing.equal_by("reservations_due", "property_id", property);
        listing.equal("channel", self.channel.as_ref());
        let from = |date: Option<Date>| date.map(|date| date.to_string());
        // After the last possible date there is no next one, and no bound is needed.
        let to = |date: Option<Date>| from(date.and_then(|date| date.tomorrow().ok()));
        listing.between(
            Some("reservations_check_in"),
            "check_in",
            from(self.check_in_from),
            to(self.check_in_to),
        );
        listing.between(
            None,
            "check_out",
            from(self.check_out_from),
            to(self.check_out_to),
        );
        let none = None::<i64>;
        listing.between(
            Some("reservations_updated"),
            "updated_at",
            query.updated_since,
            none,
        );
        listing
    }
}

fn listed(row: &Row) -> Result<(Reservation, Date), DbError> {
    Ok((decode(row)?, read_id(row, "business_date")?))
}

/// A row's whole state.
fn decode(row: &Row) -> Result<Reservation, DbError> {
    let body: String = row.get("body")?;
    serde_json::from_str(&body).map_err(|_| DbError::unreadable("body"))
}

async fn find(tx: &mut Tx, id: ReservationId) -> Result<Option<(Reservation, Property)>, DbError> {
    let query = "SELECT body FROM reservations WHERE id = ? AND deleted_at IS NULL".to_owned();
    find_with_property(tx, "reservations", id.as_str(), query, decode).await
}

async fn commit(tx: &mut Tx, write: &ReservationWrite) -> Result<ReservationWritten, DbError> {
    let state = &write.change.state;
    let business_date = write.property.business_date;
    let (pointers, holds): (Vec<_>, Vec<_>) = hold_guests(write.before.as_ref(), state, business_date)
        .into_iter()
        .unzip();
    let mut statements = Vec::new();
    statements.extend(rests_on_business_date(write).then(|| hold_business_date(&write.property)));
    let guests_from = statements.len();
    statements.extend(holds);
    let saved_at = statements.len();
    statements.push(match &write.before {
        None => insert(state),
        Some(before) => update(before, state),
    });
    statements.extend(list_guests(write.before.as_ref(), state));
    statements.extend(outbox::statements(&write.event));
    let ran = write.slot.run(tx, &write.answer, statements).await?;
    if guests_from > 0 && ran.matched_none(0) {
        return Ok(ReservationWritten::Overtaken);
    }
    let missing = pointers.into_iter().enumerate();
    let missing = missing.filter(|(nth, _)| ran.matched_none(guests_from + nth));
    let missing: Vec<FieldError> = missing.map(|(_, pointer)| no_such_guest(pointer)).collect();
    if !missing.is_empty() {
        return Ok(ReservationWritten::NoSuchGuests(missing));
    }
    if ran.matched_none(saved_at) {
        return Ok(ReservationWritten::Overtaken);
    }
    match ran.error {
        None => Ok(ReservationWritten::Committed),
        Some(DbError::Duplicate) if ran.outcomes.len() == saved_at => not_unique(tx, state).await,
        Some(error) => Err(error),
    }
}

/// Every condition of a transition may rest on the business date, and so does a walk-in, and whether a stay of other dates
/// was live before.
fn rests_on_business_date(write: &ReservationWrite) -> bool {
    let after = &write.change.state;
    let liveness = |state: &Reservation| (state.status(), state.booking.check_out);
    match &write.before {
        None => after.status().has_arrived(),
        Some(before) => liveness(before) != liveness(after),
    }
}

/// Holds a property's business date for its transaction; it matches nothing when the night audit has moved it.
fn hold_business_date(property: &Property) -> Statement {
    Statement::change(
        "UPDATE properties SET guard = guard + 1 WHERE id = ? AND business_date = ?",
        params![property.id.as_str(), property.business_date.to_string()],
    )
}

fn insert(state: &Reservation) -> Statement {
    let mut params = columns(state);
    params.extend(params![
        state.id.as_str(),
        state.property_id.as_str(),
        state.created_at
    ]);
    Statement::change(
        "INSERT INTO reservations (version, status, confirmation_number, reference_channel, reference_number,
             primary_guest_id, check_in, check_out, channel, body, updated_at, deleted_at, id, property_id, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params,
    )
}

/// The columns that a change may write.
const COLUMNS: [&str; 12] = [
    "version",
    "status",
    "confirmation_number",
    "reference_channel",
    "reference_number",
    "primary_guest_id",
    "check_in",
    "check_out",
    "channel",
    "body",
    "updated_at",
    "deleted_at",
];

/// The values of [`COLUMNS`], in their order.
fn columns(state: &Reservation) -> Params {
    let booking = &state.booking;
    let reference = booking.channel_reference.as_ref();
    params![
        state.version,
        booking.status.as_str(),
        &booking.confirmation_number,
        reference.map(|reference| &reference.channel),
        reference.map(|reference| &reference.number),
        booking.primary_guest_id.as_str(),
        booking.check_in.to_string(),
        booking.check_out.to_string(),
        &booking.channel,
        serde_json::to_string(state).expect("a reservation is plain data with string keys"),
        state.updated_at,
        state.deleted_at,
    ]
}

/// Writes what differs, so that the indexes of other columns stay as they are. Matches nothing when the row has another
/// version than the one that was decided on.
fn update(before: &Reservation, state: &Reservation) -> Statement {
    let (set, mut params) = changed_columns(&COLUMNS, &columns(before), columns(state));
    params.extend(params![state.id.as_str(), before.version]);
    let sql = format!("UPDATE reservations SET {set} WHERE id = ? AND version = ?");
    Statement::change(sql, params)
}

/// Which of the two unique numbers is another reservation's.
async fn not_unique(tx: &mut Tx, state: &Reservation) -> Result<ReservationWritten, DbError> {
    let taken = tx
        .query_one(
            "SELECT id FROM reservations WHERE property_id = ? AND confirmation_number = ? AND id <> ?",
            params![
                state.property_id.as_str(),
                &state.booking.confirmation_number,
                state.id.as_str()
            ],
        )
        .await?;
    let pointer = match taken {
        Some(_) => "/confirmation_number",
        None => "/channel_reference",
    };
    Ok(ReservationWritten::NotUnique { pointer })
}
