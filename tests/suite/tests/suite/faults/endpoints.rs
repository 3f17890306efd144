//! What an endpoint, or the way to it, does to a delivery: it is taken once all the same, or is dead and says so.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contract::UnixMillis;
use crm_receiver::config::Config;
use harness::database::{Database, EVENTS_ACCEPTED, SETTLED_WITHIN};
use harness::fault_proxy::{FaultProxy, Mode};
use harness::receiver_double::Answer;
use harness::waiting::until;
use kit::breaker::State;

use crate::case::{Case, Ctx, cases};
use crate::dispatch::rig::{BEGIN, PAST_OPEN, Rig, SECRETS, Setup};
use crate::ingest::{self, Receiver};

pub fn cases() -> Vec<Case> {
    cases![
        f24_a_flapping_endpoint_loses_nothing_and_makes_no_dead_letter,
        f25_retry_after_is_honoured_within_its_bounds,
        f29_what_was_committed_before_a_reset_is_a_duplicate_the_second_time,
        f27_f50_a_connection_cut_at_any_byte_costs_a_repeat_and_nothing_else,
    ]
}

/// Beyond the first wait of the schedule, 10 s and a fifth.
const RETRY_DUE: Duration = Duration::from_secs(13);
/// The longest wait that an endpoint may ask for.
const ASKED_MAX: i64 = 24 * 3_600_000;

/// A real receiver on a database of its own, which knows the rig's secrets.
pub async fn receiver_on(database: &harness::engine::TestDatabase) -> Receiver {
    Receiver::start_with(Config {
        secrets: Some(SECRETS.parse().unwrap()),
        ..ingest::config(database.parsed())
    })
    .await
}

/// One inbox row and one effect for each of so many events.
pub async fn assert_effects(database: &harness::engine::TestDatabase, events: u64) {
    let mut database = Database::open(database.url()).await.unwrap();
    let left = database.drained(EVENTS_ACCEPTED, SETTLED_WITHIN).await.unwrap();
    assert_eq!(left, 0, "events still wait");
    for sql in [
        "SELECT COUNT(*) AS n FROM inbox",
        "SELECT COUNT(*) AS n FROM audit_entries WHERE action = 'applied'",
    ] {
        assert_eq!(database.count(sql).await.unwrap(), events, "{sql}");
    }
}

async fn f24_a_flapping_endpoint_loses_nothing_and_makes_no_dead_letter(ctx: Ctx) {
    const EVENTS: u32 = 60;
    /// Answers in a row before it changes its mind: enough to open the breaker each time.
    const TURN: usize = 4;
    let setup = Setup {
        breaker_failures: 3,
        concurrency: 4,
        schedule: "0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s,0s",
        ..Setup::default()
    };
    let rig = Rig::start(&ctx, setup).await;
    for _ in 0..6 {
        rig.double.then(vec![Answer::status(502); TURN]);
        rig.double.then(vec![Answer::status(200); TURN]);
    }
    rig.emit(0..EVENTS).await;
    // An open period is over once nothing is claimed, and once: a clock that jumps past the lease of an attempt, as of the probe that is
    // claimed then, would have it made twice.
    let ended = AtomicUsize::new(0);
    let claimed = "SELECT COUNT(*) AS n FROM deliveries WHERE endpoint_id = ? AND status = 'pending' AND owner IS NOT NULL";
    until("all is delivered", || async {
        let status = rig.status().await;
        let claimed: i64 = rig.rows(claimed, "env".to_owned()).await[0].get("n").unwrap();
        let changes = status.breaker_history.iter();
        let opened = changes.filter(|change| change.to.as_str() == "open").count();
        if status.breaker.0 == State::Open && claimed == 0 && opened > ended.load(Ordering::SeqCst) {
            ended.store(opened, Ordering::SeqCst);
            rig.clock.advance(PAST_OPEN);
        }
        status.delivered >= EVENTS.into()
    })
    .await;
    let status = rig.status().await;
    assert_eq!((status.pending, status.dead), (0, 0));
    let opened = status
        .breaker_history
        .iter()
        .filter(|change| change.to.as_str() == "open");
    assert!(opened.count() > 0, "the breaker saw it");
    let sql = "SELECT SUM(attempts) AS made FROM deliveries WHERE endpoint_id = ?";
    let made: i64 = rig.rows(sql, "env".to_owned()).await[0].get("made").unwrap();
    let (double, _) = rig.stop().await;
    assert_eq!(double.received().len(), usize::try_from(made).unwrap());
    assert_eq!(
        double.received().len(),
        EVENTS as usize + 6 * TURN,
        "each failure cost one request"
    );
}

async fn f25_retry_after_is_honoured_within_its_bounds(ctx: Ctx) {
    // BEGIN is Sat, 22 Nov 2025 00:00:00 GMT. What is asked for, and until when the endpoint is left alone.
    let asked = [
        (Some("7200"), Some(7_200_000)),
        (Some("Sat, 22 Nov 2025 03:00:00 GMT"), Some(3 * 3_600_000)),
        (Some("999999999999999999999999"), Some(ASKED_MAX)),
        (Some("Fri, 21 Nov 2025 23:00:00 GMT"), None),
        (Some("soon"), None),
        (None, None),
    ];
    for status in [429, 503] {
        for (retry_after, until) in asked {
            let own = ctx.servers.fresh(ctx.engine, "retry_after").await.unwrap();
            let setup = Setup {
                database: Some(own.parsed()),
                ..Setup::default()
            };
            let rig = Rig::start(&ctx, setup).await;
            let mut answer = Answer::status(status);
            if let Some(text) = retry_after {
                answer = answer.with_header("retry-after", text);
            }
            rig.double.then([answer]);
            rig.emit(0..1).await;
            rig.until_attempts(0, 1).await;
            let due: UnixMillis = rig.delivery(0).await.get("due_at").unwrap();
            let paused = rig.status().await.paused_until;
            let what = format!("{status} {retry_after:?}");
            match until {
                Some(until) => {
                    assert_eq!(
                        (due, paused),
                        (BEGIN.plus_millis(until), BEGIN.plus_millis(until)),
                        "{what}"
                    );
                }
                None => {
                    assert!(
                        (8_000..=12_000).contains(&(due.0 - BEGIN.0)),
                        "{what}: the schedule's 10 s"
                    );
                    assert!(paused <= BEGIN, "{what}: nobody asked for a pause");
                }
            }
            rig.stop().await;
            own.remove().await.unwrap();
        }
    }
}

async fn f29_what_was_committed_before_a_reset_is_a_duplicate_the_second_time(ctx: Ctx) {
    const EVENTS: usize = 5;
    let crm = ctx.servers.fresh(ctx.engine, "reset").await.unwrap();
    let receiver = receiver_on(&crm).await;
    let rig = Rig::start(&ctx, Setup::default()).await;
    rig.double.otherwise(Answer::reset_after(receiver.address));
    rig.emit(0..5).await;
    rig.double.wait_for(EVENTS).await;
    for number in 0..5 {
        rig.until_attempts(number, 1).await;
    }
    assert_eq!(rig.status().await.delivered, 0, "nothing was confirmed");
    rig.double.otherwise(Answer::of(receiver.address));
    rig.clock.advance(RETRY_DUE);
    rig.until_delivered(5).await;
    let relayed = rig.double.relayed();
    assert_eq!(relayed, [[202; EVENTS], [200; EVENTS]].concat());
    rig.stop().await;
    assert_effects(&crm, 5).await;
    receiver.stop().await;
    crm.remove().await.unwrap();
}

async fn f27_f50_a_connection_cut_at_any_byte_costs_a_repeat_and_nothing_else(ctx: Ctx) {
    let crm = ctx.servers.fresh(ctx.engine, "cuts").await.unwrap();
    let receiver = receiver_on(&crm).await;
    let proxy = FaultProxy::start(receiver.address).await.unwrap();
    let setup = Setup {
        url: Some(format!("http://{}/api/v1/webhooks/pms", proxy.address())),
        ..Setup::default()
    };
    let rig = Rig::start(&ctx, setup).await;
    // In the request's line, its headers and its body; before the answer's first byte, and within its status line.
    let requests = [0, 10, 200, 600].map(Mode::CutRequestAfter);
    let answers = [0, 1, 12].map(Mode::CutAnswerAfter);
    let cuts: Vec<Mode> = requests.into_iter().chain(answers).collect();
    let events = u32::try_from(cuts.len()).unwrap();
    for (number, mode) in (0..).zip(cuts) {
        proxy.set(mode);
        rig.emit(number..number + 1).await;
        rig.until_attempts(number, 1).await;
        assert_eq!(proxy.mode(), Mode::Forward, "the fault was met: {mode:?}");
        rig.clock.advance(RETRY_DUE);
        rig.until_delivered(u64::from(number) + 1).await;
        let attempts: i64 = rig.delivery(number).await.get("attempts").unwrap();
        assert_eq!(attempts, 2, "{mode:?}");
    }
    rig.stop().await;
    assert_effects(&crm, events.into()).await;
    receiver.stop().await;
    crm.remove().await.unwrap();
}
