//! What is old enough is deleted, and nothing else: not what may still be delivered, and no event that is still to be queued.

use std::sync::Arc;
use std::time::Duration;

use contract::UnixMillis;
use db::leases::Lease;
use db::{Db, Params, Statement, Tx, params};
use harness::engine::Engine;
use harness::waiting;
use kit::purge::{PurgeLease, PurgeStep};
use pms_emitter::retention::{self, ByHand, PurgeTally, Purger, Retention};
use pms_emitter::store::{
    AttemptRecord, Claim, ClaimRequest, Claimed, EndpointUpdate, MadeDue, PURGE_BATCH, PurgePosition,
    PurgeTarget, Purged, Settlement, Verdict, env_endpoint,
};
use serde_json::json;
use tokio::process::Command;
use tokio::sync::Notify;

use super::rig::{Rig, Setup, event_id};
use crate::case::{Case, Ctx, cases};
use crate::metrics::until;
use crate::pms::Pms;
use crate::programs;

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        what_is_old_enough_is_purged_and_nothing_that_may_be_delivered,
        an_event_is_purged_once_the_last_of_its_deliveries_is_settled_long_enough,
        a_delivery_that_is_claimed_is_left_to_a_later_purge,
        what_is_still_to_be_queued_is_not_purged_before,
        a_webhook_that_begins_early_is_queued_what_is_still_kept,
        a_purge_goes_in_small_batches_and_on_where_another_process_died,
        an_event_with_more_deliveries_than_a_batch_is_purged_part_by_part,
        clocks_that_were_ahead_keep_nothing_from_being_purged,
        a_dry_run_counts_what_a_purge_deletes,
        dead_deliveries_are_dropped_by_hand_and_what_they_kept_goes_too,
        an_emitter_purge_is_due_an_hour_after_the_last_one_of_any_replica,
        statistics_are_purged_by_the_hour,
        an_event_without_its_body_is_known_and_shown_without_it,
        an_emitter_purges_from_its_start_on_and_counts_it,
        what_was_delivered_is_kept_no_longer_than_what_was_not,
    ];
    all.extend(cases![only Engine::Mysql; a_delivery_that_is_made_due_meanwhile_keeps_its_body]);
    all.extend(cases![only Engine::Mysql; a_delivery_that_is_claimed_meanwhile_is_left]);
    all.extend(cases![only Engine::Mysql; a_delivery_that_is_purged_as_it_is_made_due_is_not_found]);
    all.extend(cases![only Engine::Mysql; an_endpoint_that_is_queued_meanwhile_keeps_the_body]);
    all.extend(cases![only Engine::Sqlite; the_command_purges_and_vacuums_a_file_that_nobody_serves]);
    all.extend(cases![only Engine::Mysql; the_command_purges_beside_emitters_and_has_nothing_to_vacuum]);
    all
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn days(days: i64) -> i64 {
    days * i64::try_from(DAY.as_millis()).unwrap()
}

async fn run(db: &Db, statements: Vec<(&'static str, Params)>) {
    let statements: Arc<[Statement]> = statements
        .into_iter()
        .map(|(sql, values)| Statement::change(sql, values))
        .collect();
    let written = db.transaction("write", move |tx| {
        let statements = Arc::clone(&statements);
        Box::pin(async move { tx.run(&statements).await.all().map(drop) })
    });
    written.await.unwrap();
}

async fn count(rig: &Rig, sql: &'static str) -> i64 {
    let read = rig
        .store
        .db()
        .read("count", move |tx: &mut Tx| Box::pin(tx.query_one(sql, params![])));
    read.await.unwrap().unwrap().get("n").unwrap()
}

/// The events that have a row in a table.
async fn ids(rig: &Rig, sql: &'static str) -> Vec<String> {
    let read = rig
        .store
        .db()
        .read("ids", move |tx: &mut Tx| Box::pin(tx.query(sql, params![])));
    let rows = read.await.unwrap();
    rows.iter().map(|row| row.get("id").unwrap()).collect()
}

async fn bodies(rig: &Rig) -> Vec<String> {
    ids(rig, "SELECT event_id AS id FROM event_bodies ORDER BY event_id").await
}

/// Gives an event an age, and its delivery a status and an attempt.
async fn age(rig: &Rig, number: u32, status: &'static str, millis: i64) {
    let (id, at) = (event_id(number), rig.now().0 - millis);
    let settled = (status != "pending").then_some(at);
    run(
        rig.store.db(),
        vec![
            (
                "UPDATE events SET committed_at = ? WHERE id = ?",
                params![at, &id],
            ),
            (
                "UPDATE deliveries SET status = ?, settled_at = ?, due_at = ?, attempts = 1 WHERE event_id = ?",
                params![status, settled, at, &id],
            ),
            (
                "INSERT INTO delivery_attempts (endpoint_id, event_id, number, at, duration_ms)
                 SELECT endpoint_id, event_id, 1, ?, 5 FROM deliveries WHERE event_id = ?",
                params![at, &id],
            ),
        ],
    )
    .await;
}

/// So many events, queued and delivered, of this age.
async fn delivered(rig: &Rig, events: std::ops::Range<u32>, millis: i64) {
    rig.emit(events).await;
    let at = rig.now().0 - millis;
    run(
        rig.store.db(),
        vec![
            ("UPDATE events SET committed_at = ?", params![at]),
            (
                "UPDATE deliveries SET status = 'delivered', settled_at = ?",
                params![at],
            ),
        ],
    )
    .await;
}

fn purger(rig: &Rig, owner: &str) -> Purger {
    retention::hourly(
        rig.store.clone(),
        rig.clock.clone(),
        Retention::default(),
        owner.to_owned(),
    )
}

/// A whole purge, or what it would do.
async fn purged_by_hand(rig: &Rig, by_hand: ByHand) -> PurgeTally {
    let (store, clock) = (rig.store.clone(), rig.clock.clone());
    let purger = retention::at_once(store, clock, Retention::default(), "by_hand".to_owned(), by_hand);
    all_of(purger).await
}

async fn all_of(mut purger: Purger) -> PurgeTally {
    loop {
        match purger.step().await.unwrap() {
            PurgeStep::Worked => {}
            PurgeStep::Finished(tally) => return tally.into_iter().filter(|(_, rows)| *rows > 0).collect(),
            other => panic!("{other:?}"),
        }
    }
}

async fn purged(rig: &Rig) -> PurgeTally {
    purged_by_hand(rig, ByHand::default()).await
}

fn tally(deliveries: u64, attempts: u64, bodies: u64, events: u64) -> PurgeTally {
    let rows = [
        (Purged::Delivery, deliveries),
        (Purged::Attempt, attempts),
        (Purged::Body, bodies),
        (Purged::Event, events),
    ];
    rows.into_iter().filter(|(_, rows)| *rows > 0).collect()
}

async fn what_is_old_enough_is_purged_and_nothing_that_may_be_delivered(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    // Each with whether its body and its event are kept. In the order of their ages, as places are.
    let events = [
        ("delivered", days(400) + 1, false, false),
        ("pending", days(400) + 1, false, false),
        ("delivered", days(400), false, true),
        ("dead", days(365) + 1, false, true),
        ("pending", days(365) + 1, false, true),
        ("pending", days(365), true, true),
        ("dead", days(365), true, true),
        ("cancelled", days(300), false, true),
        ("dead", days(31), true, true),
        ("delivered", days(30) + 1, false, true),
        ("cancelled", days(30) + 1, false, true),
        ("pending", days(30) + 1, true, true),
        ("delivered", days(30), true, true),
        ("delivered", 0, true, true),
    ];
    rig.emit(0..events.len() as u32).await;
    for (number, (status, millis, ..)) in (0..).zip(events) {
        age(&rig, number, status, millis).await;
    }
    let kept = |is_kept: fn(&(&str, i64, bool, bool)) -> bool| -> Vec<String> {
        let numbered = (0..).zip(&events).filter(|(_, event)| is_kept(event));
        numbered.map(|(number, _)| event_id(number)).collect()
    };
    let all = bodies(&rig).await;
    let meant = tally(8, 8, 8, 2);
    let dry_run = ByHand {
        dry_run: true,
        ..ByHand::default()
    };
    assert_eq!(purged_by_hand(&rig, dry_run).await, meant);
    assert_eq!(bodies(&rig).await, all, "a dry run deletes nothing");
    assert_eq!(purged(&rig).await, meant);
    assert_eq!(bodies(&rig).await, kept(|event| event.2));
    let deliveries = "SELECT event_id AS id FROM deliveries ORDER BY event_id";
    assert_eq!(ids(&rig, deliveries).await, kept(|event| event.2));
    let attempts = "SELECT event_id AS id FROM delivery_attempts ORDER BY event_id";
    assert_eq!(ids(&rig, attempts).await, kept(|event| event.2));
    assert_eq!(
        ids(&rig, "SELECT id FROM events ORDER BY id").await,
        kept(|event| event.3)
    );
    assert_eq!(purged(&rig).await, PurgeTally::new(), "again");
    rig.stop().await;
}

async fn an_event_is_purged_once_the_last_of_its_deliveries_is_settled_long_enough(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    rig.emit(0..3).await;
    age(&rig, 0, "dead", days(60)).await;
    age(&rig, 1, "pending", days(50)).await;
    age(&rig, 2, "delivered", days(40)).await;
    assert_eq!(purged(&rig).await, tally(1, 1, 1, 0));
    // Behind the place up to which a purge has gone: it is sent after all, and shown for as long as any.
    let settle = "UPDATE deliveries SET status = 'delivered', settled_at = ? WHERE event_id = ?";
    let now = rig.now();
    run(rig.store.db(), vec![(settle, params![now, event_id(1)])]).await;
    rig.clock.advance(30 * DAY);
    assert_eq!(purged(&rig).await, PurgeTally::new());
    rig.clock.advance(Duration::from_millis(1));
    assert_eq!(purged(&rig).await, tally(1, 1, 1, 0));
    assert_eq!(bodies(&rig).await, [event_id(0)], "the dead one");
    rig.clock.advance(275 * DAY);
    assert_eq!(purged(&rig).await, tally(1, 1, 1, 0), "a year old");
    assert_eq!(count(&rig, "SELECT COUNT(*) AS n FROM unsettled_events").await, 0);
    rig.stop().await;
}

async fn a_delivery_that_is_claimed_is_left_to_a_later_purge(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    rig.emit(0..4).await;
    // Past the time of the log too.
    for (number, millis) in [(0, days(401)), (1, days(366)), (2, days(366)), (3, days(366))] {
        age(&rig, number, "pending", millis).await;
    }
    let claims = claim(&rig, 2).await;
    let claimed = [event_id(0), event_id(1)];
    let dry_run = ByHand {
        dry_run: true,
        ..ByHand::default()
    };
    assert_eq!(purged_by_hand(&rig, dry_run).await, tally(2, 2, 2, 0));
    assert_eq!(purged(&rig).await, tally(2, 2, 2, 0));
    assert_eq!(bodies(&rig).await, claimed, "for another attempt");
    // One is delivered, and of the other its owner has died.
    let attempt = AttemptRecord {
        number: claims[0].attempts + 1,
        at: rig.now(),
        duration_ms: 1,
        status: Some(200),
        error: None,
        answer: None,
    };
    let settlement = Settlement {
        delivery: claims[0].delivery.clone(),
        subject: claims[0].subject.clone(),
        attempt: Some(attempt),
        verdict: Verdict::Delivered,
    };
    let (batch, update) = ([settlement].into(), EndpointUpdate::default());
    let settled = rig
        .store
        .settle(env_endpoint(), batch, update, [].into(), rig.now());
    let settled = settled.await.unwrap();
    assert_eq!((settled.delivered, settled.lost), (1, 0));
    assert_eq!(rig.audited(0).await, ["delivered"]);
    assert_eq!(purged(&rig).await, tally(1, 2, 1, 1));
    rig.clock.advance(LEASE);
    assert_eq!(purged(&rig).await, PurgeTally::new());
    rig.clock.advance(Duration::from_millis(1));
    assert_eq!(purged(&rig).await, tally(1, 1, 1, 0));
    rig.stop().await;
}

/// How long the claims of these cases hold.
const LEASE: Duration = Duration::from_secs(30);

/// Claims so many deliveries, as a dispatcher does.
async fn claim(rig: &Rig, limit: usize) -> Vec<Claim> {
    let request = ClaimRequest {
        endpoint: env_endpoint(),
        token: "case".to_owned(),
        now: rig.now(),
        lease: LEASE,
        limit,
        turn: 0,
    };
    match rig.store.claim(request).await.unwrap() {
        Claimed::Deliveries { claims, .. } => claims,
        other => panic!("{other:?}"),
    }
}

async fn what_is_still_to_be_queued_is_not_purged_before(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    delivered(&rig, 0..4, days(500)).await;
    // One that is behind, one that has no URL for now, and events without a place.
    let behind = "INSERT INTO endpoints (id, subscribed, backfill_seq, breaker_since, created_at, updated_at)
         VALUES (?, ?, ?, 0, 0, 0)";
    run(
        rig.store.db(),
        vec![
            (behind, params!["ep_behind", true, 2]),
            (behind, params!["ep_off", false, 0]),
        ],
    )
    .await;
    rig.commit(4..6).await;
    let old = "UPDATE events SET committed_at = 0 WHERE feed_seq IS NULL";
    run(rig.store.db(), vec![(old, params![])]).await;
    assert_eq!(purged(&rig).await, tally(2, 0, 2, 2));
    assert_eq!(bodies(&rig).await, (2..6).map(event_id).collect::<Vec<_>>());
    assert_eq!(count(&rig, "SELECT COUNT(*) AS n FROM events").await, 4);
    // Queued, they are as old as they are: nobody has sent them, and nobody will.
    rig.fan_out().await;
    let of_behind = "SELECT event_id AS id FROM deliveries WHERE endpoint_id = 'ep_behind' ORDER BY event_id";
    assert_eq!(ids(&rig, of_behind).await.len(), 4);
    assert_eq!(purged(&rig).await, tally(8, 0, 4, 4));
    rig.stop().await;
}

async fn a_webhook_that_begins_early_is_queued_what_is_still_kept(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    rig.emit(0..4).await;
    age(&rig, 0, "delivered", days(40)).await;
    age(&rig, 1, "dead", days(40)).await;
    purged(&rig).await;
    let early = "INSERT INTO endpoints (id, subscribed, backfill_seq, breaker_since, created_at, updated_at)
         VALUES ('ep_early', 1, 0, 0, 0, 0)";
    run(rig.store.db(), vec![(early, params![])]).await;
    rig.fan_out().await;
    let of_early = "SELECT event_id AS id FROM deliveries WHERE endpoint_id = 'ep_early' ORDER BY event_id";
    assert_eq!(
        ids(&rig, of_early).await,
        (1..4).map(event_id).collect::<Vec<_>>(),
        "what has no body cannot be sent"
    );
    rig.stop().await;
}

async fn a_purge_goes_in_small_batches_and_on_where_another_process_died(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    let events = 2 * PURGE_BATCH as u32 + 50;
    delivered(&rig, 0..events, days(31)).await;
    age(&rig, 10, "dead", days(31)).await;
    run(
        rig.store.db(),
        vec![("UPDATE purges SET finished_at = 0, place = 0", params![])],
    )
    .await;
    let (mut first, mut second) = (purger(&rig, "first"), purger(&rig, "second"));
    // The dead ones that a person drops: there are none.
    assert_eq!(first.step().await.unwrap(), PurgeStep::Worked);
    assert_eq!(first.step().await.unwrap(), PurgeStep::Worked);
    let left = async || count(&rig, "SELECT COUNT(*) AS n FROM event_bodies").await;
    let first_batch = PURGE_BATCH as i64 - 1;
    assert_eq!(left().await, i64::from(events) - first_batch);
    assert_eq!(second.step().await.unwrap(), PurgeStep::Held);
    // The first one dies, or is paused past its lease.
    rig.clock.advance(Duration::from_secs(61));
    assert_eq!(second.step().await.unwrap(), PurgeStep::Worked);
    assert_eq!(
        first.step().await.unwrap(),
        PurgeStep::Held,
        "its lease is another's"
    );
    assert_eq!(left().await, i64::from(events) - first_batch);
    let rest = all_of(second).await;
    assert_eq!(rest[&Purged::Body], u64::from(events) - PURGE_BATCH as u64);
    assert_eq!(bodies(&rig).await, [event_id(10)]);
    // Fenced also where it had found its batch before.
    let store = &rig.store;
    let purges = PurgeLease::new(store.db());
    let lease = purges.claim("third", rig.now()).await.unwrap().unwrap();
    rig.clock.advance(Duration::from_secs(61));
    let other = purges.claim("fourth", rig.now()).await.unwrap().unwrap();
    let settle = "UPDATE deliveries SET status = 'delivered' WHERE event_id = 'evt_00010'";
    run(store.db(), vec![(settle, params![])]).await;
    let (before, now) = (Retention::default().before(rig.now()), rig.now());
    let batch = async |lease: Lease| {
        let position = PurgePosition::default();
        let batch = store.purge_batch(PurgeTarget::Unsettled, before, position, Some(&lease), now);
        batch.await.unwrap()
    };
    assert_eq!(batch(lease.clone()).await, None);
    assert!(!purges.end(lease, rig.now()).await.unwrap());
    assert_eq!(batch(other).await.unwrap().purged[&Purged::Body], 1);
    rig.stop().await;
}

async fn an_event_with_more_deliveries_than_a_batch_is_purged_part_by_part(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    rig.emit(0..3).await;
    let queue = "INSERT INTO deliveries (endpoint_id, event_id, due_at) VALUES (?, ?, 0)";
    let many = 2 * PURGE_BATCH + 10;
    let of_many = (0..many).map(|number| (queue, params![format!("ep_{number}"), event_id(1)]));
    run(rig.store.db(), of_many.collect()).await;
    for number in 0..3 {
        age(&rig, number, "delivered", days(31)).await;
    }
    let (mut purger, mut parts) = (purger_by_hand(&rig), 0);
    let mut before = count(&rig, "SELECT COUNT(*) AS n FROM deliveries").await;
    loop {
        let step = purger.step().await.unwrap();
        let now = count(&rig, "SELECT COUNT(*) AS n FROM deliveries").await;
        assert!(before - now <= PURGE_BATCH as i64);
        parts += i32::from(now < before);
        before = now;
        if let PurgeStep::Finished(done) = step {
            let all = many as u64 + 3;
            assert_eq!(
                (
                    done[&Purged::Delivery],
                    done[&Purged::Attempt],
                    done[&Purged::Body]
                ),
                (all, all, 3)
            );
            break;
        }
        let is_whole = count(
            &rig,
            "SELECT COUNT(*) AS n FROM event_bodies WHERE event_id = 'evt_00001'",
        );
        assert!(
            now < 1 || is_whole.await == i64::from(now > 1),
            "the body goes last"
        );
    }
    assert!(parts >= 3);
    rig.stop().await;
}

fn purger_by_hand(rig: &Rig) -> Purger {
    retention::at_once(
        rig.store.clone(),
        rig.clock.clone(),
        Retention::default(),
        "by_hand".to_owned(),
        ByHand::default(),
    )
}

async fn clocks_that_were_ahead_keep_nothing_from_being_purged(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    rig.emit(0..40).await;
    for number in 0..40 {
        let ahead = number == 3 || number == 4;
        age(&rig, number, "delivered", if ahead { -days(3) } else { days(31) }).await;
    }
    let settled = rig.now().0 - days(31);
    run(
        rig.store.db(),
        vec![("UPDATE deliveries SET settled_at = ?", params![settled])],
    )
    .await;
    assert_eq!(purged(&rig).await, tally(38, 38, 38, 0));
    assert_eq!(bodies(&rig).await, [event_id(3), event_id(4)]);
    rig.clock.advance(34 * DAY);
    assert_eq!(purged(&rig).await, tally(2, 2, 2, 0), "in their time");
    rig.stop().await;
}

async fn a_dry_run_counts_what_a_purge_deletes(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    let events = PURGE_BATCH as u32 + 20;
    delivered(&rig, 0..events, days(450)).await;
    age(&rig, 0, "delivered", days(450)).await;
    run(
        rig.store.db(),
        vec![(
            "UPDATE events SET committed_at = ? WHERE id > 'evt_00099'",
            params![rig.now().0 - days(100)],
        )],
    )
    .await;
    let dry_run = ByHand {
        dry_run: true,
        dead_before: Some(rig.now()),
    };
    let found = purged_by_hand(&rig, dry_run).await;
    assert_eq!(found, tally(u64::from(events), 1, u64::from(events), 100));
    // While another purge goes on, too.
    let purges = PurgeLease::new(rig.store.db());
    let lease = purges.claim("other", rig.now()).await.unwrap().unwrap();
    assert_eq!(purged_by_hand(&rig, dry_run).await, found, "it deletes nothing");
    let mut refused = purger_by_hand(&rig);
    assert_eq!(refused.step().await.unwrap(), PurgeStep::Held);
    purges.release(lease).await.unwrap();
    assert_eq!(purged(&rig).await, found);
    rig.stop().await;
}

async fn dead_deliveries_are_dropped_by_hand_and_what_they_kept_goes_too(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    // More than a batch, of which the last one died first.
    let many = PURGE_BATCH as u32 + 10;
    rig.emit(0..many + 5).await;
    let at = rig.now().0 - days(90);
    run(
        rig.store.db(),
        vec![
            ("UPDATE events SET committed_at = ?", params![at]),
            (
                "UPDATE deliveries SET status = 'dead', settled_at = ?, due_at = ? - (SUBSTR(event_id, 5) + 0)",
                params![at, at],
            ),
        ],
    )
    .await;
    for (number, status, age_days) in [
        (0, "dead", 90),
        (1, "dead", 50),
        (2, "pending", 90),
        (3, "dead", 20),
        (4, "delivered", 20),
    ] {
        age(&rig, many + number, status, days(age_days)).await;
    }
    assert_eq!(purged(&rig).await, PurgeTally::new());
    let dropped = u64::from(many) + 1;
    let drop = |before: i64, dry_run| ByHand {
        dry_run,
        dead_before: Some(UnixMillis(rig.now().0 - before)),
    };
    assert_eq!(
        purged_by_hand(&rig, drop(days(60), true)).await,
        tally(dropped, 0, 0, 0)
    );
    assert_eq!(
        purged_by_hand(&rig, drop(days(60), false)).await,
        tally(dropped, 1, dropped, 0)
    );
    assert_eq!(
        purged_by_hand(&rig, drop(0, false)).await,
        tally(2, 2, 1, 0),
        "the young one's body stays for others"
    );
    assert_eq!(
        bodies(&rig).await,
        [event_id(many + 2), event_id(many + 3), event_id(many + 4)]
    );
    let left = "SELECT event_id AS id FROM deliveries ORDER BY event_id";
    assert_eq!(ids(&rig, left).await, [event_id(many + 2), event_id(many + 4)]);
    let entries = "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'dead_dropped' AND source = 'env'
         AND actor = 'operator'";
    assert_eq!(count(&rig, entries).await, 3);
    rig.stop().await;
}

async fn an_emitter_purge_is_due_an_hour_after_the_last_one_of_any_replica(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    run(
        rig.store.db(),
        vec![("UPDATE purges SET finished_at = 0", params![])],
    )
    .await;
    all_of(purger(&rig, "first")).await;
    let mut second = purger(&rig, "second");
    assert_eq!(second.step().await.unwrap(), PurgeStep::NotDue);
    rig.clock.advance(Duration::from_secs(3_599));
    assert_eq!(second.step().await.unwrap(), PurgeStep::NotDue);
    rig.clock.advance(Duration::from_secs(1));
    all_of(second).await;
    let purges = PurgeLease::new(rig.store.db());
    assert_eq!(purges.last().await.unwrap(), rig.now());
    // By the clock of a replica that is ahead, and by one that was set back.
    let mut third = purger(&rig, "third");
    let end = "UPDATE purges SET finished_at = ?";
    run(rig.store.db(), vec![(end, params![rig.now().0 + 60_000])]).await;
    assert_eq!(third.step().await.unwrap(), PurgeStep::NotDue);
    for ahead in [60_001, days(1)] {
        run(rig.store.db(), vec![(end, params![rig.now().0 + ahead])]).await;
        all_of(purger(&rig, "fourth")).await;
        assert_eq!(purges.last().await.unwrap(), rig.now());
    }
    rig.stop().await;
}

async fn statistics_are_purged_by_the_hour(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    let counted = "INSERT INTO delivery_hours (endpoint_id, hour, type, delivered, failed, duration_ms, took_10, took_25,
             took_50, took_100, took_250, took_500, took_1000, took_2500, took_5000, took_10000, took_30000, took_longer)
         VALUES (?, ?, ?, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)";
    let endpoint = "INSERT INTO endpoints (id, subscribed, breaker_since, created_at, updated_at) VALUES ('ep_1', 0, 0, 0, 0)";
    let hour = 3_600_000;
    let edge = rig.now().0 - days(400);
    let mut rows = vec![(endpoint, params![])];
    let old = PURGE_BATCH as i64;
    for (id, first, hours) in [
        ("env", 1, old + 5),
        ("ep_1", 1, 3),
        ("env", -2, 3),
        ("ep_1", 0, 1),
    ] {
        for number in 0..hours {
            let at = edge - edge.rem_euclid(hour) - (first + number) * hour;
            for event_type in ["guest.created", "guest.updated"] {
                rows.push((counted, params![id, at, event_type]));
            }
        }
    }
    run(rig.store.db(), rows).await;
    let deleted = 2 * (old as u64 + 5 + 3);
    let meant = PurgeTally::from([(Purged::DeliveryHour, deleted)]);
    let dry_run = ByHand {
        dry_run: true,
        ..ByHand::default()
    };
    assert_eq!(purged_by_hand(&rig, dry_run).await, meant);
    assert_eq!(purged(&rig).await, meant);
    assert_eq!(
        count(&rig, "SELECT COUNT(*) AS n FROM delivery_hours").await,
        2 * (3 + 1)
    );
    rig.stop().await;
}

async fn an_event_without_its_body_is_known_and_shown_without_it(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let event = json!({"id": "evt_of_ours", "type": "booking.created", "property_id": "MAIN",
        "entity": {"kind": "booking", "id": "b_1"}, "payload": {"id": "b_1", "total": "100.00"}});
    pms.post("/events", &event).await.expect(202);
    let events = "SELECT COUNT(*) AS n FROM events WHERE feed_seq IS NOT NULL";
    waiting::until("it has a place", || async { pms.count(events).await == 1 }).await;
    let purge = async |advance| {
        pms.clock.advance(advance);
        let (store, clock) = (pms.store.clone(), pms.clock.clone());
        all_of(retention::at_once(
            store,
            clock,
            Retention::default(),
            "case".to_owned(),
            ByHand::default(),
        ))
        .await
    };
    assert_eq!(purge(31 * DAY).await[&Purged::Body], 1);
    let page = pms.get("/events?limit=10").await.expect(200);
    assert_eq!(page.body["data"][0]["event_id"], "evt_of_ours");
    assert!(page.body["data"][0]["body"].is_null());
    assert!(page.body["data"][0].get("body").is_some());
    // Nobody publishes it again, nor another one under its id, for as long as a receiver knows it.
    pms.clock.advance(368 * DAY);
    pms.post("/events", &event).await.expect(200);
    let mut other = event.clone();
    other["payload"]["total"] = json!("1.00");
    pms.post("/events", &other).await.expect(422);
    assert_eq!(purge(2 * DAY).await, tally(0, 0, 0, 1));
    pms.post("/events", &event).await.expect(202);
    // The version of what it is about goes on.
    let versions = "SELECT COUNT(*) AS n FROM events WHERE entity_version = 2";
    assert_eq!(pms.count(versions).await, 1);
    pms.stop().await;
}

async fn an_emitter_purges_from_its_start_on_and_counts_it(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    rig.emit(0..2).await;
    age(&rig, 0, "delivered", days(401)).await;
    age(&rig, 1, "delivered", days(31)).await;
    run(
        rig.store.db(),
        vec![("UPDATE purges SET finished_at = 0", params![])],
    )
    .await;
    let (double, clock) = rig.stop().await;
    let rig = Rig::start_with(&ctx, Setup::default(), double, clock).await;
    let sample = |what: &str| format!("pms_emitter_purged_rows_total{{what=\"{what}\"}}");
    let page = until(rig.metrics_address(), "the first purge", |page| {
        page.value(&sample("event")) == 1.0 && page.value(&sample("body")) == 2.0
    })
    .await;
    assert_eq!(page.value(&sample("delivery")), 2.0);
    assert_eq!(page.value(&sample("attempt")), 2.0);
    assert_eq!(page.value(&sample("delivery_hour")), 0.0);
    rig.stop().await;
}

async fn what_was_delivered_is_kept_no_longer_than_what_was_not(ctx: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    for (variables, named) in [
        (vec![("RETAIN_EVENTS_DAYS", "399")], "RETAIN_EVENTS_DAYS"),
        (
            vec![("RETAIN_UNDELIVERED_DAYS", "366")],
            "RETAIN_UNDELIVERED_DAYS",
        ),
        (vec![("RETAIN_DELIVERIES_DAYS", "0")], "RETAIN_DELIVERIES_DAYS"),
        (
            vec![
                ("RETAIN_DELIVERIES_DAYS", "31"),
                ("RETAIN_UNDELIVERED_DAYS", "30"),
            ],
            "RETAIN_DELIVERIES_DAYS",
        ),
    ] {
        for arguments in [&["serve"][..], &["purge"]] {
            let ended = Command::from(programs::emitter().command())
                .args(arguments)
                .env_clear()
                .envs(variables.clone())
                .current_dir(folder.path())
                .output()
                .await
                .unwrap();
            let said = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(2), "{variables:?}: {said}");
            assert!(said.starts_with(&format!("error: {named}: ")), "{said}");
        }
    }
    drop(ctx);
}

/// The command, on the case's database.
async fn command(ctx: &Ctx, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let ended = Command::from(programs::emitter().command())
        .arg("purge")
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", ctx.database.url())
        .env("LOG_LEVEL", "off")
        .current_dir(folder.path())
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ended.status.code(), text(ended.stdout), text(ended.stderr))
}

async fn the_command_purges_and_vacuums_a_file_that_nobody_serves(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    delivered(&rig, 0..300, 0).await;
    let pages = "SELECT page_count AS n FROM pragma_page_count()";
    let before = count(&rig, pages).await;
    let (double, clock) = rig.stop().await;
    // Its own clock is that of the system, by which all of these are old.
    let (code, said, _) = command(&ctx, &["--dry-run"]).await;
    assert!(
        code == Some(0) && said.contains("would be purged: body 300\n"),
        "{said}"
    );
    let (code, said, _) = command(&ctx, &["--dead-before", "2026-01-01T00:00:00Z"]).await;
    assert!(code == Some(0) && said.contains("purged: body 300\n"), "{said}");
    let rig = Rig::start_with(&ctx, Setup::default(), double, clock).await;
    assert_eq!(count(&rig, pages).await, before, "the space is used again");
    let (code, _, error) = command(&ctx, &["--vacuum"]).await;
    assert!(
        code == Some(2) && error.contains("another process serves"),
        "{error}"
    );
    rig.stop().await;
    let (code, said, error) = command(&ctx, &["--vacuum"]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(said.ends_with("the file has no free space any more\n"), "{said}");
    let rig = Rig::start_without_dispatcher(&ctx).await;
    assert!(count(&rig, pages).await < before);
    rig.stop().await;
}

async fn the_command_purges_beside_emitters_and_has_nothing_to_vacuum(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    delivered(&rig, 0..3, 0).await;
    let (code, said, error) = command(&ctx, &["--vacuum"]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains("purged: body 3\n"), "{said}");
    assert!(
        said.ends_with("nothing to vacuum: MySQL uses the space again by itself\n"),
        "{said}"
    );
    rig.stop().await;
}

/// A purge begins while another transaction has changed something and not committed; it must wait for that row, or be done.
async fn purged_beside(rig: &Arc<Rig>, written: &Notify, go_on: &Notify) -> PurgeTally {
    written.notified().await;
    let purge = tokio::spawn({
        let rig = Arc::clone(rig);
        async move { purged(&rig).await }
    });
    let blocked = "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE db = DATABASE()
         AND id <> CONNECTION_ID() AND info LIKE '%FOR UPDATE'";
    waiting::until("the purge waits, or is done", || async {
        purge.is_finished() || count(rig, blocked).await > 0
    })
    .await;
    go_on.notify_one();
    purge.await.unwrap()
}

async fn a_delivery_that_is_made_due_meanwhile_keeps_its_body(ctx: Ctx) {
    let rig = Arc::new(Rig::start_without_dispatcher(&ctx).await);
    delivered(&rig, 0..2, days(40)).await;
    let (written, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let made_due = rig.store.db().transaction("make_due", {
        let (written, go_on) = (Arc::clone(&written), Arc::clone(&go_on));
        move |tx| {
            let (written, go_on) = (Arc::clone(&written), Arc::clone(&go_on));
            Box::pin(async move {
                let sql = "UPDATE deliveries SET status = 'pending', settled_at = NULL WHERE event_id = 'evt_00000'";
                tx.execute(sql, params![]).await?;
                written.notify_one();
                go_on.notified().await;
                Ok(())
            })
        }
    });
    let (made_due, purged) = tokio::join!(made_due, purged_beside(&rig, &written, &go_on));
    made_due.unwrap();
    assert_eq!(purged, tally(1, 0, 1, 0));
    assert_eq!(bodies(&rig).await, [event_id(0)]);
    // And one that comes too late finds neither.
    assert_eq!(make_due(&rig, 1).await, MadeDue::NoDelivery);
}

async fn a_delivery_that_is_claimed_meanwhile_is_left(ctx: Ctx) {
    let rig = Arc::new(Rig::start_without_dispatcher(&ctx).await);
    rig.emit(0..2).await;
    age(&rig, 0, "pending", days(366)).await;
    age(&rig, 1, "pending", days(366)).await;
    let (written, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    // A claim, as far as a purge sees it.
    let until = rig.now().0 + 30_000;
    let claim = rig.store.db().transaction("claim", {
        let (written, go_on) = (Arc::clone(&written), Arc::clone(&go_on));
        move |tx| {
            let (written, go_on) = (Arc::clone(&written), Arc::clone(&go_on));
            Box::pin(async move {
                let sql =
                    "UPDATE deliveries SET owner = 'case', lease_until = ? WHERE event_id = 'evt_00000'";
                tx.execute(sql, params![until]).await?;
                written.notify_one();
                go_on.notified().await;
                Ok(())
            })
        }
    });
    let (claimed, first) = tokio::join!(claim, purged_beside(&rig, &written, &go_on));
    claimed.unwrap();
    assert_eq!(first, tally(1, 1, 1, 0));
    assert_eq!(bodies(&rig).await, [event_id(0)]);
    rig.clock.advance(LEASE + Duration::from_millis(1));
    assert_eq!(purged(&rig).await, tally(1, 1, 1, 0), "it is noted for later");
}

async fn a_delivery_that_is_purged_as_it_is_made_due_is_not_found(ctx: Ctx) {
    let rig = Arc::new(Rig::start_without_dispatcher(&ctx).await);
    delivered(&rig, 0..1, days(40)).await;
    let (written, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    // A purge, as far as this delivery goes.
    let purge = rig.store.db().transaction("purge", {
        let (written, go_on) = (Arc::clone(&written), Arc::clone(&go_on));
        move |tx| {
            let (written, go_on) = (Arc::clone(&written), Arc::clone(&go_on));
            Box::pin(async move {
                tx.execute("DELETE FROM deliveries", params![]).await?;
                written.notify_one();
                go_on.notified().await;
                Ok(())
            })
        }
    });
    let made_due = async {
        written.notified().await;
        let made_due = tokio::spawn({
            let rig = Arc::clone(&rig);
            async move { make_due(&rig, 0).await }
        });
        let blocked = "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE db = DATABASE()
             AND id <> CONNECTION_ID() AND info LIKE 'UPDATE deliveries SET%'";
        waiting::until("it waits for the purge", || async {
            count(&rig, blocked).await > 0
        })
        .await;
        go_on.notify_one();
        made_due.await.unwrap()
    };
    let (purged, made_due) = tokio::join!(purge, made_due);
    purged.unwrap();
    assert_eq!(made_due, MadeDue::NoDelivery);
}

/// Makes the delivery of an event due, as a person does.
async fn make_due(rig: &Rig, number: u32) -> MadeDue {
    let entry = kit::audit::AuditEntry::new(
        pms_emitter::domain::audit_action::AuditAction::DeliveryRetried,
        rig.now(),
    );
    let event = event_id(number).parse().unwrap();
    let made = rig.store.make_due(&env_endpoint(), &event, entry).await;
    made.unwrap()
}

async fn an_endpoint_that_is_queued_meanwhile_keeps_the_body(ctx: Ctx) {
    let rig = Arc::new(Rig::start_without_dispatcher(&ctx).await);
    delivered(&rig, 0..2, days(40)).await;
    let (written, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    // A backfill, as far as a purge sees it.
    let backfill = rig.store.db().transaction("backfill", {
        let (written, go_on) = (Arc::clone(&written), Arc::clone(&go_on));
        move |tx| {
            let (written, go_on) = (Arc::clone(&written), Arc::clone(&go_on));
            Box::pin(async move {
                let lock =
                    "SELECT event_id FROM event_bodies WHERE event_id = 'evt_00000' LOCK IN SHARE MODE";
                tx.query(lock, params![]).await?;
                let queue =
                    "INSERT INTO deliveries (endpoint_id, event_id, due_at) VALUES ('ep_new', 'evt_00000', 0)";
                tx.execute(queue, params![]).await?;
                written.notify_one();
                go_on.notified().await;
                Ok(())
            })
        }
    });
    let (backfilled, purged) = tokio::join!(backfill, purged_beside(&rig, &written, &go_on));
    backfilled.unwrap();
    assert_eq!(purged, tally(1, 0, 1, 0));
    assert_eq!(bodies(&rig).await, [event_id(0)]);
}
