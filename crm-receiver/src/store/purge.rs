//! What is deleted once it is old enough: bodies, idempotency keys, usage of API keys, rejections, runs that have ended, the
//! live stream.
//!
//! A batch is looked for outside of a transaction and deleted in a short one, fenced by a lease, in which each row is locked and
//! looked at again: an event that was requeued meanwhile keeps its body. What is deleted is gone from the next look too, so a
//! purge that ended early is simply begun again; a position only leads past the rows that are kept.
//!
//! No profile depends on what is deleted: they are derived from `records`, `record_refs`, `timeline` and `property_days`. The
//! key of an event whose body is gone stays with its fingerprint, which knows the body.

use super::{Store, stream_batches::STREAM_BATCHES};
use crate::event::EventStatus;
use contract::UnixMillis;
use db::{
    DbError, InList, Row, Tx, Value,
    leases::{self, Lease},
    params, read_id,
};
use kit::{access::usage, listing::Index, purge::PurgeBatch};
use std::{collections::BTreeMap, sync::Arc};
use strum::{IntoStaticStr, VariantArray};

/// Rows of one transaction at most.
pub const PURGE_BATCH: usize = 200;

/// What is deleted, as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Purged {
    /// The body of an event that is decided.
    Body,
    /// The body of a dead letter.
    DeadLetterBody,
    /// An event: its key, its status, and its body if it still has one.
    IdempotencyKey,
    /// What an API key asked for in a day.
    ApiKeyUsage,
    /// A delivery that was refused.
    Rejection,
    /// A run that has ended.
    Requeue,
    /// A batch of the live stream.
    StreamBatch,
}

/// What a purge goes through, a batch of each in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum PurgeTarget {
    /// The bodies of events.
    Bodies,
    /// The events themselves.
    IdempotencyKeys,
    /// The usage of API keys.
    ApiKeyUsage,
    /// Deliveries that were refused.
    Rejections,
    /// Runs that requeued dead letters.
    Requeues,
    /// The live stream.
    Stream,
}

impl kit::purge::PurgeTarget for PurgeTarget {}

/// What is older is deleted.
#[derive(Clone, Copy, Debug)]
pub struct PurgeBefore {
    /// Bodies of events received before.
    pub bodies: UnixMillis,
    /// Bodies of dead letters received before.
    pub dead_letter_bodies: UnixMillis,
    /// Events received before.
    pub idempotency_keys: UnixMillis,
    /// Days that began before.
    pub api_key_usage: UnixMillis,
    /// Deliveries that were refused before.
    pub rejections: UnixMillis,
    /// Runs that were begun before, and have ended.
    pub requeues: UnixMillis,
    /// Batches of the stream that were written before, and have a place.
    pub stream: UnixMillis,
}

/// How far a purge of a target is, in the order of its index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgePosition {
    at: i64,
    id: String,
}

/// The rows that a batch may delete.
#[derive(Default)]
struct Found {
    rows: Vec<FoundRow>,
    oldest_overdue_ms: Option<i64>,
    next: Option<PurgePosition>,
}

struct FoundRow {
    what: Purged,
    id: String,
    /// Rows of the table that go with it.
    count: u64,
}

impl Store {
    /// Deletes the next rows of a target, at most [`PURGE_BATCH`], or without a lease only counts them. None when the lease is
    /// another's by now.
    ///
    /// # Errors
    /// Those of the database; nothing of the batch is deleted then, or all of it.
    pub async fn purge_batch(
        &self,
        target: PurgeTarget,
        before: PurgeBefore,
        after: PurgePosition,
        lease: Option<&Lease>,
    ) -> Result<Option<PurgeBatch<Purged, PurgePosition>>, DbError> {
        let db = self.db.answering_after_abort();
        let found = db.read("purge_find", move |tx| {
            let after = after.clone();
            Box::pin(async move { find(tx, target, before, &after).await })
        });
        let found = Arc::new(found.await?);
        let (next, oldest_overdue_ms) = (found.next.clone(), found.oldest_overdue_ms);
        let counted = match lease {
            None => Some(tally(found.rows.iter())),
            Some(_) if found.rows.is_empty() => Some(BTreeMap::new()),
            Some(lease) => {
                let lease = lease.clone();
                let delete = db.transaction("purge", move |tx| {
                    let (lease, found) = (lease.clone(), Arc::clone(&found));
                    Box::pin(async move {
                        if !leases::fence(tx, &lease).await? {
                            tx.abandon();
                            return Ok(None);
                        }
                        delete(tx, target, before, &found.rows).await.map(Some)
                    })
                });
                delete.await?
            }
        };
        Ok(counted.map(|purged| PurgeBatch {
            purged,
            oldest_overdue_ms,
            next,
        }))
    }
}

impl PurgeBefore {
    /// What goes of an event of that status and age, and how long ago it should have gone, in milliseconds; None while its
    /// body is kept.
    fn body(&self, status: EventStatus, received_at: UnixMillis) -> Option<(Purged, i64)> {
        let (what, before) = match status {
            EventStatus::Accepted => return None,
            EventStatus::DeadLetter => (Purged::DeadLetterBody, self.dead_letter_bodies),
            EventStatus::Applied | EventStatus::Stale | EventStatus::Ignored | EventStatus::Suppressed => {
                (Purged::Body, self.bodies)
            }
        };
        (received_at < before).then(|| (what, before.0 - received_at.0))
    }
}

fn tally<'f>(rows: impl Iterator<Item = &'f FoundRow>) -> BTreeMap<Purged, u64> {
    let mut tally = BTreeMap::new();
    for row in rows {
        *tally.entry(row.what).or_default() += row.count;
    }
    tally
}

async fn find(
    tx: &mut Tx,
    target: PurgeTarget,
    before: PurgeBefore,
    after: &PurgePosition,
) -> Result<Found, DbError> {
    match target {
        PurgeTarget::Bodies => find_bodies(tx, before, after).await,
        PurgeTarget::IdempotencyKeys => {
            let rows = in_order(
                tx,
                Ordered {
                    id: "event_id",
                    is_numbered: false,
                    table: "inbox",
                    column: "received_at",
                    index: "inbox_received",
                    condition: "status <> 'accepted'",
                },
                before.idempotency_keys,
                after,
            );
            Ok(found(Purged::IdempotencyKey, rows.await?))
        }
        PurgeTarget::ApiKeyUsage => {
            let batch = usage::before(tx, before.api_key_usage, &after.id).await?;
            let row = |(id, count)| FoundRow {
                what: Purged::ApiKeyUsage,
                id,
                count,
            };
            Ok(Found {
                rows: batch.keys.into_iter().map(row).collect(),
                next: batch.next.map(|id| PurgePosition { at: 0, id }),
                ..Found::default()
            })
        }
        PurgeTarget::Rejections => {
            let rows = in_order(
                tx,
                Ordered {
                    id: "id",
                    is_numbered: false,
                    table: "rejections",
                    column: "at",
                    index: "rejections_at",
                    condition: "1 = 1",
                },
                before.rejections,
                after,
            );
            Ok(found(Purged::Rejection, rows.await?))
        }
        PurgeTarget::Requeues => {
            let rows = in_order(
                tx,
                Ordered {
                    id: "id",
                    is_numbered: false,
                    table: "requeues",
                    column: "created_at",
                    index: "requeues_created",
                    condition: "status <> 'running'",
                },
                before.requeues,
                after,
            );
            Ok(found(Purged::Requeue, rows.await?))
        }
        PurgeTarget::Stream => {
            // By their age, not by their places: one that was written by a clock ahead of the others keeps no other.
            let rows = in_order(
                tx,
                Ordered {
                    id: "id",
                    is_numbered: true,
                    table: STREAM_BATCHES,
                    column: "created_at",
                    index: "stream_batches_created",
                    condition: "seq IS NOT NULL",
                },
                before.stream,
                after,
            );
            Ok(found(Purged::StreamBatch, rows.await?))
        }
    }
}

/// Bodies in the order of their ids, which is that of their arrival: it ends where all of a batch are too young.
async fn find_bodies(tx: &mut Tx, before: PurgeBefore, after: &PurgePosition) -> Result<Found, DbError> {
    let sql = "SELECT inbox_bodies.event_id, status, received_at FROM inbox_bodies \
               LEFT JOIN inbox ON inbox.event_id = inbox_bodies.event_id \
               WHERE inbox_bodies.event_id > ? ORDER BY inbox_bodies.event_id LIMIT ?";
    let mut found = Found::default();
    let mut is_young = true;
    let rows = tx.query(sql, params![&after.id, PURGE_BATCH]).await?;
    for row in &rows {
        let id: String = row.get("event_id")?;
        found.next = Some(PurgePosition {
            at: 0,
            id: id.clone(),
        });
        // A body without an event is left of a probe of the database.
        let Some(received_at) = row.get::<Option<UnixMillis>>("received_at")? else {
            continue;
        };
        is_young &= received_at >= before.bodies.max(before.dead_letter_bodies);
        if let Some((what, overdue)) = before.body(read_id(row, "status")?, received_at) {
            found.oldest_overdue_ms = found.oldest_overdue_ms.max(Some(overdue));
            found.rows.push(FoundRow { what, id, count: 1 });
        }
    }
    if is_young || rows.len() < PURGE_BATCH {
        found.next = None;
    }
    Ok(found)
}

/// A table that is purged in the order of a time.
struct Ordered {
    id: &'static str,
    /// Whether ids are numbers; positions have them as texts.
    is_numbered: bool,
    table: &'static str,
    column: &'static str,
    index: &'static str,
    condition: &'static str,
}

/// The next rows behind a position: those of the same time, then later ones. Two queries, since MariaDB uses no index for a
/// comparison of row values.
async fn in_order(
    tx: &mut Tx,
    ordered: Ordered,
    before: UnixMillis,
    after: &PurgePosition,
) -> Result<Vec<PurgePosition>, DbError> {
    let Ordered {
        id,
        is_numbered,
        table,
        column,
        index,
        condition,
    } = ordered;
    let index = Index::Named(index).hint(tx.dialect());
    let after_id: Value = match is_numbered {
        true => after.id.parse::<i64>().unwrap_or_default().into(),
        false => (&after.id).into(),
    };
    let mut rows = Vec::new();
    for (stretch, bounds) in [
        (
            format!("{column} = ? AND {id} > ? AND {column} < ?"),
            params![after.at, after_id, before],
        ),
        (
            format!("{column} > ? AND {column} < ?"),
            params![after.at, before],
        ),
    ] {
        let sql = format!(
            "SELECT {column} AS at, {id} AS id FROM {table}{index} WHERE {stretch} AND {condition} \
             ORDER BY {column}, {id} LIMIT ?"
        );
        let mut params = bounds;
        params.push((PURGE_BATCH - rows.len()).into());
        for row in &tx.query(&sql, params).await? {
            rows.push(PurgePosition {
                at: row.get("at")?,
                id: match is_numbered {
                    true => row.get::<i64>("id")?.to_string(),
                    false => row.get("id")?,
                },
            });
        }
        if rows.len() == PURGE_BATCH {
            break;
        }
    }
    Ok(rows)
}

fn found(what: Purged, rows: Vec<PurgePosition>) -> Found {
    Found {
        oldest_overdue_ms: None,
        next: rows.last().filter(|_| rows.len() == PURGE_BATCH).cloned(),
        rows: rows
            .into_iter()
            .map(|PurgePosition { id, .. }| FoundRow { what, id, count: 1 })
            .collect(),
    }
}

/// Deletes those of the rows that are still to be deleted.
async fn delete(
    tx: &mut Tx,
    target: PurgeTarget,
    before: PurgeBefore,
    rows: &[FoundRow],
) -> Result<BTreeMap<Purged, u64>, DbError> {
    match target {
        PurgeTarget::Bodies => {
            let mut going = Vec::new();
            for row in lock_events(tx, rows, LockKind::Shared).await? {
                if let Some((what, _)) = before.body(read_id(&row, "status")?, row.get("received_at")?) {
                    let id = row.get("event_id")?;
                    going.push(FoundRow { what, id, count: 1 });
                }
            }
            delete_by(tx, "inbox_bodies", "event_id", ids(&going)).await?;
            Ok(tally(going.iter()))
        }
        PurgeTarget::IdempotencyKeys => {
            let locked = lock_events(tx, rows, LockKind::Exclusive).await?;
            let mut going = BTreeMap::<Purged, Vec<String>>::new();
            for row in &locked {
                let body = match read_id::<EventStatus>(row, "status")? {
                    EventStatus::Accepted => continue,
                    EventStatus::DeadLetter => Purged::DeadLetterBody,
                    _ => Purged::Body,
                };
                going.entry(body).or_default().push(row.get("event_id")?);
            }
            let mut purged = BTreeMap::new();
            for (body, ids) in going {
                // Where the purge of bodies has not come to them yet.
                purged.insert(
                    body,
                    delete_by(tx, "inbox_bodies", "event_id", ids.clone()).await?,
                );
                *purged.entry(Purged::IdempotencyKey).or_default() +=
                    delete_by(tx, "inbox", "event_id", ids).await?;
            }
            Ok(purged)
        }
        PurgeTarget::ApiKeyUsage => {
            let mut count = 0;
            for row in rows {
                count += usage::delete_before(tx, &row.id, before.api_key_usage).await?;
            }
            Ok(BTreeMap::from([(Purged::ApiKeyUsage, count)]))
        }
        PurgeTarget::Rejections => {
            let count = delete_by(tx, "rejections", "id", ids(rows)).await?;
            Ok(BTreeMap::from([(Purged::Rejection, count)]))
        }
        PurgeTarget::Requeues => {
            delete_by(tx, "requeue_properties", "requeue_id", ids(rows)).await?;
            let count = delete_by(tx, "requeues", "id", ids(rows)).await?;
            Ok(BTreeMap::from([(Purged::Requeue, count)]))
        }
        PurgeTarget::Stream => {
            let list = InList::of(rows.iter().filter_map(|row| row.id.parse::<i64>().ok()));
            let sql = format!("DELETE FROM {STREAM_BATCHES} WHERE id IN {list}");
            let count = tx.execute(&sql, list.into_params()).await?;
            Ok(BTreeMap::from([(Purged::StreamBatch, count)]))
        }
    }
}

fn ids(rows: &[FoundRow]) -> Vec<String> {
    rows.iter().map(|row| row.id.clone()).collect()
}

/// Whether others may read a row meanwhile to lock it too.
#[derive(Clone, Copy)]
enum LockKind {
    Shared,
    Exclusive,
}

/// Locks events, so that none is requeued before the commit, and reads how they are. SQLite has one writer.
async fn lock_events(tx: &mut Tx, rows: &[FoundRow], kind: LockKind) -> Result<Vec<Row>, DbError> {
    let primary = Index::Primary.hint(tx.dialect());
    let lock = match kind {
        LockKind::Shared => tx.dialect().in_share_mode(),
        LockKind::Exclusive => tx.dialect().for_update(),
    };
    let list = InList::of(rows.iter().map(|row| &row.id));
    let sql = format!(
        "SELECT event_id, status, received_at FROM inbox{primary} WHERE event_id IN {list} ORDER BY event_id{lock}"
    );
    tx.query(&sql, list.into_params()).await
}

async fn delete_by(tx: &mut Tx, table: &str, column: &str, ids: Vec<String>) -> Result<u64, DbError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let list = InList::of(&ids);
    let sql = format!("DELETE FROM {table} WHERE {column} IN {list}");
    tx.execute(&sql, list.into_params()).await
}
