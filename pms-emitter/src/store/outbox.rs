//! The outbox: the rows of an event (in the log, and its bytes), written in the transaction of the change that made it.
//!
//! There is no moment at which a change is committed and its event is not, and none at which an event is queued that was rolled
//! back: these rows are what is queued, once they are committed, for every endpoint (`fan_out`).

use super::{Step, Store};
use contract::{Envelope, EventId, UnixMillis};
use db::{DbError, Statement, Tx};
use db::{failpoint, params};

/// An event that is about to be committed with its change.
///
/// Invariant: `envelope.idempotency_key` is `id`, and `envelope.timestamp` is `committed_at`.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event's id, which is its idempotency key at every receiver.
    pub id: EventId,
    /// What is sent.
    pub envelope: Envelope,
    /// When the change was committed, by this service's clock.
    pub committed_at: UnixMillis,
    /// The trace that the change belongs to (W3C Trace Context), sent along with every attempt.
    pub traceparent: Option<String>,
}

/// What writes the event's row in the log, still without a place, and its bytes as they will be sent on every attempt and replay. It
/// is run together with the change that made the event, and [`appended`] is called afterwards, as `Store::write_with_event` does.
///
/// `Duplicate` means that this version of the entity has its event already: the change was overtaken.
pub fn statements(event: &NewEvent) -> [Statement; 2] {
    let envelope = &event.envelope;
    let entity = envelope.entity.as_ref();
    [
        Statement::change(
            "INSERT INTO events (id, type, property_id, entity_kind, entity_id, entity_version, correlation_id,
                 traceparent, committed_at, changed)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                event.id.as_str(),
                &envelope.event_type,
                envelope.property_id.as_ref().map(ToString::to_string),
                entity.map(|entity| entity.kind.as_str()),
                entity.map(|entity| entity.id.as_str()),
                entity.map(|entity| entity.version),
                &envelope.correlation_id,
                &event.traceparent,
                event.committed_at,
                envelope.changed.join(","),
            ],
        ),
        Statement::change(
            "INSERT INTO event_bodies (event_id, body) VALUES (?, ?)",
            params![event.id.as_str(), envelope.to_bytes()],
        ),
    ]
}

impl Store {
    /// One transaction that writes a change with its event: unless it answers `committed`, it is undone. After a commit of
    /// unknown result the event is looked for.
    pub(super) async fn write_with_event<W, T>(
        &self,
        name: &'static str,
        event: EventId,
        committed: T,
        work: W,
        write: Step<W, T>,
    ) -> Result<T, DbError>
    where
        W: Send + Sync + 'static,
        T: Clone + PartialEq + Send + Sync + 'static,
    {
        failpoint::reached("write.begin");
        let written = self.transaction(
            name,
            (event, committed, work, write),
            |tx, (_, committed, work, write)| {
                Box::pin(async move {
                    let written = write(tx, work).await?;
                    if written == *committed {
                        appended(tx);
                    } else {
                        tx.abandon();
                    }
                    Ok(written)
                })
            },
            |tx, (event, committed, ..)| {
                Box::pin(async move { Ok(contains(tx, event).await?.then(|| committed.clone())) })
            },
        );
        let written = written.await;
        failpoint::reached("write.committed");
        written
    }
}

/// The event's statements have run: the sequencer is woken once they are committed.
pub fn appended(tx: &mut Tx) {
    failpoint::reached("write.inside");
    tx.signal();
}

/// Whether the event is in the log: what an unknown commit is looked up by.
///
/// # Errors
/// The database's.
async fn contains(tx: &mut Tx, event: &EventId) -> Result<bool, DbError> {
    let row = tx
        .query_one("SELECT 1 FROM events WHERE id = ?", params![event.as_str()])
        .await?;
    Ok(row.is_some())
}
