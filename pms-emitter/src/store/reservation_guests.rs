//! Who is named by which reservation, and the rule that a guest whose stay is going on or lies ahead is not deleted.
//!
//! A transaction that books for a guest, and one that deletes a guest, first writes the guest's row (its `guard`). So
//! of two such transactions at once, the second waits for the first and then sees what it did, on every engine and
//! cluster.

use crate::domain::reservation::{Reservation, guests_to_guard};
use contract::{FieldError, GuestId};
use db::{DbError, Statement, Tx, params};
use jiff::civil::Date;

/// Whether a guest may not be deleted: of one of the reservations that name it the stay is going on, or lies ahead.
///
/// The caller has written the guest's row in this transaction before, so no booking can be committed unseen.
///
/// # Errors
/// Those of the database.
pub async fn guest_in_use(tx: &mut Tx, guest: &GuestId) -> Result<bool, DbError> {
    let live = tx
        .query_one(
            "SELECT r.id FROM reservation_guests g
             JOIN reservations r ON r.id = g.reservation_id
             JOIN properties p ON p.id = r.property_id
             WHERE g.guest_id = ? AND r.deleted_at IS NULL AND (r.status = 'checked_in' OR (
                 r.status IN ('inquiry', 'waitlisted', 'optional', 'confirmed') AND r.check_out >= p.business_date))
             LIMIT 1",
            params![guest.as_str()],
        )
        .await?;
    Ok(live.is_some())
}

/// The statements that hold the guests who have to be active, each with the place that names the guest; one that matches
/// nothing found no such guest.
pub(super) fn hold_guests(
    before: Option<&Reservation>,
    after: &Reservation,
    business_date: Date,
) -> Vec<(String, Statement)> {
    let guests = guests_to_guard(before, after, business_date).into_iter();
    guests
        .map(|(pointer, guest)| {
            let hold = Statement::change(
                "UPDATE guests SET guard = guard + 1 WHERE id = ? AND property_id = ? AND status = 'active'",
                params![guest.as_str(), after.property_id.as_str()],
            );
            (pointer, hold)
        })
        .collect()
}

/// The error for a guest whose row was not found active.
pub(super) fn no_such_guest(pointer: String) -> FieldError {
    FieldError::new(pointer, "no_such_guest", "is no active guest of this property")
}

/// The statements that keep the list of everyone whom the reservation names.
pub(super) fn list_guests(before: Option<&Reservation>, after: &Reservation) -> Vec<Statement> {
    let reservation = after.id.as_str();
    let before = before.map(distinct_guests).unwrap_or_default();
    let after = distinct_guests(after);
    let removed = before.iter().filter(|guest| !after.contains(guest));
    let removed = removed.map(|guest| {
        let sql = "DELETE FROM reservation_guests WHERE guest_id = ? AND reservation_id = ?";
        Statement::change(sql, params![guest.as_str(), reservation])
    });
    let added = after.iter().filter(|guest| !before.contains(guest));
    let rows = added.flat_map(|guest| params![guest.as_str(), reservation]);
    let columns = ["guest_id", "reservation_id"];
    let added = Statement::rows("reservation_guests", &columns, "", rows.collect());
    removed.chain(added).collect()
}

fn distinct_guests(state: &Reservation) -> Vec<GuestId> {
    let mut guests: Vec<GuestId> = state.booking.guests().map(|(_, guest)| guest.clone()).collect();
    guests.sort();
    guests.dedup();
    guests
}
