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
    Db, DbError, Row, Statement, StatementResult, Tx,
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

/// Asks for the last place that was given.
const LAST_PLACE: &str = "SELECT last_seq FROM sequences WHERE name = ?";

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

    /// An expression of SQL, without values, that says whether there is something to do. It is asked often.
    fn is_any_waiting(&self) -> String;

    /// What a step asks before it gives places. It goes with what begins the step, in one round trip.
    fn questions(&self) -> Vec<Statement>;

    /// Whether the answers to the questions say that there is nothing to do: the step is rolled back then.
    fn is_nothing(&self, answers: &[StatementResult]) -> bool;

    /// Gives the next rows, [`STEP_ROWS_MAX`] at most, the places after `last`, in their order, and writes what belongs to them.
    /// `answers` are those to the questions. No other transaction gives places, or [holds](Sequence::hold) them, until this one ends.
    ///
    /// # Errors
    /// Those of the database; `Contended` where a row has got its place meanwhile.
    fn give_places<'t>(
        &'t self,
        tx: &'t mut Tx,
        last: i64,
        answers: &'t [StatementResult],
    ) -> BoxFuture<'t, Result<Given, DbError>>;

    /// A step was committed.
    fn committed(&self) {}

    /// A step failed, though it may be committed all the same: the answer to its commit may be what was lost. Its session is
    /// ended before, where the server does that.
    fn failed(&self) {}

    /// A step has come to nothing, maybe when it was run again: what it had begun before is rolled back.
    fn came_to_nothing(&self) {}
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
        let row = tx.query_one(LAST_PLACE, params![self.name]).await?;
        row.map_or(Ok(0), |row| row.get("last_seq"))
    }

    /// The last place that was given. None is given until this transaction ends: so what it decides by that place is exact.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn hold(self, tx: &mut Tx) -> Result<i64, DbError> {
        let held = tx.run(&self.holding()).await.all()?;
        if let Some(last) = held_last(&held)? {
            return Ok(last);
        }
        let first = "INSERT INTO sequences (name, last_seq) VALUES (?, 0)".to_owned();
        let first = first + &tx.dialect().skip_existing("name");
        tx.execute(&first, params![self.name]).await?;
        let held = tx.run(&self.holding()).await.all()?;
        held_last(&held)?.ok_or(DbError::Contended)
    }

    /// What holds the places, and asks for the last one.
    fn holding(self) -> [Statement; 2] {
        [
            Statement::change(
                "UPDATE sequences SET holds = holds + 1 WHERE name = ?",
                params![self.name],
            ),
            Statement::query(LAST_PLACE, params![self.name]),
        ]
    }

    /// Runs the statements that give so many rows the places after `last`, but to none that has one, and what belongs to them, and
    /// notes the last place: two processes would collide here whatever their leases say. In a transaction that holds the places. The
    /// answers are those to `others`.
    ///
    /// # Errors
    /// Those of the database; `Contended` where a row has its place.
    pub async fn give(
        self,
        tx: &mut Tx,
        (mut statements, places): (Vec<Statement>, usize),
        others: Vec<Statement>,
        last: i64,
    ) -> Result<Vec<StatementResult>, DbError> {
        let (giving, wanted) = (statements.len(), others.len());
        statements.extend(others);
        let noting = (places > 0).then(|| {
            let sql = "UPDATE sequences SET last_seq = ? WHERE name = ? AND last_seq = ?";
            Statement::change(sql, params![advanced(last, places), self.name, last])
        });
        let is_noted = noting.is_some();
        statements.extend(noting);
        let mut results = tx.run(&statements).await.all()?;
        let given: u64 = results[..giving].iter().map(|result| result.matched).sum();
        let noted = results.last().filter(|_| is_noted);
        if given != places as u64 || noted.is_some_and(|noted| noted.matched != 1) {
            return Err(DbError::Contended);
        }
        let mut others = results.split_off(giving);
        others.truncate(wanted);
        Ok(others)
    }
}

fn advanced(last: i64, places: usize) -> i64 {
    i64::try_from(places).map_or(i64::MAX, |places| last.saturating_add(places))
}

/// The last place, by the answers to what holds them; none where there is no row yet.
fn held_last(answers: &[StatementResult]) -> Result<Option<i64>, DbError> {
    match (answers[0].matched, answers[1].row()) {
        (1, Some(row)) => Ok(Some(row.get("last_seq")?)),
        _ => Ok(None),
    }
}

impl Sequenced for PlainRows {
    fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn is_any_waiting(&self) -> String {
        format!("EXISTS (SELECT 1 FROM {} WHERE seq IS NULL)", self.table)
    }

    /// The next rows without a place. They are taken in the order of their index, which is that of their ids: asked for that order, a
    /// server sorts all that wait, or walks the primary key over all that was ever written.
    fn questions(&self) -> Vec<Statement> {
        let sql = format!("SELECT id FROM {} WHERE seq IS NULL LIMIT ?", self.table);
        vec![Statement::query(sql, params![STEP_ROWS_MAX])]
    }

    fn is_nothing(&self, answers: &[StatementResult]) -> bool {
        answers[0].rows.is_empty()
    }

    fn give_places<'t>(
        &'t self,
        tx: &'t mut Tx,
        last: i64,
        answers: &'t [StatementResult],
    ) -> BoxFuture<'t, Result<Given, DbError>> {
        Box::pin(async move {
            let ids = answers[0].rows.iter().map(|row: &Row| row.get("id"));
            let mut ids: Vec<i64> = ids.collect::<Result<_, _>>()?;
            ids.sort_unstable();
            let place = format!("UPDATE {} SET seq = ? WHERE id = ? AND seq IS NULL", self.table);
            let places = (last + 1..)
                .zip(&ids)
                .map(|(seq, id)| Statement::change(place.clone(), params![seq, *id]));
            let placing = (places.collect(), ids.len());
            self.sequence.give(tx, placing, Vec::new(), last).await?;
            Ok(Given {
                rows: ids.len(),
                has_more: ids.len() == STEP_ROWS_MAX,
            })
        })
    }
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
            let (mut failing, mut is_waiting) = (false, false);
            while !lifecycle.is_stopping() {
                let step = if is_waiting {
                    self.step_without_look().await
                } else {
                    self.step().await
                };
                if let Err(error) = &step
                    && !failing
                {
                    tracing::warn!(sequence.name = name, %error, "rows get no places, and get them later");
                }
                failing = step.is_err();
                let (pause, is_woken) = match step {
                    Ok(Step::Worked(Given { has_more: true, .. })) => {
                        is_waiting = true;
                        continue;
                    }
                    Ok(Step::Worked(_) | Step::Idle) => (LOOK_EVERY, true),
                    Ok(Step::Held) => (HELD_PAUSE, false),
                    Err(_) => (FAILURE_PAUSE, false),
                };
                is_waiting = false;
                tokio::select! {
                    () = lifecycle.stopping() => {}
                    () = self.db.committed(), if is_woken => is_waiting = true,
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
        self.give().await
    }

    /// The same where a commit, or the step before, says that rows wait: this process's lease is not looked at, since the step itself
    /// is fenced with it, and so a row waits for one round trip less. Where nothing waits after all, what it wrote is rolled back.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn step_without_look(&mut self) -> Result<Step, DbError> {
        match self.lease {
            Some(_) => self.give().await,
            None => self.step().await,
        }
    }

    async fn give(&mut self) -> Result<Step, DbError> {
        let Some(lease) = self.claimed().await? else {
            return Ok(Step::Held);
        };
        let (rows, now) = (Arc::clone(&self.rows), self.clock.now());
        // It is not looked up: what has no place is found by the next step. But its session is ended first.
        let giving = self.db.transaction_or_find(
            "give_places",
            move |tx| {
                let (rows, lease) = (Arc::clone(&rows), lease.clone());
                Box::pin(async move { give_places(tx, rows.as_ref(), &lease, now).await })
            },
            |_| Box::pin(async { Ok(Some(Gave::Unknown)) }),
        );
        let (given, last) = match giving.await {
            Ok(Gave::Places(given, last)) => (given, last),
            Ok(Gave::Nothing) => {
                self.rows.came_to_nothing();
                return Ok(Step::Idle);
            }
            Ok(Gave::LeaseLost) => {
                self.rows.came_to_nothing();
                self.lease = None;
                return Ok(Step::Held);
            }
            Ok(Gave::Unknown) => {
                self.rows.failed();
                return Err(DbError::CommitUnknown);
            }
            Err(error) => {
                self.rows.failed();
                return Err(error);
            }
        };
        self.rows.committed();
        self.given.send_replace(last);
        Ok(Step::Worked(given))
    }

    /// One statement, since it is asked five times a second where nothing happens.
    async fn look(&self) -> Result<Look, DbError> {
        let sequence = self.rows.sequence();
        let (held, held_values) = leases::is_held(&lease_name(sequence), self.clock.now(), LEASE_LENGTH);
        let waiting = self.rows.is_any_waiting();
        let sql: Arc<str> =
            format!("SELECT {waiting} AS waiting, {held} AS held, ({LAST_PLACE}) AS last_seq").into();
        let mut values = held_values;
        values.extend(params![sequence.name]);
        let does_not_ask = self.lease.is_some() || self.is_only_one;
        let look = self.db.read("waiting_rows", move |tx| {
            let (sql, values) = (Arc::clone(&sql), values.clone());
            Box::pin(async move {
                let row = tx.query_one(&sql, values).await?.ok_or(DbError::Contended)?;
                Ok(Look {
                    is_any_waiting: row.get("waiting")?,
                    is_held: !does_not_ask && row.get("held")?,
                    last: row.get::<Option<i64>>("last_seq")?.unwrap_or(0),
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

/// What a step has come to.
enum Gave {
    /// So many, and the last place.
    Places(Given, i64),
    /// Nothing waited.
    Nothing,
    /// Another process has the lease.
    LeaseLost,
    /// Whether it is committed is not known.
    Unknown,
}

async fn give_places(
    tx: &mut Tx,
    rows: &dyn Sequenced,
    lease: &Lease,
    now: UnixMillis,
) -> Result<Gave, DbError> {
    let sequence = rows.sequence();
    let mut statements = vec![leases::renewal(lease, now, LEASE_LENGTH)];
    statements.extend(sequence.holding());
    statements.extend(rows.questions());
    let mut answers = tx.run(&statements).await.all()?;
    if answers[0].matched != 1 {
        tx.abandon();
        return Ok(Gave::LeaseLost);
    }
    let held = held_last(&answers[1..])?;
    let mut answers = answers.split_off(3);
    if rows.is_nothing(&answers) {
        tx.abandon();
        return Ok(Gave::Nothing);
    }
    let last = match held {
        Some(last) => last,
        None => {
            // The first step of all.
            let last = sequence.hold(tx).await?;
            answers = tx.run(&rows.questions()).await.all()?;
            last
        }
    };
    let given = rows.give_places(tx, last, &answers).await?;
    Ok(Gave::Places(given, advanced(last, given.rows)))
}
