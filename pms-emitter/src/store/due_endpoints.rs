//! Which endpoints have something due: one statement over all of them.

use super::{
    Store,
    clock_skew::set_at_most,
    shared_breaker::{Admits, SharedBreaker},
    webhooks::ENDPOINTS_MAX,
};
use contract::{UnixMillis, id::EndpointId};
use db::{DbError, Statement, params, read_id};
use std::sync::Arc;

/// A probe of an index for each endpoint. The LIMIT keeps servers from reading all that waits instead.
const DUE: &str = "SELECT p.id, p.version, p.breaker_state, p.breaker_until, p.breaker_since, p.breaker_openings,
         p.breaker_epoch FROM endpoints p WHERE p.url IS NOT NULL AND p.disabled_reason IS NULL
         AND p.paused = 0 AND p.deleted_at IS NULL AND (
             (SELECT 1 FROM deliveries d WHERE d.endpoint_id = p.id AND d.status = 'pending' AND d.due_at <= ? LIMIT 1) = 1
             OR (SELECT 1 FROM deliveries d WHERE d.endpoint_id = p.id AND d.status = 'pending' AND d.due_set_at > ? LIMIT 1) = 1)
     LIMIT ?";

/// Those that were changed lately, by any replica.
const CHANGED: &str =
    "SELECT id, version, deleted_at FROM endpoints WHERE updated_at >= ? ORDER BY updated_at DESC LIMIT ?";
/// How far back that is: the clocks of replicas differ, and a look may be late.
const LATELY_MILLIS: i64 = 2 * 60 * 1_000;

/// What a look over all endpoints has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueEndpoints {
    /// They are sent to now and have something due, claimed or not.
    pub due: Vec<EndpointId>,
    /// They have something due, and their breaker lets nothing out.
    pub refused: Vec<EndpointId>,
    /// They were deleted lately.
    pub deleted: Vec<EndpointId>,
}

impl Store {
    /// The endpoints that have something due, and whether their breaker lets anything out. What any replica has changed
    /// of any, and of its breaker, is known from then on, so that no claim of before is sent.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn endpoints_due(&self, now: UnixMillis) -> Result<DueEndpoints, DbError> {
        let looks = Arc::new([
            Statement::query(DUE, params![now, set_at_most(now), ENDPOINTS_MAX + 1]),
            Statement::query(CHANGED, params![now.plus_millis(-LATELY_MILLIS), ENDPOINTS_MAX]),
        ]);
        let answers = self
            .db
            .read("endpoints_due", move |tx| {
                let looks = Arc::clone(&looks);
                Box::pin(async move { tx.run(looks.as_slice()).await.all() })
            })
            .await?;
        let mut found = DueEndpoints::default();
        for row in &answers[0].rows {
            let id: EndpointId = read_id(row, "id")?;
            self.versions.note(&id, row.get("version")?);
            let breaker = SharedBreaker::read(row)?;
            self.breakers.note(&id, breaker);
            match breaker.admits(now) {
                Admits::All | Admits::Probe => found.due.push(id),
                Admits::NotBefore(_) => found.refused.push(id),
            }
        }
        for row in &answers[1].rows {
            let id: EndpointId = read_id(row, "id")?;
            self.versions.note(&id, row.get("version")?);
            if row.get::<Option<UnixMillis>>("deleted_at")?.is_some() {
                found.deleted.push(id);
            }
        }
        Ok(found)
    }
}
