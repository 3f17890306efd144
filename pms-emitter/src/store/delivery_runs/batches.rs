//! The batches of runs.
//!
//! The position of a run is written in the transaction of each batch, fenced by a lease, so that after a crash another process goes on
//! there, and what was made due is made due once. No more than [`WAITING_MAX`] deliveries of a run wait at a time: their ids are in
//! `delivery_run_waiting`, from which those that were settled are taken by the next batch. They are due by the present time, as retries
//! are, and so first attempts of fresh events keep their share of each claim.

use super::{DeliveryRun, RUNNING_MAX, SELECT, end, read_run};
use crate::domain::{
    audit_action::AuditAction,
    delivery::DeliveryStatus,
    delivery_run::{RunKind, RunStatus},
    filter::Filter,
    notice::WEBHOOK,
    subscription::{EventFacts, Subscription},
};
use crate::store::{
    BATCH_MAX, Store,
    redelivery::{became_due, make_due_now},
};
use contract::{UnixMillis, id::EndpointId};
use db::{
    DbError, InList, Params, Tx, in_lists,
    leases::{self, Lease},
    params, read_id,
};
use kit::audit::{self, AuditEntry};
use kit::listing::Index;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Deliveries of one run that wait at a time at most.
pub const WAITING_MAX: usize = 200;
/// How long a replica holds the lease without renewing it, which each batch does.
pub const RUN_LEASE: Duration = Duration::from_secs(30);
/// The lease of all runs.
const LEASE: &str = "delivery_runs";
/// Deliveries that one batch makes due.
const BATCH: usize = BATCH_MAX;
/// Events or dead deliveries that one batch looks at, at most.
const LOOKED_AT_MAX: usize = 1_000;
/// Bodies that are read at a time for a filter over payloads, and how many bytes a batch reads before it takes what it has.
const BODIES_AT_ONCE: usize = 16;
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a dry run looks at, and how many bytes of bodies it reads for a filter, at most.
pub const COUNTED_MAX: usize = 20_000;
const COUNTED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a batch of a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunBatch {
    /// So many deliveries were made due; there may be more.
    Worked(usize),
    /// So many of the run wait, and there is no room for a batch more.
    Full(usize),
    /// The same as `Worked`, and that was the last.
    Finished(usize),
    /// Its endpoint was deleted, and it is ended.
    Cancelled,
    /// It has ended, or somebody else has changed what it was to make due: it looks again.
    Overtaken,
    /// The lease is another's.
    Lost,
}

/// What a run would find, as far as was looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunCount {
    /// What fits.
    pub matching: u64,
    /// Of these, without a body.
    pub without_body: u64,
    /// Whether that is all.
    pub complete: bool,
}

/// The part that one batch takes.
#[derive(Clone, Debug, Default)]
struct Stretch {
    /// Made due before, and waiting no more.
    settled: Vec<String>,
    ids: Vec<String>,
    last: (i64, String),
    is_last: bool,
}

/// How much one look may take.
struct Bounds {
    ids: usize,
    looked_at: usize,
    bytes: usize,
}

const OF_BATCH: Bounds = Bounds {
    ids: BATCH,
    looked_at: LOOKED_AT_MAX,
    bytes: BODY_BYTES_MAX,
};

impl Store {
    /// The runs that are not at their end, first the one whose last batch is the longest ago.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn runs_in_progress(&self) -> Result<Vec<DeliveryRun>, DbError> {
        self.db
            .read("runs_in_progress", |tx| {
                Box::pin(async move {
                    let sql = format!(
                        "{SELECT} WHERE status = 'running' ORDER BY updated_at, created_at, id LIMIT ?"
                    );
                    let rows = tx.query(&sql, params![RUNNING_MAX]).await?;
                    rows.iter().map(read_run).collect()
                })
            })
            .await
    }

    /// Claims the lease of all runs, with a commit of its own; None when another holds it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn claim_runs(&self, owner: &str, now: UnixMillis) -> Result<Option<Lease>, DbError> {
        self.repeatable("claim_runs", (owner.to_owned(), now), |tx, (owner, now)| {
            Box::pin(async move { leases::claim(tx, LEASE, owner, *now, RUN_LEASE).await })
        })
        .await
    }

    /// Lengthens the lease of all runs; None when it is another's by now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn renew_runs(&self, lease: &Lease, now: UnixMillis) -> Result<Option<Lease>, DbError> {
        self.repeatable("renew_runs", (lease.clone(), now), |tx, (lease, now)| {
            Box::pin(async move { leases::renew(tx, lease, *now, RUN_LEASE).await })
        })
        .await
    }

    /// Gives the lease up, so that another replica need not wait for its end.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn release_runs(&self, lease: Lease) -> Result<(), DbError> {
        self.repeatable("release_runs", lease, |tx, lease| {
            Box::pin(async move { leases::release(tx, lease).await })
        })
        .await
    }

    /// The next batch of a run, unless too many of its deliveries wait.
    ///
    /// # Errors
    /// Those of the database; nothing of the batch is written then, or all of it and its position.
    pub async fn run_batch(
        &self,
        run: &DeliveryRun,
        lease: &Lease,
        now: UnixMillis,
    ) -> Result<RunBatch, DbError> {
        let reading = run.clone();
        // Read outside of the transaction: on SQLite every write waits for it. What is found is looked at again there.
        let next = self.db.read("run_next", move |tx| {
            let run = reading.clone();
            Box::pin(async move { next(tx, &run).await })
        });
        let stretch = match next.await? {
            Next::Stretch(stretch) => Some(stretch),
            Next::Full(waiting) => return Ok(RunBatch::Full(waiting)),
            Next::EndpointDeleted => None,
        };
        let work = (run.clone(), lease.clone(), stretch, now);
        let store = Self {
            db: self.db.answering_after_abort(),
            ..self.clone()
        };
        store
            .repeatable("run_batch", work, |tx, (run, lease, stretch, now)| {
                Box::pin(work_on(tx, run, lease, stretch.as_ref(), *now))
            })
            .await
    }

    /// Counts what a run would make due, without changing anything.
    ///
    /// # Errors
    /// Those of the database; `Unavailable` when too many lists are being read.
    pub async fn count_for_run(&self, run: &DeliveryRun) -> Result<RunCount, DbError> {
        let run = run.clone();
        self.lists
            .read("count_for_run", move |tx| {
                let run = run.clone();
                Box::pin(async move { count(tx, run).await })
            })
            .await
    }
}

/// What the next batch takes.
enum Next {
    Stretch(Stretch),
    /// Nothing, while so many wait.
    Full(usize),
    EndpointDeleted,
}

async fn next(tx: &mut Tx, run: &DeliveryRun) -> Result<Next, DbError> {
    let (waiting, settled) = waiting(tx, run).await?;
    if waiting + BATCH > WAITING_MAX {
        return Ok(Next::Full(waiting));
    }
    let Some(wanted) = wanted(tx, &run.endpoint).await? else {
        return Ok(Next::EndpointDeleted);
    };
    let stretch = look(tx, run, &wanted, &OF_BATCH).await?;
    Ok(Next::Stretch(Stretch { settled, ..stretch }))
}

/// Of what a run has made due: how many wait, and which do not any more.
pub(super) async fn waiting(tx: &mut Tx, run: &DeliveryRun) -> Result<(usize, Vec<String>), DbError> {
    let sql = "SELECT w.event_id, d.status FROM delivery_run_waiting w
         LEFT JOIN deliveries d ON d.endpoint_id = ? AND d.event_id = w.event_id WHERE w.run_id = ?";
    let (mut waiting, mut settled) = (0, Vec::new());
    for row in &tx
        .query(sql, params![run.endpoint.as_str(), run.id.as_str()])
        .await?
    {
        let status: Option<String> = row.get("status")?;
        if status.as_deref() == Some(DeliveryStatus::Pending.as_str()) {
            waiting += 1;
        } else {
            settled.push(row.get("event_id")?);
        }
    }
    Ok((waiting, settled))
}

/// What an endpoint gets now: by types and properties, and by its filter.
struct Wanted {
    subscription: Subscription,
    filter: Option<Filter>,
}

/// What an endpoint gets now; none when it was deleted.
async fn wanted(tx: &mut Tx, endpoint: &EndpointId) -> Result<Option<Wanted>, DbError> {
    let sql = "SELECT event_types, property_ids, filter FROM endpoints WHERE id = ? AND deleted_at IS NULL";
    let row = tx.query_one(sql, params![endpoint.as_str()]).await?;
    let read = row.map(|row| {
        let (types, properties): (String, String) = (row.get("event_types")?, row.get("property_ids")?);
        let filter: Option<String> = row.get("filter")?;
        let filter = filter.map(|text| serde_json::from_str(&text)).transpose();
        Ok(Wanted {
            subscription: Subscription::read(&types, &properties)
                .map_err(|_| DbError::unreadable("property_ids"))?,
            filter: filter.map_err(|_| DbError::unreadable("filter"))?,
        })
    });
    read.transpose()
}

/// The next of a run, within bounds.
async fn look(tx: &mut Tx, run: &DeliveryRun, wanted: &Wanted, bounds: &Bounds) -> Result<Stretch, DbError> {
    match run.kind {
        RunKind::Recover => dead(tx, run, bounds).await,
        RunKind::Replay => matching(tx, run, wanted, bounds).await,
    }
}

/// The next dead ones, by when they died.
async fn dead(tx: &mut Tx, run: &DeliveryRun, bounds: &Bounds) -> Result<Stretch, DbError> {
    let (walk, wanted) = (&run.walk, bounds.ids.min(bounds.looked_at));
    let index = Index::Named("deliveries_due").hint(tx.dialect());
    let (same, further) = ("due_at = ? AND event_id > ?", "due_at > ? AND due_at <= ?");
    let mut found: Vec<(i64, String)> = Vec::new();
    for (condition, values) in [
        (same, params![walk.last_place, &walk.last_event_id]),
        (further, params![walk.last_place, walk.last_place_max]),
    ] {
        if walk.last_event_id.is_empty() && condition == same {
            // It has looked at none yet, and begins behind this instant.
            continue;
        }
        let sql = format!(
            "SELECT due_at, event_id FROM deliveries{index} WHERE endpoint_id = ? AND status = 'dead' AND {condition}
             ORDER BY due_at, event_id LIMIT ?"
        );
        let mut all = params![run.endpoint.as_str()];
        all.extend(values);
        all.push((wanted + 1 - found.len()).into());
        for row in &tx.query(&sql, all).await? {
            found.push((row.get("due_at")?, row.get("event_id")?));
        }
        if found.len() > wanted {
            break;
        }
    }
    let is_last = found.len() <= wanted;
    found.truncate(wanted);
    let last = found.last().cloned();
    Ok(Stretch {
        last: last.unwrap_or_else(|| (walk.last_place, walk.last_event_id.clone())),
        ids: found.into_iter().map(|(_, id)| id).collect(),
        is_last,
        ..Stretch::default()
    })
}

/// The next events that match, in the order of their places.
async fn matching(
    tx: &mut Tx,
    run: &DeliveryRun,
    wanted: &Wanted,
    bounds: &Bounds,
) -> Result<Stretch, DbError> {
    let sql = "SELECT id, feed_seq, type, property_id, entity_kind, entity_id, committed_at FROM events
         WHERE feed_seq > ? AND feed_seq <= ? ORDER BY feed_seq LIMIT ?";
    let values = params![run.walk.last_place, run.walk.last_place_max, bounds.looked_at + 1];
    let rows = tx.query(sql, values).await?;
    let mut stretch = Stretch {
        last: (run.walk.last_place, String::new()),
        is_last: rows.len() <= bounds.looked_at,
        ..Stretch::default()
    };
    let mut candidates: Vec<(i64, String)> = Vec::new();
    let mut looked_at = run.walk.last_place;
    for row in rows.iter().take(bounds.looked_at) {
        let (event_type, property_id): (String, Option<String>) = (row.get("type")?, row.get("property_id")?);
        let at: UnixMillis = row.get("committed_at")?;
        let (kind, entity): (Option<String>, Option<String>) =
            (row.get("entity_kind")?, row.get("entity_id")?);
        let facts = EventFacts {
            event_type: &event_type,
            about: entity.as_deref().filter(|_| kind.as_deref() == Some(WEBHOOK)),
            property_id: property_id.as_deref(),
        };
        looked_at = row.get("feed_seq")?;
        if (run.begins_at..run.ends_at).contains(&at)
            && wanted.subscription.matches(run.endpoint.as_str(), facts)
        {
            candidates.push((looked_at, row.get("id")?));
        }
    }
    // The endpoint's own, and that of the run.
    let filters: Vec<&Filter> = wanted.filter.iter().chain(&run.filter).collect();
    if filters.is_empty() {
        stretch.take(candidates, looked_at, bounds.ids);
        return Ok(stretch);
    }
    let mut bytes = 0;
    let mut fitting = Vec::new();
    for some in candidates.chunks(BODIES_AT_ONCE) {
        if bytes > bounds.bytes {
            // The next batch begins with these.
            (looked_at, stretch.is_last) = (some[0].0 - 1, false);
            break;
        }
        let bodies = bodies(tx, some).await?;
        bytes += bodies.values().map(Vec::len).sum::<usize>();
        // What has no body cannot be looked into, and could not be sent either.
        fitting.extend(some.iter().filter(|(_, id)| {
            let body = bodies.get(id);
            body.is_some_and(|body| filters.iter().all(|filter| passes(filter, body)))
        }));
        if fitting.len() > bounds.ids {
            break;
        }
    }
    stretch.take(fitting.into_iter().cloned().collect(), looked_at, bounds.ids);
    Ok(stretch)
}

impl Stretch {
    /// Takes the first of those that fit, and goes on behind them; or behind all that were looked at.
    fn take(&mut self, mut fitting: Vec<(i64, String)>, looked_at: i64, most: usize) {
        self.last.0 = looked_at;
        if fitting.len() > most {
            fitting.truncate(most);
            self.is_last = false;
            self.last.0 = fitting.last().map_or(self.last.0, |(place, _)| *place);
        }
        self.ids = fitting.into_iter().map(|(_, id)| id).collect();
    }
}

async fn bodies(tx: &mut Tx, of: &[(i64, String)]) -> Result<HashMap<String, Vec<u8>>, DbError> {
    let list = InList::of(of.iter().map(|(_, id)| id));
    let sql =
        format!("SELECT event_id, body FROM event_bodies WHERE body IS NOT NULL AND event_id IN {list}");
    let rows = tx.query(&sql, list.into_params()).await?;
    rows.iter()
        .map(|row| Ok((row.get("event_id")?, row.get("body")?)))
        .collect()
}

fn passes(filter: &Filter, body: &[u8]) -> bool {
    let envelope = serde_json::from_slice::<Value>(body).unwrap_or_default();
    filter.matches(envelope.get("payload").unwrap_or(&Value::Null))
}

/// One batch and the position behind it, fenced by the lease. Without a stretch the endpoint is deleted.
async fn work_on(
    tx: &mut Tx,
    run: &DeliveryRun,
    lease: &Lease,
    stretch: Option<&Stretch>,
    now: UnixMillis,
) -> Result<RunBatch, DbError> {
    if leases::renew(tx, lease, now, RUN_LEASE).await?.is_none() {
        tx.abandon();
        return Ok(RunBatch::Lost);
    }
    let Some(stretch) = stretch else {
        let entry = entry(run, AuditAction::RunCancelled, now);
        end(tx, run, RunStatus::Cancelled, entry).await?;
        return Ok(RunBatch::Cancelled);
    };
    let Some(done) = make_due(tx, run, &stretch.ids, now).await? else {
        tx.abandon();
        return Ok(RunBatch::Overtaken);
    };
    note_waiting(tx, run, &stretch.settled, &done.queued).await?;
    let run = DeliveryRun {
        matched: run.matched + stretch.ids.len() as u64,
        queued: run.queued + done.queued.len() as u64,
        without_body: run.without_body + done.without_body,
        ..run.clone()
    };
    let sql = "UPDATE delivery_runs SET updated_at = ?, matched = ?, queued = ?, without_body = ?, last_place = ?, last_event_id = ?
         WHERE id = ? AND status = 'running' AND last_place = ? AND last_event_id = ?";
    let mut values = params![now, run.matched, run.queued, run.without_body];
    values.extend(params![stretch.last.0, &stretch.last.1, run.id.as_str()]);
    values.extend(params![run.walk.last_place, &run.walk.last_event_id]);
    if tx.execute(sql, values).await? == 0 {
        tx.abandon();
        return Ok(RunBatch::Overtaken);
    }
    if !stretch.is_last {
        return Ok(RunBatch::Worked(done.queued.len()));
    }
    let entry = entry(&run, AuditAction::RunFinished, now);
    end(tx, &run, RunStatus::Finished, entry).await?;
    Ok(RunBatch::Finished(done.queued.len()))
}

/// What became of the events of a batch.
struct Done {
    queued: Vec<String>,
    without_body: u64,
}

/// Makes the deliveries of these events due, and makes those that are missing; one that waits already is left alone. None when
/// somebody has changed one meanwhile.
async fn make_due(
    tx: &mut Tx,
    run: &DeliveryRun,
    ids: &[String],
    now: UnixMillis,
) -> Result<Option<Done>, DbError> {
    let Some(list) = in_lists(ids).pop() else {
        return Ok(Some(Done {
            queued: Vec::new(),
            without_body: 0,
        }));
    };
    let endpoint = run.endpoint.as_str();
    let sql = format!(
        "SELECT e.id, e.property_id, e.correlation_id, d.status,
             CASE WHEN b.body IS NULL THEN 0 ELSE 1 END AS has_body
         FROM events e LEFT JOIN deliveries d ON d.endpoint_id = ? AND d.event_id = e.id
         LEFT JOIN event_bodies b ON b.event_id = e.id WHERE e.id IN {list} ORDER BY e.id"
    );
    let rows = tx.query(&sql, list.after(params![endpoint])).await?;
    let mut done = Done {
        queued: Vec::new(),
        without_body: 0,
    };
    let (mut again, mut missing, mut entries) = (Vec::new(), Params::new(), Vec::new());
    for row in &rows {
        let (id, status): (String, Option<String>) = (row.get("id")?, row.get("status")?);
        let status = status.map(|text| text.parse::<DeliveryStatus>()).transpose();
        let status = status.map_err(|_| DbError::unreadable("status"))?;
        let is_wanted = match (run.kind, status) {
            (RunKind::Recover, status) => status == Some(DeliveryStatus::Dead),
            (RunKind::Replay, status) => {
                !matches!(status, Some(DeliveryStatus::Pending | DeliveryStatus::Cancelled))
            }
        };
        if !is_wanted {
            continue;
        }
        if !row.get::<bool>("has_body")? {
            done.without_body += 1;
            continue;
        }
        if status.is_some() {
            again.push(id.clone());
        } else {
            missing.extend(params![endpoint, &id, now, now]);
        }
        let action = match status {
            Some(DeliveryStatus::Dead) => AuditAction::DeadRetried,
            _ => AuditAction::DeliveryReplayed,
        };
        entries.push(AuditEntry {
            event_id: Some(id.clone()),
            property_id: row.get("property_id")?,
            correlation_id: row.get("correlation_id")?,
            ..entry(run, action, now)
        });
        done.queued.push(id);
    }
    if !again.is_empty() {
        let list = InList::of(&again);
        let sql = format!(
            "{} WHERE endpoint_id = ? AND status IN ('dead', 'delivered') AND event_id IN {list}",
            make_due_now()
        );
        let matched = tx.execute(&sql, list.after(params![now, now, endpoint])).await?;
        if matched != again.len() as u64 {
            return Ok(None);
        }
    }
    let columns = ["endpoint_id", "event_id", "due_at", "due_set_at"];
    // The fan-out may have queued one meanwhile, where the endpoint is behind.
    let skip = tx.dialect().skip_existing("event_id");
    tx.insert("deliveries", &columns, &skip, missing).await?;
    let queued: Vec<&str> = done.queued.iter().map(String::as_str).collect();
    became_due(tx, endpoint, &queued, now).await?;
    audit::append(tx, &entries).await?;
    Ok(Some(done))
}

/// Forgets those that wait no more, and notes those that wait from now on: one may be both.
async fn note_waiting(
    tx: &mut Tx,
    run: &DeliveryRun,
    settled: &[String],
    queued: &[String],
) -> Result<(), DbError> {
    for list in in_lists(settled) {
        let sql = format!("DELETE FROM delivery_run_waiting WHERE run_id = ? AND event_id IN {list}");
        tx.execute(&sql, list.after(params![run.id.as_str()])).await?;
    }
    let rows = queued
        .iter()
        .flat_map(|id| params![run.id.as_str(), id])
        .collect();
    let skip = tx.dialect().skip_existing("event_id");
    tx.insert("delivery_run_waiting", &["run_id", "event_id"], &skip, rows)
        .await
}

async fn count(tx: &mut Tx, mut run: DeliveryRun) -> Result<RunCount, DbError> {
    (run.walk.last_place, run.walk.last_place_max) = run.bounds(tx).await?;
    let Some(wanted) = wanted(tx, &run.endpoint).await? else {
        return Ok(RunCount::default());
    };
    let bounds = Bounds {
        ids: COUNTED_MAX,
        looked_at: COUNTED_MAX,
        bytes: COUNTED_BYTES_MAX,
    };
    let stretch = look(tx, &run, &wanted, &bounds).await?;
    let mut with_body = HashSet::new();
    for list in in_lists(&stretch.ids) {
        let sql = format!("SELECT event_id FROM event_bodies WHERE body IS NOT NULL AND event_id IN {list}");
        for row in &tx.query(&sql, list.into_params()).await? {
            with_body.insert(read_id::<String>(row, "event_id")?);
        }
    }
    Ok(RunCount {
        matching: stretch.ids.len() as u64,
        without_body: (stretch.ids.len() - with_body.len()) as u64,
        complete: stretch.is_last,
    })
}

/// What the audit log says of a run, or of a delivery of it.
fn entry(run: &DeliveryRun, action: AuditAction, at: UnixMillis) -> AuditEntry {
    AuditEntry {
        actor: Some(run.created_by.clone()),
        source: Some(run.endpoint.to_string()),
        entity_kind: Some("run".to_owned()),
        entity_id: Some(run.id.to_string()),
        ..AuditEntry::new(action, at)
    }
}
