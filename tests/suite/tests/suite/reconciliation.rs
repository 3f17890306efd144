//! Reconciliation: what was never delivered is taken in from the feed, once; what cannot be had is named; and how far that is
//! done is true whatever ends on the way.

use crate::access::{ADMIN, key};
use crate::case::{Case, Ctx, cases};
use crate::feed::{make_guests, until_head};
use crate::ingest::{self, NOW, Receiver, execute, guest_event, number};
use crate::metrics;
use crate::pms::Pms;
use crate::programs;
use contract::{Clock, UnixMillis};
use crm_receiver::{
    app::{Reconciliation, Runtime},
    config::Config,
    reconcile::{
        FEED_BATCH, FeedConfig, FeedError, RECONCILE_EVERY, ReconcileError, ReconcileStep, SETTLED_AFTER,
    },
};
use db::{Db, DbSettings, params};
use harness::{
    clock::HandClock,
    config::BASE_PATH,
    engine::{Engine, TestDatabase},
    fault_proxy::{FaultProxy, Mode},
    process::command,
    receiver_double::{Answer, ReceiverDouble},
    waiting::until,
};
use kit::random::SystemEntropy;
use pms_emitter::config::EndpointConfig;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        what_was_never_delivered_is_taken_in_and_a_later_delivery_is_a_duplicate,
        rows_that_were_lost_come_back_and_a_run_goes_no_further_back_than_it_is_asked_to,
        what_is_past_retention_is_named_and_comes_when_it_is_there_again,
        what_is_older_than_the_receiver_remembers_is_counted_apart,
        what_breaks_a_rule_is_named_and_holds_nothing_up,
        what_the_database_refuses_is_named_and_tried_again,
        f50_a_page_that_is_cut_at_any_byte_costs_a_repeat_and_nothing_else,
        a_key_of_one_property_is_complete_with_that_property,
        an_interrupted_run_goes_on_where_it_was_and_one_runs_at_a_time,
        a_feed_that_was_restored_from_a_backup_is_compared_from_its_beginning,
        without_the_emitter_nothing_breaks_and_nothing_is_claimed,
        a_service_reconciles_when_it_is_due_and_leaves_alone_what_is_on_its_way,
        the_command_says_what_is_missing_and_its_exit_code_too,
    ];
    all.extend(cases![only Engine::Mysql; two_replicas_run_one_reconciliation]);
    all.extend(cases![only Engine::Sqlite; a_receiver_that_was_restored_from_a_backup_gets_what_came_since]);
    all
}

/// An emitter on the case's database, and a database for a receiver.
struct Pair {
    pms: Pms,
    crm: TestDatabase,
    /// Connections of the case's own to the receiver's database.
    db: Db,
    clock: Arc<HandClock>,
}

impl Pair {
    async fn of(ctx: &Ctx, pms: Pms) -> Self {
        let crm = ctx.servers.fresh(ctx.engine, "crm").await.unwrap();
        let url = crm.parsed();
        // Its tables.
        Receiver::start_with(ingest::config(url.clone()))
            .await
            .stop()
            .await;
        let settings = DbSettings {
            exclusive: false,
            ..DbSettings::default()
        };
        let db = Db::open(&url, &settings, Arc::new(SystemEntropy)).await.unwrap();
        let clock = Arc::new(HandClock::at(pms.clock.now()));
        Self { pms, crm, db, clock }
    }

    async fn start(ctx: &Ctx) -> Self {
        Self::of(ctx, Pms::start(ctx).await).await
    }

    fn feed(&self, key: Option<&str>) -> FeedConfig {
        FeedConfig {
            url: format!("http://{}{BASE_PATH}", self.pms.address())
                .parse()
                .unwrap(),
            key: key.map(|key| key.parse().unwrap()),
        }
    }

    fn config(&self, feed: Option<FeedConfig>) -> Config {
        Config {
            feed,
            ..ingest::config(self.crm.parsed())
        }
    }

    async fn open_with(&self, feed: FeedConfig, from: Option<i64>) -> Reconciliation {
        let runtime = Runtime {
            clock: self.clock.clone(),
            entropy: Arc::new(SystemEntropy),
        };
        Reconciliation::open(self.config(Some(feed)), runtime, from)
            .await
            .unwrap()
    }

    async fn open(&self, from: Option<i64>) -> Reconciliation {
        self.open_with(self.feed(None), from).await
    }

    /// Reconciles to the end: how many were taken in, up to where it is complete, how many are missing, and past retention.
    async fn reconcile_with(&self, feed: FeedConfig, from: Option<i64>) -> (u64, i64, u64, u64) {
        let mut reconciliation = self.open_with(feed, from).await;
        let done = reconciliation
            .to_the_end()
            .await
            .unwrap()
            .expect("it has the lease");
        reconciliation.close().await;
        assert_eq!(done.state.checked_at, Some(self.clock.now()));
        (
            done.taken_in,
            done.state.complete_up_to,
            done.state.missing,
            done.state.past_retention,
        )
    }

    async fn reconcile(&self, from: Option<i64>) -> (u64, i64, u64, u64) {
        self.reconcile_with(self.feed(None), from).await
    }

    async fn inbox(&self) -> i64 {
        number(&self.db, "SELECT COUNT(*) AS n FROM inbox", vec![]).await
    }

    async fn serve(&self) -> Receiver {
        Receiver::start_with(self.config(None)).await
    }

    async fn completeness(&self) -> Value {
        let receiver = self.serve().await;
        let shown = receiver.get("/sources/pms/completeness").await;
        receiver.stop().await;
        assert_eq!(shown.status, 200);
        shown.json()
    }

    async fn stop(self) {
        self.pms.stop().await;
        self.db.close().await;
        self.crm.remove().await.unwrap();
    }
}

/// Puts valid events of guests into the emitter's log, with these places.
async fn plant(db: &Db, places: std::ops::RangeInclusive<i64>, body: impl Fn(&str) -> Vec<u8>) {
    let rows: Vec<(String, i64, Vec<u8>)> = places
        .clone()
        .map(|place| {
            let id = format!("evt_planted_{place}");
            let body = body(&id);
            (id, place, body)
        })
        .collect();
    let rows = Arc::new(rows);
    let planted = db.transaction("plant", move |tx| {
        let rows = Arc::clone(&rows);
        Box::pin(async move {
            for (id, place, body) in rows.iter() {
                let event = "INSERT INTO events (id, feed_seq, type, property_id, committed_at, changed) \
                             VALUES (?, ?, 'guest.created', 'LIS01', ?, '')";
                tx.execute(event, params![id, *place, NOW]).await?;
                let insert = "INSERT INTO event_bodies (event_id, body) VALUES (?, ?)";
                tx.execute(insert, params![id, body.clone()]).await?;
            }
            Ok(())
        })
    });
    planted.await.unwrap();
    let first = "INSERT INTO sequences (name, last_seq) SELECT 'feed', 0 FROM (SELECT 1 AS one) AS once \
                 WHERE NOT EXISTS (SELECT 1 FROM sequences WHERE name = 'feed')";
    execute(db, first, vec![]).await;
    let head = "UPDATE sequences SET last_seq = ? WHERE name = 'feed'";
    execute(db, head, params![*places.end()]).await;
}

/// Deliveries are refused for good; then the receiver gets them by hand.
async fn what_was_never_delivered_is_taken_in_and_a_later_delivery_is_a_duplicate(ctx: Ctx) {
    const GUESTS: usize = 3;
    let double = Arc::new(ReceiverDouble::start().await.unwrap());
    double.otherwise(Answer::status(422));
    let endpoint = EndpointConfig {
        url: double.url().parse().unwrap(),
        secrets: ingest::SECRET.parse().unwrap(),
    };
    let pair = Pair::of(&ctx, Pms::start_with(&ctx, NOW, Some(endpoint)).await).await;
    make_guests(&pair.pms, GUESTS).await;
    double.wait_for(GUESTS).await;
    until("they are dead", || async {
        pair.pms.get("/guests/webhook/status").await.body["dead"] == GUESTS
    })
    .await;
    assert_eq!(pair.reconcile(None).await, (3, 3, 0, 0));
    assert_eq!(pair.reconcile(None).await, (0, 3, 0, 0), "once");

    let receiver = pair.serve().await;
    double.otherwise(Answer::of(receiver.address));
    let now = pair.pms.clock.now();
    let retried = pair.pms.store.retry_dead(UnixMillis(0)..=now, now).await.unwrap();
    assert_eq!(retried.count, GUESTS);
    until("they are delivered", || async {
        pair.pms.get("/guests/webhook/status").await.body["delivered"] == GUESTS
    })
    .await;
    assert_eq!(double.relayed(), [200; GUESTS], "each is a duplicate");
    assert_eq!(pair.inbox().await, 3);
    // What was taken in has its effect as if it had been delivered.
    until("there is a profile of each", || async {
        let profiles = receiver.get("/guest-profiles").await.json();
        profiles["data"].as_array().unwrap().len() == GUESTS
    })
    .await;
    receiver.stop().await;
    pair.stop().await;
}

async fn rows_that_were_lost_come_back_and_a_run_goes_no_further_back_than_it_is_asked_to(ctx: Ctx) {
    let pair = Pair::start(&ctx).await;
    plant(&pair.pms.db, 1..=30, guest_event).await;
    assert_eq!(pair.reconcile(None).await, (30, 30, 0, 0));
    // One here, a few there, and one of which the body alone is gone: that is a tombstone, and known.
    for lost in ["3", "11", "12", "29"] {
        let sql = "DELETE FROM inbox WHERE idempotency_key = ?";
        let deleted = execute(&pair.db, sql, params![format!("evt_planted_{lost}")]).await;
        assert_eq!(deleted, 1);
    }
    let sql = "DELETE FROM inbox_bodies WHERE event_id = (SELECT event_id FROM inbox WHERE idempotency_key = 'evt_planted_20')";
    assert_eq!(execute(&pair.db, sql, vec![]).await, 1);
    assert_eq!(pair.reconcile(None).await, (0, 30, 0, 0));
    assert_eq!(pair.reconcile(Some(12)).await, (1, 30, 0, 0));
    assert_eq!(pair.reconcile(Some(0)).await, (3, 30, 0, 0));
    assert_eq!(pair.reconcile(Some(0)).await, (0, 30, 0, 0));
    // What lies ahead is not passed over.
    let mut reconciliation = pair.open(Some(31)).await;
    let refused = reconciliation.to_the_end().await.unwrap_err();
    assert!(
        matches!(refused, ReconcileError::Beyond(30)) && refused.is_of_settings(),
        "{refused}"
    );
    reconciliation.close().await;
    pair.stop().await;
}

async fn what_is_past_retention_is_named_and_comes_when_it_is_there_again(ctx: Ctx) {
    let pair = Pair::start(&ctx).await;
    plant(&pair.pms.db, 1..=5, guest_event).await;
    for gone in ["evt_planted_2", "evt_planted_4"] {
        let sql = "DELETE FROM event_bodies WHERE event_id = ?";
        execute(&pair.pms.db, sql, params![gone]).await;
    }
    assert_eq!(pair.reconcile(None).await, (3, 5, 2, 2));
    let shown = pair.completeness().await;
    assert_eq!(
        (&shown["missing"], &shown["past_retention"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(
        (&shown["complete_up_to"], &shown["feed_head"]),
        (&json!(5), &json!(5))
    );
    let event = |key: &str, place: i64| {
        json!({
            "idempotency_key": key, "feed_seq": place, "type": "guest.created", "property_id": "LIS01",
            "committed_at": NOW, "reason": "past_retention", "found_at": pair.clock.now(),
        })
    };
    assert_eq!(
        shown["missing_events"],
        json!([event("evt_planted_2", 2), event("evt_planted_4", 4)])
    );
    // One is delivered late after all, the other's body is found.
    let receiver = pair.serve().await;
    assert_eq!(
        receiver
            .take("evt_planted_2", &guest_event("evt_planted_2"))
            .await
            .status,
        202
    );
    receiver.stop().await;
    let sql = "INSERT INTO event_bodies (event_id, body) VALUES ('evt_planted_4', ?)";
    execute(&pair.pms.db, sql, params![guest_event("evt_planted_4")]).await;
    assert_eq!(pair.reconcile(None).await, (1, 5, 0, 0));
    // What is older than a receiver remembers is not looked for.
    let sql = "DELETE FROM event_bodies WHERE event_id = 'evt_planted_5'";
    execute(&pair.pms.db, sql, vec![]).await;
    execute(&pair.db, "DELETE FROM inbox", vec![]).await;
    pair.clock.advance(Duration::from_secs(401 * 24 * 3600));
    assert_eq!(pair.reconcile(Some(0)).await, (0, 5, 0, 0));
    pair.stop().await;
}

async fn what_is_older_than_the_receiver_remembers_is_counted_apart(ctx: Ctx) {
    let pair = Pair::start(&ctx).await;
    plant(&pair.pms.db, 1..=5, guest_event).await;
    let sql = "DELETE FROM event_bodies WHERE event_id IN ('evt_planted_2', 'evt_planted_4')";
    assert_eq!(execute(&pair.pms.db, sql, vec![]).await, 2);
    assert_eq!(pair.reconcile(None).await, (3, 5, 2, 2));
    // All but one are too old by then; of the two that are missing one is tried again, and the other lies behind the place.
    let old = "UPDATE events SET committed_at = ? WHERE feed_seq < 5";
    let long_ago = NOW.plus_millis(-401 * 24 * 3_600_000);
    assert_eq!(execute(&pair.pms.db, old, params![long_ago]).await, 4);
    let old = "UPDATE missing_events SET committed_at = ? WHERE idempotency_key = 'evt_planted_4'";
    assert_eq!(execute(&pair.db, old, params![long_ago]).await, 1);
    let run = async |from| {
        let mut reconciliation = pair.open(from).await;
        let done = reconciliation.to_the_end().await.unwrap().unwrap();
        reconciliation.close().await;
        (done.too_old, done.state.missing, done.state.given_up)
    };
    assert_eq!(run(Some(3)).await, (1, 1, 1));
    let old = "UPDATE missing_events SET committed_at = ?";
    assert_eq!(execute(&pair.db, old, params![long_ago]).await, 1);
    assert_eq!(run(None).await, (0, 0, 2));
    assert_eq!(run(Some(0)).await, (4, 0, 2), "each once");
    assert_eq!(pair.completeness().await["given_up"], 2);
    pair.stop().await;
}

async fn what_breaks_a_rule_is_named_and_holds_nothing_up(ctx: Ctx) {
    let pair = Pair::start(&ctx).await;
    plant(&pair.pms.db, 1..=4, |id| match id {
        "evt_planted_2" => ingest::event(id, "guest.created", &json!({})),
        "evt_planted_3" => guest_event("evt_of_another_id"),
        _ => guest_event(id),
    })
    .await;
    // The first finds them, the second tries them again, the third finds them once more.
    for from in [None, None, Some(0)] {
        let (_, complete, missing, past_retention) = pair.reconcile(from).await;
        assert_eq!((complete, missing, past_retention), (4, 2, 0), "{from:?}");
    }
    let shown = pair.completeness().await;
    let reasons: Vec<_> = shown["missing_events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["feed_seq"].clone(), event["reason"].clone()))
        .collect();
    assert_eq!(
        reasons,
        [(json!(2), json!("invalid")), (json!(3), json!("invalid"))]
    );
    assert_eq!(pair.inbox().await, 2);
    pair.stop().await;
}

async fn what_the_database_refuses_is_named_and_tried_again(ctx: Ctx) {
    let pair = Pair::start(&ctx).await;
    plant(&pair.pms.db, 1..=3, guest_event).await;
    let rename = async |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        let renamed = pair.db.transaction("rename", move |tx| {
            let sql = sql.clone();
            Box::pin(async move { tx.execute(&sql, vec![]).await })
        });
        renamed.await.unwrap();
    };
    rename("inbox_bodies", "put_away").await;
    assert_eq!(pair.reconcile(None).await, (0, 3, 3, 0));
    assert_eq!(pair.inbox().await, 0);
    rename("put_away", "inbox_bodies").await;
    let shown = pair.completeness().await;
    assert_eq!(shown["missing_events"][2]["reason"], "failed");
    assert_eq!(pair.reconcile(None).await, (3, 3, 0, 0));
    pair.stop().await;
}

async fn f50_a_page_that_is_cut_at_any_byte_costs_a_repeat_and_nothing_else(ctx: Ctx) {
    let pair = Pair::start(&ctx).await;
    let proxy = FaultProxy::start(pair.pms.address().parse().unwrap())
        .await
        .unwrap();
    let feed = || FeedConfig {
        url: format!("http://{}{BASE_PATH}", proxy.address()).parse().unwrap(),
        key: None,
    };
    // In the request, in the head of the answer, in the ids, in the bodies.
    let modes = [
        Mode::CutRequestAfter(20),
        Mode::CutAnswerAfter(0),
        Mode::CutAnswerAfter(100),
        Mode::CutAnswerAfter(600),
        Mode::CutAnswerAfter(2_000),
    ];
    for (place, mode) in (1..).step_by(5).zip(modes) {
        plant(&pair.pms.db, place..=place + 4, guest_event).await;
        proxy.set(mode);
        let done = pair.reconcile_with(feed(), None).await;
        assert_eq!(done, (5, place + 4, 0, 0), "{mode:?}");
        assert_eq!(proxy.mode(), Mode::Forward, "{mode:?} was met");
    }
    assert_eq!(pair.inbox().await, 25);
    pair.stop().await;
}

async fn a_key_of_one_property_is_complete_with_that_property(ctx: Ctx) {
    let pms = Pms::start_set(&ctx, |config| {
        config.access.admin_api_key = Some(ADMIN.parse().unwrap());
    })
    .await;
    let pair = Pair::of(&ctx, pms).await;
    plant(&pair.pms.db, 1..=6, guest_event).await;
    let sql = "UPDATE events SET property_id = 'OPO01' WHERE feed_seq IN (1, 4, 6)";
    execute(&pair.pms.db, sql, vec![]).await;
    let own = key(&pair.pms, &["events:read"], json!(["LIS01"])).await;
    assert_eq!(
        pair.reconcile_with(pair.feed(Some(&own)), None).await,
        (3, 6, 0, 0)
    );
    let other = key(&pair.pms, &["events:read"], json!(["OPO01"])).await;
    // A wider key finds the rest once it looks again.
    assert_eq!(
        pair.reconcile_with(pair.feed(Some(&other)), None).await,
        (0, 6, 0, 0)
    );
    assert_eq!(
        pair.reconcile_with(pair.feed(Some(&other)), Some(0)).await,
        (3, 6, 0, 0)
    );
    let none = key(&pair.pms, &["guests:read"], json!("*")).await;
    for key in [None, Some("gw_nobody"), Some(none.as_str())] {
        let mut reconciliation = pair.open_with(pair.feed(key), None).await;
        let refused = reconciliation.to_the_end().await.unwrap_err();
        assert!(
            matches!(refused, ReconcileError::Feed(FeedError::Refused(_))),
            "{refused}"
        );
        assert!(refused.is_of_settings() && !refused.to_string().contains("nobody"));
        reconciliation.close().await;
    }
    pair.stop().await;
}

async fn an_interrupted_run_goes_on_where_it_was_and_one_runs_at_a_time(ctx: Ctx) {
    let pair = Pair::start(&ctx).await;
    let batch = i64::try_from(FEED_BATCH).unwrap();
    let head = 2 * batch + 7;
    plant(&pair.pms.db, 1..=head, guest_event).await;
    let complete = "SELECT complete_up_to AS n FROM reconciliations";
    let mut one = pair.open(None).await;
    // The first begins it, the second takes a page in.
    for _ in 0..2 {
        assert_eq!(one.step().await.unwrap(), ReconcileStep::Worked);
    }
    assert_eq!(number(&pair.db, complete, vec![]).await, batch);
    let mut other = pair.open(None).await;
    assert_eq!(other.step().await.unwrap(), ReconcileStep::Held);
    // One that is paused for longer than its lease writes nothing more.
    pair.clock.advance(Duration::from_secs(600));
    assert_eq!(other.step().await.unwrap(), ReconcileStep::Worked);
    assert_eq!(one.step().await.unwrap(), ReconcileStep::Held);
    assert_eq!(number(&pair.db, complete, vec![]).await, batch);
    one.close().await;
    // It is stopped in the middle, and gives up its lease.
    other.close().await;
    let (taken_in, complete_up_to, missing, _) = pair.reconcile(None).await;
    assert_eq!((complete_up_to, missing), (head, 0));
    // The page that was interrupted was taken in and its place was not written.
    assert_eq!(taken_in, u64::try_from(head - 2 * batch).unwrap());
    assert_eq!(pair.inbox().await, head);
    pair.stop().await;
}

async fn a_feed_that_was_restored_from_a_backup_is_compared_from_its_beginning(ctx: Ctx) {
    let pair = Pair::start(&ctx).await;
    plant(&pair.pms.db, 1..=10, guest_event).await;
    let sql = "DELETE FROM event_bodies WHERE event_id = 'evt_planted_9'";
    execute(&pair.pms.db, sql, vec![]).await;
    assert_eq!(pair.reconcile(None).await, (9, 10, 1, 1));
    // The backup ends with the seventh.
    for sql in [
        "DELETE FROM events WHERE feed_seq > 7",
        "UPDATE sequences SET last_seq = 7 WHERE name = 'feed'",
    ] {
        execute(&pair.pms.db, sql, vec![]).await;
    }
    assert_eq!(pair.reconcile(None).await, (0, 7, 0, 0));
    let shown = pair.completeness().await;
    assert_eq!(shown["began_again_at"], json!(pair.clock.now()), "{shown}");
    assert_eq!(pair.reconcile(None).await, (0, 7, 0, 0));
    // Again, and this time it has gone on beyond what was compared.
    let sql = "UPDATE events SET id = 'evt_other_7' WHERE feed_seq = 7";
    execute(&pair.pms.db, sql, vec![]).await;
    let sql = "INSERT INTO event_bodies (event_id, body) VALUES ('evt_other_7', ?)";
    execute(&pair.pms.db, sql, params![guest_event("evt_other_7")]).await;
    make_guests(&pair.pms, 3).await;
    until_head(&pair.pms, 10).await;
    assert_eq!(pair.reconcile(None).await, (4, 10, 0, 0));
    pair.stop().await;
}

async fn a_receiver_that_was_restored_from_a_backup_gets_what_came_since(ctx: Ctx) {
    let pair = Pair::start(&ctx).await;
    // No connection is open while the file is copied.
    pair.db.clone().close().await;
    let file = pair.crm.file().expect("it is a file");
    let backup = file.with_extension("backup");
    plant(&pair.pms.db, 1..=5, guest_event).await;
    assert_eq!(pair.reconcile(None).await, (5, 5, 0, 0));
    std::fs::copy(&file, &backup).unwrap();
    plant(&pair.pms.db, 6..=9, guest_event).await;
    // Two come by delivery, two by the feed.
    let receiver = pair.serve().await;
    for id in ["evt_planted_6", "evt_planted_8"] {
        assert_eq!(receiver.take(id, &guest_event(id)).await.status, 202);
    }
    receiver.stop().await;
    assert_eq!(pair.reconcile(None).await, (2, 9, 0, 0));
    std::fs::copy(&backup, &file).unwrap();
    assert_eq!(pair.completeness().await["complete_up_to"], 5);
    assert_eq!(pair.reconcile(None).await, (4, 9, 0, 0));
    pair.pms.stop().await;
    pair.crm.remove().await.unwrap();
}

async fn without_the_emitter_nothing_breaks_and_nothing_is_claimed(ctx: Ctx) {
    let pair = Pair::start(&ctx).await;
    plant(&pair.pms.db, 1..=3, guest_event).await;
    assert_eq!(pair.reconcile(None).await, (3, 3, 0, 0));
    let nobody = FeedConfig {
        url: "http://127.0.0.1:1/api/v1".parse().unwrap(),
        key: None,
    };
    let mut reconciliation = pair.open_with(nobody.clone(), None).await;
    let failed = reconciliation.to_the_end().await.unwrap_err();
    assert!(
        matches!(failed, ReconcileError::Feed(FeedError::Unreachable(_))),
        "{failed}"
    );
    assert!(!failed.is_of_settings());
    reconciliation.close().await;
    // One that serves goes on serving; it is tried again by itself.
    let config = pair.config(Some(nobody));
    let receiver = Receiver::start_with(config).await;
    receiver.clock.set(pair.clock.now().plus_millis(3_600_000));
    let page = metrics::until(receiver.metrics_address(), "a run that failed", |page| {
        page.value("crm_receiver_feed_failed_runs_total") >= 1.0
    })
    .await;
    assert_eq!(page.value("crm_receiver_feed_complete_place"), 3.0);
    let taken = receiver.take("evt_9", &guest_event("evt_9")).await;
    assert_eq!(taken.status, 202);
    let shown = receiver.get("/sources/pms/completeness").await.json();
    assert_eq!(
        (&shown["complete_up_to"], &shown["compared"]),
        (&json!(3), &json!(true))
    );
    receiver.stop().await;
    // What answers something else is no feed.
    let double = ReceiverDouble::start().await.unwrap();
    for (status, is_of_settings) in [(200, true), (302, true), (404, true), (503, false)] {
        double.otherwise(Answer::status(status));
        let feed = FeedConfig {
            url: double.url().parse().unwrap(),
            key: None,
        };
        let mut reconciliation = pair.open_with(feed, None).await;
        let failed = reconciliation.to_the_end().await.unwrap_err();
        assert_eq!(failed.is_of_settings(), is_of_settings, "{status}: {failed}");
        reconciliation.close().await;
    }
    assert_eq!(pair.completeness().await["complete_up_to"], 3);
    pair.stop().await;
}

async fn a_service_reconciles_when_it_is_due_and_leaves_alone_what_is_on_its_way(ctx: Ctx) {
    let pair = Pair::of(&ctx, Pms::start_at(&ctx, NOW.plus_millis(-3_600_000)).await).await;
    make_guests(&pair.pms, 2).await;
    until_head(&pair.pms, 2).await;
    pair.pms.clock.set(NOW);
    make_guests(&pair.pms, 1).await;
    until_head(&pair.pms, 3).await;
    let receiver = Receiver::start_with(pair.config(Some(pair.feed(None)))).await;
    let page = metrics::until(receiver.metrics_address(), "the first run", |page| {
        page.value("crm_receiver_feed_runs_total") >= 1.0
    })
    .await;
    for (name, value) in [
        ("taken_in_events_total", 2.0),
        ("complete_place", 2.0),
        ("head_place", 3.0),
        ("missing_events", 0.0),
        ("past_retention_events", 0.0),
        ("check_age_seconds", 0.0),
    ] {
        assert_eq!(page.value(&format!("crm_receiver_feed_{name}")), value, "{name}");
    }
    // The third came no way after all.
    receiver.clock.advance(RECONCILE_EVERY.max(SETTLED_AFTER));
    metrics::until(receiver.metrics_address(), "the second run", |page| {
        page.value("crm_receiver_feed_complete_place") >= 3.0
    })
    .await;
    assert_eq!(pair.inbox().await, 3);
    receiver.stop().await;
    pair.stop().await;
}

async fn two_replicas_run_one_reconciliation(ctx: Ctx) {
    let pair = Pair::of(&ctx, Pms::start_at(&ctx, NOW.plus_millis(-3_600_000)).await).await;
    make_guests(&pair.pms, 5).await;
    until_head(&pair.pms, 5).await;
    let start = || Receiver::start_with(pair.config(Some(pair.feed(None))));
    let (one, other) = futures::future::join(start(), start()).await;
    for replica in [&one, &other] {
        // Each has looked, and seen what the one has done.
        metrics::until(replica.metrics_address(), "all is taken in", |page| {
            page.value("crm_receiver_feed_complete_place") >= 5.0
        })
        .await;
    }
    let (one_page, other_page) = (one.metrics().await, other.metrics().await);
    let sum = |name: &str| one_page.value(name) + other_page.value(name);
    assert_eq!(sum("crm_receiver_feed_runs_total"), 1.0);
    assert_eq!(sum("crm_receiver_feed_taken_in_events_total"), 5.0);
    assert_eq!(sum("crm_receiver_feed_failed_runs_total"), 0.0);
    one.stop().await;
    other.stop().await;
    pair.stop().await;
}

async fn the_command_says_what_is_missing_and_its_exit_code_too(ctx: Ctx) {
    let pms = Pms::start_set(&ctx, |config| {
        config.access.admin_api_key = Some(ADMIN.parse().unwrap());
    })
    .await;
    let pair = Pair::of(&ctx, pms).await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}{BASE_PATH}/", pair.pms.address());
    let run = async |url: Option<&str>, arguments: &[&str]| {
        let mut variables = vec![
            ("DATABASE_URL", pair.crm.url().to_owned()),
            ("WEBHOOK_SHARED_SECRET", ingest::SECRET.to_owned()),
            ("MASTER_KEY", harness::config::MASTER_KEY.to_owned()),
            ("PMS_API_KEY", ADMIN.to_owned()),
            // Planted events are some months old.
            ("RETAIN_IDEMPOTENCY_KEYS_DAYS", "3650".to_owned()),
        ];
        variables.extend(url.map(|url| ("PMS_FEED_URL", url.to_owned())));
        let mut command = command(&programs::receiver(), folder.path(), variables);
        let ended = command.arg("reconcile").args(arguments).output().await.unwrap();
        let (out, err) = (
            String::from_utf8(ended.stdout).unwrap(),
            String::from_utf8(ended.stderr).unwrap(),
        );
        for secret in ["canary", ADMIN] {
            assert!(!out.contains(secret) && !err.contains(secret), "{out} {err}");
        }
        (ended.status.code().unwrap(), out, err)
    };
    plant(&pair.pms.db, 1..=4, guest_event).await;
    let (code, out, err) = run(Some(&url), &[]).await;
    assert_eq!(code, 0, "{out} {err}");
    assert_eq!(
        out.lines().last(),
        Some("complete up to place 4 of 4: 4 taken in, 0 missing, of which 0 past retention")
    );

    plant(&pair.pms.db, 5..=6, guest_event).await;
    let sql = "DELETE FROM event_bodies WHERE event_id = 'evt_planted_5'";
    execute(&pair.pms.db, sql, vec![]).await;
    for arguments in [&[][..], &["--from", "0"]] {
        let (code, out, err) = run(Some(&url), arguments).await;
        assert_eq!(code, 1, "{out} {err}");
        assert!(
            out.contains("missing: evt_planted_5 at place 5, guest.created: past_retention\n"),
            "{out}"
        );
        assert!(out.contains("complete up to place 6 of 6: "), "{out}");
    }
    // As if they were older than it remembers.
    let old = "UPDATE events SET committed_at = 1";
    assert_eq!(execute(&pair.pms.db, old, vec![]).await, 6);
    let old = "UPDATE missing_events SET committed_at = 1";
    assert_eq!(execute(&pair.db, old, vec![]).await, 1);
    let (code, out, err) = run(Some(&url), &["--from", "0"]).await;
    assert_eq!(code, 0, "{out} {err}");
    for line in [
        "given up: 1 were missing until they were older than what is remembered here",
        "not compared: 6 are older than what is remembered here",
    ] {
        assert!(out.lines().any(|one| one == line), "{out}");
    }
    for (url, arguments, named) in [
        (None, &[][..], "PMS_FEED_URL"),
        (Some("http://canary@127.0.0.1/"), &[], "PMS_FEED_URL"),
        (Some("http://127.0.0.1/?key=canary"), &[], "PMS_FEED_URL"),
        (Some(url.as_str()), &["--from", "7"], "--from"),
        (Some(&format!("{url}no-feed")), &[], "PMS_FEED_URL"),
    ] {
        let (code, out, err) = run(url, arguments).await;
        assert_eq!(code, 2, "{url:?}: {out} {err}");
        assert!(err.contains(named), "{url:?}: {err}");
    }
    let (code, out, err) = run(Some("http://127.0.0.1:1/"), &[]).await;
    assert_eq!(code, 3, "{out} {err}");
    pair.stop().await;
}
