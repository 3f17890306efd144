//! Numbered migrations, applied once each, by one process at a time.
//!
//! A lease row keeps two runners apart; its holder is fenced in every step. A migration is a file of statements, one
//! step each: a run that was killed is resumed where it stopped. On SQLite a step and its record are one commit. MySQL
//! commits a definition by itself, so the first step after a resume may find its own work done, and says so by errors
//! that are then no errors.

use std::pin::pin;
use std::time::Duration;

use contract::clock::Clock;

use super::{Db, DbError, Dialect, Tx};
use crate::leases::{self, Lease};
use crate::params;

/// The lease's name and length; it is renewed at a third of it.
const LEASE: &str = "migrate";
const LEASE_LENGTH: Duration = Duration::from_secs(30);
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// One statement: an index over a large table may take this long.
const STEP_WITHIN: Duration = Duration::from_secs(60 * 60);
/// Looks at the lease while another process migrates: half an hour in all.
const LOOKS: u32 = 18_000;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Exists already: table, column, index; does not exist any more.
const DONE_ALREADY: [i64; 4] = [1050, 1060, 1061, 1091];

/// One numbered change of the schema: the same change in the words of each engine, statements ended by `;`.
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

/// Kit's own tables.
static KIT: MigrationSet = MigrationSet {
    scope: "kit",
    migrations: &[Migration {
        number: 1,
        name: "audit_and_idempotency",
        sqlite: include_str!("../../migrations/sqlite/0001_audit_and_idempotency.sql"),
        mysql: include_str!("../../migrations/mysql/0001_audit_and_idempotency.sql"),
    }],
};

const BOOTSTRAP: Migration = Migration {
    number: 0,
    name: "bootstrap",
    sqlite: include_str!("../../migrations/sqlite/0000_bootstrap.sql"),
    mysql: include_str!("../../migrations/mysql/0000_bootstrap.sql"),
};

/// Why the schema is not as this program needs it.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database refused.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A later version of this program was here.
    #[error("the schema of {scope} is at {found}, this program knows only {known}: use the newer program")]
    Newer {
        /// Whose migrations.
        scope: &'static str,
        /// The highest number in the database.
        found: u32,
        /// The highest number in this program.
        known: u32,
    },
    /// A number was applied under another name.
    #[error("migration {number} of {scope} is {known} here, but was applied as {found}")]
    Renamed {
        /// Whose migrations.
        scope: &'static str,
        /// Which one.
        number: u32,
        /// Its name in the database.
        found: String,
        /// Its name in this program.
        known: &'static str,
    },
    /// A statement of a migration failed.
    #[error("migration {number} of {scope}, statement {step}: {error}")]
    Step {
        /// Whose migrations.
        scope: &'static str,
        /// Which one.
        number: u32,
        /// Which of its statements, from 1.
        step: usize,
        /// What the database said.
        error: DbError,
    },
    /// Another process migrates, and did not end.
    #[error("another process has been migrating this database for too long")]
    Held,
    /// Another process took the lease over.
    #[error("another process took over migrating")]
    Overtaken,
}

/// Brings the schema up to date: kit's own tables first, then the sets in their order. `owner` is unique to the
/// process. Answers how many migrations were applied here.
///
/// # Errors
/// `Newer` and `Renamed` before anything is touched; otherwise what stopped it. It can be run again.
pub async fn migrate(
    db: &Db,
    sets: &[MigrationSet],
    clock: &dyn Clock,
    owner: &str,
) -> Result<usize, MigrateError> {
    let patient = db.with_deadline(STEP_WITHIN);
    bootstrap(&patient).await?;
    let sets: Vec<_> = std::iter::once(KIT).chain(sets.iter().copied()).collect();
    if pending(db, &sets).await?.is_empty() {
        return Ok(0);
    }
    let lease = claim(db, clock, owner).await?;
    let applied = apply_all(&patient, &sets, clock, &lease).await;
    let released = lease.clone();
    let release = db.transaction("release_migrate", move |tx| {
        let lease = released.clone();
        Box::pin(async move { leases::release(tx, &lease).await })
    });
    if let Err(error) = release.await {
        tracing::warn!(%error, "the migration lease runs out by itself");
    }
    applied
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

/// What is still to be applied, each with the number of its steps that are done, and whether it was begun.
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
    for _ in 0..LOOKS {
        let (owner, now) = (owner.to_owned(), clock.now());
        let claimed = db.transaction("claim_migrate", move |tx| {
            let owner = owner.clone();
            Box::pin(async move { leases::claim(tx, LEASE, &owner, now, LEASE_LENGTH).await })
        });
        if let Some(lease) = claimed.await? {
            return Ok(lease);
        }
        tokio::time::sleep(LOOK_EVERY).await;
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
    }
    let end = Step {
        record: "UPDATE schema_migrations SET applied_at = ? WHERE scope = ? AND number = ?",
        params: params![clock.now(), scope, number],
        ..Step::default()
    };
    end.run(db, clock, lease).await
}

/// One statement of a migration and the record that it is done.
#[derive(Clone, Default)]
struct Step {
    statement: Option<String>,
    record: &'static str,
    params: super::Params,
    /// An earlier run may have carried the statement out without recording it.
    resumed: bool,
}

impl Step {
    async fn run(self, db: &Db, clock: &dyn Clock, lease: &Lease) -> Result<(), MigrateError> {
        let held = lease.clone();
        let step = db.transaction("migration_step", move |tx| {
            let (step, lease) = (self.clone(), held.clone());
            Box::pin(async move { step.carry_out(tx, &lease).await })
        });
        let mut step = pin!(step);
        loop {
            match tokio::time::timeout(RENEW_EVERY, step.as_mut()).await {
                Ok(outcome) => {
                    return if outcome? {
                        Ok(())
                    } else {
                        Err(MigrateError::Overtaken)
                    };
                }
                Err(_) => keep(db, clock, lease).await,
            }
        }
    }

    async fn carry_out(self, tx: &mut Tx, lease: &Lease) -> Result<bool, DbError> {
        if !leases::fence(tx, lease).await? {
            return Ok(false);
        }
        if let Some(statement) = &self.statement {
            match tx.define(statement).await {
                Err(DbError::Statement { code, .. }) if self.resumed && DONE_ALREADY.contains(&code) => {}
                other => other?,
            }
        }
        tx.execute(self.record, self.params).await?;
        Ok(true)
    }
}

/// Renews the lease. A failure is met by the fence of the next step.
async fn keep(db: &Db, clock: &dyn Clock, lease: &Lease) {
    let (lease, now) = (lease.clone(), clock.now());
    let renewed = db.transaction("renew_migrate", move |tx| {
        let lease = lease.clone();
        Box::pin(async move { leases::renew(tx, &lease, now, LEASE_LENGTH).await })
    });
    if let Err(error) = renewed.await {
        tracing::warn!(%error, "the migration lease was not renewed");
    }
}

impl Migration {
    fn of(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Mysql => self.mysql,
        }
    }
}

/// The statements of a file: ended by `;`, without comment lines. Quoted text may hold a `;`.
fn statements(file: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    let mut quote = None;
    for line in file.lines().filter(|line| !line.trim_start().starts_with("--")) {
        for letter in line.chars() {
            match (letter, quote) {
                (';', None) => {
                    statements.push(String::new());
                    continue;
                }
                ('\'' | '"' | '`', None) => quote = Some(letter),
                (_, Some(open)) if open == letter => quote = None,
                _ => {}
            }
            statements.last_mut().expect("never empty").push(letter);
        }
        statements.last_mut().expect("never empty").push('\n');
    }
    statements
        .into_iter()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_falls_into_its_statements() {
        let file =
            "-- why; not\nCREATE TABLE a (x TEXT DEFAULT ';');\n\n  -- more\nCREATE INDEX b\n  ON a (x);\n";
        assert_eq!(
            statements(file),
            [
                "CREATE TABLE a (x TEXT DEFAULT ';')",
                "CREATE INDEX b\n  ON a (x)"
            ]
        );
    }

    #[test]
    fn both_engines_get_every_migration_of_kit() {
        for (place, migration) in KIT.migrations.iter().enumerate() {
            assert_eq!(migration.number as usize, place + 1);
            assert!(!statements(migration.sqlite).is_empty() && !statements(migration.mysql).is_empty());
        }
    }
}
