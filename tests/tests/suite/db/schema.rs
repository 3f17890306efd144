//! Migrations, leases and the audit rows.

use std::time::Duration;

use contract::clock::{Clock, UnixMillis};
use e2e::clock::HandClock;
use e2e::engine::Engine;
use futures::future::join_all;
use kit::audit::{self, AuditEntry};
use kit::db::{Db, DbError, MigrateError, Migration, MigrationSet, migrate, params};
use kit::leases::{self, Lease};
use kit::random::SystemClock;

use super::notes;
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        two_runners_at_once_apply_each_migration_once,
        a_newer_schema_is_refused,
        a_renamed_migration_is_refused,
        a_failed_migration_is_resumed_at_its_step,
        a_step_that_was_done_but_not_recorded_is_passed,
        one_of_twenty_wins_a_lease,
        an_ended_lease_is_taken_over_and_its_holder_is_fenced,
        a_lease_from_a_clock_that_was_set_back_does_not_last,
        audit_entries_come_back_as_they_went,
        counts_add_up_within_their_minute,
    ]
}

const START: UnixMillis = UnixMillis(1_763_769_600_000);
const LENGTH: Duration = Duration::from_secs(15);

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
    migrate(db, &[set], &SystemClock, owner).await
}

async fn two_runners_at_once_apply_each_migration_once(ctx: Ctx) {
    let runners = join_all((0..4).map(|_| ctx.open())).await;
    let owners = ["r0", "r1", "r2", "r3"];
    let applied = join_all(runners.iter().zip(owners).map(|(db, owner)| run(db, BOTH, owner))).await;
    let applied: Vec<usize> = applied
        .into_iter()
        .map(|applied| applied.expect("every runner ends well"))
        .collect();
    // Kit's own and the two of the set, by whoever came first.
    assert_eq!(applied.iter().sum::<usize>(), 3, "{applied:?}");
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

async fn a_failed_migration_is_resumed_at_its_step(ctx: Ctx) {
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

async fn a_step_that_was_done_but_not_recorded_is_passed(ctx: Ctx) {
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

async fn claim(db: &Db, owner: &str, now: UnixMillis) -> Option<Lease> {
    let owner = owner.to_owned();
    let claimed = db.transaction("claim", move |tx| {
        let owner = owner.clone();
        Box::pin(async move { leases::claim(tx, "suite", &owner, now, LENGTH).await })
    });
    claimed.await.expect("the claim is decided")
}

/// A write under the lease; whether it took effect.
async fn write_fenced(db: &Db, lease: &Lease, id: &'static str) -> bool {
    let lease = lease.clone();
    let written = db.transaction("write_fenced", move |tx| {
        let lease = lease.clone();
        Box::pin(async move {
            let held = leases::fence(tx, &lease).await?;
            if held {
                tx.execute("INSERT INTO notes (id) VALUES (?)", params![id])
                    .await?;
            }
            Ok(held)
        })
    });
    written.await.expect("the write is decided")
}

async fn one_of_twenty_wins_a_lease(ctx: Ctx) {
    let db = ctx.open().await;
    run(&db, FIRST, "schema").await.unwrap();
    let owners: Vec<String> = (0..20).map(|owner| format!("owner_{owner}")).collect();
    for round in 0..3 {
        let now = START.plus_millis(round * 60_000);
        let claims = join_all(owners.iter().map(|owner| claim(&db, owner, now))).await;
        let won: Vec<Lease> = claims.into_iter().flatten().collect();
        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(won[0].epoch, round + 1);
    }
}

async fn an_ended_lease_is_taken_over_and_its_holder_is_fenced(ctx: Ctx) {
    let db = ctx.open().await;
    run(&db, FIRST, "schema").await.unwrap();
    let clock = HandClock::at(START);
    let old = claim(&db, "old", clock.now()).await.expect("it is free");
    assert!(write_fenced(&db, &old, "by_old").await);
    clock.advance(LENGTH);
    assert_eq!(
        claim(&db, "new", clock.now()).await,
        None,
        "exactly at its end it still holds"
    );
    clock.advance(Duration::from_millis(1));
    let new = claim(&db, "new", clock.now()).await.expect("it has ended");
    assert!(new.epoch > old.epoch);
    assert!(!write_fenced(&db, &old, "too_late").await);
    assert!(write_fenced(&db, &new, "by_new").await);
    assert_eq!(notes(&db).await, ["by_new", "by_old"]);

    let (stale, now) = (old.clone(), clock.now());
    let run = db.transaction("stale", move |tx| {
        let stale = stale.clone();
        Box::pin(async move {
            leases::release(tx, &stale).await?;
            leases::renew(tx, &stale, now, LENGTH).await
        })
    });
    assert_eq!(run.await, Ok(None), "the old holder renews and releases nothing");
    let (held, now) = (new.clone(), clock.now());
    let run = db.transaction("renew_and_release", move |tx| {
        let held = held.clone();
        Box::pin(async move {
            let renewed = leases::renew(tx, &held, now, LENGTH).await?;
            leases::release(tx, &held).await?;
            Ok(renewed.is_some())
        })
    });
    assert_eq!(run.await, Ok(true));
    assert!(
        claim(&db, "next", clock.now()).await.is_some(),
        "a released lease is free at once"
    );
}

async fn a_lease_from_a_clock_that_was_set_back_does_not_last(ctx: Ctx) {
    let db = ctx.open().await;
    run(&db, FIRST, "schema").await.unwrap();
    let clock = HandClock::at(START);
    claim(&db, "ahead", clock.now()).await.expect("it is free");
    clock.set(START.plus_millis(-24 * 60 * 60 * 1000));
    assert!(
        claim(&db, "after", clock.now()).await.is_some(),
        "no lease lasts a day"
    );
}

async fn audit_entries_come_back_as_they_went(ctx: Ctx) {
    let db = ctx.open().await;
    run(&db, FIRST, "schema").await.unwrap();
    let full = AuditEntry {
        outcome: Some("done".into()),
        actor: Some("worker".to_owned()),
        source: Some("pms".to_owned()),
        event_id: Some("evt_1".to_owned()),
        property_id: Some("LIS01".to_owned()),
        entity_kind: Some("guest".to_owned()),
        entity_id: Some("gst_1".to_owned()),
        entity_version: Some(7),
        changed: vec!["email".to_owned(), "phone".to_owned()],
        correlation_id: Some("req_1".to_owned()),
        request_id: Some("req_2".to_owned()),
        ..AuditEntry::new("applied", START)
    };
    let bare = AuditEntry {
        event_id: Some("evt_1".to_owned()),
        ..AuditEntry::new("stale", START)
    };
    let other = AuditEntry {
        event_id: Some("evt_2".to_owned()),
        ..AuditEntry::new("applied", START)
    };
    // More than the largest INSERT, and no multiple of any.
    let mut entries = vec![other; 90];
    entries.insert(3, full.clone());
    entries.insert(80, bare.clone());
    let run = db.transaction("append", move |tx| {
        let entries = entries.clone();
        Box::pin(async move { audit::append(tx, &entries).await })
    });
    run.await.unwrap();
    let found = db.read("find", |tx| {
        Box::pin(async move {
            Ok((
                audit::find_by_event(tx, "evt_1").await?,
                audit::find_by_event(tx, "evt_2").await?.len(),
            ))
        })
    });
    assert_eq!(found.await, Ok((vec![full, bare], 90)));
}

async fn counts_add_up_within_their_minute(ctx: Ctx) {
    let db = ctx.open().await;
    run(&db, FIRST, "schema").await.unwrap();
    let counted: Vec<(i64, i64, i64)> = vec![(0, 1, 1), (59_999, 2, 1), (60_000, 5, 2)];
    for (after, n, _) in counted {
        let run = db.transaction("count", move |tx| {
            let at = START.plus_millis(after);
            Box::pin(
                async move { audit::count_minute(tx, at, "reject", "bad_signature", n.unsigned_abs()).await },
            )
        });
        run.await.unwrap();
    }
    let read = db.read("counts", |tx| {
        Box::pin(async move {
            let rows = tx
                .query("SELECT minute, n FROM audit_counts ORDER BY minute", vec![])
                .await?;
            rows.iter()
                .map(|row| Ok((row.get("minute")?, row.get("n")?)))
                .collect::<Result<Vec<_>, DbError>>()
        })
    });
    assert_eq!(read.await, Ok(vec![(START.0, 3_i64), (START.0 + 60_000, 5)]));
}
