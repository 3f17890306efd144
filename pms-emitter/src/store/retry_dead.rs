//! Dead deliveries, made due again by hand: `pms-emitter retry-dead`.

use super::{BATCH_MAX, Store, redelivery::became_due};
use crate::domain::audit_action::AuditAction;
use contract::UnixMillis;
use db::params;
use db::{DbError, Row, Tx};
use kit::audit::{self, AuditEntry};
use std::ops::RangeInclusive;

/// What one batch made due again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadRetried {
    /// How many.
    pub count: usize,
    /// Whether there may be more.
    pub more: bool,
}

impl Store {
    /// Makes up to [`BATCH_MAX`] dead deliveries due again, those that `died` in that span, with the whole retry
    /// schedule before them. Attempts go on being counted.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn retry_dead(
        &self,
        died: RangeInclusive<UnixMillis>,
        now: UnixMillis,
    ) -> Result<DeadRetried, DbError> {
        // What an unknown commit made due is dead no more: running it again takes the next batch.
        self.repeatable("retry_dead", (died, now), |tx, (died, now)| {
            Box::pin(retry_dead(tx, died, *now))
        })
        .await
    }
}

async fn retry_dead(
    tx: &mut Tx,
    died: &RangeInclusive<UnixMillis>,
    now: UnixMillis,
) -> Result<DeadRetried, DbError> {
    let endpoints = tx
        .query(
            "SELECT id FROM endpoints WHERE deleted_at IS NULL ORDER BY id",
            Vec::new(),
        )
        .await?;
    let (mut entries, mut found) = (Vec::new(), 0);
    for endpoint in &endpoints {
        let endpoint: String = endpoint.get("id")?;
        let rows = tx
            .query(
                "SELECT d.event_id, e.property_id, e.correlation_id
                 FROM deliveries d JOIN events e ON e.id = d.event_id
                 WHERE d.endpoint_id = ? AND d.status = 'dead' AND d.due_at >= ? AND d.due_at <= ?
                 ORDER BY d.due_at, d.event_id LIMIT ?",
                params![&endpoint, died.start(), died.end(), BATCH_MAX - found],
            )
            .await?;
        found += rows.len();
        let mut again = Vec::new();
        for row in &rows {
            if let Some(entry) = retry(tx, &endpoint, row, now).await? {
                again.extend(entry.event_id.clone());
                entries.push(entry);
            }
        }
        let again: Vec<&str> = again.iter().map(String::as_str).collect();
        became_due(tx, &endpoint, &again, now).await?;
    }
    audit::append(tx, &entries).await?;
    Ok(DeadRetried {
        count: entries.len(),
        more: found == BATCH_MAX,
    })
}

/// Makes one of them due again, unless another run has done so meanwhile.
async fn retry(
    tx: &mut Tx,
    endpoint: &str,
    row: &Row,
    now: UnixMillis,
) -> Result<Option<AuditEntry>, DbError> {
    let event: String = row.get("event_id")?;
    let matched = tx
        .execute(
            "UPDATE deliveries SET status = 'pending', owner = NULL, lease_until = 0, due_at = ?, due_set_at = ?,
                 attempts_before = attempts, settled_at = NULL
             WHERE endpoint_id = ? AND event_id = ? AND status = 'dead'",
            params![now, now, endpoint, &event],
        )
        .await?;
    if matched == 0 {
        return Ok(None);
    }
    Ok(Some(AuditEntry {
        actor: Some("operator".to_owned()),
        source: Some(endpoint.to_owned()),
        event_id: Some(event),
        property_id: row.get("property_id")?,
        correlation_id: row.get("correlation_id")?,
        ..AuditEntry::new(AuditAction::DeadRetried, now)
    }))
}
