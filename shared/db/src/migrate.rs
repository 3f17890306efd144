//! Numbered migrations, applied once each, by one process at a time.
//!
//! A lease row keeps two processes apart; its holder is fenced in every step. A migration is a file of statements, one
//! step each: a run that was killed is resumed where it stopped. On SQLite a step and its record are one commit. MySQL
//! commits a definition by itself, so the first step after a resume may find its work done already; the errors that say
//! so are then ignored.

mod error;
mod statements;
mod step;

use futures::future::BoxFuture;
use std::time::Duration;

use contract::clock::Clock;

pub use self::error::MigrateError;

use self::statements::statements;
use self::step::{LEASE_LENGTH, Step};
use super::{Db, DbError, Dialect};
use crate::failpoint;
use crate::leases::{self, Lease};
use crate::params;

/// The lease's name.
const LEASE: &str = "migrate";
/// One statement: an index over a large table may take this long.
const STEP_WITHIN: Duration = Duration::from_secs(60 * 60);
/// How often the lease is polled while another process migrates: half an hour in all.
const LEASE_POLLS_MAX: u32 = 18_000;
const LEASE_POLL_EVERY: Duration = Duration::from_millis(100);

/// One numbered change of the schema: the same change for each engine, as statements that end in `;`.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Counts from 1 within its set, without gaps.
    pub number: u32,
    /// What it does, in a few words.
    pub name: &'static str,
    /// Its statements for SQLite.
    pub sqlite: &'static str,
    /// Its statements for MySQL.
    pub mysql: &'static str,
}

/// The migrations of one part of the program, in order.
#[derive(Clone, Copy, Debug)]
pub struct MigrationSet {
    /// Whose they are; at most 32 characters.
    pub scope: &'static str,
    /// In the order of their numbers.
    pub migrations: &'static [Migration],
}

const BOOTSTRAP: Migration = Migration {
    number: 0,
    name: "bootstrap",
    sqlite: include_str!("../migrations/sqlite/0000_bootstrap.sql"),
    mysql: include_str!("../migrations/mysql/0000_bootstrap.sql"),
};

/// Updates the schema, set after set. `owner` is unique to the process. Returns how many migrations this call applied.
///
/// # Errors
/// `Newer` and `Renamed` before anything is changed; otherwise the error that stopped it. It can be run again.
pub fn migrate<'m>(
    db: &'m Db,
    sets: &'m [MigrationSet],
    clock: &'m dyn Clock,
    owner: &'m str,
) -> BoxFuture<'m, Result<usize, MigrateError>> {
    Box::pin(async move {
        let patient = db.with_deadline(STEP_WITHIN);
        bootstrap(&patient).await?;
        if pending(db, sets).await?.is_empty() {
            return Ok(0);
        }
        let lease = claim(db, clock, owner).await?;
        let applied = apply_all(&patient, sets, clock, &lease).await;
        let released = lease.clone();
        let release = db.transaction("release_migrate", move |tx| {
            let lease = released.clone();
            Box::pin(async move { leases::release(tx, &lease).await })
        });
        if let Err(error) = release.await {
            tracing::warn!(%error, "the migration lease runs out by itself");
        }
        applied
    })
}

async fn bootstrap(db: &Db) -> Result<(), MigrateError> {
    let there = db.read("migrations_there", |tx| {
        Box::pin(async move {
            tx.query("SELECT number FROM schema_migrations LIMIT 1", vec![])
                .await
                .map(drop)
        })
    });
    match there.await {
        Ok(()) => return Ok(()),
        Err(DbError::Statement { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    for statement in statements(BOOTSTRAP.of(db.dialect())) {
        db.transaction("bootstrap", move |tx| {
            let statement = statement.clone();
            Box::pin(async move { tx.define(&statement).await })
        })
        .await?;
    }
    Ok(())
}

/// The migrations that are not finished, each with the number of its finished steps and whether it was begun.
async fn pending(
    db: &Db,
    sets: &[MigrationSet],
) -> Result<Vec<(&'static str, &'static Migration, Option<usize>)>, MigrateError> {
    let rows = db.read("migrations", |tx| {
        let sql =
            "SELECT scope, number, name, steps, applied_at FROM schema_migrations ORDER BY scope, number";
        Box::pin(async move { tx.query(sql, vec![]).await })
    });
    let rows = rows.await?;
    let mut pending = Vec::new();
    for set in sets {
        let known = set.migrations.last().map_or(0, |last| last.number);
        let mut begun: Vec<(u32, usize, bool)> = Vec::new();
        for row in rows
            .iter()
            .filter(|row| row.get::<String>("scope").as_deref() == Ok(set.scope))
        {
            let (number, found): (u32, String) = (row.get("number")?, row.get("name")?);
            let Some(ours) = set.migrations.iter().find(|ours| ours.number == number) else {
                return Err(MigrateError::Newer {
                    scope: set.scope,
                    found: number,
                    known,
                });
            };
            if ours.name != found {
                return Err(MigrateError::Renamed {
                    scope: set.scope,
                    number,
                    found,
                    known: ours.name,
                });
            }
            begun.push((
                number,
                row.get("steps")?,
                row.get::<Option<i64>>("applied_at")?.is_some(),
            ));
        }
        for migration in set.migrations {
            match begun.iter().find(|(number, ..)| *number == migration.number) {
                Some((.., true)) => {}
                Some((_, steps, false)) => pending.push((set.scope, migration, Some(*steps))),
                None => pending.push((set.scope, migration, None)),
            }
        }
    }
    Ok(pending)
}

async fn claim(db: &Db, clock: &dyn Clock, owner: &str) -> Result<Lease, MigrateError> {
    for _ in 0..LEASE_POLLS_MAX {
        let (owner, now) = (owner.to_owned(), clock.now());
        let claimed = db.transaction("claim_migrate", move |tx| {
            let owner = owner.clone();
            Box::pin(async move { leases::claim(tx, LEASE, &owner, now, LEASE_LENGTH).await })
        });
        if let Some(lease) = claimed.await? {
            return Ok(lease);
        }
        tokio::time::sleep(LEASE_POLL_EVERY).await;
    }
    Err(MigrateError::Held)
}

async fn apply_all(
    db: &Db,
    sets: &[MigrationSet],
    clock: &dyn Clock,
    lease: &Lease,
) -> Result<usize, MigrateError> {
    // Looked up again under the lease: another runner may have done it meanwhile.
    let pending = pending(db, sets).await?;
    for (scope, migration, begun) in &pending {
        apply(db, scope, migration, *begun, clock, lease).await?;
        tracing::info!(
            scope,
            number = migration.number,
            name = migration.name,
            "migration applied"
        );
    }
    Ok(pending.len())
}

async fn apply(
    db: &Db,
    scope: &'static str,
    migration: &'static Migration,
    begun: Option<usize>,
    clock: &dyn Clock,
    lease: &Lease,
) -> Result<(), MigrateError> {
    let number = migration.number;
    let record = "INSERT INTO schema_migrations (scope, number, name, steps) VALUES (?, ?, ?, 0)";
    if begun.is_none() {
        let begin = Step {
            record,
            params: params![scope, number, migration.name],
            ..Step::default()
        };
        begin.run(db, clock, lease).await?;
    }
    let (done, statements) = (begun.unwrap_or(0), statements(migration.of(db.dialect())));
    for (place, statement) in statements.into_iter().enumerate().skip(done) {
        let step = Step {
            statement: Some(statement),
            record: "UPDATE schema_migrations SET steps = ? WHERE scope = ? AND number = ?",
            params: params![place + 1, scope, number],
            resumed: begun == Some(place),
        };
        let step = step.run(db, clock, lease).await;
        step.map_err(|failed| match failed {
            MigrateError::Db(error) => MigrateError::Step {
                scope,
                number,
                step: place + 1,
                error,
            },
            other => other,
        })?;
        failpoint::reached("migrate.between");
    }
    let end = Step {
        record: "UPDATE schema_migrations SET applied_at = ? WHERE scope = ? AND number = ?",
        params: params![clock.now(), scope, number],
        ..Step::default()
    };
    end.run(db, clock, lease).await
}

impl Migration {
    fn of(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Mysql => self.mysql,
        }
    }
}
