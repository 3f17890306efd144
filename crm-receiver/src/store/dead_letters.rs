//! Dead letters: events that nothing is tried for any more, until an operator gives them back to the projector.

use super::{Store, stream_batches::Changes};
use crate::event::{AuditAction, DeadLetterCause, EventStatus};
use contract::{EventId, UnixMillis};
use db::{DbError, InList, Row, Tx, params, read_ids};
use kit::{
    audit::{self, AuditEntry},
    listing::Index,
};
use std::collections::BTreeSet;

/// How much of a failure's reason is kept, in characters; the column is as wide.
const REASON_CHARS_MAX: usize = 1000;

/// Dead letters of one transaction.
pub const REQUEUE_BATCH: usize = 100;
/// Who requeues by the command line.
pub const OPERATOR: &str = "operator";
/// A dead letter, found by its id: an index on the bare column would be taken for the better one.
const IS_DEAD: &str = "COALESCE(status, '') = 'dead_letter'";

impl Store {
    /// Makes an event a dead letter. False when it is not accepted any more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn make_dead_letter(
        &self,
        event: &EventId,
        reason: &str,
        now: UnixMillis,
    ) -> Result<bool, DbError> {
        let (event, reason) = (event.clone(), cut(reason));
        self.db
            .transaction("make_dead_letter", move |tx| {
                let (event, reason) = (event.clone(), reason.clone());
                Box::pin(async move {
                    let sql = "UPDATE inbox SET status = 'dead_letter', last_error = ?, applied_at = ? \
                               WHERE event_id = ? AND status = 'accepted'";
                    let claimed = tx.execute(sql, params![&reason, now, event.as_str()]).await? == 1;
                    if claimed {
                        audit_dead_letter(tx, &event, DeadLetterCause::Poison, now).await?;
                        let mut changes = Changes::default();
                        changes.decide(&event, EventStatus::DeadLetter);
                        changes.write(tx, now).await?;
                    }
                    Ok(claimed)
                })
            })
            .await
    }

    /// Requeues one dead letter that still has its body; false when there is no such one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn requeue_one(&self, event_id: &EventId, now: UnixMillis) -> Result<bool, DbError> {
        let id = event_id.to_string();
        self.db
            .transaction("requeue_one", move |tx| {
                let id = id.clone();
                Box::pin(async move { Ok(!requeue(tx, &[id], OPERATOR, now).await?.requeued.is_empty()) })
            })
            .await
    }
}

/// What became of dead letters that were to be requeued. Those that are none any more are in neither.
#[derive(Debug, Default)]
pub(super) struct Requeued {
    /// The ids of those that are accepted again.
    pub requeued: Vec<String>,
    /// How many have no body any more: they can never be folded, and stay as they are.
    pub without_body: usize,
}

/// Gives dead letters back to the projector, at most [`REQUEUE_BATCH`]. Their tries begin from the first, and why they
/// failed is in the audit log alone.
///
/// Each is locked before its body is looked for: a purge, which locks it too, does not take the body of one that is accepted.
pub(super) async fn requeue(
    tx: &mut Tx,
    ids: &[String],
    actor: &str,
    now: UnixMillis,
) -> Result<Requeued, DbError> {
    if ids.is_empty() {
        return Ok(Requeued::default());
    }
    let dead = lock_dead_letters(tx, ids).await?;
    let with_body = with_body(tx, ids).await?;
    let mut entries = Vec::with_capacity(dead.len());
    let mut done = Requeued::default();
    for row in &dead {
        let id: String = row.get("event_id")?;
        if with_body.contains(&id) {
            entries.push(AuditEntry {
                actor: Some(actor.to_owned()),
                ..audit_entry(AuditAction::Requeued, row, now)?
            });
            done.requeued.push(id);
        } else {
            done.without_body += 1;
        }
    }
    if done.requeued.is_empty() {
        return Ok(done);
    }
    let list = InList::of(&done.requeued);
    let sql = format!(
        "UPDATE inbox SET status = 'accepted', attempts = 0, last_error = NULL, applied_at = NULL, due_at = ?, \
         requeued_at = ? WHERE {IS_DEAD} AND event_id IN {list}"
    );
    // They are locked; on a cluster another node may have been faster all the same.
    if tx.execute(&sql, list.after(params![now, now])).await? != done.requeued.len() as u64 {
        return Err(DbError::Contended);
    }
    audit::append(tx, &entries).await?;
    Ok(done)
}

/// Locks those of the events that are dead letters, and reads what the audit log says of them.
async fn lock_dead_letters(tx: &mut Tx, ids: &[String]) -> Result<Vec<Row>, DbError> {
    let (primary, lock) = (Index::Primary.hint(tx.dialect()), tx.dialect().for_update());
    let list = InList::of(ids);
    let sql = format!(
        "SELECT event_id, source_id, property_id, entity_kind, entity_id, entity_version, correlation_id \
         FROM inbox{primary} WHERE {IS_DEAD} AND event_id IN {list} ORDER BY event_id{lock}"
    );
    tx.query(&sql, list.into_params()).await
}

/// Those of the events whose bodies are kept.
async fn with_body(tx: &mut Tx, ids: &[String]) -> Result<BTreeSet<String>, DbError> {
    let list = InList::of(ids);
    let sql = format!("SELECT event_id FROM inbox_bodies WHERE event_id IN {list}");
    read_ids(&tx.query(&sql, list.into_params()).await?, "event_id")
}

/// Writes the audit entry of a dead letter, with what the inbox knows of the event.
pub(super) async fn audit_dead_letter(
    tx: &mut Tx,
    event: &EventId,
    cause: DeadLetterCause,
    now: UnixMillis,
) -> Result<(), DbError> {
    let sql = "SELECT event_id, source_id, property_id, entity_kind, entity_id, entity_version, correlation_id \
               FROM inbox WHERE event_id = ?";
    let Some(row) = tx.query_one(sql, params![event.as_str()]).await? else {
        return Ok(());
    };
    let entry = AuditEntry {
        outcome: Some(cause.into_str().into()),
        ..audit_entry(AuditAction::DeadLettered, &row, now)?
    };
    audit::append(tx, &[entry]).await
}

/// An audit entry about the event of a row of the inbox.
fn audit_entry(action: AuditAction, row: &Row, now: UnixMillis) -> Result<AuditEntry, DbError> {
    Ok(AuditEntry {
        event_id: row.get("event_id")?,
        source: row.get("source_id")?,
        property_id: row.get("property_id")?,
        entity_kind: row.get("entity_kind")?,
        entity_id: row.get("entity_id")?,
        entity_version: row.get("entity_version")?,
        correlation_id: row.get("correlation_id")?,
        ..AuditEntry::new(action.into_str(), now)
    })
}

/// A reason, as much of it as is kept.
pub(super) fn cut(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}
