//! Gives the committed rows of a table their places: 1, 2, 3 and so on, without gaps, each once.
//!
//! Commits become visible out of order, so a reader that remembers the last id or time it saw misses what is committed later
//! under a lower one. Here a row is inserted without a place, and gets it after its commit, from one process at a time: a
//! reader of `seq > last` then misses nothing. The places of a step, the last of them and whatever else belongs to them are one
//! commit, which a lease fences; a process that dies leaves rows without places, and the next one goes on with them.
//!
//! Which rows wait, and what is written with their places, is what [`Sequenced`] says: [`PlainRows`] for a table of which
//! nothing more is asked.

use crate::lifecycle::Lifecycle;
use contract::{Clock, UnixMillis};
use db::{
    Db, DbError, Row, Statement, Tx,
    leases::{self, Lease},
    params,
};
use futures::future::BoxFuture;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};

/// How long a process that has died keeps others from giving places: with `HELD_PAUSE` it is the most that a row waits for it. A
/// step renews it.
pub const LEASE_LENGTH: Duration = Duration::from_secs(4);
/// Rows of one step, which are one transaction.
pub const STEP_ROWS_MAX: usize = 256;
/// How often to look for rows without a place, beside the commits that say so: other processes commit too.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long to leave it to another process that holds the lease.
const HELD_PAUSE: Duration = Duration::from_millis(500);
/// The pause after a failure.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// A numbering.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    /// Its name; at most 55 ASCII characters.
    pub name: &'static str,
}

/// Rows that get places.
pub trait Sequenced: Send + Sync + 'static {
    /// Their numbering.
    fn sequence(&self) -> Sequence;

    /// Whether there is something to do. It is asked often, and writes nothing.
    ///
    /// # Errors
    /// Those of the database.
    fn is_any_waiting<'t>(&'t self, tx: &'t mut Tx) -> BoxFuture<'t, Result<bool, DbError>>;

    /// Gives the next rows, [`STEP_ROWS_MAX`] at most, the places after `last`, in their order, and writes what belongs to them.
    /// No other transaction gives places, or [holds](Sequence::hold) them, until this one ends.
    ///
    /// # Errors
    /// Those of the database; `Contended` where a row has got its place meanwhile.
    fn give_places<'t>(&'t self, tx: &'t mut Tx, last: i64) -> BoxFuture<'t, Result<Given, DbError>>;

    /// A step was committed.
    fn committed(&self) {}
}

/// What one step gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// To how many rows.
    pub rows: usize,
    /// Whether there may be more to do now.
    pub has_more: bool,
}

/// Rows of a table with an integer primary key `id` that the database counts up, and a unique column `seq`. Among those that one
/// step finds, the lower id is first.
#[derive(Clone, Copy, Debug)]
pub struct PlainRows {
    /// Their numbering.
    pub sequence: Sequence,
    /// The table.
    pub table: &'static str,
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It did something.
    Worked(Given),
    /// There was nothing to do.
    Idle,
    /// Another process gives places.
    Held,
}

/// Gives places. Each process that may has one; the lease says which of them does.
pub struct Sequencer {
    db: Db,
    clock: Arc<dyn Clock>,
    owner: String,
    rows: Arc<dyn Sequenced>,
    is_only_one: bool,
    lease: Option<Lease>,
    given: watch::Sender<i64>,
}

/// What a look without a write finds.
struct Look {
    is_any_waiting: bool,
    is_held: bool,
    last: i64,
}

impl Sequence {
    /// The last place that was given; 0 when there is none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn last_place(self, tx: &mut Tx) -> Result<i64, DbError> {
        let sql = "SELECT last_seq FROM sequences WHERE name = ?";
        let row = tx.query_one(sql, params![self.name]).await?;
        row.map_or(Ok(0), |row| row.get("last_seq"))
    }

    /// The last place that was given. None is given until this transaction ends: so what it decides by that place is exact.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn hold(self, tx: &mut Tx) -> Result<i64, DbError> {
        let hold = [
            Statement::change(
                "UPDATE sequences SET holds = holds + 1 WHERE name = ?",
                params![self.name],
            ),
            Statement::query(
                "SELECT last_seq FROM sequences WHERE name = ?",
                params![self.name],
            ),
        ];
        let held = tx.run(&hold).await.all()?;
        if let (1, Some(row)) = (held[0].matched, held[1].row()) {
            return row.get("last_seq");
        }
        let first = "INSERT INTO sequences (name, last_seq) VALUES (?, 0)".to_owned();
        let first = first + &tx.dialect().skip_existing("name");
        tx.execute(&first, params![self.name]).await?;
        let held = tx.run(&hold).await.all()?;
        held[1].row().ok_or(DbError::Contended)?.get("last_seq")
    }

    /// Notes places that were given in a transaction that holds them.
    async fn advance(self, tx: &mut Tx, last: i64, rows: usize) -> Result<i64, DbError> {
        let new = i64::try_from(rows).map_or(i64::MAX, |rows| last.saturating_add(rows));
        let sql = "UPDATE sequences SET last_seq = ? WHERE name = ? AND last_seq = ?";
        match tx.execute(sql, params![new, self.name, last]).await? {
            1 => Ok(new),
            _ => Err(DbError::Contended),
        }
    }
}

impl Sequenced for PlainRows {
    fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn is_any_waiting<'t>(&'t self, tx: &'t mut Tx) -> BoxFuture<'t, Result<bool, DbError>> {
        Box::pin(async move { Ok(!self.waiting(tx, 1).await?.is_empty()) })
    }

    fn give_places<'t>(&'t self, tx: &'t mut Tx, last: i64) -> BoxFuture<'t, Result<Given, DbError>> {
        Box::pin(async move {
            let rows = self.waiting(tx, STEP_ROWS_MAX).await?;
            let place = format!("UPDATE {} SET seq = ? WHERE id = ? AND seq IS NULL", self.table);
            let places = (last + 1..)
                .zip(&rows)
                .map(|(seq, id)| Statement::change(place.clone(), params![seq, *id]));
            run_places(tx, &places.collect::<Vec<_>>(), rows.len()).await?;
            Ok(Given {
                rows: rows.len(),
                has_more: rows.len() == STEP_ROWS_MAX,
            })
        })
    }
}

impl PlainRows {
    /// The next rows without a place. They are taken in the order of their index, which is that of their ids: asked for that order, a
    /// server sorts all that wait, or walks the primary key over all that was ever written.
    async fn waiting(&self, tx: &mut Tx, rows_max: usize) -> Result<Vec<i64>, DbError> {
        let sql = format!("SELECT id FROM {} WHERE seq IS NULL LIMIT ?", self.table);
        let rows = tx.query(&sql, params![rows_max]).await?;
        let ids: Result<Vec<i64>, DbError> = rows.iter().map(|row: &Row| row.get("id")).collect();
        let mut ids = ids?;
        ids.sort_unstable();
        Ok(ids)
    }
}

/// Runs statements of which the first `places` give one row its place each, unless it has one: two processes would collide here
/// whatever their leases say.
///
/// # Errors
/// Those of the database; `Contended` where a row has its place.
pub async fn run_places(tx: &mut Tx, statements: &[Statement], places: usize) -> Result<(), DbError> {
    let results = tx.run(statements).await.all()?;
    if results.iter().take(places).any(|result| result.matched != 1) {
        return Err(DbError::Contended);
    }
    Ok(())
}

impl Sequencer {
    /// `owner` is unique to the process.
    pub fn new(db: &Db, clock: Arc<dyn Clock>, owner: String, rows: impl Sequenced) -> Self {
        Self {
            db: db.answering_after_abort(),
            clock,
            owner,
            rows: Arc::new(rows),
            is_only_one: false,
            lease: None,
            given: watch::Sender::new(0),
        }
    }

    /// Of a database that no other process serves, where `is_only_one`: who holds the lease has died then, and is not waited for.
    #[must_use]
    pub fn of_only_one(self, is_only_one: bool) -> Self {
        Self { is_only_one, ..self }
    }

    /// The last place that was given, by this process or, as far as it has seen, by another: a signal to those who wait for more.
    pub fn given(&self) -> watch::Receiver<i64> {
        self.given.subscribe()
    }

    /// Gives places until a stop; then another process may at once. Commits that [signal](Tx::signal) wake it.
    pub fn run(mut self, lifecycle: Lifecycle) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let name = self.rows.sequence().name;
            let mut failing = false;
            while !lifecycle.is_stopping() {
                let step = self.step().await;
                if let Err(error) = &step
                    && !failing
                {
                    tracing::warn!(sequence.name = name, %error, "rows get no places, and get them later");
                }
                failing = step.is_err();
                let (pause, is_woken) = match step {
                    Ok(Step::Worked(Given { has_more: true, .. })) => continue,
                    Ok(Step::Worked(_) | Step::Idle) => (LOOK_EVERY, true),
                    Ok(Step::Held) => (HELD_PAUSE, false),
                    Err(_) => (FAILURE_PAUSE, false),
                };
                tokio::select! {
                    () = lifecycle.stopping() => {}
                    () = self.db.committed(), if is_woken => {}
                    () = sleep(pause) => {}
                }
            }
            if let Some(lease) = self.lease {
                let release = self.db.transaction("release_sequence", move |tx| {
                    let lease = lease.clone();
                    Box::pin(async move { leases::release(tx, &lease).await })
                });
                if release.await.is_err() {
                    tracing::debug!(sequence.name = name, "the lease runs out by itself");
                }
            }
        })
    }

    /// Gives the next rows their places, if there are any and this process has the lease or gets it. It writes nothing when no
    /// row waits, nor while another process holds the lease.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn step(&mut self) -> Result<Step, DbError> {
        let look = self.look().await?;
        self.given.send_if_modified(|given| {
            let is_news = look.last > *given;
            *given = look.last.max(*given);
            is_news
        });
        if !look.is_any_waiting {
            return Ok(Step::Idle);
        }
        if look.is_held {
            return Ok(Step::Held);
        }
        let Some(lease) = self.claimed().await? else {
            return Ok(Step::Held);
        };
        let (rows, now) = (Arc::clone(&self.rows), self.clock.now());
        let giving = self.db.transaction("give_places", move |tx| {
            let (rows, lease) = (Arc::clone(&rows), lease.clone());
            Box::pin(async move { give_places(tx, rows.as_ref(), &lease, now).await })
        });
        let Some((given, last)) = giving.await? else {
            self.lease = None;
            return Ok(Step::Held);
        };
        self.rows.committed();
        self.given.send_replace(last);
        Ok(Step::Worked(given))
    }

    /// Who has the lease has no need to ask for it, nor for the places of others.
    async fn look(&self) -> Result<Look, DbError> {
        let (rows, now) = (Arc::clone(&self.rows), self.clock.now());
        let (has_lease, is_only_one) = (self.lease.is_some(), self.is_only_one);
        let look = self.db.read("waiting_rows", move |tx| {
            let rows = Arc::clone(&rows);
            Box::pin(async move {
                let sequence = rows.sequence();
                let is_any_waiting = rows.is_any_waiting(tx).await?;
                if has_lease {
                    return Ok(Look {
                        is_any_waiting,
                        is_held: false,
                        last: 0,
                    });
                }
                Ok(Look {
                    is_any_waiting,
                    is_held: !is_only_one
                        && leases::is_held(tx, &lease_name(sequence), now, LEASE_LENGTH).await?,
                    last: sequence.last_place(tx).await?,
                })
            })
        });
        look.await
    }

    /// The lease, claimed with a commit of its own; none when another process holds it.
    async fn claimed(&mut self) -> Result<Option<Lease>, DbError> {
        if self.lease.is_none() {
            let name = lease_name(self.rows.sequence());
            let (owner, now, is_only_one) = (self.owner.clone(), self.clock.now(), self.is_only_one);
            let claim = self.db.transaction("claim_sequence", move |tx| {
                let (name, owner) = (name.clone(), owner.clone());
                Box::pin(async move {
                    if is_only_one {
                        leases::end(tx, &name).await?;
                    }
                    leases::claim(tx, &name, &owner, now, LEASE_LENGTH).await
                })
            });
            self.lease = claim.await?;
        }
        Ok(self.lease.clone())
    }
}

fn lease_name(sequence: Sequence) -> String {
    format!("sequence:{}", sequence.name)
}

/// What was given, and the last place; none where another process has the lease.
async fn give_places(
    tx: &mut Tx,
    rows: &dyn Sequenced,
    lease: &Lease,
    now: UnixMillis,
) -> Result<Option<(Given, i64)>, DbError> {
    if leases::renew(tx, lease, now, LEASE_LENGTH).await?.is_none() {
        tx.abandon();
        return Ok(None);
    }
    let sequence = rows.sequence();
    let last = sequence.hold(tx).await?;
    let given = rows.give_places(tx, last).await?;
    let last = sequence.advance(tx, last, given.rows).await?;
    Ok(Some((given, last)))
}
