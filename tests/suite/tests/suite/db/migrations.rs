//! Migrations: once each, by one runner, resumed where they stopped.

use db::{Db, MigrateError, Migration, MigrationSet, migrate};
use futures::future::join_all;
use harness::engine::Engine;
use kit::random::SystemClock;

use super::notes;
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        f9_two_runners_at_once_apply_each_migration_once,
        a_newer_schema_is_refused,
        a_renamed_migration_is_refused,
        f9_a_failed_migration_is_resumed_at_its_step,
        f9_a_step_that_was_done_but_not_recorded_is_passed,
    ]
}

const NOTES: &str = "CREATE TABLE notes (id VARCHAR(64) NOT NULL PRIMARY KEY);";
const WITH_ROWS: &str = "INSERT INTO notes (id) VALUES ('a');\nINSERT INTO notes (id) VALUES ('b');";

const fn same(number: u32, name: &'static str, sql: &'static str) -> Migration {
    Migration {
        number,
        name,
        sqlite: sql,
        mysql: sql,
    }
}

static FIRST: MigrationSet = MigrationSet {
    scope: "suite",
    migrations: &[same(1, "notes", NOTES)],
};
static BOTH: MigrationSet = MigrationSet {
    scope: "suite",
    migrations: &[same(1, "notes", NOTES), same(2, "rows", WITH_ROWS)],
};

async fn run(db: &Db, set: MigrationSet, owner: &str) -> Result<usize, MigrateError> {
    migrate(db, &[kit::tables::MIGRATIONS, set], &SystemClock, owner).await
}

async fn f9_two_runners_at_once_apply_each_migration_once(ctx: Ctx) {
    // One after the other: a fresh file of SQLite's turns to its log for the first to open it.
    let mut runners = Vec::new();
    for _ in 0..4 {
        runners.push(ctx.open().await);
    }
    let owners = ["r0", "r1", "r2", "r3"];
    let applied = join_all(runners.iter().zip(owners).map(|(db, owner)| run(db, BOTH, owner))).await;
    let applied: Vec<usize> = applied
        .into_iter()
        .map(|applied| applied.expect("every runner ends well"))
        .collect();
    // Kit's own and the two of the set, each by one of the four.
    let recorded = runners[0].read("recorded", |tx| {
        let sql = "SELECT COUNT(*) AS n FROM schema_migrations";
        Box::pin(async move { tx.query_one(sql, vec![]).await })
    });
    let recorded: i64 = recorded.await.unwrap().unwrap().get("n").unwrap();
    assert!(recorded > 2);
    assert_eq!(
        i64::try_from(applied.iter().sum::<usize>()),
        Ok(recorded),
        "{applied:?}"
    );
    assert_eq!(notes(&runners[0]).await, ["a", "b"]);
    assert_eq!(run(&runners[0], BOTH, "later").await.unwrap(), 0);
}

async fn a_newer_schema_is_refused(ctx: Ctx) {
    let db = ctx.open().await;
    run(&db, BOTH, "newer").await.unwrap();
    let refused = run(&db, FIRST, "older").await;
    assert!(
        matches!(
            refused,
            Err(MigrateError::Newer {
                scope: "suite",
                found: 2,
                known: 1
            })
        ),
        "{refused:?}"
    );
}

async fn a_renamed_migration_is_refused(ctx: Ctx) {
    static OTHER: MigrationSet = MigrationSet {
        scope: "suite",
        migrations: &[same(1, "other", NOTES)],
    };
    let db = ctx.open().await;
    run(&db, FIRST, "one").await.unwrap();
    let refused = run(&db, OTHER, "two").await;
    assert!(
        matches!(refused, Err(MigrateError::Renamed { number: 1, .. })),
        "{refused:?}"
    );
}

async fn f9_a_failed_migration_is_resumed_at_its_step(ctx: Ctx) {
    static BROKEN: MigrationSet = MigrationSet {
        scope: "suite",
        migrations: &[
            same(1, "notes", NOTES),
            same(2, "rows", "INSERT INTO notes (id) VALUES ('a');\nNONSENSE;"),
        ],
    };
    let db = ctx.open().await;
    let failed = run(&db, BROKEN, "one").await;
    assert!(
        matches!(
            failed,
            Err(MigrateError::Step {
                number: 2,
                step: 2,
                ..
            })
        ),
        "{failed:?}"
    );
    assert_eq!(notes(&db).await, ["a"]);
    // The first statement is not run again: its row would be there twice.
    assert_eq!(run(&db, BOTH, "two").await.unwrap(), 1);
    assert_eq!(notes(&db).await, ["a", "b"]);
}

async fn f9_a_step_that_was_done_but_not_recorded_is_passed(ctx: Ctx) {
    let db = ctx.open().await;
    let none = MigrationSet {
        scope: "suite",
        migrations: &[],
    };
    run(&db, none, "kit").await.unwrap();
    // As a MySQL runner leaves it that was killed between a definition, which commits itself, and its record. On SQLite
    // both are one commit: there the table is not made beforehand.
    let table_is_there = ctx.engine == Engine::Mysql;
    let interrupted = db.transaction("interrupted", move |tx| {
        let begun =
            "INSERT INTO schema_migrations (scope, number, name, steps) VALUES ('suite', 1, 'notes', 0)";
        Box::pin(async move {
            tx.execute(begun, vec![]).await?;
            if table_is_there {
                tx.execute(NOTES.trim_end_matches(';'), vec![]).await?;
            }
            Ok(())
        })
    });
    interrupted.await.unwrap();
    assert_eq!(run(&db, FIRST, "resumes").await.unwrap(), 1);
    assert!(notes(&db).await.is_empty());
}
