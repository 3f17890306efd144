//! Accepting a batch of arrivals: one transaction, in which the unique key of the inbox decides what is new.
//!
//! Every row carries an event id of ours. After the INSERT, which skips the keys that are there, a SELECT over all keys
//! of the batch reads the rows that are there: an arrival is new if and only if its row has our event id. Affected rows
//! decide nothing, so the same holds when the transaction runs again, also after a commit whose answer was lost.

use super::{
    Store,
    erasures::{ReadLock, erased_among},
    grouped,
    stream_batches::Changes,
};
use crate::{
    event::{Accepted, AuditAction, EventStatus, Fingerprint, InboxEntry, Intake},
    profile::GuestKey,
};
use contract::{EntityId, EntityKind, EventId, EventType, PropertyId, SourceId};
use db::{DbError, Dialect, Params, Row, Statement, Tx, failpoint, params, read_id};
use kit::audit::{self, AuditEntry};
use std::{collections::BTreeSet, sync::Arc};

/// The columns of a new row.
const COLUMNS: [&str; 19] = [
    "event_id",
    "source_id",
    "idempotency_key",
    "fingerprint",
    "salt",
    "status",
    "type",
    "schema_version",
    "property_id",
    "entity_kind",
    "entity_id",
    "entity_version",
    "correlation_id",
    "occurred_at",
    "received_at",
    "attempts",
    "last_error",
    "due_at",
    "delivery_id",
];

/// The entries of one transaction, sorted by source and key, no key twice.
pub type Batch = Arc<[Arc<InboxEntry>]>;

/// What the database says of one entry.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// New, seen before, or another body under the same key.
    pub accepted: Accepted,
    /// The fingerprint of the row under its key, unless it was erased.
    pub fingerprint: Option<Fingerprint>,
}

/// The row that the table holds under an entry's key.
struct Standing {
    event_id: EventId,
    fingerprint: Option<Fingerprint>,
}

impl Store {
    /// Commits what is new of a batch and says of each entry, in order, whether it is new.
    ///
    /// # Errors
    /// `LockTimeout` at the first wait over a second, so that the caller can run the batch in halves; an error of a
    /// statement means that one row at least is at fault.
    pub async fn accept_batch(&self, batch: Batch) -> Result<Vec<Verdict>, DbError> {
        let written = Arc::clone(&batch);
        self.db
            .failing_on_lock_timeout()
            .transaction_or_find(
                "accept_batch",
                move |tx| {
                    let batch = Arc::clone(&batch);
                    Box::pin(async move { accept(tx, &batch).await })
                },
                move |tx| {
                    let batch = Arc::clone(&written);
                    Box::pin(async move { find_written(tx, &batch).await })
                },
            )
            .await
    }
}

async fn accept(tx: &mut Tx, batch: &[Arc<InboxEntry>]) -> Result<Vec<Verdict>, DbError> {
    let mut erased = ErasedGuests::among(tx, batch).await?;
    insert_events(tx, batch, &erased).await?;
    failpoint::reached("accept.inside");
    erased.suppress_erased_meanwhile(tx, batch).await?;
    let mut standings = find_ours(tx, batch, &erased).await?;
    find_others(tx, batch, &mut standings).await?;
    let verdicts = decide(batch, standings)?;
    insert_bodies(tx, batch, &verdicts, &erased).await?;
    // The last two in one round trip, of which mostly the first alone is there.
    let streamed = streamed_changes(batch, &verdicts, &erased);
    let audited = audit::statement(&audit_entries(batch, &verdicts, &erased));
    let statements: Vec<_> = streamed.into_iter().chain(audited).collect();
    tx.run(&statements).await.all()?;
    Ok(verdicts)
}

/// After an unknown commit: it took effect if any row of ours is there. A batch of repeats alone wrote nothing that
/// running it again could spoil.
async fn find_written(tx: &mut Tx, batch: &[Arc<InboxEntry>]) -> Result<Option<Vec<Verdict>>, DbError> {
    let mut standings = batch.iter().map(|_| None).collect::<Vec<_>>();
    find_others(tx, batch, &mut standings).await?;
    let is_ours = |(entry, standing): (&Arc<InboxEntry>, &Option<Standing>)| {
        standing
            .as_ref()
            .is_some_and(|standing| standing.event_id == entry.event_id)
    };
    if batch.iter().zip(&standings).any(is_ours) {
        decide(batch, standings).map(Some)
    } else {
        Ok(None)
    }
}

/// The rows that are ours, each at its entry's place. It reads what the unique key's own index holds, and no row: mostly
/// all are ours.
async fn find_ours(
    tx: &mut Tx,
    batch: &[Arc<InboxEntry>],
    erased: &ErasedGuests,
) -> Result<Vec<Option<Standing>>, DbError> {
    let mut standings = batch.iter().map(|_| None).collect::<Vec<_>>();
    let all = batch.iter().collect();
    for (source, row) in rows_of(tx, all, "idempotency_key, event_id").await? {
        let place = place_of(batch, &source, &row)?;
        let entry = &batch[place];
        if row.get::<String>("event_id")? == entry.event_id.as_str() {
            standings[place] = Some(Standing {
                event_id: entry.event_id.clone(),
                fingerprint: (!erased.holds(entry)).then_some(entry.fingerprint),
            });
        }
    }
    Ok(standings)
}

/// Fills in the rows of the entries that have none yet, as they stand in the table.
async fn find_others(
    tx: &mut Tx,
    batch: &[Arc<InboxEntry>],
    standings: &mut [Option<Standing>],
) -> Result<(), DbError> {
    let open = batch.iter().zip(&*standings);
    let open = open
        .filter(|(_, standing)| standing.is_none())
        .map(|(entry, _)| entry);
    for (source, row) in rows_of(tx, open.collect(), "idempotency_key, event_id, salt, fingerprint").await? {
        standings[place_of(batch, &source, &row)?] = Some(standing(&row)?);
    }
    Ok(())
}

/// The rows under the keys of `entries`, each with its source.
async fn rows_of(
    tx: &mut Tx,
    entries: Vec<&Arc<InboxEntry>>,
    columns: &str,
) -> Result<Vec<(SourceId, Row)>, DbError> {
    let keys = entries
        .into_iter()
        .map(|entry| (&entry.arrival.source, entry.arrival.key.as_str()));
    let mut found = Vec::new();
    for (source, list) in grouped(keys) {
        let sql = format!("SELECT {columns} FROM inbox WHERE source_id = ? AND idempotency_key IN {list}");
        let rows = tx.query(&sql, list.after(params![source.as_str()])).await?;
        found.extend(rows.into_iter().map(|row| (source.clone(), row)));
    }
    Ok(found)
}

/// The place in the sorted batch of the entry of a row.
fn place_of(batch: &[Arc<InboxEntry>], source: &SourceId, row: &Row) -> Result<usize, DbError> {
    let key: String = row.get("idempotency_key")?;
    batch
        .binary_search_by(|entry| {
            let arrival = &entry.arrival;
            (&arrival.source, arrival.key.as_str()).cmp(&(source, key.as_str()))
        })
        .map_err(|_| DbError::Decode {
            column: "idempotency_key".to_owned(),
            expected: "a key that was asked for",
        })
}

fn standing(row: &Row) -> Result<Standing, DbError> {
    let salt: Option<Vec<u8>> = row.get("salt")?;
    let digest: Option<Vec<u8>> = row.get("fingerprint")?;
    let fingerprint = salt
        .zip(digest)
        .and_then(|(salt, digest)| Fingerprint::from_columns(&salt, &digest));
    Ok(Standing {
        event_id: read_id(row, "event_id")?,
        fingerprint,
    })
}

fn decide(batch: &[Arc<InboxEntry>], standings: Vec<Option<Standing>>) -> Result<Vec<Verdict>, DbError> {
    let verdict = |(entry, standing): (&Arc<InboxEntry>, Option<Standing>)| {
        let standing = standing.ok_or(DbError::Contended)?;
        let (id, fingerprint) = (standing.event_id, standing.fingerprint);
        let accepted = match &fingerprint {
            _ if id == entry.event_id => Accepted::New(id),
            Some(first) if !first.matches(&entry.arrival.body) => Accepted::IdReuse(id),
            // Without a fingerprint the event was erased: whatever the body, it is a repeat.
            Some(_) | None => Accepted::Duplicate(id),
        };
        Ok(Verdict {
            accepted,
            fingerprint,
        })
    };
    batch.iter().zip(standings).map(verdict).collect()
}

/// The entries that are new, in their order.
fn new_entries<'b>(
    batch: &'b [Arc<InboxEntry>],
    verdicts: &'b [Verdict],
) -> impl Iterator<Item = &'b Arc<InboxEntry>> {
    let is_new = |verdict: &Verdict| matches!(verdict.accepted, Accepted::New(_));
    batch
        .iter()
        .zip(verdicts)
        .filter(move |(_, verdict)| is_new(verdict))
        .map(|(entry, _)| entry)
}

/// Inserts the keys that are not there yet, and leaves the others alone.
async fn insert_events(tx: &mut Tx, batch: &[Arc<InboxEntry>], erased: &ErasedGuests) -> Result<(), DbError> {
    let skip = tx.dialect().skip_existing("event_id");
    let mut params = Params::with_capacity(batch.len() * COLUMNS.len());
    for entry in batch {
        bind(&mut params, entry, erased.holds(entry));
    }
    tx.insert("inbox", &COLUMNS, &skip, params).await
}

fn bind(params: &mut Params, entry: &InboxEntry, erased: bool) {
    let arrival = &entry.arrival;
    let envelope = &arrival.envelope;
    let entity = envelope.entity.as_ref();
    let status = first_status(entry, erased);
    let fingerprint = (!erased).then_some(&entry.fingerprint);
    params.extend(params![
        entry.event_id.as_str(),
        arrival.source.as_str(),
        arrival.key.as_str(),
        fingerprint.map(Fingerprint::digest),
        fingerprint.map(Fingerprint::salt),
        status.into_str(),
        &envelope.event_type,
        envelope.schema_version,
        envelope.property_id.as_ref().map(PropertyId::as_str),
        entity.map(|entity| entity.kind.as_str()),
        entity.map(|entity| entity.id.as_str()),
        entity.map(|entity| entity.version),
        &entry.correlation_id,
        envelope.timestamp,
        entry.received_at,
        0,
        &arrival.reason,
        entry.received_at,
        &arrival.delivery_id,
    ]);
}

/// Inserts the bodies of what is new, unless its guest is erased.
async fn insert_bodies(
    tx: &mut Tx,
    batch: &[Arc<InboxEntry>],
    verdicts: &[Verdict],
    erased: &ErasedGuests,
) -> Result<(), DbError> {
    let kept = new_entries(batch, verdicts).filter(|entry| !erased.holds(entry));
    let skip = tx.dialect().skip_existing("event_id");
    let params = kept
        .flat_map(|entry| params![entry.event_id.as_str(), entry.arrival.body.as_ref()])
        .collect();
    tx.insert("inbox_bodies", &["event_id", "body"], &skip, params)
        .await
}

/// What the live stream shows of a batch: its new rows.
fn streamed_changes(
    batch: &[Arc<InboxEntry>],
    verdicts: &[Verdict],
    erased: &ErasedGuests,
) -> Option<Statement> {
    let mut changes = Changes::default();
    let mut now = None;
    for entry in new_entries(batch, verdicts) {
        changes.receive(&entry.event_id, first_status(entry, erased.holds(entry)));
        now = now.max(Some(entry.received_at));
    }
    changes.statement(now?)
}

/// The status that the row of a new entry begins with.
fn first_status(entry: &InboxEntry, erased: bool) -> EventStatus {
    if erased {
        EventStatus::Suppressed
    } else {
        entry.arrival.intake.status()
    }
}

/// The effects of a batch beyond its new rows, which are the record of their own acceptance.
fn audit_entries(batch: &[Arc<InboxEntry>], verdicts: &[Verdict], erased: &ErasedGuests) -> Vec<AuditEntry> {
    let reused = batch
        .iter()
        .zip(verdicts)
        .filter_map(|(entry, verdict)| match &verdict.accepted {
            Accepted::IdReuse(first) => Some(audit_entry(AuditAction::IdReuse, entry, first)),
            Accepted::New(_) | Accepted::Duplicate(_) => None,
        });
    let set_aside = new_entries(batch, verdicts).filter_map(|entry| {
        let action = match entry.arrival.intake {
            _ if erased.holds(entry) => AuditAction::Suppressed,
            Intake::Quarantine => AuditAction::DeadLettered,
            Intake::Fold | Intake::Ignore => return None,
        };
        Some(audit_entry(action, entry, &entry.event_id))
    });
    reused.chain(set_aside).collect()
}

fn audit_entry(action: AuditAction, entry: &InboxEntry, event_id: &EventId) -> AuditEntry {
    let envelope = &entry.arrival.envelope;
    let entity = envelope.entity.as_ref();
    AuditEntry {
        source: Some(entry.arrival.source.to_string()),
        event_id: Some(event_id.to_string()),
        property_id: envelope.property_id.as_ref().map(ToString::to_string),
        entity_kind: entity.map(|entity| entity.kind.as_str().to_owned()),
        entity_id: entity.map(|entity| entity.id.to_string()),
        entity_version: entity.and_then(|entity| i64::try_from(entity.version).ok()),
        correlation_id: Some(entry.correlation_id.clone()),
        request_id: Some(entry.request_id.to_string()),
        ..AuditEntry::new(action.into_str(), entry.received_at)
    }
}

/// The erased ones among the guests of a batch.
struct ErasedGuests(BTreeSet<GuestKey>);

impl ErasedGuests {
    /// Asks the register. A guest that is erased at this very moment is caught by the projector, or by
    /// [`suppress_erased_meanwhile`](Self::suppress_erased_meanwhile).
    async fn among(tx: &mut Tx, batch: &[Arc<InboxEntry>]) -> Result<Self, DbError> {
        let guests = batch.iter().filter_map(|entry| guest_of(entry));
        erased_among(tx, guests, ReadLock::None).await.map(Self)
    }

    /// Looks again for those whose rows are inserted by now and never come to the projector. An erasure first enters
    /// the guest into the register and then wipes its rows: either it waits for our rows, or we wait here for the
    /// register's row.
    async fn suppress_erased_meanwhile(
        &mut self,
        tx: &mut Tx,
        batch: &[Arc<InboxEntry>],
    ) -> Result<(), DbError> {
        // One writer: nothing was entered since the first look.
        if tx.dialect() == Dialect::Sqlite {
            return Ok(());
        }
        let open = |entry: &&Arc<InboxEntry>| entry.arrival.intake != Intake::Fold && !self.holds(entry);
        let open: Vec<_> = batch.iter().filter(open).collect();
        let guests = open.iter().filter_map(|entry| guest_of(entry));
        self.0.extend(erased_among(tx, guests, ReadLock::Shared).await?);
        for entry in open.into_iter().filter(|entry| self.holds(entry)) {
            let sql = "UPDATE inbox SET status = 'suppressed', salt = NULL, fingerprint = NULL, last_error = NULL \
                       WHERE event_id = ?";
            tx.execute(sql, params![entry.event_id.as_str()]).await?;
        }
        Ok(())
    }

    /// Whether the event is about one of them. A further erasure is left to the projector: it may list new aliases.
    fn holds(&self, entry: &InboxEntry) -> bool {
        if self.0.is_empty() || entry.arrival.envelope.known_type() == Some(EventType::GuestErased) {
            return false;
        }
        guest_of(entry).is_some_and(|(source, id)| {
            let (source, id) = (source.clone(), id.clone());
            self.0.contains(&GuestKey { source, id })
        })
    }
}

/// The source and the id of the guest that an event is about.
fn guest_of(entry: &InboxEntry) -> Option<(&SourceId, &EntityId)> {
    let entity = entry.arrival.envelope.entity.as_ref()?;
    (entity.kind == EntityKind::Guest).then_some((&entry.arrival.source, &entity.id))
}
