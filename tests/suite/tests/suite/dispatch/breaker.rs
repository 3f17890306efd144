//! The breaker of an endpoint, with real workers around it.

use harness::receiver_double::{Answer, Gate};

use super::rig::{HELD_FOR, PAST_OPEN, Rig, Setup};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![
        f36_opens_lets_one_probe_out_closes_and_ramps_up,
        what_could_not_be_written_of_it_holds_back_the_probe,
    ]
}

async fn f36_opens_lets_one_probe_out_closes_and_ramps_up(ctx: Ctx) {
    const EVENTS: u32 = 60;
    let schedule = "0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s";
    let rig = Rig::start(
        &ctx,
        Setup {
            breaker_failures: 3,
            schedule,
            timeout: HELD_FOR,
            ..Setup::default()
        },
    )
    .await;
    rig.double.otherwise(Answer::status(503));
    rig.emit(0..EVENTS).await;
    let opened = |change: &pms_emitter::store::BreakerChange| {
        change.to.as_str() == "open" && change.reason == "status 503"
    };
    rig.until("open", |status| status.breaker_history.iter().any(opened))
        .await;
    // Others were on their way when it opened.
    rig.until_nothing_is_claimed().await;

    // From here on a request waits at the gate: the first one is a probe, and it is alone.
    let gate = Gate::closed();
    rig.double.otherwise(Answer::status(200).behind(&gate));
    rig.clock.advance(PAST_OPEN);
    rig.double.wait_for_held(1).await;
    rig.emit(EVENTS..EVENTS + 10).await;
    rig.until("half open", |status| status.breaker.0.as_str() == "half_open")
        .await;
    assert_eq!(rig.double.held(), 1, "exactly one probe, however many wait");

    // Its success closes the breaker, and what goes out at once doubles with every round.
    let mut came = rig.double.received().len();
    for (through, held) in [(1, 1), (1, 2), (2, 4), (4, 8)] {
        gate.open(through);
        // As many as went through before are held by others now: that they have come is seen by their number alone.
        came += held;
        rig.double.wait_for(came).await;
        rig.double.wait_for_held(held).await;
        rig.until("closed", |status| status.breaker.0.as_str() == "closed")
            .await;
        assert_eq!(
            (rig.double.received().len(), rig.double.held()),
            (came, held),
            "no more than the ramp allows"
        );
    }
    gate.open(1_000);
    let status = rig.until_delivered(u64::from(EVENTS) + 10).await;
    assert_eq!((status.pending, status.dead), (0, 0));
    let states: Vec<&str> = status
        .breaker_history
        .iter()
        .rev()
        .map(|change| change.to.as_str())
        .collect();
    assert_eq!(states[..2], ["open", "half_open"]);
    assert_eq!(states.last(), Some(&"closed"));

    // What the breaker held back cost no attempt: there are as many as there were requests.
    let sql = "SELECT SUM(attempts) AS made FROM deliveries WHERE endpoint_id = ?";
    let made: i64 = rig.rows(sql, "env".to_owned()).await[0].get("made").unwrap();
    let (double, _) = rig.stop().await;
    assert_eq!(usize::try_from(made).unwrap(), double.received().len());
}

async fn what_could_not_be_written_of_it_holds_back_the_probe(ctx: Ctx) {
    let rig = Rig::start(
        &ctx,
        Setup {
            concurrency: 1,
            breaker_failures: 1,
            timeout: HELD_FOR,
            ..Setup::default()
        },
    )
    .await;
    rename(&rig, "ALTER TABLE breaker_history RENAME TO out_of_reach").await;
    let gate = Gate::closed();
    rig.double.otherwise(Answer::status(200).behind(&gate));
    rig.double.then([Answer::status(503)]);
    rig.emit(0..2).await;
    rig.until_attempts(0, 1).await;
    rig.clock.advance(PAST_OPEN);
    // It looks, and sends no probe of what others cannot see.
    assert_eq!(rig.store.endpoints_due(rig.now()).await.unwrap().due.len(), 1);
    let sql = "SELECT breaker_state FROM endpoints WHERE id = ?";
    let state: String = rig.rows(sql, "env".to_owned()).await[0]
        .get("breaker_state")
        .unwrap();
    assert_eq!((rig.double.received().len(), state.as_str()), (1, "closed"));
    rename(&rig, "ALTER TABLE out_of_reach RENAME TO breaker_history").await;
    rig.double.wait_for_held(1).await;
    let status = rig.status().await;
    let states: Vec<&str> = status
        .breaker_history
        .iter()
        .rev()
        .map(|change| change.to.as_str())
        .collect();
    assert_eq!(states, ["open", "half_open"], "nothing of it is lost");
    gate.open(2);
    rig.until("closed", |status| status.breaker.0.as_str() == "closed")
        .await;
    rig.stop().await;
}

async fn rename(rig: &Rig, sql: &'static str) {
    let renamed = rig.store.db().transaction("rename", move |tx| {
        Box::pin(async move { tx.execute(sql, Vec::new()).await })
    });
    renamed.await.unwrap();
}
