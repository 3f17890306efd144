//! The batches of runs.
//!
//! A run goes through the dead letters in the order of the index `inbox_due`, batch by batch. Its position is written in the
//! transaction of each batch, fenced by a lease, so that after a crash another process continues there. No more than
//! [`WAITING_MAX`] events of all runs together wait for the projector at a time, since each that fails again is tried alone:
//! their ids are in `requeued_waiting`. An event that was requeued since the run began is passed over, so that one which fails
//! again is not requeued without end.

use super::{
    REQUEUE_KIND, RUNNING_MAX, Requeue, RequeueStatus, SELECT, fitting, from_dead_letters, read_requeue,
};
use crate::{
    event::{AuditAction, EventStatus},
    store::{
        EventFilter, Store,
        dead_letters::{REQUEUE_BATCH, requeue},
    },
};
use contract::UnixMillis;
use db::{
    DbError, InList, Params, Tx,
    leases::{self, Lease},
    params,
};
use kit::audit::{self, AuditEntry};
use std::{sync::Arc, time::Duration};

/// Events of all runs that wait for the projector at most.
pub const WAITING_MAX: usize = 2 * REQUEUE_BATCH;
/// Dead letters that one batch looks at, at most.
const LOOKED_AT_MAX: usize = 1_000;
/// How long a replica holds the lease without renewing it, which each batch does.
pub const REQUEUE_LEASE: Duration = Duration::from_secs(30);
/// The lease of all runs.
const LEASE: &str = "requeues";

/// What a batch of a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequeueBatch {
    /// So many events were requeued; there may be more.
    Worked(usize),
    /// So many events of all runs wait, and there is no room for a batch more.
    Full(usize),
    /// The same, and that was the last.
    Finished(usize),
    /// It has ended, or another replica has gone on with it.
    Overtaken,
    /// The lease is another's.
    Lost,
}

impl RequeueBatch {
    /// How many events were requeued.
    pub fn requeued(self) -> usize {
        match self {
            Self::Worked(events) | Self::Finished(events) => events,
            Self::Full(_) | Self::Overtaken | Self::Lost => 0,
        }
    }
}

/// The part of the inbox that one batch takes.
struct Stretch {
    /// Events that do not wait any more.
    decided: Vec<String>,
    ids: Vec<String>,
    last: (i64, String),
    is_last: bool,
}

impl Store {
    /// The runs that are not at their end, first the one whose last batch is the longest ago.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn running_requeues(&self) -> Result<Vec<Requeue>, DbError> {
        self.db
            .read("running_requeues", |tx| {
                Box::pin(async move {
                    let sql = format!(
                        "{SELECT} WHERE status = 'running' ORDER BY updated_at, created_at, id LIMIT ?"
                    );
                    let rows = tx.query(&sql, params![RUNNING_MAX]).await?;
                    rows.iter().map(read_requeue).collect()
                })
            })
            .await
    }

    /// Claims the lease of all runs, with a commit of its own; None when another holds it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn claim_requeues(&self, owner: &str, now: UnixMillis) -> Result<Option<Lease>, DbError> {
        let owner = owner.to_owned();
        self.db
            .transaction("claim_requeues", move |tx| {
                let owner = owner.clone();
                Box::pin(async move { leases::claim(tx, LEASE, &owner, now, REQUEUE_LEASE).await })
            })
            .await
    }

    /// Lengthens the lease of all runs; None when it is another's by now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn renew_requeues(&self, lease: &Lease, now: UnixMillis) -> Result<Option<Lease>, DbError> {
        let lease = lease.clone();
        self.db
            .transaction("renew_requeues", move |tx| {
                let lease = lease.clone();
                Box::pin(async move { leases::renew(tx, &lease, now, REQUEUE_LEASE).await })
            })
            .await
    }

    /// Gives a lease up, so that another replica need not wait for its end.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn release(&self, lease: Lease) -> Result<(), DbError> {
        self.db
            .transaction("release_lease", move |tx| {
                let lease = lease.clone();
                Box::pin(async move { leases::release(tx, &lease).await })
            })
            .await
    }

    /// Takes the requeued events that do not wait any more off their list, where no run does; how many are left.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_decided_requeued(&self) -> Result<u64, DbError> {
        self.db
            .transaction("forget_decided_requeued", |tx| {
                Box::pin(async move {
                    let (waiting, decided) = listed(tx).await?;
                    note_waiting(tx, &decided, &[]).await?;
                    Ok(waiting as u64)
                })
            })
            .await
    }

    /// The next batch of a run, unless too many events wait.
    ///
    /// # Errors
    /// Those of the database; nothing of the batch is written then, or all of it and its position.
    pub async fn requeue_batch(
        &self,
        run: &Requeue,
        lease: &Lease,
        now: UnixMillis,
    ) -> Result<RequeueBatch, DbError> {
        let db = self.db.answering_after_abort();
        let filter = run.event_filter()?;
        let reading = run.clone();
        // Read outside of the transaction: on SQLite arrivals wait for it. Each event is looked at again there.
        let next = db.read("requeue_next", move |tx| {
            let (run, filter) = (reading.clone(), filter.clone());
            Box::pin(async move { next(tx, &run, &filter).await })
        });
        let stretch = match next.await? {
            Ok(stretch) => stretch,
            Err(waiting) => return Ok(RequeueBatch::Full(waiting)),
        };
        let (run, lease, stretch) = (run.clone(), lease.clone(), Arc::new(stretch));
        db.transaction("requeue_batch", move |tx| {
            let (run, lease, stretch) = (run.clone(), lease.clone(), Arc::clone(&stretch));
            Box::pin(async move { work(tx, run, &lease, &stretch, now).await })
        })
        .await
    }
}

/// What the next batch takes; how many events wait while these are too many.
async fn next(tx: &mut Tx, run: &Requeue, filter: &EventFilter) -> Result<Result<Stretch, usize>, DbError> {
    let walk = &run.walk;
    let (waiting, decided) = listed(tx).await?;
    if waiting + REQUEUE_BATCH > WAITING_MAX {
        return Ok(Err(waiting));
    }
    let mut stretch = Stretch {
        decided,
        ids: Vec::new(),
        last: (walk.last_due_at, walk.last_event_id.clone()),
        is_last: false,
    };
    let mut looked_at = 0;
    while stretch.ids.len() < REQUEUE_BATCH && looked_at < LOOKED_AT_MAX && !stretch.is_last {
        let mut rows = dead_letters(tx, run, filter, &stretch.last).await?.into_iter();
        looked_at += rows.len();
        let is_all = rows.len() <= REQUEUE_BATCH;
        for (due_at, id, fits) in rows.by_ref() {
            stretch.last = (due_at, id.clone());
            if fits {
                stretch.ids.push(id);
            }
            if stretch.ids.len() == REQUEUE_BATCH {
                break;
            }
        }
        stretch.is_last = is_all && rows.next().is_none();
    }
    Ok(Ok(stretch))
}

/// Of the events that runs have requeued: how many wait, and which do not any more.
async fn listed(tx: &mut Tx) -> Result<(usize, Vec<String>), DbError> {
    let sql = "SELECT requeued_waiting.event_id, status FROM requeued_waiting \
               LEFT JOIN inbox ON inbox.event_id = requeued_waiting.event_id";
    let (mut waiting, mut decided) = (0, Vec::new());
    for row in &tx.query(sql, Params::new()).await? {
        let status: Option<String> = row.get("status")?;
        if status.as_deref() == Some(EventStatus::Accepted.into_str()) {
            waiting += 1;
        } else {
            decided.push(row.get("event_id")?);
        }
    }
    Ok((waiting, decided))
}

/// The dead letters behind a position of a run, one more than fit into a batch, and whether each is one to requeue.
async fn dead_letters(
    tx: &mut Tx,
    run: &Requeue,
    filter: &EventFilter,
    (last_due_at, last_event_id): &(i64, String),
) -> Result<Vec<(i64, String, bool)>, DbError> {
    let rows_max = REQUEUE_BATCH + 1;
    let same = "due_at = ? AND event_id > ?";
    let further = "due_at > ? AND due_at <= ?";
    let mut found = Vec::new();
    for (condition, bounds) in [
        (same, params![*last_due_at, last_event_id]),
        (further, params![*last_due_at, run.walk.due_at_max]),
    ] {
        let (fits, mut params) = fitting(tx, filter);
        let from = from_dead_letters(tx);
        let sql = format!(
            "SELECT due_at, event_id, CASE WHEN (requeued_at IS NULL OR requeued_at < ?) AND {fits} THEN 1 ELSE 0 END \
             AS fits {from} AND {condition} ORDER BY due_at, event_id LIMIT ?"
        );
        params.insert(0, run.created_at.into());
        params.extend(bounds);
        params.push((rows_max - found.len()).into());
        for row in &tx.query(&sql, params).await? {
            found.push((row.get("due_at")?, row.get("event_id")?, row.get("fits")?));
        }
        if found.len() == rows_max {
            break;
        }
    }
    Ok(found)
}

/// One batch and the position behind it, fenced by the lease.
async fn work(
    tx: &mut Tx,
    mut run: Requeue,
    lease: &Lease,
    stretch: &Stretch,
    now: UnixMillis,
) -> Result<RequeueBatch, DbError> {
    if leases::renew(tx, lease, now, REQUEUE_LEASE).await?.is_none() {
        tx.abandon();
        return Ok(RequeueBatch::Lost);
    }
    // Never before the run began, which another clock may have said.
    let at = now.max(run.created_at);
    let done = requeue(tx, &stretch.ids, &run.created_by, at).await?;
    let count = done.requeued.len();
    run.requeued += count as u64;
    run.skipped += done.without_body as u64;
    note_waiting(tx, &stretch.decided, &done.requeued).await?;
    let status = if stretch.is_last {
        RequeueStatus::Finished
    } else {
        RequeueStatus::Running
    };
    let sql = "UPDATE requeues SET status = ?, updated_at = ?, ended_at = ?, requeued = ?, skipped = ?, last_due_at = ?, \
               last_event_id = ? \
               WHERE id = ? AND status = 'running' AND last_due_at = ? AND last_event_id = ?";
    let params = params![
        status.into_str(),
        at,
        stretch.is_last.then_some(at),
        run.requeued,
        run.skipped,
        stretch.last.0,
        &stretch.last.1,
        run.id.as_str(),
        run.walk.last_due_at,
        &run.walk.last_event_id,
    ];
    if tx.execute(sql, params).await? == 0 {
        tx.abandon();
        return Ok(RequeueBatch::Overtaken);
    }
    if !stretch.is_last {
        return Ok(RequeueBatch::Worked(count));
    }
    let entry = AuditEntry {
        actor: Some(run.created_by.clone()),
        entity_kind: Some(REQUEUE_KIND.to_owned()),
        entity_id: Some(run.id.to_string()),
        outcome: run.outcome(),
        ..AuditEntry::new(AuditAction::RequeueFinished.into_str(), at)
    };
    audit::append(tx, &[entry]).await?;
    Ok(RequeueBatch::Finished(count))
}

/// Forgets those that do not wait any more, and notes those that wait from now on: one may be both.
async fn note_waiting(tx: &mut Tx, decided: &[String], requeued: &[String]) -> Result<(), DbError> {
    if !decided.is_empty() {
        let list = InList::of(decided);
        let sql = format!("DELETE FROM requeued_waiting WHERE event_id IN {list}");
        tx.execute(&sql, list.into_params()).await?;
    }
    let skip = tx.dialect().skip_existing("event_id");
    let ids = requeued.iter().map(Into::into).collect();
    tx.insert("requeued_waiting", &["event_id"], &skip, ids).await
}
