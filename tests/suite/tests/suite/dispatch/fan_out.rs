//! The fan-out: after its commit an event gets its place, and in that transaction one delivery for each endpoint that it matches.

use std::sync::Arc;
use std::time::Duration;

use contract::UnixMillis;
use db::{Db, DbError, MigrationSet, Params, Statement, Tx, migrate, params};
use harness::clock::HandClock;
use harness::database::{DELIVERIES_PENDING, Database, SETTLED_WITHIN};
use harness::engine::Engine;
use harness::receiver_double::ReceiverDouble;
use harness::signer::Delivery;
use kit::random::SystemClock;
use kit::sequencer::{LEASE_LENGTH, Sequencer, Step};
use pms_emitter::store::{FEED, FanOut, MIGRATIONS, Store, outbox};
use serde_json::json;

use tokio::sync::Semaphore;

use super::rig::{BEGIN, Rig, SECRETS, Setup, append, event, event_id};
use crate::case::{Case, Ctx, cases};
use crate::faults::processes::emitter;

pub fn cases() -> Vec<Case> {
    let mut all = both();
    all.extend(cases![
        only Engine::Mysql;
        f2_a_killed_sequencer_is_replaced_by_another_process,
        what_is_not_committed_yet_holds_up_no_step,
    ]);
    all
}

fn both() -> Vec<Case> {
    cases![
        a_write_makes_no_delivery_and_ends_with_one_for_each_endpoint_that_matches,
        what_is_not_queued_yet_is_pending,
        versions_of_an_entity_get_their_places_in_order_whatever_their_ids,
        an_endpoint_goes_on_exactly_where_it_left_off,
        more_events_than_a_step_takes_are_queued_once_each_for_who_is_behind_and_who_is_not,
        f2_another_process_takes_over_when_the_lease_is_over,
        tables_of_before_keep_what_waits_and_get_places_by_id,
        an_older_program_beside_doubles_and_loses_nothing,
    ]
}

/// The first number that a query answers.
async fn number(db: &Db, sql: &'static str, values: Params) -> i64 {
    let read = db.read("number", move |tx: &mut Tx| {
        let values = values.clone();
        Box::pin(async move { tx.query_one(sql, values).await })
    });
    read.await.unwrap().unwrap().get("n").unwrap()
}

async fn texts(db: &Db, sql: &'static str) -> Vec<String> {
    let read = db.read("texts", move |tx: &mut Tx| {
        Box::pin(async move { tx.query(sql, vec![]).await })
    });
    let rows = read.await.unwrap();
    rows.iter().map(|row| row.get("text").unwrap()).collect()
}

async fn write(db: &Db, statements: Vec<(&'static str, Params)>) {
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

/// Subscribes one more endpoint to types and properties; without a URL nobody delivers to it.
async fn subscribe(db: &Db, id: &'static str, types: &'static str, properties: &'static str) {
    let sql = "INSERT INTO endpoints (id, subscribed, event_types, property_ids, first_delay_ms, breaker_since, created_at,
                 updated_at) VALUES (?, ?, ?, ?, ?, 0, 0, 0)";
    let (subscribed, wait) = (id != "off", if id == "later" { 5_000 } else { 0 });
    let values = params![id, subscribed, types, properties, wait];
    write(db, vec![(sql, values)]).await;
}

async fn a_write_makes_no_delivery_and_ends_with_one_for_each_endpoint_that_matches(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    let db = rig.store.db();
    for (id, types, properties) in [
        ("guests", "guest.*", "*"),
        ("created", "reservation.created,guest.created", "MAIN"),
        ("later", "*", "LIS01,MAIN"),
        ("stays", "reservation.*", "*"),
        ("lisbon", "*", "LIS01"),
        ("off", "*", "*"),
    ] {
        subscribe(db, id, types, properties).await;
    }
    let deliveries = "SELECT COUNT(*) AS n FROM deliveries";
    let now = rig.now();
    let written = db.transaction("written", move |tx| {
        Box::pin(async move {
            append(tx, &event(0, now)).await?;
            let row = tx
                .query_one("SELECT COUNT(*) AS n FROM deliveries", vec![])
                .await?;
            row.map_or(Ok(0), |row| row.get::<i64>("n"))
        })
    });
    assert_eq!(written.await.unwrap(), 0, "none in its own transaction");
    rig.commit(1..3).await;
    let places = "SELECT COUNT(feed_seq) AS n FROM events";
    assert_eq!(
        (
            number(db, deliveries, vec![]).await,
            number(db, places, vec![]).await
        ),
        (0, 0)
    );

    rig.fan_out().await;
    let of_each =
        "SELECT endpoint_id AS text FROM deliveries WHERE event_id = 'evt_00001' ORDER BY endpoint_id";
    assert_eq!(texts(db, of_each).await, ["created", "env", "guests", "later"]);
    let due = "SELECT due_at AS n FROM deliveries WHERE event_id = 'evt_00001' AND endpoint_id = ?";
    assert_eq!(number(db, due, params!["guests"]).await, 0);
    assert_eq!(
        number(db, due, params!["later"]).await,
        BEGIN.plus_millis(5_000).0
    );
    assert_eq!(number(db, deliveries, vec![]).await, 3 * 4);
    rig.fan_out().await;
    assert_eq!(number(db, deliveries, vec![]).await, 3 * 4, "once");
    let in_order = "SELECT id AS text FROM events ORDER BY feed_seq";
    assert_eq!(texts(db, in_order).await, [event_id(0), event_id(1), event_id(2)]);
    let last = "SELECT last_seq AS n FROM sequences WHERE name = ?";
    assert_eq!(number(db, last, params![FEED.name]).await, 3);
    rig.stop().await;
}

/// On SQLite there is one writer, and so nobody beside the step.
async fn what_is_not_committed_yet_holds_up_no_step(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    let (written, goes_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let writing = {
        let (db, now) = (rig.store.db().clone(), rig.now());
        let (written, goes_on) = (written.clone(), goes_on.clone());
        tokio::spawn(async move {
            let transaction = db.transaction("writing", move |tx| {
                let (written, goes_on) = (written.clone(), goes_on.clone());
                Box::pin(async move {
                    append(tx, &event(0, now)).await?;
                    written.add_permits(1);
                    let _passed = goes_on.acquire().await;
                    Ok(())
                })
            });
            transaction.await
        })
    };
    let _ = written.acquire().await.unwrap();
    // Behind it in the index of what has no place.
    rig.commit(1..4).await;
    rig.fan_out().await;
    let deliveries = "SELECT COUNT(*) AS n FROM deliveries";
    assert_eq!(number(rig.store.db(), deliveries, vec![]).await, 3);
    goes_on.add_permits(1);
    writing.await.unwrap().unwrap();
    rig.fan_out().await;
    let in_order = "SELECT id AS text FROM events ORDER BY feed_seq";
    let ids = [event_id(1), event_id(2), event_id(3), event_id(0)];
    assert_eq!(texts(rig.store.db(), in_order).await, ids);
    rig.stop().await;
}

async fn what_is_not_queued_yet_is_pending(ctx: Ctx) {
    const EVENTS: u32 = 7;
    let rig = Rig::start_without_dispatcher(&ctx).await;
    let pending = async |most| {
        let within = Duration::from_secs(10);
        let pending = rig.store.pending_deliveries(most, within);
        pending.await.unwrap()
    };
    rig.commit(0..EVENTS).await;
    let mut database = Database::open(ctx.database.url()).await.unwrap();
    for queued in [false, true] {
        if queued {
            rig.fan_out().await;
        }
        assert_eq!(rig.status().await.pending, u64::from(EVENTS), "{queued}");
        assert_eq!(pending(100).await, u64::from(EVENTS), "{queued}");
        assert_eq!(pending(3).await, 3, "{queued}: counted up to there");
        let seen_outside = database.count(DELIVERIES_PENDING).await.unwrap();
        assert_eq!(seen_outside, u64::from(EVENTS), "{queued}");
    }
    // One that is behind has all that it has missed before it.
    write(rig.store.db(), vec![("DELETE FROM deliveries", vec![])]).await;
    write(
        rig.store.db(),
        vec![("UPDATE endpoints SET backfill_seq = 2", vec![])],
    )
    .await;
    assert_eq!(rig.status().await.pending, u64::from(EVENTS) - 2);
    // One that is not subscribed waits for nothing.
    rig.commit(EVENTS..EVENTS + 1).await;
    write(
        rig.store.db(),
        vec![("UPDATE endpoints SET subscribed = 0", vec![])],
    )
    .await;
    assert_eq!(rig.status().await.pending, 0);
    rig.stop().await;
}

/// Versions of one guest, and others between them, more than one step takes; the higher the version, the lower the id.
async fn versions_of_an_entity_get_their_places_in_order_whatever_their_ids(ctx: Ctx) {
    const OTHERS: u32 = 600;
    const VERSIONS: u32 = 40;
    let rig = Rig::start_without_dispatcher(&ctx).await;
    rig.commit(100..100 + OTHERS).await;
    let last = 100 + OTHERS + VERSIONS;
    for version in 1..=VERSIONS {
        // Half of them stand before the others, half behind.
        let number = if version % 2 == 0 {
            VERSIONS - version
        } else {
            last - version
        };
        let mut event = event(number, rig.now());
        let entity = json!({"kind": "guest", "id": "gst_hasty", "version": version});
        event.envelope.entity = Some(serde_json::from_value(entity).unwrap());
        let committed = rig.store.db().transaction("version", move |tx| {
            let event = event.clone();
            Box::pin(async move { append(tx, &event).await })
        });
        committed.await.unwrap();
    }
    rig.fan_out().await;
    let db = rig.store.db();
    let sql = "SELECT entity_version AS n FROM events WHERE entity_id = 'gst_hasty' ORDER BY feed_seq";
    let read = db.read("versions", move |tx: &mut Tx| {
        Box::pin(async move { tx.query(sql, vec![]).await })
    });
    let versions: Vec<u32> = read
        .await
        .unwrap()
        .iter()
        .map(|row| row.get("n").unwrap())
        .collect();
    assert_eq!(versions, (1..=VERSIONS).collect::<Vec<_>>());
    let sql = "SELECT COUNT(*) AS n FROM events WHERE feed_seq BETWEEN 1 AND ?";
    let all = i64::from(OTHERS + VERSIONS);
    assert_eq!(number(db, sql, params![all]).await, all, "without gaps");
    assert_eq!(
        number(db, "SELECT COUNT(*) AS n FROM deliveries", vec![]).await,
        all
    );
    rig.stop().await;
}

async fn an_endpoint_goes_on_exactly_where_it_left_off(ctx: Ctx) {
    let without_url = || Setup {
        has_url: false,
        ..Setup::default()
    };
    let rig = Rig::start(&ctx, Setup::default()).await;
    rig.emit(0..3).await;
    rig.until_delivered(3).await;
    let (double, clock) = rig.stop().await;
    let rig = Rig::start_with(&ctx, without_url(), double, clock).await;
    rig.emit(3..5).await;
    let (double, clock) = rig.stop().await;
    // A start without a URL again moves nothing.
    let rig = Rig::start_with(&ctx, without_url(), double, clock).await;
    // Nothing but its place says what it has been queued.
    write(rig.store.db(), vec![("DELETE FROM deliveries", vec![])]).await;
    let (double, clock) = rig.stop().await;
    let rig = Rig::start_with(&ctx, Setup::default(), double, clock).await;
    rig.emit(5..6).await;
    rig.until_delivered(6).await;
    let (double, _) = rig.stop().await;
    let mut received: Vec<String> = double.received().iter().map(|one| one.id().to_owned()).collect();
    received.sort();
    assert_eq!(received, (0..6).map(event_id).collect::<Vec<_>>());
}

async fn more_events_than_a_step_takes_are_queued_once_each_for_who_is_behind_and_who_is_not(ctx: Ctx) {
    const BEFORE: u32 = 1_100;
    const MEANWHILE: u32 = 300;
    let rig = Rig::start_without_dispatcher(&ctx).await;
    rig.emit(0..BEFORE).await;
    let db = rig.store.db();
    for (id, behind) in [("first", 0), ("middle", 700), ("last", i64::from(BEFORE))] {
        subscribe(db, id, "*", "*").await;
        let sql = "UPDATE endpoints SET backfill_seq = ? WHERE id = ?";
        write(db, vec![(sql, params![behind, id])]).await;
    }
    rig.commit(BEFORE..BEFORE + MEANWHILE).await;
    rig.fan_out().await;
    let all = BEFORE + MEANWHILE;
    for (id, expected) in [
        ("env", all),
        ("first", all),
        ("middle", all - 700),
        ("last", MEANWHILE),
    ] {
        let of_one = "SELECT COUNT(*) AS n FROM deliveries WHERE endpoint_id = ?";
        assert_eq!(number(db, of_one, params![id]).await, i64::from(expected), "{id}");
    }
    let behind = "SELECT COUNT(backfill_seq) AS n FROM endpoints";
    assert_eq!(number(db, behind, vec![]).await, 0);
    rig.stop().await;
}

async fn f2_another_process_takes_over_when_the_lease_is_over(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    let db = rig.store.db();
    let sequencer = |owner: &str| Sequencer::new(db, rig.clock.clone(), owner.to_owned(), FanOut::default());
    let (mut dead, mut other) = (sequencer("dead"), sequencer("other"));
    rig.commit(0..1).await;
    assert!(matches!(dead.step().await.unwrap(), Step::Worked(_)));
    drop(dead);
    rig.commit(1..2).await;
    assert_eq!(other.step().await.unwrap(), Step::Held);
    assert!(LEASE_LENGTH < Duration::from_secs(6), "faults.md");
    rig.clock.advance(LEASE_LENGTH + Duration::from_millis(1));
    assert!(matches!(other.step().await.unwrap(), Step::Worked(_)));
    // Where no other process can be, nobody is waited for.
    rig.commit(2..3).await;
    assert_eq!(sequencer("next").step().await.unwrap(), Step::Held);
    let mut only = sequencer("only").of_only_one(true);
    assert!(matches!(only.step().await.unwrap(), Step::Worked(_)));
    assert_eq!(
        number(db, "SELECT COUNT(*) AS n FROM deliveries", vec![]).await,
        3
    );
    rig.stop().await;
}

/// Posts a guest; whether that was confirmed.
async fn post_guest(address: std::net::SocketAddr, key: &str) -> bool {
    let lines = [("content-type", "application/json"), ("idempotency-key", key)];
    let post = Delivery {
        method: "POST".to_owned(),
        path: "/api/v1/guests".to_owned(),
        headers: lines
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .to_vec(),
        body: json!({"last_name": key}).to_string().into_bytes(),
    };
    post.send(address).await.is_ok_and(|answer| answer.status == 201)
}

async fn f2_a_killed_sequencer_is_replaced_by_another_process(ctx: Ctx) {
    let folder = tempfile::tempdir().unwrap();
    let double = Arc::new(ReceiverDouble::start().await.unwrap());
    let variables = [
        ("CRM_WEBHOOK_URL", double.url()),
        ("CRM_WEBHOOK_SECRET", SECRETS.to_owned()),
    ];
    let other = emitter(ctx.database.url(), folder.path(), &variables).await;
    let mut database = Database::open(ctx.database.url()).await.unwrap();
    for step in ["fanout.inside", "fanout.committed"] {
        let armed = [("FAILPOINT", format!("{step}:2"))];
        // Nobody gives places at present: the other one has stopped, as it were, and this one takes the lease.
        let over = "UPDATE leases SET lease_until = 0 WHERE name LIKE 'sequence:%'";
        database
            .drained(DELIVERIES_PENDING, SETTLED_WITHIN)
            .await
            .unwrap();
        database.execute(over).await.unwrap();
        let mut dying = emitter(
            ctx.database.url(),
            folder.path(),
            &[&variables[..], &armed].concat(),
        )
        .await;
        // Either of the two may give the places: some of these writes come before the death, and some after it.
        for nth in 0.. {
            if !post_guest(dying.address(), &format!("{step}_{nth}")).await {
                break;
            }
            database.execute(over).await.unwrap();
        }
        dying.ended().await.unwrap();
        for nth in 0..5 {
            assert!(post_guest(other.address(), &format!("{step}_after_{nth}")).await);
        }
        let left = database
            .drained(DELIVERIES_PENDING, SETTLED_WITHIN)
            .await
            .unwrap();
        assert_eq!(left, 0, "{step}: nobody has gone on");
    }
    let events = database.count("SELECT COUNT(*) AS n FROM events").await.unwrap();
    for sql in [
        "SELECT COUNT(*) AS n FROM deliveries WHERE status = 'delivered'",
        "SELECT COUNT(*) AS n FROM deliveries",
        "SELECT MAX(feed_seq) AS n FROM events",
        "SELECT COUNT(DISTINCT feed_seq) AS n FROM events",
    ] {
        assert_eq!(database.count(sql).await.unwrap(), events, "{sql}");
    }
    other.kill().await.unwrap();
}

/// The migrations that the version before the fan-out had.
fn of_before() -> [MigrationSet; 2] {
    let first = |set: MigrationSet, migrations: usize| MigrationSet {
        migrations: &set.migrations[..migrations],
        ..set
    };
    [first(kit::tables::MIGRATIONS, 7), first(MIGRATIONS, 6)]
}

/// What that version wrote of an event and its delivery, in one transaction.
async fn write_as_before(tx: &mut Tx, number: u32, now: UnixMillis) -> Result<(), DbError> {
    let event = event(number, now);
    tx.run(&outbox::statements(&event)).await.all()?;
    let sql = "INSERT INTO deliveries (endpoint_id, event_id, due_at, due_set_at)
               SELECT id, ?, CASE WHEN first_delay_ms = 0 THEN 0 ELSE first_delay_ms + ? END,
                   CASE WHEN first_delay_ms = 0 THEN 0 ELSE ? END
               FROM endpoints WHERE subscribed = 1";
    tx.execute(sql, params![event.id.as_str(), now, now])
        .await
        .map(drop)
}

async fn commit_as_before(db: &Db, number: u32) {
    let committed = db.transaction("before", move |tx| {
        Box::pin(async move { write_as_before(tx, number, BEGIN).await })
    });
    committed.await.unwrap();
}

/// Tables of before, with an endpoint to which events go.
async fn tables_of_before(ctx: &Ctx) -> Db {
    let db = ctx.open().await;
    migrate(&db, &of_before(), &SystemClock, "before").await.unwrap();
    let sql = "INSERT INTO endpoints (id, url, subscribed, backfill_again_at, breaker_since, created_at, updated_at)
               VALUES ('env', 'http://127.0.0.1:1/', 1, ?, 0, 0, 0)";
    write(&db, vec![(sql, params![BEGIN])]).await;
    db
}

async fn tables_of_before_keep_what_waits_and_get_places_by_id(ctx: Ctx) {
    // More than one step takes, and not in the order of their ids.
    const EVENTS: u32 = 300;
    let db = tables_of_before(&ctx).await;
    for number in (0..EVENTS).rev() {
        commit_as_before(&db, number).await;
    }
    let settled = "UPDATE deliveries SET status = ?, owner = 'before', epoch = 1, attempts = 1, settled_at = 0 WHERE event_id = ?";
    let claimed = "UPDATE deliveries SET owner = 'before', lease_until = ?, epoch = 1 WHERE event_id = ?";
    write(
        &db,
        vec![
            (settled, params!["delivered", event_id(0)]),
            (settled, params!["dead", event_id(1)]),
            (claimed, params![BEGIN.plus_millis(30_000), event_id(2)]),
            // A way through the log had not come to these.
            (
                "DELETE FROM deliveries WHERE event_id >= ?",
                params![event_id(EVENTS - 10)],
            ),
            (
                "UPDATE endpoints SET delivered = 1, backfill_after = ? WHERE id = 'env'",
                params![event_id(EVENTS - 11)],
            ),
        ],
    )
    .await;
    db.close().await;

    let rig = Rig::start(&ctx, Setup::default()).await;
    rig.emit(EVENTS..EVENTS + 1).await;
    let held = u64::from(EVENTS + 1) - 2;
    rig.until_delivered(held).await;
    assert_eq!(rig.delivery(2).await.get::<String>("owner").unwrap(), "before");
    rig.clock.advance(Duration::from_millis(30_001));
    let status = rig.until_delivered(held + 1).await;
    assert_eq!((status.pending, status.dead), (0, 1));
    let in_order = texts(rig.store.db(), "SELECT id AS text FROM events ORDER BY feed_seq").await;
    assert_eq!(in_order, (0..=EVENTS).map(event_id).collect::<Vec<_>>());
    let (double, clock) = rig.stop().await;
    let mut received: Vec<String> = double.received().iter().map(|one| one.id().to_owned()).collect();
    received.sort();
    let expected: Vec<String> = (2..=EVENTS).map(event_id).collect();
    assert_eq!(received, expected, "what waited, once each");

    // A start later queues nothing again.
    let rig = Rig::start_with(&ctx, Setup::default(), double, clock).await;
    rig.emit(EVENTS + 1..EVENTS + 2).await;
    rig.until_delivered(held + 2).await;
    let (double, _) = rig.stop().await;
    assert_eq!(double.received().len(), expected.len() + 1);
}

async fn an_older_program_beside_doubles_and_loses_nothing(ctx: Ctx) {
    // It had an endpoint once, lost its URL, and went on writing events.
    let db = tables_of_before(&ctx).await;
    for number in 0..5 {
        commit_as_before(&db, number).await;
    }
    write(
        &db,
        vec![
            (
                "UPDATE deliveries SET status = 'delivered', settled_at = 0, attempts = 1",
                vec![],
            ),
            (
                "UPDATE endpoints SET subscribed = 0, url = NULL, delivered = 5",
                vec![],
            ),
        ],
    )
    .await;
    for number in 5..10 {
        commit_as_before(&db, number).await;
    }
    let double = Arc::new(ReceiverDouble::start().await.unwrap());
    let clock = Arc::new(HandClock::at(BEGIN));
    let url = if ctx.engine == Engine::Sqlite {
        // One program at a time has the file.
        db.close().await;
        None
    } else {
        Some(db)
    };
    let rig = Rig::start_with(&ctx, Setup::default(), double, clock).await;
    rig.until_delivered(10).await;
    // The old one is stopped last; until then it makes deliveries by itself.
    let store = url.map_or_else(|| rig.store.clone(), Store::new);
    for number in 10..30 {
        commit_as_before(store.db(), number).await;
        rig.emit(number + 20..number + 21).await;
    }
    rig.until_delivered(50).await;
    let sql = "SELECT COUNT(*) AS n FROM deliveries";
    assert_eq!(number(rig.store.db(), sql, vec![]).await, 50);
    let (double, _) = rig.stop().await;
    let mut received: Vec<String> = double.received().iter().map(|one| one.id().to_owned()).collect();
    received.sort();
    assert_eq!(received, (5..50).map(event_id).collect::<Vec<_>>(), "once each");
}
