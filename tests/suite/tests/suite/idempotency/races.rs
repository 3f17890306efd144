//! Requests at once: in one process, on two replicas, with a client that goes away.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use contract::{Problem, ProblemCode};
use futures::poll;
use harness::waiting::ten_times;
use tokio::sync::Notify;

use super::{BODY, Replica, Seen, named_caller};
use crate::case::{Case, Ctx, cases};

/// Requests of one race.
const RACERS: usize = 50;
/// Races between replicas.
const RACES: usize = 20;
/// How long a request waits for another with its key.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(2);

pub fn cases() -> Vec<Case> {
    cases![
        fifty_at_once_make_one_effect,
        two_replicas_at_once_make_one_effect,
        one_in_progress_is_waited_for_and_then_answered,
        f52_a_client_that_hangs_up_leaves_nothing_half_known,
    ]
}

async fn fifty_at_once_make_one_effect(ctx: Ctx) {
    let replica = Replica::on(&ctx).await;
    let racers: Vec<_> = (0..RACERS)
        .map(|_| {
            let replica = replica.clone();
            tokio::spawn(async move { replica.post("k-1", BODY).await.unwrap() })
        })
        .collect();
    let mut first = 0;
    for racer in racers {
        let seen = racer.await.unwrap();
        assert_eq!((seen.status, seen.body.as_str()), (201, r#"{"id":"gst_0"}"#));
        first += u32::from(!seen.replayed);
    }
    assert_eq!((first, replica.effects().await), (1, 1));
}

async fn two_replicas_at_once_make_one_effect(ctx: Ctx) {
    // Maps of their own: only the table's key is between them.
    let replicas = [Replica::on(&ctx).await, Replica::on(&ctx).await];
    for race in 0..RACES {
        let key = format!("k-{race}");
        let (one, other) = tokio::join!(replicas[0].post(&key, BODY), replicas[1].post(&key, BODY));
        // One may be asked to come back; it then gets the other's answer.
        let asked_back = |answer: &Result<_, Problem>| {
            answer
                .as_ref()
                .is_err_and(|problem| problem.code == ProblemCode::InFlight)
        };
        let answers: Vec<_> = [one, other]
            .into_iter()
            .filter(|answer| !asked_back(answer))
            .map(Result::unwrap)
            .collect();
        let again = replicas[0].post(&key, BODY).await.unwrap();
        assert!(
            answers.iter().all(|seen| seen.body == again.body),
            "{answers:?} {again:?}"
        );
        assert_eq!(
            answers.iter().filter(|seen| !seen.replayed).count(),
            1,
            "{answers:?}"
        );
    }
    assert_eq!(replicas[0].effects().await, i64::try_from(RACES).unwrap());
}

/// Work that waits at a barrier before it begins.
#[derive(Clone, Default)]
struct Barrier {
    reached: Arc<Notify>,
    open: Arc<Notify>,
}

fn held(replica: &Replica, barrier: &Barrier) -> tokio::task::JoinHandle<Result<Seen, Problem>> {
    let (replica, barrier) = (replica.clone(), barrier.clone());
    tokio::spawn(async move {
        let work = |replica: Replica, slot| async move {
            barrier.reached.notify_one();
            barrier.open.notified().await;
            replica.work(slot).await
        };
        replica
            .run(&named_caller("reception"), "/api/v1/guests", "k-1", BODY, work)
            .await
    })
}

async fn one_in_progress_is_waited_for_and_then_answered(ctx: Ctx) {
    let (replica, barrier) = (Replica::on(&ctx).await, Barrier::default());
    let first = held(&replica, &barrier);
    barrier.reached.notified().await;
    let refused = ten_times(IN_FLIGHT_WAIT, "it gives up", replica.post("k-1", BODY)).await;
    let problem = refused.unwrap_err();
    assert_eq!(
        (problem.code, problem.retry_after_seconds),
        (ProblemCode::InFlight, Some(1))
    );
    let mut second = pin!(replica.post("k-1", BODY));
    // A caller that does not wait has its answer at the first poll: that the key is taken is known without the database.
    assert!(poll!(second.as_mut()).is_pending());
    barrier.open.notify_one();
    let (second, first) = tokio::join!(second, first);
    assert!(second.unwrap().replayed && !first.unwrap().unwrap().replayed);
    assert_eq!(replica.effects().await, 1);
}

async fn f52_a_client_that_hangs_up_leaves_nothing_half_known(ctx: Ctx) {
    let (replica, barrier) = (Replica::on(&ctx).await, Barrier::default());
    let client = held(&replica, &barrier);
    barrier.reached.notified().await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    barrier.open.notify_one();
    let retry = replica.post("k-1", BODY).await.unwrap();
    assert!(retry.replayed, "the work went on without its client: {retry:?}");
    assert_eq!(replica.effects().await, 1);
}
