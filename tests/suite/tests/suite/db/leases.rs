//! Leases: one holder at a time, and an old one changes nothing.

use std::time::Duration;

use contract::clock::{Clock, UnixMillis};
use db::leases::{self, Lease};
use db::{Db, migrate, params};
use futures::future::join_all;
use harness::clock::HandClock;
use kit::random::SystemClock;

use super::{make_notes, notes};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        one_of_twenty_wins_a_lease,
        an_ended_lease_is_taken_over_and_its_holder_is_fenced,
        f43_a_lease_from_a_clock_that_was_set_back_does_not_last,
    ]
}

const START: UnixMillis = UnixMillis(1_763_769_600_000);
const LENGTH: Duration = Duration::from_secs(15);

/// Kit's own tables, and the notes.
async fn make_tables(db: &Db) {
    migrate(db, &[kit::tables::MIGRATIONS], &SystemClock, "suite")
        .await
        .expect("the tables are made");
    make_notes(db).await;
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
                tx.execute("INSERT INTO notes (id, text) VALUES (?, 'fenced')", params![id])
                    .await?;
            }
            Ok(held)
        })
    });
    written.await.expect("the write is decided")
}

async fn one_of_twenty_wins_a_lease(ctx: Ctx) {
    let db = ctx.open().await;
    make_tables(&db).await;
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
    make_tables(&db).await;
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

async fn f43_a_lease_from_a_clock_that_was_set_back_does_not_last(ctx: Ctx) {
    let db = ctx.open().await;
    make_tables(&db).await;
    let clock = HandClock::at(START);
    claim(&db, "ahead", clock.now()).await.expect("it is free");
    clock.set(START.plus_millis(-24 * 60 * 60 * 1000));
    assert!(
        claim(&db, "after", clock.now()).await.is_some(),
        "no lease lasts a day"
    );
}
