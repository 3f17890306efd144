//! Who may act on a delivery, and write about it: leases, fences, and a clock that moves either way.

use std::time::Duration;

use contract::UnixMillis;
use harness::receiver_double::Answer;
use pms_emitter::store::{
    AttemptRecord, Claim, ClaimRequest, Claimed, EndpointUpdate, Settled, Settlement, Store, Verdict,
    env_endpoint,
};

use super::rig::{BEGIN, Rig, Setup, event_id};
use crate::case::{Case, Ctx, cases};

/// The lease of these cases: 15 s of an attempt and 15 s of slack.
pub const LEASE: Duration = Duration::from_secs(30);

pub fn cases() -> Vec<Case> {
    cases![
        f2_what_a_dead_dispatcher_held_is_taken_over_after_its_lease,
        f40_a_late_settlement_of_an_old_owner_changes_nothing,
        two_claims_share_nothing,
        a_claim_with_a_shorter_lease_takes_over_none_with_a_longer_one,
        retries_and_first_attempts_do_not_starve_each_other,
        a_rate_limit_counts_what_all_replicas_claim,
        the_newest_have_a_share_where_many_wait,
        claims_of_one_take_turns,
        a_rate_of_failures_is_that_of_the_last_minutes_wherever_a_border_lies,
        f43_a_clock_set_back_holds_nothing_up,
        f43_a_clock_set_back_by_minutes_ends_waits_and_pauses,
    ]
}

/// A dispatcher that nothing is known of but its claims.
pub async fn claim(store: &Store, token: &str, now: UnixMillis, limit: usize) -> Vec<Claim> {
    claim_in_turn(store, token, now, limit, 0).await
}

async fn claim_in_turn(store: &Store, token: &str, now: UnixMillis, limit: usize, turn: usize) -> Vec<Claim> {
    let request = ClaimRequest {
        endpoint: env_endpoint(),
        token: token.to_owned(),
        now,
        lease: LEASE,
        limit,
        turn,
    };
    let claimed = store.claim(request).await.unwrap();
    match claimed {
        Claimed::Deliveries { claims, .. } => claims,
        Claimed::Nothing | Claimed::NotBefore(_) | Claimed::Refused(_) => Vec::new(),
    }
}

pub fn delivered(claim: &Claim, at: UnixMillis) -> Settlement {
    Settlement {
        delivery: claim.delivery.clone(),
        subject: claim.subject.clone(),
        attempt: Some(AttemptRecord {
            number: claim.attempts + 1,
            at,
            duration_ms: 1,
            status: Some(200),
            error: None,
            answer: None,
        }),
        verdict: Verdict::Delivered,
    }
}

/// An emitter without a dispatcher, whose endpoint has so many events waiting.
async fn waiting(ctx: &Ctx, events: u32) -> Rig {
    let rig = Rig::start_without_dispatcher(ctx).await;
    rig.emit(0..events).await;
    rig
}

async fn f2_what_a_dead_dispatcher_held_is_taken_over_after_its_lease(ctx: Ctx) {
    let rig = waiting(&ctx, 1).await;
    assert_eq!(claim(&rig.store, "dead", BEGIN, 10).await.len(), 1);
    let (double, clock) = rig.stop().await;

    let rig = Rig::start_with(&ctx, Setup::default(), double, clock).await;
    // An event of its own shows that it has looked, and left alone what is another's.
    rig.emit(1..2).await;
    rig.until_delivered(1).await;
    assert_eq!(rig.delivery(0).await.get::<String>("owner").unwrap(), "dead");
    rig.clock.advance(LEASE + Duration::from_millis(1));
    rig.until_delivered(2).await;
    assert_eq!(rig.delivery(0).await.get::<i64>("epoch").unwrap(), 2);
    rig.stop().await;
}

async fn f40_a_late_settlement_of_an_old_owner_changes_nothing(ctx: Ctx) {
    let rig = waiting(&ctx, 3).await;
    let old = claim(&rig.store, "old", BEGIN, 10).await;
    assert_eq!(old.len(), 3);
    let later = BEGIN.plus_millis(31_000);
    let new = claim(&rig.store, "new", later, 1).await;
    assert_eq!(new.len(), 1);

    let batch: Vec<Settlement> = old.iter().map(|claim| delivered(claim, BEGIN)).collect();
    let settle = |batch: Vec<Settlement>| {
        rig.store.settle(
            env_endpoint(),
            batch.into(),
            EndpointUpdate::default(),
            [].into(),
            later,
        )
    };
    let settled = settle(batch.clone()).await.unwrap();
    assert_eq!(
        settled,
        Settled {
            delivered: 2,
            lost: 1,
            ..Settled::default()
        }
    );
    let row = rig.delivery(0).await;
    assert_eq!(row.get::<String>("status").unwrap(), "pending");
    assert_eq!(row.get::<String>("owner").unwrap(), "new");
    assert!(
        rig.audited(0).await.is_empty(),
        "of what is not ours nothing is said either"
    );

    // A second time, as after an unknown commit: nothing is left to settle.
    assert_eq!(
        settle(batch).await.unwrap(),
        Settled {
            lost: 3,
            ..Settled::default()
        }
    );
    for late in [
        Verdict::Dead("late".to_owned()),
        Verdict::RetryAt(later),
        Verdict::Kept,
    ] {
        let settlement = Settlement {
            verdict: late.clone(),
            ..delivered(&old[0], BEGIN)
        };
        let lost = Settled {
            lost: 1,
            ..Settled::default()
        };
        assert_eq!(
            settle(vec![settlement]).await.unwrap(),
            lost,
            "{late:?} counts once"
        );
    }
    let deferred = Settlement {
        attempt: None,
        verdict: Verdict::Deferred,
        ..delivered(&old[0], BEGIN)
    };
    settle(vec![deferred]).await.unwrap();
    assert_eq!(
        rig.delivery(0).await.get::<String>("owner").unwrap(),
        "new",
        "it cannot give back another's claim"
    );

    assert_eq!(
        settle(vec![delivered(&new[0], later)]).await.unwrap().delivered,
        1
    );
    for number in 0..3 {
        assert_eq!(rig.audited(number).await, ["delivered"]);
        let attempts = rig
            .rows(
                "SELECT number FROM delivery_attempts WHERE event_id = ?",
                event_id(number),
            )
            .await;
        assert_eq!(attempts.len(), 1);
    }
    assert_eq!(rig.status().await.delivered, 3);
    rig.stop().await;
}

async fn two_claims_share_nothing(ctx: Ctx) {
    const EVENTS: u32 = 120;
    const DISPATCHERS: usize = 6;
    let rig = waiting(&ctx, EVENTS).await;
    let claims = (0..DISPATCHERS).map(|number| {
        let store = rig.store.clone();
        tokio::spawn(async move {
            let (token, mut mine) = (format!("dispatcher_{number}"), Vec::new());
            // Each token is used once.
            for round in 0.. {
                let claimed = claim(&store, &format!("{token}_{round}"), BEGIN, 7).await;
                if claimed.is_empty() {
                    return mine;
                }
                mine.extend(
                    claimed
                        .into_iter()
                        .map(|claim| (claim.delivery.event_id.to_string(), claim.delivery.epoch)),
                );
            }
            mine
        })
    });
    let mut all = Vec::new();
    for claimed in futures::future::join_all(claims).await {
        all.extend(claimed.unwrap());
    }
    all.sort();
    let expected: Vec<(String, i64)> = (0..EVENTS).map(|number| (event_id(number), 1)).collect();
    // A dispatcher that finds nothing may have raced with one that had read the same rows first.
    all.extend(
        claim(&rig.store, "last", BEGIN, 100)
            .await
            .into_iter()
            .map(|claim| (claim.delivery.event_id.to_string(), 1)),
    );
    all.sort();
    assert_eq!(all, expected, "every delivery is claimed once");
    rig.stop().await;
}

async fn a_claim_with_a_shorter_lease_takes_over_none_with_a_longer_one(ctx: Ctx) {
    let rig = waiting(&ctx, 2).await;
    let request = |token: &str, now, lease| ClaimRequest {
        endpoint: env_endpoint(),
        token: token.to_owned(),
        now,
        lease: Duration::from_secs(lease),
        limit: 1,
        turn: 0,
    };
    for (token, lease) in [("long", 135), ("short", 16)] {
        let claimed = rig.store.claim(request(token, BEGIN, lease)).await.unwrap();
        assert!(matches!(claimed, Claimed::Deliveries { .. }), "{token}");
    }
    // Also by a clock that is slow by as much as those of replicas may differ.
    for (token, now) in [("later", 3_000), ("slow", -60_000)] {
        let request = request(token, BEGIN.plus_millis(now), 16);
        assert!(
            matches!(rig.store.claim(request).await.unwrap(), Claimed::Nothing),
            "{token}"
        );
    }
    rig.stop().await;
}

async fn retries_and_first_attempts_do_not_starve_each_other(ctx: Ctx) {
    let rig = waiting(&ctx, 20).await;
    let first = claim(&rig.store, "first", BEGIN, 20).await;
    let again: Vec<Settlement> = first
        .iter()
        .map(|claim| Settlement {
            verdict: Verdict::RetryAt(BEGIN),
            ..delivered(claim, BEGIN)
        })
        .collect();
    rig.store
        .settle(
            env_endpoint(),
            again.into(),
            EndpointUpdate::default(),
            [].into(),
            BEGIN,
        )
        .await
        .unwrap();
    rig.emit(20..40).await;
    let claimed = claim(&rig.store, "second", BEGIN, 8).await;
    let retries = claimed.iter().filter(|claim| claim.attempts > 0).count();
    assert_eq!(
        (claimed.len(), retries),
        (8, 2),
        "a quarter of a claim is for retries"
    );
    assert_eq!(
        claim(&rig.store, "third", BEGIN, 100).await.len(),
        32,
        "and the rest for whatever is due"
    );
    rig.stop().await;
}

async fn claims_of_one_take_turns(ctx: Ctx) {
    let rig = waiting(&ctx, 4).await;
    let failed = claim(&rig.store, "failed", BEGIN, 4).await;
    let again = failed.iter().map(|claim| Settlement {
        verdict: Verdict::RetryAt(BEGIN),
        ..delivered(claim, BEGIN)
    });
    let (update, again) = (EndpointUpdate::default(), again.collect::<Vec<_>>());
    let settled = rig
        .store
        .settle(env_endpoint(), again.into(), update, [].into(), BEGIN);
    assert_eq!(settled.await.unwrap().retried, 4);
    rig.emit(4..12).await;
    let mut claimed = Vec::new();
    for turn in 0..8 {
        let claims = claim_in_turn(&rig.store, &format!("turn{turn}"), BEGIN, 1, turn).await;
        claimed.push(claims[0].delivery.event_id.to_string());
    }
    // A retry, the oldest, the newest, the oldest; and once more.
    let expected = [0, 4, 11, 5, 1, 6, 10, 7].map(event_id);
    assert_eq!(claimed, expected);
    rig.stop().await;
}

async fn the_newest_have_a_share_where_many_wait(ctx: Ctx) {
    let rig = waiting(&ctx, 40).await;
    let mut claimed = Vec::new();
    for (token, limit) in [("eight", 8), ("three", 3), ("all", 40)] {
        let claims = claim(&rig.store, token, BEGIN, limit).await;
        let ids = claims.iter().map(|claim| claim.delivery.event_id.to_string());
        claimed.push(ids.collect::<Vec<_>>());
    }
    let expected = [
        (38..40).chain(0..6).collect::<Vec<u32>>(),
        (6..9).collect(),
        (9..38).collect(),
    ];
    let ids = |events: Vec<u32>| events.into_iter().map(event_id).collect::<Vec<_>>();
    assert_eq!(
        claimed,
        expected.map(ids),
        "a quarter of what is claimed, sent first, and none of three"
    );
    rig.stop().await;
}

async fn f43_a_clock_set_back_holds_nothing_up(ctx: Ctx) {
    let rig = waiting(&ctx, 2).await;
    let held = claim(&rig.store, "before", BEGIN, 1).await;
    let retried = claim(&rig.store, "retried", BEGIN, 1).await;
    let again = Settlement {
        verdict: Verdict::RetryAt(BEGIN.plus_millis(10_000)),
        ..delivered(&retried[0], BEGIN)
    };
    rig.store
        .settle(
            env_endpoint(),
            vec![again].into(),
            EndpointUpdate::default(),
            [].into(),
            BEGIN,
        )
        .await
        .unwrap();
    let (double, clock) = rig.stop().await;
    double.otherwise(Answer::status(200));

    // Ten days back: the lease and the wait lie further ahead than either can.
    clock.set(BEGIN.plus_millis(-10 * 24 * 3_600_000));
    let rig = Rig::start_with(&ctx, Setup::default(), double, clock).await;
    rig.until_delivered(2).await;
    // An event that was committed before the clock was set back is due at once, whatever its time says.
    rig.clock.set(BEGIN);
    rig.emit(2..3).await;
    rig.clock.set(BEGIN.plus_millis(-3_600_000));
    rig.until_delivered(3).await;
    assert_eq!(held.len(), 1);
    rig.stop().await;
}

async fn f43_a_clock_set_back_by_minutes_ends_waits_and_pauses(ctx: Ctx) {
    const MINUTE: i64 = 60_000;
    let mut rig = waiting(&ctx, 1).await;
    let mut now = BEGIN;
    for (back, token) in [(10 * MINUTE, "minutes"), (24 * 60 * MINUTE, "day")] {
        let held = claim(&rig.store, token, now, 1).await;
        assert_eq!(held.len(), 1, "what was set before the clock went back is due");
        let until = now.plus_millis(5 * MINUTE);
        let again = Settlement {
            verdict: Verdict::RetryAt(until),
            ..delivered(&held[0], now)
        };
        let news = EndpointUpdate {
            version: None,
            paused_until: Some(until),
            disabled: None,
        };
        let settled = rig
            .store
            .settle(env_endpoint(), vec![again].into(), news, [].into(), now);
        settled.await.unwrap();
        assert!(rig.status().await.is_paused(now));
        // Another replica's clock is a little behind: that is no reason.
        assert!(rig.status().await.is_paused(now.plus_millis(-MINUTE)));
        now = now.plus_millis(-back);
        assert!(!rig.status().await.is_paused(now));
    }
    let (double, clock) = rig.stop().await;
    clock.set(now);
    rig = Rig::start_with(&ctx, Setup::default(), double, clock).await;
    rig.until_delivered(1).await;
    rig.stop().await;
}

async fn a_rate_of_failures_is_that_of_the_last_minutes_wherever_a_border_lies(ctx: Ctx) {
    const MINUTE: i64 = 60_000;
    let rig = waiting(&ctx, 27).await;
    // So many attempts in that minute before or after a border, the first of which fail.
    let settle = async |minute: i64, attempts: usize, failed: usize| {
        let at = BEGIN.plus_millis(minute * MINUTE);
        let claims = claim(&rig.store, &format!("minute_{minute}"), at, attempts).await;
        assert_eq!(claims.len(), attempts);
        let settlements = claims.iter().enumerate().map(|(nth, claim)| {
            let verdict = if nth < failed {
                Verdict::RetryAt(BEGIN.plus_millis(60 * MINUTE))
            } else {
                Verdict::Delivered
            };
            Settlement {
                verdict,
                ..delivered(claim, at)
            }
        });
        let (batch, nothing) = (settlements.collect(), EndpointUpdate::default());
        let settled = rig.store.settle(env_endpoint(), batch, nothing, [].into(), at);
        settled.await.unwrap();
    };
    let counted = async || {
        let sql = "SELECT rate_attempts, rate_attempts_1, rate_attempts_2, rate_failed, rate_failed_1, rate_failed_2
             FROM endpoints WHERE id = ?";
        let row = rig.rows(sql, "env".to_owned()).await.remove(0);
        let counts = |names: [&str; 3]| names.map(|name| row.get::<i64>(name).unwrap());
        (
            counts(["rate_attempts", "rate_attempts_1", "rate_attempts_2"]),
            counts(["rate_failed", "rate_failed_1", "rate_failed_2"]),
        )
    };
    let alarms = async |minute: i64| {
        let found = rig
            .store
            .endpoints_to_notice(BEGIN.plus_millis(minute * MINUTE))
            .await;
        found.unwrap().rates
    };
    settle(-4, 15, 3).await;
    assert_eq!(alarms(-4).await, []);
    settle(2, 9, 2).await;
    assert_eq!(counted().await, ([9, 15, 0], [2, 3, 0]));
    // A replica whose clock is behind counts with the others.
    settle(-1, 1, 0).await;
    assert_eq!(counted().await, ([10, 15, 0], [2, 3, 0]));
    for minute in [2, 9] {
        assert_eq!(alarms(minute).await, [(env_endpoint(), true)], "{minute}");
    }
    for minute in [11, 16] {
        assert_eq!(alarms(minute).await, [], "{minute}: too few");
    }
    settle(11, 1, 1).await;
    assert_eq!(counted().await, ([1, 0, 10], [1, 0, 2]));
    settle(31, 1, 0).await;
    assert_eq!(counted().await, ([1, 0, 0], [0, 0, 0]));
    rig.stop().await;
}

async fn a_rate_limit_counts_what_all_replicas_claim(ctx: Ctx) {
    const LIMIT: usize = 7;
    let rig = waiting(&ctx, 30).await;
    let limited = rig.store.db().transaction("limit", |tx| {
        Box::pin(async move {
            tx.execute("UPDATE endpoints SET rate_limit = 7", Vec::new())
                .await
        })
    });
    limited.await.unwrap();
    for (minute, after) in [(0, 0), (1, 60_000), (2, 179_999)] {
        let now = BEGIN.plus_millis(after);
        let replicas = (0..4).map(|replica| {
            let store = Store::new(rig.store.db().clone());
            tokio::spawn(async move {
                let mut claimed = 0;
                for round in 0..LIMIT {
                    claimed += claim(&store, &format!("{minute}_{replica}_{round}"), now, 2)
                        .await
                        .len();
                }
                claimed
            })
        });
        let claimed = futures::future::join_all(replicas).await.into_iter();
        let first: usize = claimed.map(Result::unwrap).sum();
        // Who was overtaken has got nothing; the rest of the minute is for the next one.
        let rest = claim(&rig.store, &format!("{minute}_rest"), now, 100).await.len();
        assert_eq!(first + rest, LIMIT, "in minute {minute}");
        let later = now.plus_millis(59_999);
        assert!(
            claim(&rig.store, &format!("{minute}_later"), later, 100)
                .await
                .is_empty()
        );
    }
    rig.stop().await;
}
