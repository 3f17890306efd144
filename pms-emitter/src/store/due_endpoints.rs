//! Which endpoints have something due: one statement over all of them.

use super::{Store, clock_skew::set_at_most, webhooks::ENDPOINTS_MAX};
use contract::{UnixMillis, id::EndpointId};
use db::{DbError, params, read_id};

/// A probe of an index for each endpoint. The LIMIT keeps servers from reading all that waits instead.
const DUE: &str = "SELECT p.id, p.version FROM endpoints p WHERE p.url IS NOT NULL AND p.disabled_reason IS NULL
         AND p.paused = 0 AND p.deleted_at IS NULL AND (
             (SELECT 1 FROM deliveries d WHERE d.endpoint_id = p.id AND d.status = 'pending' AND d.due_at <= ? LIMIT 1) = 1
             OR (SELECT 1 FROM deliveries d WHERE d.endpoint_id = p.id AND d.status = 'pending' AND d.due_set_at > ? LIMIT 1) = 1)
     LIMIT ?";

impl Store {
    /// The endpoints that are sent to now and have something due, claimed or not. What is seen of their versions is known from
    /// then on, also what another replica has changed.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn endpoints_due(&self, now: UnixMillis) -> Result<Vec<EndpointId>, DbError> {
        let rows = self
            .db
            .read("endpoints_due", move |tx| {
                let values = params![now, set_at_most(now), ENDPOINTS_MAX + 1];
                Box::pin(async move { tx.query(DUE, values).await })
            })
            .await?;
        let mut due = Vec::with_capacity(rows.len());
        for row in &rows {
            let id: EndpointId = read_id(row, "id")?;
            self.versions.note(&id, row.get("version")?);
            due.push(id);
        }
        Ok(due)
    }
}
