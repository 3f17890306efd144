//! The database fails in the middle of a delivery: what was sent is settled once, and is not sent again.

use std::time::Duration;

use harness::engine::Engine;
use harness::fault_proxy::{FaultProxy, Mode};
use harness::receiver_double::{Answer, Gate};

use super::rig::{Rig, Setup, append, event, event_id};
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![only Engine::Mysql;
        f11_a_settlement_whose_commit_is_lost_or_unknown_is_made_once,
        f11_what_a_fan_out_has_claimed_is_sent_though_the_answer_to_its_commit_is_lost,
    ]
}

async fn f11_what_a_fan_out_has_claimed_is_sent_though_the_answer_to_its_commit_is_lost(ctx: Ctx) {
    let (proxy, database) = FaultProxy::before(ctx.database.url()).await.unwrap();
    let setup = Setup {
        look_every: Duration::from_secs(3_600),
        database: Some(database),
        ..Setup::default()
    };
    let rig = Rig::start(&ctx, setup).await;
    rig.emit(0..1).await;
    rig.until_delivered(1).await;
    // Nothing else commits: this is the commit of the step that queues it.
    proxy.set(Mode::CutAfterCommit);
    let beside = ctx.open().await;
    let next = event(1, rig.now());
    let committed = beside.transaction("emit", move |tx| {
        let next = next.clone();
        Box::pin(async move { append(tx, &next).await })
    });
    committed.await.unwrap();
    // The clock stands still: the lease does not end.
    rig.until_delivered(2).await;
    assert_eq!(rig.delivery(1).await.get::<i64>("epoch").unwrap(), 1, "one claim");
    assert!(
        rig.store.db().counts().unknown_commits.get() >= 1,
        "the fault was met"
    );
    let (double, _) = rig.stop().await;
    assert_eq!(double.received().len(), 2);
    beside.close().await;
}

async fn f11_a_settlement_whose_commit_is_lost_or_unknown_is_made_once(ctx: Ctx) {
    let (proxy, database) = FaultProxy::before(ctx.database.url()).await.unwrap();
    // It never looks by itself: after the gate the next commit is the settlement's.
    let look_every = Duration::from_secs(3_600);
    let rig = Rig::start(
        &ctx,
        Setup {
            look_every,
            database: Some(database),
            ..Setup::default()
        },
    )
    .await;
    let gate = Gate::closed();
    rig.double.otherwise(Answer::status(200).behind(&gate));
    for (number, mode) in [(0, Mode::CutBeforeCommit), (1, Mode::CutAfterCommit)] {
        rig.emit(number..number + 1).await;
        rig.double.wait_for_held(1).await;
        proxy.set(mode);
        gate.open(1);
        rig.until_delivered(u64::from(number) + 1).await;
    }
    for number in 0..2 {
        assert_eq!(rig.audited(number).await, ["delivered"]);
        let attempts = rig
            .rows(
                "SELECT number FROM delivery_attempts WHERE event_id = ?",
                event_id(number),
            )
            .await;
        assert_eq!(attempts.len(), 1);
    }
    let unknown = rig.store.db().counts().unknown_commits.get();
    assert!(unknown >= 1, "the fault was met");
    assert_eq!(rig.status().await.delivered, 2);
    let (double, _) = rig.stop().await;
    assert_eq!(double.received().len(), 2, "nothing is sent again");
}
