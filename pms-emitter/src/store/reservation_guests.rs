//! Who is named by which reservation, and the one rule between the two: a guest with a stay in house or ahead stays.
//!
//! Whoever books for a guest, and whoever deletes one, first writes the guest's row (its `guard`). So of two such
//! transactions at once, the second waits for the first and then sees what it did, on every engine and cluster.

use crate::domain::reservation::{Reservation, guests_to_guard};
use contract::{FieldError, GuestId};
use jiff::civil::Date;
use kit::{
    db::{DbError, Tx},
    params,
};

/// Whether a guest may not be deleted: one of the reservations that name it is in house, or its stay lies ahead.
///
/// The caller has written the guest's row in this transaction before, so that no booking can pass it by.
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

/// Holds the guests that have to be active; the answer is those that are not.
pub(super) async fn hold_guests(
    tx: &mut Tx,
    before: Option<&Reservation>,
    after: &Reservation,
    business_date: Date,
) -> Result<Vec<FieldError>, DbError> {
    let mut missing = Vec::new();
    for (pointer, guest) in guests_to_guard(before, after, business_date) {
        let held = tx
            .execute(
                "UPDATE guests SET guard = guard + 1 WHERE id = ? AND property_id = ? AND status = 'active'",
                params![guest.as_str(), after.property_id.as_str()],
            )
            .await?;
        if held == 0 {
            let words = "is no active guest of this property";
            missing.push(FieldError::new(pointer, "no_such_guest", words));
        }
    }
    Ok(missing)
}

/// Keeps the list of everyone whom the reservation names.
pub(super) async fn list_guests(
    tx: &mut Tx,
    before: Option<&Reservation>,
    after: &Reservation,
) -> Result<(), DbError> {
    let reservation = after.id.as_str();
    let before = before.map(distinct_guests).unwrap_or_default();
    let after = distinct_guests(after);
    for gone in before.iter().filter(|guest| !after.contains(guest)) {
        tx.execute(
            "DELETE FROM reservation_guests WHERE guest_id = ? AND reservation_id = ?",
            params![gone.as_str(), reservation],
        )
        .await?;
    }
    for come in after.iter().filter(|guest| !before.contains(guest)) {
        tx.execute(
            "INSERT INTO reservation_guests (guest_id, reservation_id) VALUES (?, ?)",
            params![come.as_str(), reservation],
        )
        .await?;
    }
    Ok(())
}

fn distinct_guests(state: &Reservation) -> Vec<GuestId> {
    let mut guests: Vec<GuestId> = state.booking.guests().map(|(_, guest)| guest.clone()).collect();
    guests.sort();
    guests.dedup();
    guests
}
