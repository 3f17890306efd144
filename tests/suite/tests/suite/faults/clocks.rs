//! Clocks that jump, by minutes or a day, either way: waits, leases and pauses end, rejects are counted with their skew,
//! and everything is delivered once.

use std::time::Duration;

use contract::UnixMillis;
use db::params;
use harness::receiver_double::Answer;

use super::endpoints::{assert_effects, receiver_on};
use crate::case::{Case, Ctx, cases};
use crate::dispatch::rig::{BEGIN, Rig, Setup};
use crate::ingest::number;

pub fn cases() -> Vec<Case> {
    cases![
        f43_jumps_of_the_emitters_clock_hold_nothing_up,
        f43_a_receiver_whose_clock_is_wrong_counts_the_skew_and_takes_all_once_it_is_right,
    ]
}

const TEN_MINUTES: i64 = 600_000;
const DAY: i64 = 24 * 3_600_000;
/// Beyond the first wait of the schedule.
const RETRY_DUE: Duration = Duration::from_secs(13);

async fn f43_jumps_of_the_emitters_clock_hold_nothing_up(ctx: Ctx) {
    let rig = Rig::start(&ctx, Setup::default()).await;
    let jumps = [TEN_MINUTES, -TEN_MINUTES, DAY, -DAY];
    for (number, jump) in (0..).step_by(2).zip(jumps) {
        // One waits for its retry while the clock jumps; the next comes after it, and has the emitter look.
        rig.double.then([Answer::status(500)]);
        rig.emit(number..number + 1).await;
        rig.until_attempts(number, 1).await;
        rig.clock.set(rig.now().plus_millis(jump));
        rig.emit(number + 1..number + 2).await;
        rig.until_delivered(u64::from(number) + 2).await;
        let attempts: i64 = rig.delivery(number).await.get("attempts").unwrap();
        assert_eq!(attempts, 2, "{jump}");
    }
    assert_eq!(rig.now(), BEGIN);
    let (double, _) = rig.stop().await;
    assert_eq!(double.received().len(), 3 * jumps.len());
}

async fn f43_a_receiver_whose_clock_is_wrong_counts_the_skew_and_takes_all_once_it_is_right(ctx: Ctx) {
    let crm = ctx.servers.fresh(ctx.engine, "clocks").await.unwrap();
    let receiver = receiver_on(&crm).await;
    let setup = Setup {
        url: Some(format!("http://{}/api/v1/webhooks/pms", receiver.address)),
        ..Setup::default()
    };
    let rig = Rig::start(&ctx, setup).await;
    // Ten minutes are within what is allowed; of a day the receiver sees the other side.
    let jumps = [
        (TEN_MINUTES, None),
        (-TEN_MINUTES, None),
        (DAY, Some("behind_under_2_days")),
        (-DAY, Some("ahead_under_2_days")),
    ];
    let mut skews = Vec::new();
    for (number, (jump, skew)) in (0..).zip(jumps) {
        receiver.clock.set(UnixMillis(rig.now().0 + jump));
        rig.emit(number..number + 1).await;
        if skew.is_some() {
            rig.until_attempts(number, 1).await;
            let refused: i64 = rig.delivery(number).await.get("last_status").unwrap();
            assert_eq!(refused, 401);
            receiver.clock.set(rig.now());
            rig.clock.advance(RETRY_DUE);
        }
        rig.until_delivered(u64::from(number) + 1).await;
        skews.extend(skew);
    }
    rig.stop().await;
    assert_effects(&crm, 4).await;
    receiver.stop().await;
    let db = super::open(crm.url()).await;
    for skew in skews {
        let sql = "SELECT COALESCE(SUM(n), 0) AS n FROM audit_counts WHERE kind = 'skewed' AND cause = ?";
        assert_eq!(number(&db, sql, params![skew]).await, 1, "{skew}");
    }
    db.close().await;
    crm.remove().await.unwrap();
}
