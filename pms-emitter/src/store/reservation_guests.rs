//! Who is named by which reservation, and the one rule between the two: a guest with a stay in house or ahead stays.
//!
//! Whoever books for a guest, and whoever deletes one, first writes the guest's row (its `guard`). So of two such
//! transactions at once, the second waits for the first and then sees what it did, on every engine and cluster.

use contract::GuestId;
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
