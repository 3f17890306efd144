//! What is claimed as it is queued: for whom, what of, and when not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::receiver_double::{Answer, Gate};
use kit::sequencer::{Sequencer, Step};
use pms_emitter::store::{
    Claim, ClaimRequest, Claimed, EndpointUpdate, FanOut, Grant, Handed, Queued, Store, env_endpoint,
};

use super::claims::{LEASE, claim, delivered};
use super::rig::{Rig, Setup, append, event, event_id};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        what_is_queued_is_claimed_with_it_as_far_as_there_is_room,
        nothing_is_claimed_at_once_of_an_endpoint_that_is_not_sent_to,
        what_happens_now_does_not_wait_for_those_that_were_claimed_before,
    ]
}

/// A dispatcher with room for so many, of which nothing is known but what it is handed.
fn offer(rig: &Rig, queued: &Queued, token: &'static str, limit: usize) -> Arc<Mutex<Vec<Claim>>> {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (claims, now) = (Arc::clone(&taken), rig.now());
    let offer = Arc::new(move |_| {
        let claims: Arc<Mutex<Vec<Claim>>> = Arc::clone(&claims);
        let request = ClaimRequest {
            endpoint: env_endpoint(),
            token: token.to_owned(),
            now,
            lease: LEASE,
            limit,
        };
        let hand_over = Box::new(move |handed| match handed {
            Handed::Claimed(Claimed::Deliveries { claims: these, .. }) => {
                claims.lock().unwrap().extend(these);
            }
            Handed::Claimed(_) | Handed::Unknown(_) => panic!("a claim that is committed"),
        });
        Some(Grant { request, hand_over })
    });
    queued.immediate().offer(&env_endpoint(), offer);
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
    gate.open(1_000);
    rig.until_delivered(u64::from(WAITING + NOW)).await;
    let (double, _) = rig.stop().await;
    let received = double.received();
    // Behind the one that was held: six that happen now, and each fourth of those that wait.
    let first = received[1..=8].iter().map(|request| request.id().to_owned());
    let (now, before): (Vec<String>, Vec<String>) = first.partition(|id| *id >= event_id(WAITING));
    assert_eq!((now.len(), before.len()), (6, 2));
}
