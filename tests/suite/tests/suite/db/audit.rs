//! The audit rows: what is appended is found, what is counted adds up.

use contract::clock::UnixMillis;
use db::{DbError, migrate};
use kit::audit::{self, AuditEntry};
use kit::random::SystemClock;

use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        audit_entries_come_back_as_they_went,
        counts_add_up_within_their_minute
    ]
}

const START: UnixMillis = UnixMillis(1_763_769_600_000);

async fn audit_entries_come_back_as_they_went(ctx: Ctx) {
    let db = ctx.open().await;
    migrate(&db, &[kit::tables::MIGRATIONS], &SystemClock, "suite")
        .await
        .unwrap();
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
    migrate(&db, &[kit::tables::MIGRATIONS], &SystemClock, "suite")
        .await
        .unwrap();
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
