//! The group commit: one row at fault fails alone, a locked one holds up nobody, and every queue has its end.

use super::{NOW, Receiver, SECRET, audited, guest_event, number};
use crate::case::{Case, Ctx, cases};
use api::RequestContext;
use bytes::Bytes;
use contract::{UnixSeconds, signature};
use crm_receiver::{
    app::{Runtime, open_store},
    backlog::Backlog,
    event::{Accepted, Arrival},
    ingest::{
        self, Batcher, IngestError, IngestLimits, IngestMeters, Lane, Sender, Senders,
        delivery::{Parsed, RawDelivery},
        guard::StoreGuard,
    },
    store::{Source, SourceSettings},
};
use db::params;
use futures::{
    FutureExt,
    future::{BoxFuture, Either, join_all, ready, select},
};
use harness::config::INGEST_LIMITS;
use harness::engine::Engine;
use harness::waiting::in_time;
use http::{HeaderMap, Method};
use kit::{metrics::Metrics, random::SystemEntropy};
use mysql_async::{Conn, Opts, prelude::Queryable};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub fn cases() -> Vec<Case> {
    let mut all = cases![
        a_failing_row_fails_alone_among_two_hundred,
        f34_a_full_queue_refuses_at_once,
        a_batch_is_bounded_by_its_bytes,
        f52_what_is_queued_is_committed_although_its_caller_left,
        what_a_lane_leaves_behind_is_answered,
    ];
    all.extend(cases![only Engine::Mysql;
        f13_a_locked_key_holds_up_nobody_else,
        many_locked_keys_turn_nobody_else_away,
    ]);
    all
}

type Accepting = BoxFuture<'static, Result<Accepted, IngestError>>;

/// A group commit whose lanes do not run yet, so that a test decides what meets in a batch.
struct Bench {
    batcher: Batcher,
    lanes: Vec<Lane>,
    senders: Senders,
    backlog: Backlog,
}

impl Bench {
    async fn on(ctx: &Ctx, limits: IngestLimits) -> Self {
        let runtime = Runtime::system();
        let store = open_store(&ctx.url(), &runtime, false).await.unwrap();
        let guard = StoreGuard::new(Arc::clone(&runtime.clock), Arc::clone(&runtime.entropy));
        let backlog = Backlog::default();
        let meters = IngestMeters::new(&Metrics::new("bench", "0"));
        let (batcher, lanes) = ingest::open(&store, guard, limits, &runtime, backlog.clone(), meters);
        let source = Source {
            id: "pms".parse().unwrap(),
            settings: SourceSettings {
                max_skew_seconds: 0,
                ..SourceSettings::new("PMS", true)
            },
            created_at: NOW,
            updated_at: NOW,
        };
        let senders = Senders::of_environment(vec![source], &SECRET.parse().unwrap(), &SystemEntropy);
        Self {
            batcher,
            lanes,
            senders,
            backlog,
        }
    }

    fn sender(&self) -> Arc<Sender> {
        Arc::clone(self.senders.named("pms", || None))
    }

    /// An arrival as the endpoint makes it, the signature included.
    fn arrival(&self, key: &str) -> Box<Arrival> {
        let (body, at) = (guest_event(key), UnixSeconds(NOW.seconds().0));
        let secrets: contract::SecretList = SECRET.parse().unwrap();
        let signed = signature::sign(secrets.as_slice(), &key.parse().unwrap(), at, &body);
        let at = at.0.to_string();
        let lines = [
            ("webhook-id", key.as_bytes()),
            ("webhook-timestamp", at.as_bytes()),
            ("webhook-signature", signed.as_str().as_bytes()),
        ];
        let raw = RawDelivery::read(self.sender(), || lines, NOW).unwrap();
        match raw.verify(Bytes::from(body)).unwrap().parse(true) {
            Ok(Parsed::Event(arrival)) => arrival,
            other => panic!("{other:?}"),
        }
    }

    /// Brings one in, as far as it goes without a lane: into the queue, or to a refusal.
    fn accept(&self, key: &str) -> Accepting {
        let (batcher, arrival, sender) = (self.batcher.clone(), self.arrival(key), self.sender());
        let mut accepting = async move { batcher.accept(arrival, &sender, &context(), None).await }.boxed();
        match (&mut accepting).now_or_never() {
            Some(outcome) => ready(outcome).boxed(),
            None => accepting,
        }
    }

    fn run(self) -> CancellationToken {
        let drained = CancellationToken::new();
        for lane in self.lanes {
            tokio::spawn(lane.run(drained.clone()));
        }
        drained
    }
}

fn context() -> RequestContext {
    let ids = Runtime::system().ids();
    RequestContext::new(&Method::POST, "/webhooks/pms", &HeaderMap::new(), None, &ids)
}

async fn a_failing_row_fails_alone_among_two_hundred(ctx: Ctx) {
    let bench = Bench::on(&ctx, INGEST_LIMITS).await;
    refuse_key(&ctx, "evt_117").await;
    let waiting: Vec<_> = (0..200)
        .map(|number| bench.accept(&format!("evt_{number}")))
        .collect();
    let backlog = bench.backlog.clone();
    let drained = bench.run();
    let outcomes = join_all(waiting).await;
    for (number, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(Accepted::New(_)) => assert_ne!(number, 117),
            Err(IngestError::Failed) => assert_eq!(number, 117),
            other => panic!("{number}: {other:?}"),
        }
    }
    in_time("the projector is woken", backlog.next_accepted()).await;
    drained.cancel();
    let db = ctx.open().await;
    assert_eq!(
        number(&db, "SELECT COUNT(*) AS n FROM inbox", params![]).await,
        199
    );
    assert_eq!(
        number(&db, "SELECT COUNT(*) AS n FROM inbox_bodies", params![]).await,
        199
    );
}

/// The database refuses a row of this key, as a broken page or a bug would.
async fn refuse_key(ctx: &Ctx, key: &str) {
    let trigger = match ctx.engine {
        Engine::Sqlite => format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON inbox WHEN NEW.idempotency_key = '{key}' \
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        ),
        Engine::Mysql => format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON inbox FOR EACH ROW IF NEW.idempotency_key = '{key}' \
             THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused'; END IF"
        ),
    };
    carry_out(ctx, &trigger).await;
}

/// Carries one statement out as it stands, outside of the store.
pub(crate) async fn carry_out(ctx: &Ctx, statement: &str) {
    match ctx.engine {
        Engine::Sqlite => {
            let file = rusqlite::Connection::open(ctx.database.file().unwrap()).unwrap();
            file.execute_batch(statement).unwrap();
        }
        Engine::Mysql => {
            let mut conn = connect(ctx).await;
            conn.query_drop(statement).await.unwrap();
            conn.disconnect().await.unwrap();
        }
    }
}

pub(super) async fn connect(ctx: &Ctx) -> Conn {
    Conn::new(Opts::from_url(ctx.database.url()).unwrap())
        .await
        .unwrap()
}

async fn f34_a_full_queue_refuses_at_once(ctx: Ctx) {
    let lanes = if ctx.engine == Engine::Sqlite { 1 } else { 4 };
    let bench = Bench::on(
        &ctx,
        IngestLimits {
            queue: 2 * lanes,
            ..INGEST_LIMITS
        },
    )
    .await;
    let (mut waiting, mut refused) = (Vec::new(), 0);
    for number in 0..40 {
        let mut accepting = bench.accept(&format!("evt_{number}"));
        match (&mut accepting).now_or_never() {
            Some(outcome) => {
                assert_eq!(outcome, Err(IngestError::Overloaded));
                refused += 1;
            }
            None => waiting.push(accepting),
        }
    }
    assert_eq!((waiting.len(), refused), (2 * lanes, 40 - 2 * lanes));
    let (again, sender) = (bench.arrival("evt_again"), bench.sender());
    let batcher = bench.batcher.clone();
    let drained = bench.run();
    for outcome in join_all(waiting).await {
        assert!(matches!(outcome, Ok(Accepted::New(_))));
    }
    assert!(
        matches!(
            batcher.accept(again, &sender, &context(), None).await,
            Ok(Accepted::New(_))
        ),
        "there is room again"
    );
    drained.cancel();
}

async fn a_batch_is_bounded_by_its_bytes(ctx: Ctx) {
    let body_len = guest_event("evt_10").len();
    let limits = IngestLimits {
        batch_bytes: 3 * body_len,
        ..INGEST_LIMITS
    };
    let bench = Bench::on(&ctx, limits).await;
    watch_widths(&ctx).await;
    let waiting: Vec<_> = (10..50)
        .map(|number| bench.accept(&format!("evt_{number}")))
        .collect();
    let drained = bench.run();
    for outcome in join_all(waiting).await {
        assert!(matches!(outcome, Ok(Accepted::New(_))));
    }
    drained.cancel();
    let widest = "SELECT MAX(n) AS n FROM widths";
    assert_eq!(number(&ctx.open().await, widest, params![]).await, 3);
}

/// Notes how many rows a transaction has inserted whose bodies are still to come: before the first, all of its batch.
async fn watch_widths(ctx: &Ctx) {
    let note = "INSERT INTO widths \
                SELECT (SELECT COUNT(*) FROM inbox) - (SELECT COUNT(*) FROM inbox_bodies)";
    let trigger = match ctx.engine {
        Engine::Sqlite => format!("CREATE TRIGGER watch BEFORE INSERT ON inbox_bodies BEGIN {note}; END"),
        Engine::Mysql => format!("CREATE TRIGGER watch BEFORE INSERT ON inbox_bodies FOR EACH ROW {note}"),
    };
    carry_out(ctx, "CREATE TABLE widths (n BIGINT NOT NULL)").await;
    carry_out(ctx, &trigger).await;
}

async fn f52_what_is_queued_is_committed_although_its_caller_left(ctx: Ctx) {
    let bench = Bench::on(&ctx, INGEST_LIMITS).await;
    let left = bench.accept("evt_1");
    drop(left);
    let stays = bench.accept("evt_1");
    let drained = bench.run();
    // Anyone who comes after joins what the one who left had begun.
    let outcome = stays.await;
    assert!(matches!(outcome, Ok(Accepted::Duplicate(_))), "{outcome:?}");
    drained.cancel();
    assert_eq!(
        number(&ctx.open().await, "SELECT COUNT(*) AS n FROM inbox", params![]).await,
        1
    );
}

async fn what_a_lane_leaves_behind_is_answered(ctx: Ctx) {
    let bench = Bench::on(&ctx, INGEST_LIMITS).await;
    let waiting = bench.accept("evt_1");
    let Bench {
        batcher,
        lanes,
        senders,
        backlog,
    } = bench;
    drop(lanes);
    assert_eq!(waiting.await, Err(IngestError::Unavailable));
    let bench = Bench {
        batcher,
        lanes: Vec::new(),
        senders,
        backlog,
    };
    assert_eq!(bench.accept("evt_1").await, Err(IngestError::Unavailable));
}

/// Another transaction inserts this key and does not come to an end.
async fn lock(neighbour: &mut Conn, key: &str) {
    let insert = format!(
        "INSERT INTO inbox (event_id, source_id, idempotency_key, status, type, schema_version, correlation_id, \
         occurred_at, received_at, attempts, due_at) \
         VALUES ('theirs_{key}', 'pms', '{key}', 'ignored', 'ping', 1, 'req_1', 0, 0, 0, 0)"
    );
    neighbour.query_drop(insert).await.unwrap();
}

async fn many_locked_keys_turn_nobody_else_away(ctx: Ctx) {
    let bench = Bench::on(&ctx, INGEST_LIMITS).await;
    let mut neighbour = connect(&ctx).await;
    neighbour.query_drop("BEGIN").await.unwrap();
    // Their turn comes first, and takes longer than a caller waits for a lock.
    let locked: Vec<_> = (10..50).map(|number| format!("evt_a_{number}")).collect();
    for key in &locked {
        lock(&mut neighbour, key).await;
    }
    let locked: Vec<_> = locked.iter().map(|key| bench.accept(key)).collect();
    let others: Vec<_> = (10..50)
        .map(|number| bench.accept(&format!("evt_b_{number}")))
        .collect();
    let drained = bench.run();
    let (locked, others) = tokio::join!(join_all(locked), join_all(others));
    for outcome in others {
        assert!(matches!(outcome, Ok(Accepted::New(_))), "{outcome:?}");
    }
    for outcome in locked {
        assert_eq!(outcome, Err(IngestError::InFlight));
    }
    drained.cancel();
    neighbour.query_drop("ROLLBACK").await.unwrap();
    neighbour.disconnect().await.unwrap();
}

/// So often may the others come late.
const ROUNDS_MAX: usize = 5;

/// Whether all others of a batch are answered before the caller of the locked key, which comes first in it.
async fn others_come_first(ctx: &Ctx, round: usize) -> bool {
    let bench = Bench::on(ctx, INGEST_LIMITS).await;
    let locked = bench.accept("evt_locked");
    // A waiting INSERT blocks the gap before its key, so the next key before it in the index may wait as long: these come after
    // it. With as many as these, some are in its lane.
    let others: Vec<_> = (10..26)
        .map(|number| bench.accept(&format!("evt_other_{round}_{number}")))
        .collect();
    let drained = bench.run();
    let (locked, others, first) = match select(locked, join_all(others)).await {
        Either::Left((locked, others)) => (locked, others.await, false),
        Either::Right((others, locked)) => (locked.await, others, true),
    };
    drained.cancel();
    assert_eq!(locked, Err(IngestError::InFlight));
    for outcome in others {
        assert!(matches!(outcome, Ok(Accepted::New(_))), "{outcome:?}");
    }
    first
}

async fn f13_a_locked_key_holds_up_nobody_else(ctx: Ctx) {
    let receiver = Receiver::start(&ctx).await;
    let mut neighbour = connect(&ctx).await;
    neighbour.query_drop("BEGIN").await.unwrap();
    lock(&mut neighbour, "evt_locked").await;
    // On a busy machine the others may come late, but not each time. Where they wait for the locked key, they never come first.
    let mut rounds = 0..ROUNDS_MAX;
    while let Some(round) = rounds.next()
        && !others_come_first(&ctx, round).await
    {
        assert!(!rounds.is_empty(), "the others wait for the locked key");
    }
    let body = guest_event("evt_locked");
    let locked = receiver.take("evt_locked", &body).await;
    assert_eq!(
        (locked.status, locked.header("retry-after")),
        (409, Some("1")),
        "{}",
        locked.json()
    );
    neighbour.query_drop("ROLLBACK").await.unwrap();
    neighbour.disconnect().await.unwrap();
    assert_eq!(receiver.take("evt_locked", &body).await.status, 202);
    receiver.stop().await;
    assert_eq!(audited(&ctx.open().await, "id_reuse").await, 0);
}
