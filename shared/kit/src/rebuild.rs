//! Rebuilds stored rows by a newer rule, batch by batch, while the service runs.
//!
//! Derived columns and rows (a folded name, a derived profile) are computed by a rule, and a newer program may have a
//! newer rule. A [`Rebuild`] goes through the rows in the order of their keys. Its position is stored in the
//! transaction of each batch, so that after a crash the next process continues there. A lease keeps replicas apart. The
//! batch guards each row, so that it never overwrites a concurrent write. A batch that fails is tried again in halves;
//! a row that fails alone, except by a time-out, is logged and left unchanged.

use std::sync::Arc;
use std::time::Duration;

use contract::clock::{Clock, UnixMillis};
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep};

use crate::lifecycle::Lifecycle;
use db::leases::{self, Lease};
use db::params;
use db::{Db, DbError, Tx};

/// How long a replica holds the lease without renewing it, which each batch does.
pub const LEASE_LENGTH: Duration = Duration::from_secs(30);
/// How often a replica that waits for another's rebuild, or for the database, tries again.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The longest pause between two batches; otherwise the pause is as long as the batch took, so that requests have
/// priority.
const REST_MAX: Duration = Duration::from_secs(1);

/// Consecutive rows that may be skipped: if more fail, the cause is not the rows, and the rebuild waits at its
/// position.
const SKIPPED_MAX: u32 = 10;

/// Processes up to so many rows after a position, and returns the position of the last; None when no row is left. A
/// position is ASCII text of at most 255 characters; the first is empty.
pub type Pass = for<'t> fn(
    tx: &'t mut Tx,
    position: &'t str,
    rows: usize,
) -> BoxFuture<'t, Result<Option<String>, DbError>>;

/// A set of rows that is rebuilt once for each version.
#[derive(Clone, Copy, Debug)]
pub struct Rebuild {
    /// Its name; at most 64 ASCII characters.
    pub name: &'static str,
    /// The version of the rule: raised whenever the rows must be rebuilt.
    pub version: i64,
    /// Rows of one batch at most.
    pub batch: usize,
    /// Rebuilds the rows.
    pub rebuild_rows: Pass,
    /// Skips the rows.
    pub skip: Pass,
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A batch was rebuilt; there may be more.
    Worked,
    /// A batch failed, and is tried again with fewer rows.
    Halved,
    /// A row that cannot be rebuilt was left unchanged.
    Skipped,
    /// Another replica holds the lease.
    Held,
    /// All rows were rebuilt by this version, or by a newer one.
    Finished,
}

/// Runs a rebuild.
pub struct Rebuilder {
    db: Db,
    clock: Arc<dyn Clock>,
    owner: String,
    rebuild: Rebuild,
    lease: Option<Lease>,
    /// Of the next batch.
    rows: usize,
    /// Rows skipped since the last one that was rebuilt.
    skipped: u32,
}

impl Rebuilder {
    /// `owner` is unique to the process.
    pub fn new(db: Db, clock: Arc<dyn Clock>, owner: String, rebuild: Rebuild) -> Self {
        Self {
            db,
            clock,
            owner,
            rebuild,
            lease: None,
            rows: rebuild.batch,
            skipped: 0,
        }
    }

    /// Runs until all rows are rebuilt, or until it is stopped between two batches: then another replica may continue
    /// at once.
    pub fn run(mut self, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut failing = false;
            let mut worked = 0_u64;
            while !lifecycle.is_stopping() {
                let begun = Instant::now();
                let step = self.step().await;
                if let Err(error) = &step
                    && !failing
                {
                    tracing::warn!(rebuild.name = self.rebuild.name, %error, "rows are not made again, and tried later");
                }
                failing = step.is_err();
                let rest = match step {
                    Ok(Step::Worked) => {
                        worked += 1;
                        begun.elapsed().min(REST_MAX)
                    }
                    Ok(Step::Halved | Step::Skipped) => begun.elapsed().min(REST_MAX),
                    Ok(Step::Finished) => {
                        if worked > 0 {
                            tracing::info!(
                                rebuild.name = self.rebuild.name,
                                batches = worked,
                                "rows are made again"
                            );
                        }
                        return;
                    }
                    Ok(Step::Held) | Err(_) => LOOK_EVERY,
                };
                tokio::select! {
                    () = lifecycle.stopping() => {}
                    () = sleep(rest) => {}
                }
            }
            if let Some(lease) = self.lease {
                let release = self.db.transaction("release_rebuild", move |tx| {
                    let lease = lease.clone();
                    Box::pin(async move { leases::release(tx, &lease).await })
                });
                if release.await.is_err() {
                    tracing::debug!(rebuild.name = self.rebuild.name, "the lease runs out by itself");
                }
            }
        })
    }

    /// One batch, if this replica gets the lease.
    ///
    /// # Errors
    /// Those of the database; nothing of the batch is written then, or all of it and its position.
    pub async fn step(&mut self) -> Result<Step, DbError> {
        let Some(lease) = self.claimed().await? else {
            return self.if_unfinished(Step::Held).await;
        };
        match self.batch(&lease, self.rebuild.rebuild_rows, self.rows).await {
            Ok(step) => {
                if step == Step::Worked {
                    self.rows = (self.rows * 2).min(self.rebuild.batch);
                    self.skipped = 0;
                }
                Ok(step)
            }
            Err(error) if !error.may_be_caused_by_rows() => Err(error),
            Err(_) if self.rows > 1 => {
                self.rows /= 2;
                Ok(Step::Halved)
            }
            // A row that timed out is not skipped: it may succeed later.
            Err(DbError::Timeout) => Err(DbError::Timeout),
            Err(error) if self.skipped == SKIPPED_MAX => Err(error),
            Err(error) => self.skip(&lease, &error).await,
        }
    }

    async fn skip(&mut self, lease: &Lease, error: &DbError) -> Result<Step, DbError> {
        let (name, before) = (self.rebuild.name, self.position().await?);
        let step = self.batch(lease, self.rebuild.skip, 1).await?;
        if step != Step::Worked {
            return Ok(step);
        }
        self.skipped += 1;
        tracing::error!(
            rebuild.name = name,
            behind = before.unwrap_or_default(),
            %error,
            "a row cannot be made again, and is left as it is"
        );
        Ok(Step::Skipped)
    }

    /// One pass over so many rows, and the position after them.
    async fn batch(&mut self, lease: &Lease, pass: Pass, rows: usize) -> Result<Step, DbError> {
        let (rebuild, lease, now) = (self.rebuild, lease.clone(), self.clock.now());
        let batch = self.db.transaction("rebuild", move |tx| {
            let lease = lease.clone();
            Box::pin(async move { work(tx, rebuild, (pass, rows), &lease, now).await })
        });
        match batch.await? {
            Some(step) => Ok(step),
            None => {
                self.lease = None;
                Ok(Step::Held)
            }
        }
    }

    /// The lease, claimed with a commit of its own; none when another holds it, or nothing is left to do.
    async fn claimed(&mut self) -> Result<Option<Lease>, DbError> {
        if self.lease.is_none() && self.if_unfinished(Step::Worked).await? == Step::Worked {
            let (name, owner, now) = (lease_name(self.rebuild), self.owner.clone(), self.clock.now());
            let claim = self.db.transaction("claim_rebuild", move |tx| {
                let (name, owner) = (name.clone(), owner.clone());
                Box::pin(async move { leases::claim(tx, &name, &owner, now, LEASE_LENGTH).await })
            });
            self.lease = claim.await?;
        }
        Ok(self.lease.clone())
    }

    async fn if_unfinished(&self, step: Step) -> Result<Step, DbError> {
        Ok(match self.position().await? {
            Some(_) => step,
            None => Step::Finished,
        })
    }

    async fn position(&self) -> Result<Option<String>, DbError> {
        let rebuild = self.rebuild;
        let read = self.db.read("rebuild_progress", move |tx| {
            Box::pin(async move { progress(tx, rebuild).await })
        });
        read.await
    }
}

/// One batch and its position, fenced by the lease. None when another replica holds the lease by now.
async fn work(
    tx: &mut Tx,
    rebuild: Rebuild,
    (pass, rows): (Pass, usize),
    lease: &Lease,
    now: UnixMillis,
) -> Result<Option<Step>, DbError> {
    if leases::renew(tx, lease, now, LEASE_LENGTH).await?.is_none() {
        tx.abandon();
        return Ok(None);
    }
    let Some(position) = progress(tx, rebuild).await? else {
        leases::release(tx, lease).await?;
        return Ok(Some(Step::Finished));
    };
    let next = pass(tx, &position, rows).await?;
    let finished = next.is_none();
    let columns = ["name", "version", "position", "finished"];
    let update = tx.dialect().on_conflict_update(&columns[..1], &columns[1..]);
    let position = next.unwrap_or_default();
    let row = params![rebuild.name, rebuild.version, position, finished];
    tx.insert("rebuilds", &columns, &update, row).await?;
    if finished {
        leases::release(tx, lease).await?;
    }
    Ok(Some(if finished { Step::Finished } else { Step::Worked }))
}

/// The position of a rebuild; None when it is finished, or a newer program has begun a newer one.
async fn progress(tx: &mut Tx, rebuild: Rebuild) -> Result<Option<String>, DbError> {
    let sql = "SELECT version, position, finished FROM rebuilds WHERE name = ?";
    let Some(row) = tx.query_one(sql, params![rebuild.name]).await? else {
        return Ok(Some(String::new()));
    };
    let version: i64 = row.get("version")?;
    Ok(if version < rebuild.version {
        Some(String::new())
    } else if version > rebuild.version || row.get("finished")? {
        None
    } else {
        Some(row.get("position")?)
    })
}

fn lease_name(rebuild: Rebuild) -> String {
    format!("rebuild {}", rebuild.name)
}
