//! Gives the committed rows of a table their places: 1, 2, 3 and so on, without gaps, each once.
//!
//! Commits become visible out of order, so a reader that remembers the last id or time it saw misses what is committed later
//! under a lower one. Here a row is inserted with `seq` NULL, and gets its place after its commit, from one process at a time: a
//! reader of `seq > last` then misses nothing. The places of a step and the last of them are one commit, which a lease
//! fences; a process that dies leaves rows without places, and the next one goes on with them.
//!
//! The table has an integer primary key `id` that the database counts up, and a unique column `seq`. Among the rows that one step
//! finds, the lower id is first.

use crate::lifecycle::Lifecycle;
use contract::Clock;
use db::{
    Db, DbError, Row, Statement, Tx,
    leases::{self, Lease},
    params,
};
use futures::future::BoxFuture;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};

/// How long a process that has died keeps others from giving places. A step renews it.
pub const LEASE_LENGTH: Duration = Duration::from_secs(10);
/// Rows of one step, which are one transaction.
pub const STEP_ROWS_MAX: usize = 256;
/// How often to look for rows without a place.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long to leave it to another process that holds the lease.
const HELD_PAUSE: Duration = Duration::from_secs(1);
/// The pause after a failure.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Rows that get places, and how their numbering is called.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    /// Its name; at most 64 ASCII characters.
    pub name: &'static str,
    /// The table, as the module's documentation describes it.
    pub table: &'static str,
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many rows got places: with [`STEP_ROWS_MAX`] of them there may be more.
    Worked(usize),
    /// Every row has a place.
    Idle,
    /// Another process gives places.
    Held,
}

/// Gives places in one table. Each process that may has one; the lease says which of them does.
pub struct Sequencer {
    db: Db,
    clock: Arc<dyn Clock>,
    owner: String,
    sequence: Sequence,
    lease: Option<Lease>,
    given: watch::Sender<i64>,
}

impl Sequence {
    /// The last place that was given; 0 when there is none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn last_place(self, tx: &mut Tx) -> Result<i64, DbError> {
        Ok(self.stored(tx).await?.unwrap_or(0))
    }

    async fn stored(self, tx: &mut Tx) -> Result<Option<i64>, DbError> {
        let sql = "SELECT last_seq FROM sequences WHERE name = ?";
        let row = tx.query_one(sql, params![self.name]).await?;
        row.map(|row| row.get("last_seq")).transpose()
    }

    /// The next rows without a place.
    async fn waiting(self, tx: &mut Tx, rows_max: usize) -> Result<Vec<i64>, DbError> {
        let sql = format!(
            "SELECT id FROM {} WHERE seq IS NULL ORDER BY id LIMIT ?",
            self.table
        );
        let rows = tx.query(&sql, params![rows_max]).await?;
        rows.iter().map(|row: &Row| row.get("id")).collect()
    }
}

impl Sequencer {
    /// `owner` is unique to the process.
    pub fn new(db: &Db, clock: Arc<dyn Clock>, owner: String, sequence: Sequence) -> Self {
        Self {
            db: db.answering_after_abort(),
            clock,
            owner,
            sequence,
            lease: None,
            given: watch::Sender::new(0),
        }
    }

    /// The last place that this process gave: a signal to those who wait for more. Other processes give places too.
    pub fn given(&self) -> watch::Receiver<i64> {
        self.given.subscribe()
    }

    /// Gives places until a stop; then another process may at once.
    pub fn run(mut self, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut failing = false;
            while !lifecycle.is_stopping() {
                let step = self.step().await;
                if let Err(error) = &step
                    && !failing
                {
                    tracing::warn!(sequence.name = self.sequence.name, %error, "rows get no places, and get them later");
                }
                failing = step.is_err();
                let pause = match step {
                    Ok(Step::Worked(STEP_ROWS_MAX)) => continue,
                    Ok(Step::Worked(_) | Step::Idle) => LOOK_EVERY,
                    Ok(Step::Held) => HELD_PAUSE,
                    Err(_) => FAILURE_PAUSE,
                };
                tokio::select! {
                    () = lifecycle.stopping() => {}
                    () = sleep(pause) => {}
                }
            }
            if let Some(lease) = self.lease {
                let release = self.db.transaction("release_sequence", move |tx| {
                    let lease = lease.clone();
                    Box::pin(async move { leases::release(tx, &lease).await })
                });
                if release.await.is_err() {
                    tracing::debug!(sequence.name = self.sequence.name, "the lease runs out by itself");
                }
            }
        })
    }

    /// Gives the next rows their places, if there are any and this process has the lease or gets it. It writes nothing when no
    /// row waits.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn step(&mut self) -> Result<Step, DbError> {
        let sequence = self.sequence;
        let waiting = self.db.read("waiting_rows", move |tx| {
            Box::pin(async move { sequence.waiting(tx, 1).await })
        });
        if waiting.await?.is_empty() {
            return Ok(Step::Idle);
        }
        let Some(lease) = self.claimed().await? else {
            return Ok(Step::Held);
        };
        let now = self.clock.now();
        let giving = self.db.transaction("give_places", move |tx| {
            let lease = lease.clone();
            Box::pin(async move {
                if leases::renew(tx, &lease, now, LEASE_LENGTH).await?.is_none() {
                    tx.abandon();
                    return Ok(None);
                }
                give_places(tx, sequence).await.map(Some)
            })
        });
        let Some((rows, last)) = giving.await? else {
            self.lease = None;
            return Ok(Step::Held);
        };
        self.given.send_replace(last);
        Ok(Step::Worked(rows))
    }

    /// The lease, claimed with a commit of its own; none when another process holds it.
    async fn claimed(&mut self) -> Result<Option<Lease>, DbError> {
        if self.lease.is_none() {
            let name = format!("sequence:{}", self.sequence.name);
            let (owner, now) = (self.owner.clone(), self.clock.now());
            let claim = self.db.transaction("claim_sequence", move |tx| {
                let (name, owner) = (name.clone(), owner.clone());
                Box::pin(async move { leases::claim(tx, &name, &owner, now, LEASE_LENGTH).await })
            });
            self.lease = claim.await?;
        }
        Ok(self.lease.clone())
    }
}

/// How many rows got places, and the last place. It is guarded by the last place too, on which two processes would collide
/// whatever their leases say.
async fn give_places(tx: &mut Tx, sequence: Sequence) -> Result<(usize, i64), DbError> {
    let rows = sequence.waiting(tx, STEP_ROWS_MAX).await?;
    let stored = sequence.stored(tx).await?;
    let mut last = stored.unwrap_or(0);
    let place = format!(
        "UPDATE {} SET seq = ? WHERE id = ? AND seq IS NULL",
        sequence.table
    );
    let mut statements = Vec::with_capacity(rows.len() + 1);
    for id in &rows {
        last += 1;
        statements.push(Statement::change(place.clone(), params![last, *id]));
    }
    statements.push(match stored {
        Some(before) => Statement::change(
            "UPDATE sequences SET last_seq = ? WHERE name = ? AND last_seq = ?",
            params![last, sequence.name, before],
        ),
        None => Statement::change(
            "INSERT INTO sequences (name, last_seq) VALUES (?, ?)",
            params![sequence.name, last],
        ),
    });
    let results = tx.run(&statements).await.all()?;
    if results.iter().any(|result| result.matched != 1) {
        return Err(DbError::Contended);
    }
    Ok((rows.len(), last))
}
