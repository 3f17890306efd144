//! Failures of the database, as a dispatcher logs them: once for each outage.

use db::DbError;

/// Whether the database failed when it was last asked.
#[derive(Default)]
pub(super) struct Outage {
    is_logged: bool,
}

impl Outage {
    /// An operation failed; it is tried again after a pause.
    pub(super) fn failed(&mut self, error: &DbError) {
        if !self.is_logged {
            tracing::warn!(error = %error, "delivery waits for the database");
        }
        self.is_logged = true;
    }

    /// An operation succeeded.
    pub(super) fn is_over(&mut self) {
        self.is_logged = false;
    }
}
