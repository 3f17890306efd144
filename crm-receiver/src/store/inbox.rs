//! Taking a batch of arrivals in: one transaction, in which the unique key decides what is new.
//!
//! Every row carries an event id of ours. After the INSERT, which skips the keys that are there, a SELECT over all keys
//! of the batch says whose row stands: one is new if and only if its event id is ours. Affected rows decide nothing, so
//! the same holds when the transaction runs again, also after a commit of which nobody knows.

use super::{
    Store,
    batch_rows::{by_source, padded},
    erased::Erased,
    inbox_audit::audit_entries,
    inbox_rows::{insert_bodies, insert_events},
};
use crate::event::{Accepted, Fingerprint, InboxEntry};
use contract::{EventId, SourceId};
use db::{DbError, Row, Tx, failpoint, params, placeholders};
use kit::audit;
use std::sync::Arc;

/// The entries of one transaction, sorted by source and key, no key twice.
pub type Batch = Arc<[Arc<InboxEntry>]>;

/// What the database says of one entry.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// New, seen before, or another body under the same key.
    pub accepted: Accepted,
    /// The fingerprint of the row that stands, unless it was erased.
    pub fingerprint: Option<Fingerprint>,
}

/// The row that stands under an entry's key.
struct Standing {
    event_id: EventId,
    fingerprint: Option<Fingerprint>,
}

impl Store {
    /// Commits what is new of a batch and says of each entry, in order, what became of it.
    ///
    /// # Errors
    /// `LockTimeout` at the first wait over a second, so that the caller can run the batch in halves; an error of a
    /// statement means that one row at least is at fault.
    pub async fn accept_batch(&self, batch: Batch) -> Result<Vec<Verdict>, DbError> {
        let written = Arc::clone(&batch);
        self.db
            .surfacing_lock_timeouts()
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
    let mut erased = Erased::among(tx, batch).await?;
    insert_events(tx, batch, &erased).await?;
    failpoint::reached("accept.inside");
    erased.suppress_overtaken(tx, batch).await?;
    let mut standings = find_ours(tx, batch, &erased).await?;
    find_others(tx, batch, &mut standings).await?;
    let verdicts = decide(batch, standings)?;
    insert_bodies(tx, batch, &verdicts, &erased).await?;
    audit::append(tx, &audit_entries(batch, &verdicts, &erased)).await?;
    Ok(verdicts)
}

/// After an unknown commit: it took effect if any row of ours stands. A batch of repeats alone wrote nothing that
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
    erased: &Erased,
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
    for (source, keys) in by_source(keys) {
        for keys in padded(&keys) {
            let places = placeholders(1, keys.len());
            let sql =
                format!("SELECT {columns} FROM inbox WHERE source_id = ? AND idempotency_key IN {places}");
            let mut params = params![source.as_str()];
            params.extend(keys.iter().map(Into::into));
            let rows = tx.query(&sql, params).await?;
            found.extend(rows.into_iter().map(|row| (source.clone(), row)));
        }
    }
    Ok(found)
}

/// Where in the batch, which is sorted, the entry of a row stands.
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
    let event_id: String = row.get("event_id")?;
    let event_id = event_id.parse().map_err(|_| DbError::Decode {
        column: "event_id".to_owned(),
        expected: "event id",
    })?;
    let fingerprint = salt
        .zip(digest)
        .and_then(|(salt, digest)| Fingerprint::from_columns(&salt, &digest));
    Ok(Standing {
        event_id,
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
pub(super) fn new_entries<'b>(
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
