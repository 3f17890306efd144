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
use crate::ingest::{Accepted, accepted::Entry, fingerprint::Fingerprint};
use contract::{EventId, SourceId};
use kit::{
    audit,
    db::{DbError, Row, Tx, placeholders},
    failpoint, params,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// The entries of one transaction, sorted by source and key, no key twice.
pub type Batch = Arc<[Arc<Entry>]>;

/// What the database says of one entry.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// New, seen before, or another body under the same key.
    pub accepted: Accepted,
    /// The fingerprint of the row that stands, unless it was erased.
    pub fingerprint: Option<Fingerprint>,
}

/// The row that stands under a key.
struct Standing {
    event_id: EventId,
    fingerprint: Option<Fingerprint>,
}

type Standings = HashMap<(SourceId, String), Standing>;
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

async fn accept(tx: &mut Tx, batch: &[Arc<Entry>]) -> Result<Vec<Verdict>, DbError> {
    let mut erased = Erased::among(tx, batch).await?;
    insert_events(tx, batch, &erased).await?;
    failpoint::reached("accept.inside");
    erased.suppress_overtaken(tx, batch).await?;
    let standings = find_standing(tx, batch).await?;
    let verdicts = decide(batch, &standings)?;
    insert_bodies(tx, batch, &verdicts, &erased).await?;
    audit::append(tx, &audit_entries(batch, &verdicts, &erased)).await?;
    Ok(verdicts)
}

/// After an unknown commit: it took effect if any row of ours stands. A batch of repeats alone wrote nothing that
/// running it again could spoil.
async fn find_written(tx: &mut Tx, batch: &[Arc<Entry>]) -> Result<Option<Vec<Verdict>>, DbError> {
    let standings = find_standing(tx, batch).await?;
    let ours: HashSet<_> = batch.iter().map(|entry| &entry.event_id).collect();
    if standings
        .values()
        .any(|standing| ours.contains(&standing.event_id))
    {
        decide(batch, &standings).map(Some)
    } else {
        Ok(None)
    }
}

/// The rows under the batch's keys, ours or not.
async fn find_standing(tx: &mut Tx, batch: &[Arc<Entry>]) -> Result<Standings, DbError> {
    let keys = batch
        .iter()
        .map(|entry| (&entry.arrival.source, entry.arrival.key.as_str()));
    let mut standings = Standings::with_capacity(batch.len());
    for (source, keys) in by_source(keys) {
        for keys in padded(&keys) {
            let places = placeholders(1, keys.len());
            let sql = format!(
                "SELECT idempotency_key, event_id, salt, fingerprint FROM inbox \
                 WHERE source_id = ? AND idempotency_key IN {places}"
            );
            let mut params = params![source.as_str()];
            params.extend(keys.iter().map(Into::into));
            for row in tx.query(&sql, params).await? {
                let key: String = row.get("idempotency_key")?;
                standings.insert((source.clone(), key), standing(&row)?);
            }
        }
    }
    Ok(standings)
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

fn decide(batch: &[Arc<Entry>], standings: &Standings) -> Result<Vec<Verdict>, DbError> {
    let verdict = |entry: &Arc<Entry>| {
        let arrival = &entry.arrival;
        let key = (arrival.source.clone(), arrival.key.as_str().to_owned());
        let standing = standings.get(&key).ok_or(DbError::Contended)?;
        let id = standing.event_id.clone();
        let accepted = match &standing.fingerprint {
            _ if standing.event_id == entry.event_id => Accepted::New(id),
            Some(first) if !first.matches(&arrival.body) => Accepted::IdReuse(id),
            // Without a fingerprint the event was erased: whatever the body, it is a repeat.
            Some(_) | None => Accepted::Duplicate(id),
        };
        Ok(Verdict {
            accepted,
            fingerprint: standing.fingerprint,
        })
    };
    batch.iter().map(verdict).collect()
}

/// The entries that are new, in their order.
pub(super) fn new_entries<'b>(
    batch: &'b [Arc<Entry>],
    verdicts: &'b [Verdict],
) -> impl Iterator<Item = &'b Arc<Entry>> {
    let is_new = |verdict: &Verdict| matches!(verdict.accepted, Accepted::New(_));
    batch
        .iter()
        .zip(verdicts)
        .filter(move |(_, verdict)| is_new(verdict))
        .map(|(entry, _)| entry)
}
