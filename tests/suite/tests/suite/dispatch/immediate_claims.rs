//! What is claimed as it is queued: for whom, what of, and when not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contract::id::EndpointId;
use db::{Db, DbError, Statement, StatementResult, Tx, params};
use futures::future::BoxFuture;
use harness::engine::Engine;
use harness::receiver_double::{Answer, Gate};
use harness::waiting::until;
use kit::sequencer::{Given, Sequence, Sequenced, Sequencer, Step};
use pms_emitter::store::{
    Claim, ClaimRequest, Claimed, EndpointUpdate, FanOut, Grant, Handed, Queued, Store, env_endpoint,
};

use super::claims::{LEASE, claim, delivered};
use super::rig::{Rig, Setup, append, event, event_id};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    let both = cases![
        what_is_queued_is_claimed_with_it_as_far_as_there_is_room,
        nothing_is_claimed_at_once_of_an_endpoint_that_is_not_sent_to,
        what_happens_now_does_not_wait_for_those_that_were_claimed_before,
        one_step_claims_for_several_webhooks,
    ];
    let mysql = cases![only Engine::Mysql;
        a_step_that_is_run_again_and_comes_to_nothing_keeps_no_room,
    ];
    both.into_iter().chain(mysql).collect()
}

/// The environment's dispatcher with room for so many, of which nothing is known but what it is handed.
fn offer(rig: &Rig, queued: &Queued, token: &'static str, limit: usize) -> Arc<Mutex<Vec<Claim>>> {
    offer_for(rig, queued, &env_endpoint(), token, limit)
}

fn offer_for(
    rig: &Rig,
    queued: &Queued,
    endpoint: &EndpointId,
    token: &'static str,
    limit: usize,
) -> Arc<Mutex<Vec<Claim>>> {
    let of = endpoint.clone();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (claims, now) = (Arc::clone(&taken), rig.now());
    let offer = Arc::new(move |_| {
        let claims: Arc<Mutex<Vec<Claim>>> = Arc::clone(&claims);
        let request = ClaimRequest {
            endpoint: of.clone(),
            token: token.to_owned(),
            now,
            lease: LEASE,
            limit,
            turn: 0,
        };
        let hand_over = Box::new(move |handed| match handed {
            Handed::Claimed(Claimed::Deliveries { claims: these, .. }) => {
                claims.lock().unwrap().extend(these);
            }
            Handed::Claimed(_) | Handed::Unknown(_) => panic!("a claim that is committed"),
        });
        Some(Grant { request, hand_over })
    });
    queued.immediate().offer(endpoint, offer);
    taken
}

fn ids(claims: &[Claim]) -> Vec<&str> {
    let claims = claims.iter();
    claims.map(|claim| claim.delivery.event_id.as_str()).collect()
}

/// The fan-out of one process, and what connects it with its dispatchers.
fn fan_out(rig: &Rig) -> (Sequencer, Queued) {
    let fan_out = FanOut::default();
    let queued = fan_out.queued();
    let sequencer = Sequencer::new(rig.store.db(), rig.clock.clone(), "run_1".to_owned(), fan_out);
    (sequencer, queued)
}

async fn what_is_queued_is_claimed_with_it_as_far_as_there_is_room(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    let (mut sequencer, queued) = fan_out(&rig);
    let taken = offer(&rig, &queued, "now", 2);
    rig.commit(0..3).await;
    assert!(matches!(sequencer.step().await.unwrap(), Step::Worked(_)));
    let claims = std::mem::take(&mut *taken.lock().unwrap());
    assert_eq!(ids(&claims), [event_id(0), event_id(1)], "the first ones");
    assert!(queued.take().contains(&env_endpoint()), "the third wakes");
    let stored = "SELECT body FROM event_bodies WHERE event_id = ?";
    for (number, claim) in (0..).zip(&claims) {
        let body: Vec<u8> = rig.rows(stored, event_id(number)).await[0].get("body").unwrap();
        assert_eq!(claim.body.as_deref(), Some(body.as_slice()));
        assert_eq!((claim.attempts, claim.delivery.epoch), (0, 1));
        assert_eq!(claim.subject.event_type, "guest.created");
        assert_eq!(claim.traceparent.is_some(), number == 1);
    }
    let others = claim(&rig.store, "other", rig.now(), 10).await;
    assert_eq!(ids(&others), [event_id(2)], "what is claimed is nobody else's");
    let batch: Vec<_> = claims.iter().map(|claim| delivered(claim, rig.now())).collect();
    let update = EndpointUpdate::default();
    let settled = rig
        .store
        .settle(env_endpoint(), batch.into(), update, Arc::new([]), rig.now());
    assert_eq!(settled.await.unwrap().delivered, 2);

    // Of one that dies they are taken over after its lease.
    rig.commit(3..4).await;
    sequencer.step().await.unwrap();
    assert_eq!(taken.lock().unwrap().len(), 1);
    rig.clock.advance(LEASE + Duration::from_millis(1));
    let others = claim(&rig.store, "third", rig.now(), 10).await;
    assert_eq!(ids(&others), [event_id(2), event_id(3)]);
    rig.stop().await;
}

/// Each keeps an endpoint from being sent whatever is due; and what ends it.
const STATES: [(&str, &str); 6] = [
    ("paused = 1", "paused = 0"),
    (
        "paused_until = 1763769700000, paused_at = 1763769600000",
        "paused_until = 0, paused_at = 0",
    ),
    ("disabled_reason = 'gone'", "disabled_reason = NULL"),
    (
        "breaker_state = 'open', breaker_until = 1763769700000, breaker_since = 1763769600000, breaker_epoch = 1",
        "breaker_state = 'closed', breaker_epoch = 2",
    ),
    // A probe is claimed by itself.
    (
        "breaker_state = 'half_open', breaker_until = 0, breaker_epoch = 3",
        "breaker_state = 'closed', breaker_epoch = 4",
    ),
    ("rate_limit = 5", "rate_limit = NULL"),
];

async fn nothing_is_claimed_at_once_of_an_endpoint_that_is_not_sent_to(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    let (mut sequencer, queued) = fan_out(&rig);
    let taken = offer(&rig, &queued, "now", 10);
    for (number, (state, end)) in (0..).zip(STATES) {
        set(&rig.store, state).await;
        rig.commit(number..number + 1).await;
        assert!(matches!(sequencer.step().await.unwrap(), Step::Worked(_)));
        assert_eq!(taken.lock().unwrap().len(), 0, "{state}");
        let row = rig.delivery(number).await;
        let claim = (
            row.get::<Option<String>>("owner").unwrap(),
            row.get::<i64>("epoch").unwrap(),
        );
        assert_eq!(claim, (None, 0), "{state}");
        set(&rig.store, end).await;
    }
    let queued = u32::try_from(STATES.len()).unwrap();
    assert_eq!(
        claim(&rig.store, "later", rig.now(), 10).await.len(),
        STATES.len()
    );
    rig.commit(queued..queued + 1).await;
    sequencer.step().await.unwrap();
    assert_eq!(taken.lock().unwrap().len(), 1, "it is sent to again");
    rig.stop().await;
}

async fn set(store: &Store, what: &str) {
    let sql: Arc<str> = format!("UPDATE endpoints SET {what} WHERE id = 'env'").into();
    let set = store.db().transaction("set", move |tx| {
        let sql = Arc::clone(&sql);
        Box::pin(async move { tx.execute(&sql, Vec::new()).await })
    });
    set.await.unwrap();
}

async fn what_happens_now_does_not_wait_for_those_that_were_claimed_before(ctx: Ctx) {
    const WAITING: u32 = 40;
    const NOW: u32 = 6;
    let rig = Rig::start_without_dispatcher(&ctx).await;
    rig.emit(0..WAITING).await;
    let (double, clock) = rig.stop().await;
    let gate = Gate::closed();
    double.otherwise(Answer::status(200).behind(&gate));
    let setup = Setup {
        concurrency: 1,
        ..Setup::default()
    };
    let rig = Rig::start_with(&ctx, setup, double, clock).await;
    rig.double.wait_for_held(1).await;
    let now = rig.now();
    let committed = rig.store.db().transaction("emit", move |tx| {
        Box::pin(async move {
            for number in WAITING..WAITING + NOW {
                append(tx, &event(number, now)).await?;
            }
            Ok(())
        })
    });
    committed.await.unwrap();
    for number in WAITING..WAITING + NOW {
        let epoch: i64 = rig.delivery(number).await.get("epoch").unwrap();
        assert_eq!(epoch, 1, "it is claimed with its place");
    }
    // The steps follow each other: what the first one has claimed is handed over once the next one has queued something.
    rig.commit(WAITING + NOW..WAITING + NOW + 1).await;
    rig.delivery(WAITING + NOW).await;
    gate.open(1_000);
    rig.until_delivered(u64::from(WAITING + NOW) + 1).await;
    let (double, _) = rig.stop().await;
    let received = double.received();
    // Behind the one that was held: six that happen now, and each fourth of those that wait.
    let first = received[1..=8].iter().map(|request| request.id().to_owned());
    let (now, before): (Vec<String>, Vec<String>) = first.partition(|id| *id >= event_id(WAITING));
    assert_eq!((now.len(), before.len()), (6, 2));
}

/// Subscribes one more endpoint, as the environment's is, with what differs.
async fn subscribe(store: &Store, id: &'static str, filter: Option<&'static str>) {
    let made = store.db().transaction("subscribe", move |tx| {
        Box::pin(async move {
            let sql = "INSERT INTO endpoints (id, url, event_types, property_ids, filter, subscribed, breaker_since, created_at, updated_at)
                 SELECT ?, url, event_types, property_ids, ?, 1, 0, created_at, updated_at FROM endpoints WHERE id = 'env'";
            tx.execute(sql, params![id, filter]).await
        })
    });
    assert_eq!(made.await.unwrap(), 1);
}

async fn one_step_claims_for_several_webhooks(ctx: Ctx) {
    const EVENTS: u32 = 40;
    /// Of a step the bodies of so many are read.
    const CLAIMED: usize = 32;
    let rig = Rig::start_without_dispatcher(&ctx).await;
    let nobody = r#"{"path": "/last_name", "op": "=", "value": "Nobody"}"#;
    subscribe(&rig.store, "all", None).await;
    subscribe(&rig.store, "none", Some(nobody)).await;
    let (mut sequencer, queued) = fan_out(&rig);
    let env = offer(&rig, &queued, "now", 100);
    let all = offer_for(&rig, &queued, &"all".parse().unwrap(), "of all", 100);
    let none = offer_for(&rig, &queued, &"none".parse().unwrap(), "of none", 100);
    rig.commit(0..EVENTS).await;
    assert!(matches!(sequencer.step().await.unwrap(), Step::Worked(_)));
    let (env, all) = (env.lock().unwrap().clone(), all.lock().unwrap().clone());
    let first: Vec<String> = (0..EVENTS).map(event_id).take(CLAIMED).collect();
    assert_eq!(
        (ids(&env), ids(&all)),
        (first.iter().map(String::as_str).collect(), ids(&env))
    );
    assert!(
        env.iter()
            .zip(all.iter())
            .all(|(one, other)| one.body == other.body)
    );
    assert_eq!(none.lock().unwrap().len(), 0, "its filter lets none pass");
    assert_eq!(all[0].delivery.owner, "of all");
    rig.stop().await;
}

/// A fan-out whose next step is run again, when another process has got its lease.
struct RunAgain {
    fan_out: FanOut,
    beside: Db,
    runs: Arc<AtomicUsize>,
}

impl Sequenced for RunAgain {
    fn sequence(&self) -> Sequence {
        self.fan_out.sequence()
    }

    fn is_any_waiting(&self) -> String {
        self.fan_out.is_any_waiting()
    }

    fn questions(&self) -> Vec<Statement> {
        self.fan_out.questions()
    }

    fn is_nothing(&self, answers: &[StatementResult]) -> bool {
        self.fan_out.is_nothing(answers)
    }

    fn give_places<'t>(
        &'t self,
        tx: &'t mut Tx,
        last: i64,
        answers: &'t [StatementResult],
    ) -> BoxFuture<'t, Result<Given, DbError>> {
        Box::pin(async move {
            self.fan_out.give_places(tx, last, answers).await?;
            self.runs.fetch_add(1, Ordering::SeqCst);
            let beside = self.beside.clone();
            tokio::spawn(async move {
                let taken = beside.transaction("take_lease", |tx| {
                    let sql =
                        "UPDATE leases SET owner = 'another', epoch = epoch + 1 WHERE name = 'sequence:feed'";
                    Box::pin(async move { tx.execute(sql, Vec::new()).await })
                });
                assert_eq!(taken.await.unwrap(), 1);
            });
            // It waits for this transaction to end, and is before its next run.
            until("it waits", || async {
                let waits = self.beside.read("waits", |tx| {
                    let sql = "SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST
                         WHERE DB = DATABASE() AND ID <> CONNECTION_ID() AND INFO LIKE '%''another''%'";
                    Box::pin(async move { tx.query_one(sql, Vec::new()).await })
                });
                waits.await.unwrap().unwrap().get::<i64>("n").unwrap() > 0
            })
            .await;
            let deadlock = "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213";
            let nothing = Statement::change("DO 0", Vec::new());
            let refused = tx.run(&[Statement::change(deadlock, Vec::new()), nothing]).await;
            refused.all().map(|_| Given::default())
        })
    }

    fn committed(&self) {
        self.fan_out.committed();
    }

    fn failed(&self) {
        self.fan_out.failed();
    }

    fn came_to_nothing(&self) {
        self.fan_out.came_to_nothing();
    }
}

async fn a_step_that_is_run_again_and_comes_to_nothing_keeps_no_room(ctx: Ctx) {
    let rig = Rig::start_without_dispatcher(&ctx).await;
    let (fan_out, runs) = (FanOut::default(), Arc::new(AtomicUsize::new(0)));
    let queued = fan_out.queued();
    let again = RunAgain {
        fan_out,
        beside: ctx.open().await,
        runs: Arc::clone(&runs),
    };
    let beside = again.beside.clone();
    let mut sequencer = Sequencer::new(rig.store.db(), rig.clock.clone(), "run_1".to_owned(), again);
    let taken = offer(&rig, &queued, "now", 1);
    let held = Arc::strong_count(&taken);
    rig.commit(0..1).await;
    assert_eq!(sequencer.step().await.unwrap(), Step::Held);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(Arc::strong_count(&taken), held, "the grant is dropped");
    assert_eq!(taken.lock().unwrap().len(), 0);
    beside.close().await;
    rig.stop().await;
}
