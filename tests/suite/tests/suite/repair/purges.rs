//! What is old enough is deleted, and nothing else: not what waits, no profile, and no key within its time.

use crate::case::{Case, Ctx, cases};
use crate::inbox::{Inbox, START, guest, settle, stay};
use crate::ingest::{NOW, Receiver, event, execute, guest_event, number};
use crate::metrics::until;
use crate::programs;
use contract::{Clock, UnixMillis};
use crm_receiver::{
    app::{Runtime, open_store, purge},
    backlog::Backlog,
    retention::{self, PurgeTally, Purger, Retention},
    store::{PROFILES, PURGE_BATCH, PurgePosition, PurgeTarget, Purged},
};
use db::params;
use harness::clock::HandClock;
use harness::engine::Engine;
use harness::waiting;
use kit::{
    access::usage,
    purge::{PurgeLease, PurgeStep},
    random::SystemEntropy,
    rebuild::{Rebuild, Rebuilder, Step},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{process::Command, sync::Notify};

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        what_is_old_enough_is_purged_and_nothing_that_waits,
        a_purge_goes_in_small_batches_and_on_where_another_process_died,
        a_purge_that_finds_nothing_for_long_keeps_its_lease,
        a_purge_takes_a_batch_of_each_target_in_turn_and_knows_how_late_it_is,
        a_dry_run_counts_what_a_purge_deletes,
        old_usage_is_deleted_in_bounded_batches,
        a_purge_that_was_replaced_does_not_end_it,
        a_purge_by_hand_that_fails_gives_its_lease_up,
        a_purge_is_due_an_hour_after_the_last_one_of_any_replica,
        no_profile_changes_by_a_purge,
        a_repeat_is_known_by_its_key_until_that_is_purged,
        usage_rejections_ended_runs_and_the_stream_are_purged,
        a_service_purges_from_its_start_on_and_counts_it,
        the_command_counts_and_purges,
    ];
    all.extend(cases![only Engine::Mysql; an_event_that_is_requeued_meanwhile_keeps_its_body]);
    all.extend(cases![free; a_body_is_kept_no_longer_than_its_event]);
    all
}

const API_KEY: &str = "INSERT INTO api_keys (id, digest, hint, name, permissions, scope, allowed_networks, active, \
                       rate_limit, rate_window, created_by, created_at, updated_at, usage_count) \
                       VALUES (?, ?, 'h', 'n', '[]', '\"*\"', '[]', 1, 1, 1, 'suite', 0, 0, 0)";
const API_KEY_USAGE: &str = "INSERT INTO api_key_usage (key_id, day, endpoint, requests, failed, duration) \
                             VALUES (?, ?, 'GET /events', 1, 0, 1)";
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn hourly(inbox: &Inbox, owner: &str) -> Purger {
    let (store, clock) = (inbox.store().await, inbox.clock.clone());
    let backlog = Backlog::default();
    retention::hourly(store, backlog, clock, Retention::default(), owner.to_owned())
}

/// A whole purge, or what it would do.
async fn purged(inbox: &Inbox, dry_run: bool) -> PurgeTally {
    let (store, clock) = (inbox.store().await, inbox.clock.clone());
    let mut purger = retention::at_once(store, clock, Retention::default(), "by_hand".to_owned(), dry_run);
    loop {
        match purger.step().await.unwrap() {
            PurgeStep::Worked => {}
            PurgeStep::Finished(tally) => return tally.into_iter().filter(|(_, rows)| *rows > 0).collect(),
            other => panic!("{other:?}"),
        }
    }
}

/// Gives an event a status, and an age in milliseconds.
async fn make(inbox: &Inbox, id: &str, status: &'static str, age: i64) {
    let (id, received) = (id.to_owned(), inbox.clock.now().0 - age);
    inbox
        .write(move |run| {
            run.push((
                "UPDATE inbox SET status = ?, received_at = ? WHERE event_id = ?",
                params![status, received, &id],
            ));
        })
        .await;
}

async fn ids(inbox: &Inbox, table: &str) -> Vec<String> {
    let rows = inbox
        .rows(&format!("SELECT event_id FROM {table} ORDER BY event_id"))
        .await;
    rows.iter().map(|row| row.get("event_id").unwrap()).collect()
}

async fn what_is_old_enough_is_purged_and_nothing_that_waits(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let day = i64::try_from(DAY.as_millis()).unwrap();
    let (body, dead, key) = (30 * day, 90 * day, 400 * day);
    // Each with whether its body and its event are kept.
    let events = [
        ("applied", body, true, true),
        ("applied", body + 1, false, true),
        ("stale", body + 1, false, true),
        ("ignored", body + 1, false, true),
        ("suppressed", body + 1, false, true),
        ("dead_letter", body + 1, true, true),
        ("dead_letter", dead, true, true),
        ("dead_letter", dead + 1, false, true),
        ("accepted", key + day, true, true),
        ("applied", key, false, true),
        ("applied", key + 1, false, false),
        ("dead_letter", key + 1, false, false),
        ("applied", 0, true, true),
    ];
    let sent: Vec<_> = (0..events.len())
        .map(|number| guest(&format!("g_{number}"), 1, 0, "Silva"))
        .collect();
    inbox.accept(0, &sent).await;
    for (number, (status, age, ..)) in events.iter().enumerate() {
        make(&inbox, &format!("evt_{number:06}"), status, *age).await;
    }
    let meant = PurgeTally::from([
        (Purged::Body, 6),
        (Purged::DeadLetterBody, 2),
        (Purged::IdempotencyKey, 2),
    ]);
    let all = (ids(&inbox, "inbox").await, ids(&inbox, "inbox_bodies").await);
    assert_eq!(purged(&inbox, true).await, meant);
    assert_eq!(
        (ids(&inbox, "inbox").await, ids(&inbox, "inbox_bodies").await),
        all,
        "a dry run deletes nothing"
    );
    assert_eq!(purged(&inbox, false).await, meant);
    let kept = |is_kept: fn(&(&str, i64, bool, bool)) -> bool| -> Vec<String> {
        let numbered = events.iter().enumerate().filter(|(_, event)| is_kept(event));
        numbered.map(|(number, _)| format!("evt_{number:06}")).collect()
    };
    assert_eq!(ids(&inbox, "inbox_bodies").await, kept(|event| event.2));
    assert_eq!(ids(&inbox, "inbox").await, kept(|event| event.3));
    assert_eq!(purged(&inbox, false).await, PurgeTally::new(), "again");
}

async fn a_purge_goes_in_small_batches_and_on_where_another_process_died(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let sent: Vec<_> = (0..2 * PURGE_BATCH + 50)
        .map(|number| guest(&format!("g_{number}"), 1, 0, "Silva"))
        .collect();
    inbox.accept(0, &sent).await;
    let dead = "UPDATE inbox SET status = 'dead_letter' WHERE event_id < 'evt_000010'";
    inbox
        .write(move |run| {
            run.push((dead, vec![]));
            run.push((
                "UPDATE inbox SET status = 'applied' WHERE status = 'accepted'",
                vec![],
            ));
        })
        .await;
    inbox.clock.advance(31 * DAY);
    let (mut first, mut second) = (hourly(&inbox, "first").await, hourly(&inbox, "second").await);
    assert_eq!(first.step().await.unwrap(), PurgeStep::Worked);
    let left = |batches: usize| i64::try_from(sent.len() + 10 - batches * PURGE_BATCH).unwrap();
    assert_eq!(inbox.count("FROM inbox_bodies").await, left(1));
    assert_eq!(second.step().await.unwrap(), PurgeStep::Held);
    // The first one dies, or is paused past its lease.
    inbox.clock.advance(Duration::from_secs(61));
    assert_eq!(second.step().await.unwrap(), PurgeStep::Worked);
    assert_eq!(
        first.step().await.unwrap(),
        PurgeStep::Held,
        "its lease is another's"
    );
    let tally = loop {
        match second.step().await.unwrap() {
            PurgeStep::Worked => {}
            PurgeStep::Finished(tally) => break tally,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        tally[&Purged::Body],
        2 * PURGE_BATCH as u64 + 50 - (PURGE_BATCH as u64)
    );
    assert_eq!(inbox.count("FROM inbox_bodies").await, 10, "the dead letters'");
    assert_eq!(first.step().await.unwrap(), PurgeStep::NotDue);
}

async fn a_purge_that_finds_nothing_for_long_keeps_its_lease(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let sent: Vec<_> = (0..2 * PURGE_BATCH + 1)
        .map(|number| guest(&format!("g_{number}"), 1, 0, "Silva"))
        .collect();
    inbox.accept(0, &sent).await;
    inbox.clock.advance(31 * DAY);
    let (mut first, mut second) = (hourly(&inbox, "first").await, hourly(&inbox, "second").await);
    // What waits is old, and kept.
    for _ in 0..2 {
        assert_eq!(first.step().await.unwrap(), PurgeStep::Worked);
        inbox.clock.advance(Duration::from_secs(31));
    }
    assert_eq!(second.step().await.unwrap(), PurgeStep::Held);
    assert_eq!(first.step().await.unwrap(), PurgeStep::Worked);
    assert_eq!(
        inbox.count("FROM inbox_bodies").await,
        i64::try_from(sent.len()).unwrap()
    );
}

async fn a_purge_is_due_an_hour_after_the_last_one_of_any_replica(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let (mut one, mut other) = (hourly(&inbox, "one").await, hourly(&inbox, "other").await);
    let finish = async |purger: &mut Purger| {
        while !matches!(purger.step().await.unwrap(), PurgeStep::Finished(_)) {}
    };
    finish(&mut one).await;
    for purger in [&mut one, &mut other] {
        assert_eq!(purger.step().await.unwrap(), PurgeStep::NotDue);
    }
    inbox.clock.advance(Duration::from_secs(3_599));
    assert_eq!(other.step().await.unwrap(), PurgeStep::NotDue);
    inbox.clock.advance(Duration::from_secs(1));
    finish(&mut other).await;
    assert_eq!(one.step().await.unwrap(), PurgeStep::NotDue);
    // By the clock of a replica that is ahead, and by one that was set back.
    let purges = PurgeLease::new(&inbox.db);
    let end = async |ahead: i64| {
        let at = inbox.clock.now().plus_millis(ahead);
        let end = "UPDATE purges SET finished_at = ?";
        inbox.write(move |run| run.push((end, params![at]))).await;
    };
    end(60_000).await;
    assert_eq!(one.step().await.unwrap(), PurgeStep::NotDue);
    for ahead in [60_001, 24 * 3_600_000] {
        end(ahead).await;
        finish(&mut one).await;
        assert_eq!(purges.last().await.unwrap(), inbox.clock.now());
    }
}

async fn plant_rejection(inbox: &Inbox) {
    inbox
        .write(|run| {
            let sql = "INSERT INTO rejections (id, at, source, cause) VALUES ('rej_1', 1, 'pms', 'skew')";
            run.push((sql, vec![]));
        })
        .await;
}

async fn a_purge_takes_a_batch_of_each_target_in_turn_and_knows_how_late_it_is(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let sent: Vec<_> = (0..3 * PURGE_BATCH)
        .map(|number| guest(&format!("g_{number}"), 1, 0, "Silva"))
        .collect();
    inbox.accept(0, &sent).await;
    inbox
        .write(|run| run.push(("UPDATE inbox SET status = 'applied'", vec![])))
        .await;
    plant_rejection(&inbox).await;
    make(&inbox, "evt_000007", "applied", 7).await;
    inbox.clock.advance(31 * DAY);
    let (store, now) = (inbox.store().await, inbox.clock.now());
    let before = Retention::default().before(now);
    let batch = store.purge_batch(PurgeTarget::Bodies, before, PurgePosition::default(), None);
    let overdue = batch.await.unwrap().unwrap().oldest_overdue_ms;
    assert_eq!(overdue, Some(i64::try_from(DAY.as_millis()).unwrap() + 7));
    let mut purger = hourly(&inbox, "one").await;
    while inbox.count("FROM rejections").await > 0 {
        assert_eq!(purger.step().await.unwrap(), PurgeStep::Worked);
    }
    let left = i64::try_from(2 * PURGE_BATCH).unwrap();
    assert_eq!(
        inbox.count("FROM inbox_bodies").await,
        left,
        "many bodies hold up no other"
    );
}

async fn a_dry_run_counts_what_a_purge_deletes(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let sent: Vec<_> = (0..PURGE_BATCH + 2)
        .map(|number| guest(&format!("g_{number}"), 1, 0, "Silva"))
        .collect();
    inbox.accept(0, &sent).await;
    inbox
        .write(|run| run.push(("UPDATE inbox SET status = 'applied'", vec![])))
        .await;
    // The last by their ids and the first by their age: their keys go before the purge comes to their bodies.
    make(&inbox, "evt_000200", "applied", 1).await;
    make(&inbox, "evt_000201", "dead_letter", 1).await;
    inbox.clock.advance(401 * DAY);
    let counted = purged(&inbox, true).await;
    assert_eq!(
        (counted[&Purged::Body], counted[&Purged::DeadLetterBody]),
        (201, 1)
    );
    assert_eq!(purged(&inbox, false).await, counted);
}

async fn old_usage_is_deleted_in_bounded_batches(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    inbox
        .write(|run| {
            for key in ["key_1", "key_2", "key_3"] {
                run.push((API_KEY, params![key, key.as_bytes().repeat(7)[..32].to_vec()]));
                for day in 0..90 {
                    run.push((API_KEY_USAGE, params![key, day]));
                }
            }
        })
        .await;
    let batch = async |after: &'static str| {
        inbox
            .db
            .read("old_usage", move |tx| {
                Box::pin(async move { usage::before(tx, UnixMillis(1_000), after).await })
            })
            .await
            .unwrap()
    };
    let first = batch("").await;
    assert_eq!(first.keys, [("key_1".to_owned(), 90), ("key_2".to_owned(), 90)]);
    assert_eq!(first.next.as_deref(), Some("key_2"));
    let last = batch("key_2").await;
    assert_eq!((last.keys, last.next), (vec![("key_3".to_owned(), 90)], None));
    assert_eq!(purged(&inbox, false).await[&Purged::ApiKeyUsage], 270);
    assert_eq!(inbox.count("FROM api_key_usage").await, 0);
}

async fn a_purge_that_was_replaced_does_not_end_it(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let (purges, now) = (PurgeLease::new(&inbox.db), inbox.clock.now());
    let lost = purges.claim("first", now).await.unwrap().unwrap();
    inbox.clock.advance(Duration::from_secs(61));
    let now = inbox.clock.now();
    let held = purges.claim("second", now).await.unwrap().unwrap();
    assert!(!purges.end(lost, now).await.unwrap());
    assert_eq!(purges.last().await.unwrap(), UnixMillis(0));
    assert!(purges.end(held, now).await.unwrap());
    assert_eq!(purges.last().await.unwrap(), now);
}

async fn a_purge_by_hand_that_fails_gives_its_lease_up(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    inbox
        .write(|run| run.push(("DROP TABLE rejections", vec![])))
        .await;
    let (store, clock) = (inbox.store().await, inbox.clock.clone());
    let purger = retention::at_once(store, clock, Retention::default(), "by_hand".to_owned(), false);
    purger.to_the_end().await.unwrap_err();
    let now = inbox.clock.now();
    let claimed = PurgeLease::new(&inbox.db).claim("next", now).await.unwrap();
    assert!(claimed.is_some());
}

/// Every profile, made again from what the tables have.
async fn rebuilt(inbox: &Inbox, version: i64) -> Vec<(String, String)> {
    let rebuild = Rebuild { version, ..PROFILES };
    let mut rebuilder = Rebuilder::new(inbox.db.clone(), inbox.clock.clone(), "suite".to_owned(), rebuild);
    while rebuilder.step().await.unwrap() != Step::Finished {}
    inbox.profiles().await
}

async fn no_profile_changes_by_a_purge(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let projector = inbox.projector().await;
    let events = [
        guest("g_1", 1, 0, "Silva"),
        guest("g_1", 2, 1, "Souza"),
        stay("r_1", 1, 2, "g_1"),
        guest("g_2", 1, 3, "Costa"),
        stay("r_2", 3, 4, "g_2"),
    ];
    inbox.accept(0, &events).await;
    settle(&projector).await;
    let before = inbox.profiles().await;
    assert_eq!(before.len(), 2);
    for (days, version) in [(31, 1_000), (400, 2_000)] {
        inbox.clock.advance(days * DAY);
        assert!(!purged(&inbox, false).await.is_empty());
        assert_eq!(inbox.profiles().await, before);
        assert_eq!(rebuilt(&inbox, version).await, before);
    }
    assert_eq!(inbox.count("FROM inbox").await, 0);
    // What comes now is folded onto what stands: an older version changes nothing but the history.
    inbox.accept(10, &[guest("g_1", 3, 5, "Sousa")]).await;
    settle(&projector).await;
    assert_eq!(inbox.profile("g_1").await.unwrap()["last_name"], "Sousa");
}

async fn a_repeat_is_known_by_its_key_until_that_is_purged(ctx: Ctx) {
    let receiver = Receiver::start_uncached(&ctx).await;
    let (own, other) = (
        guest_event("evt_1"),
        event("evt_1", "guest.created", &json!({"last_name": "Souza"})),
    );
    assert_eq!(receiver.take("evt_1", &own).await.status, 202);
    receiver.settle(&ctx).await;
    let runtime = Runtime {
        clock: receiver.clock.clone(),
        entropy: Arc::new(SystemEntropy),
    };
    let store = open_store(&ctx.url(), &runtime, false).await.unwrap();
    let first = receiver.event("evt_1").await["event_id"].clone();
    receiver.clock.advance(31 * DAY);
    let tally = purge(&store, &runtime, Retention::default(), false)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(tally[&Purged::Body], 1);
    let repeat = receiver.take("evt_1", &own).await;
    assert_eq!((repeat.status, &repeat.json()["event_id"]), (200, &first));
    let reuse = receiver.take("evt_1", &other).await;
    assert_eq!(
        (reuse.status, &reuse.json()["code"]),
        (422, &json!("idempotency_key_reused"))
    );
    assert_eq!(receiver.event("evt_1").await["status"], "applied");
    receiver.clock.advance(369 * DAY);
    purge(&store, &runtime, Retention::default(), false)
        .await
        .unwrap();
    assert_eq!(
        receiver.take("evt_1", &own).await.status,
        200,
        "400 days are inside"
    );
    receiver.clock.advance(DAY);
    let tally = purge(&store, &runtime, Retention::default(), false)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(tally[&Purged::IdempotencyKey], 1);
    assert_eq!(receiver.take("evt_1", &own).await.status, 202);
    receiver.stop().await;
}

async fn usage_rejections_ended_runs_and_the_stream_are_purged(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let day = |days: i64| UnixMillis(START.0.div_euclid(86_400_000) * 86_400_000 - days * 86_400_000);
    inbox
        .write(move |run| {
            for key in ["key_1", "key_2"] {
                run.push((API_KEY, params![key, key.as_bytes().repeat(7)[..32].to_vec()]));
                for days in [0, 30, 31, 32] {
                    run.push((API_KEY_USAGE, params![key, day(days)]));
                }
            }
            for (id, days) in [("rej_1", 6), ("rej_2", 8), ("rej_3", 9)] {
                run.push((
                    "INSERT INTO rejections (id, at, source, cause) VALUES (?, ?, 'pms', 'skew')",
                    params![id, day(days)],
                ));
            }
            for (id, status, days) in [("rqu_1", "finished", 91), ("rqu_2", "running", 91), ("rqu_3", "cancelled", 89)] {
                run.push((
                    "INSERT INTO requeues (id, status, filter, scope, created_by, created_at, updated_at, requeued, skipped, \
                     last_due_at, last_event_id, due_at_max) \
                     VALUES (?, ?, '{}', '[\"LIS01\"]', 'suite', ?, 0, 0, 0, 0, '', 0)",
                    params![id, status, day(days)],
                ));
                run.push((
                    "INSERT INTO requeue_properties (requeue_id, property_id) VALUES (?, 'LIS01')",
                    params![id],
                ));
            }
            // One without a place was shown to nobody yet.
            // And a clock that was ahead keeps nothing from being purged.
            for (seq, days) in [(Some(1), 9), (Some(2), 6), (Some(3), 8), (None, 9)] {
                run.push((
                    "INSERT INTO stream_batches (seq, created_at, changes) VALUES (?, ?, '{}')",
                    params![seq, day(days)],
                ));
            }
        })
        .await;
    let meant = PurgeTally::from([
        (Purged::ApiKeyUsage, 4),
        (Purged::Rejection, 2),
        (Purged::Requeue, 1),
        (Purged::StreamBatch, 2),
    ]);
    assert_eq!(purged(&inbox, true).await, meant);
    assert_eq!(purged(&inbox, false).await, meant);
    assert_eq!(inbox.count("FROM api_key_usage").await, 4);
    assert_eq!(inbox.count("FROM requeues WHERE id <> 'rqu_1'").await, 2);
    assert_eq!(inbox.count("FROM rejections WHERE id = 'rej_1'").await, 1);
    assert_eq!(inbox.count("FROM requeue_properties").await, 2);
    assert_eq!(inbox.count("FROM stream_batches").await, 2);
}

/// An event of more than a year ago, and one of last month.
async fn old_events(ctx: &Ctx) {
    let runtime = Runtime::system();
    open_store(&ctx.url(), &runtime, false)
        .await
        .unwrap()
        .close()
        .await;
    let db = ctx.open().await;
    for (id, age) in [("evt_a", 401), ("evt_b", 31), ("evt_c", 1)] {
        let received = NOW.0 - age * i64::try_from(DAY.as_millis()).unwrap();
        let sql = "INSERT INTO inbox (event_id, source_id, idempotency_key, status, type, schema_version, correlation_id, \
                   occurred_at, received_at, attempts, due_at) \
                   VALUES (?, 'pms', ?, 'applied', 'guest.updated', 1, 'req_1', ?, ?, 0, ?)";
        execute(&db, sql, params![id, id, received, received, received]).await;
        let sql = "INSERT INTO inbox_bodies (event_id, body) VALUES (?, ?)";
        execute(&db, sql, params![id, b"{}".to_vec()]).await;
    }
}

async fn a_service_purges_from_its_start_on_and_counts_it(ctx: Ctx) {
    old_events(&ctx).await;
    let receiver = Receiver::start(&ctx).await;
    let sample = |what: &str| format!("crm_receiver_purged_rows_total{{what=\"{what}\"}}");
    let page = until(receiver.metrics_address(), "the first purge", |page| {
        page.value(&sample("idempotency_key")) == 1.0
    })
    .await;
    assert_eq!(page.value(&sample("body")), 2.0);
    assert_eq!(page.value(&sample("dead_letter_body")), 0.0);
    let db = ctx.open().await;
    assert_eq!(
        number(&db, "SELECT COUNT(*) AS n FROM inbox_bodies", params![]).await,
        1
    );
    receiver.stop().await;
}

async fn the_command_counts_and_purges(ctx: Ctx) {
    old_events(&ctx).await;
    let runtime = Runtime {
        clock: Arc::new(HandClock::at(NOW)),
        entropy: Arc::new(SystemEntropy),
    };
    let store = open_store(&ctx.url(), &runtime, false).await.unwrap();
    let run = async |dry_run| {
        purge(&store, &runtime, Retention::default(), dry_run)
            .await
            .unwrap()
    };
    let found = run(true).await.unwrap();
    assert_eq!((found[&Purged::Body], found[&Purged::IdempotencyKey]), (2, 1));
    assert_eq!(run(true).await.unwrap(), found, "it deletes nothing");
    // While another purge goes on it does nothing, but counts.
    let now = runtime.clock.now();
    let purges = PurgeLease::new(&ctx.open().await);
    let lease = purges.claim("other", now).await.unwrap().unwrap();
    assert_eq!(run(false).await, None);
    assert_eq!(run(true).await.unwrap(), found);
    purges.release(lease).await.unwrap();
    assert_eq!(run(false).await.unwrap(), found);
    let again = run(false).await.unwrap();
    assert!(again.values().all(|rows| *rows == 0), "{again:?}");
}

async fn a_body_is_kept_no_longer_than_its_event(_: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    for (variables, named) in [
        (
            vec![("RETAIN_IDEMPOTENCY_KEYS_DAYS", "29")],
            "RETAIN_IDEMPOTENCY_KEYS_DAYS",
        ),
        (vec![("RETAIN_BODIES_DAYS", "0")], "RETAIN_BODIES_DAYS"),
        (vec![("RETAIN_BODIES_DAYS", "401")], "RETAIN_BODIES_DAYS"),
        (
            vec![("RETAIN_IDEMPOTENCY_KEYS_DAYS", "60")],
            "RETAIN_DEAD_LETTER_BODIES_DAYS",
        ),
    ] {
        for arguments in [&["serve"][..], &["purge"]] {
            let ended = Command::from(programs::receiver().command())
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
}

async fn an_event_that_is_requeued_meanwhile_keeps_its_body(ctx: Ctx) {
    let inbox = Arc::new(Inbox::open(&ctx).await);
    inbox.accept(0, &[guest("g_1", 1, 0, "Silva")]).await;
    make(&inbox, "evt_000000", "dead_letter", 0).await;
    inbox.clock.advance(91 * DAY);
    // Another replica has requeued it, and has not committed yet.
    let (written, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let requeue = super::requeue_elsewhere(&inbox.db, &written, &go_on);
    let purge = async {
        written.notified().await;
        let purge = tokio::spawn({
            let inbox = Arc::clone(&inbox);
            async move { purged(&inbox, false).await }
        });
        let blocked = "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE db = DATABASE() \
                       AND id <> CONNECTION_ID() AND info LIKE '%FROM inbox % LOCK IN SHARE MODE'";
        waiting::until("the purge waits for the event, or is done", || async {
            purge.is_finished() || number(&inbox.db, blocked, params![]).await > 0
        })
        .await;
        go_on.notify_one();
        purge.await.unwrap()
    };
    let (requeued, purged) = tokio::join!(requeue, purge);
    requeued.unwrap();
    assert_eq!(purged, PurgeTally::new());
    settle(&inbox.projector().await).await;
    assert_eq!(inbox.status("evt_000000").await.0, "applied");
}
