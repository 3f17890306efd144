//! Runs that requeue dead letters, stepped by hand: in batches, with a bound on what waits, once, and on where one died.

use crate::case::{Case, Ctx, cases};
use crate::inbox::{Inbox, SentEvent, guest, settle};
use crate::ingest::number;
use contract::{Clock, Scope};
use crm_receiver::{
    backlog::Backlog,
    event::EventStatus,
    project::{RequeueStep, Requeuer, Step, WAIT_MAX_MS},
    store::{RUNNING_MAX, RUNNING_OF_ONE_MAX, Requeue, RequeueCreation, RequeueOne, RequeueStatus},
};
use db::params;
use harness::{engine::Engine, waiting};
use kit::audit::AuditEntry;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::Notify;

pub fn cases() -> Vec<Case> {
    let both = cases![
        a7_a_run_goes_in_batches_and_waits_while_too_many_wait,
        a7_a_run_goes_on_where_another_process_left_it,
        what_fails_again_is_not_requeued_again_by_the_same_run,
        a_cancelled_run_requeues_no_more,
        a_requeued_event_waits_since_it_was_requeued,
        a_run_that_fails_keeps_no_other_from_going_on,
        a7_all_runs_together_have_one_bound_and_take_turns,
        a7_what_a_run_left_waiting_at_its_end_counts,
        a_run_that_waits_keeps_its_lease,
        a_caller_has_two_runs_and_leaves_the_others_to_others,
        a7_live_and_requeued_events_share_each_step,
        a7_a_requeued_event_is_stale_where_a_later_version_went_before,
        a_run_looks_past_those_that_do_not_fit,
    ];
    let of_mysql = cases![only Engine::Mysql; an_event_that_another_requeues_meanwhile_is_no_dead_letter];
    both.into_iter().chain(of_mysql).collect()
}

/// Dead letters about a guest each, `evt_000000` and so on.
async fn dead_letters(inbox: &Inbox, count: usize) {
    let events: Vec<SentEvent> = (0..count)
        .map(|number| guest(&format!("g_{number}"), 1, 0, "Silva"))
        .collect();
    inbox.accept(0, &events).await;
    kill(inbox).await;
}

async fn kill(inbox: &Inbox) {
    let now = inbox.clock.now();
    inbox
        .write(move |run| {
            run.push((
                "UPDATE inbox SET status = 'dead_letter', applied_at = ?, last_error = 'planted' WHERE status = 'accepted'",
                params![now],
            ));
        })
        .await;
}

/// Begins a run over all dead letters, a millisecond later.
async fn begin(inbox: &Inbox, id: &str) {
    begin_over(inbox, id, Map::new()).await;
}

async fn begin_over(inbox: &Inbox, id: &str, filter: Map<String, Value>) {
    inbox.clock.advance(std::time::Duration::from_millis(1));
    let now = inbox.clock.now();
    let (actor, latest) = ("somebody".to_owned(), now.plus_millis(WAIT_MAX_MS));
    let run = Requeue::new(id.parse().unwrap(), filter, Scope::All, actor, now, latest);
    let entry = AuditEntry::new("requeue_started", now);
    let created = inbox.store().await.create_requeue(&run, entry).await.unwrap();
    assert_eq!(created, RequeueCreation::Begun);
}

async fn requeuer(inbox: &Inbox, owner: &str) -> Requeuer {
    Requeuer::new(
        inbox.store().await,
        inbox.clock.clone(),
        Backlog::default(),
        owner.to_owned(),
        Arc::default(),
    )
}

async fn run(inbox: &Inbox, id: &str) -> Requeue {
    let found = inbox.store().await.requeue(&id.parse().unwrap()).await;
    found.unwrap().unwrap()
}

const WAITING: &str = "FROM inbox WHERE status = 'accepted'";
const REQUEUED: &str = "FROM audit_entries WHERE action = 'requeued' AND actor = 'somebody'";

async fn a7_a_run_goes_in_batches_and_waits_while_too_many_wait(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    dead_letters(&inbox, 350).await;
    begin(&inbox, "rqu_1").await;
    let (mut requeuer, projector) = (requeuer(&inbox, "one").await, inbox.projector().await);
    for waiting in [100, 200] {
        assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
        assert_eq!(inbox.count(WAITING).await, waiting);
    }
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Full(200));
    assert_eq!(inbox.count(WAITING).await, 200);
    settle(&projector).await;
    for waiting in [100, 150] {
        assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
        assert_eq!(inbox.count(WAITING).await, waiting);
    }
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Idle);
    settle(&projector).await;
    let run = run(&inbox, "rqu_1").await;
    assert_eq!(
        (run.status, run.requeued, run.skipped),
        (RequeueStatus::Finished, 350, 0)
    );
    assert_eq!(inbox.count("FROM inbox WHERE status = 'applied'").await, 350);
    assert_eq!(inbox.count(REQUEUED).await, 350);
    // Once more: nothing is a dead letter.
    begin(&inbox, "rqu_2").await;
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Looked);
    assert_eq!(inbox.count(REQUEUED).await, 350);
    assert_eq!(inbox.count(WAITING).await, 0);
}

async fn a7_a_run_goes_on_where_another_process_left_it(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    dead_letters(&inbox, 250).await;
    begin(&inbox, "rqu_1").await;
    let (mut first, mut second) = (requeuer(&inbox, "first").await, requeuer(&inbox, "second").await);
    assert_eq!(first.step().await.unwrap(), RequeueStep::Worked);
    assert_eq!(second.step().await.unwrap(), RequeueStep::Held);
    // The first one is paused past its lease.
    inbox.clock.advance(std::time::Duration::from_secs(31));
    assert_eq!(second.step().await.unwrap(), RequeueStep::Worked);
    assert_eq!(
        first.step().await.unwrap(),
        RequeueStep::Held,
        "its lease is another's"
    );
    settle(&inbox.projector().await).await;
    assert_eq!(first.step().await.unwrap(), RequeueStep::Held);
    assert_eq!(second.step().await.unwrap(), RequeueStep::Worked);
    assert_eq!(run(&inbox, "rqu_1").await.requeued, 250);
    assert_eq!(inbox.count(REQUEUED).await, 250);
    let twice = "FROM (SELECT event_id FROM audit_entries WHERE action = 'requeued' GROUP BY event_id \
                 HAVING COUNT(*) > 1) AS twice";
    assert_eq!(inbox.count(twice).await, 0);
}

async fn what_fails_again_is_not_requeued_again_by_the_same_run(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    dead_letters(&inbox, 150).await;
    begin(&inbox, "rqu_1").await;
    let mut requeuer = requeuer(&inbox, "one").await;
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
    kill(&inbox).await;
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
    kill(&inbox).await;
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Idle);
    assert_eq!(
        (run(&inbox, "rqu_1").await.requeued, inbox.count(REQUEUED).await),
        (150, 150)
    );
    // The next run takes them again.
    begin(&inbox, "rqu_2").await;
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
    assert_eq!(run(&inbox, "rqu_2").await.requeued, 150);
}

async fn a_cancelled_run_requeues_no_more(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    dead_letters(&inbox, 150).await;
    begin(&inbox, "rqu_1").await;
    let mut requeuer = requeuer(&inbox, "one").await;
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
    let (store, entry) = (
        inbox.store().await,
        AuditEntry::new("requeue_cancelled", inbox.clock.now()),
    );
    let id = "rqu_1".parse().unwrap();
    assert!(store.cancel_requeue(&id, entry.clone()).await.unwrap());
    assert!(!store.cancel_requeue(&id, entry).await.unwrap(), "once");
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Idle);
    let run = run(&inbox, "rqu_1").await;
    assert_eq!((run.status, run.requeued), (RequeueStatus::Cancelled, 100));
    assert_eq!(inbox.count(WAITING).await, 100);
    let outcome =
        "FROM audit_entries WHERE action = 'requeue_cancelled' AND outcome = 'requeued 100, skipped 0'";
    assert_eq!(inbox.count(outcome).await, 1);
}

async fn a_requeued_event_waits_since_it_was_requeued(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    dead_letters(&inbox, 1).await;
    inbox.clock.advance(std::time::Duration::from_secs(24 * 3600));
    begin(&inbox, "rqu_1").await;
    requeuer(&inbox, "one").await.step().await.unwrap();
    // Else it would look as if the projector were a day behind.
    let (store, now) = (inbox.store().await, inbox.clock.now());
    let pending = store.pending(now, WAIT_MAX_MS, 10).await.unwrap();
    let waiting: Vec<_> = pending.iter().map(|event| event.waiting_since).collect();
    assert_eq!(waiting, [now]);
    let event = &pending[0];
    assert!(store.count_try(&event.event_id, 0, now).await.unwrap());
    assert_eq!(store.oldest_retry().await.unwrap(), Some(now));
}

async fn a_run_that_fails_keeps_no_other_from_going_on(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    dead_letters(&inbox, 50).await;
    begin(&inbox, "rqu_1").await;
    begin(&inbox, "rqu_2").await;
    // As another version of the program might have written it.
    inbox
        .write(|run| {
            let sql = "UPDATE requeues SET filter = '{\"from\": \"yesterday\"}' WHERE id = 'rqu_1'";
            run.push((sql, vec![]));
        })
        .await;
    let mut requeuer = requeuer(&inbox, "one").await;
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
    assert_eq!(run(&inbox, "rqu_2").await.requeued, 50);
    assert!(requeuer.step().await.is_err());
    let cancelled = AuditEntry::new("requeue_cancelled", inbox.clock.now());
    let store = inbox.store().await;
    assert!(
        store
            .cancel_requeue(&"rqu_1".parse().unwrap(), cancelled)
            .await
            .unwrap()
    );
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Idle);
}

/// Makes the first events that wait applied.
async fn project(inbox: &Inbox, before: &'static str) {
    inbox
        .write(move |run| {
            let sql = "UPDATE inbox SET status = 'applied' WHERE status = 'accepted' AND event_id < ?";
            run.push((sql, params![before]));
        })
        .await;
}

async fn a7_all_runs_together_have_one_bound_and_take_turns(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    dead_letters(&inbox, 500).await;
    begin(&inbox, "rqu_1").await;
    begin(&inbox, "rqu_2").await;
    let mut requeuer = requeuer(&inbox, "one").await;
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Full(200));
    assert_eq!(inbox.count(WAITING).await, 200);
    let of_each = async || {
        [
            run(&inbox, "rqu_1").await.requeued,
            run(&inbox, "rqu_2").await.requeued,
        ]
    };
    assert_eq!(of_each().await, [100, 100]);
    // With room for one batch, it is the turn of the one whose last batch is the longest ago.
    for (applied_before, requeued) in [("evt_000100", [200, 100]), ("evt_000200", [200, 200])] {
        project(&inbox, applied_before).await;
        inbox.clock.advance(std::time::Duration::from_millis(1));
        assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
        assert_eq!(inbox.count(WAITING).await, 200);
        assert_eq!(of_each().await, requeued);
    }
}

async fn a7_what_a_run_left_waiting_at_its_end_counts(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    dead_letters(&inbox, 150).await;
    begin(&inbox, "rqu_1").await;
    let mut requeuer = requeuer(&inbox, "one").await;
    for _ in 0..2 {
        assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
    }
    assert_eq!(run(&inbox, "rqu_1").await.status, RequeueStatus::Finished);
    begin(&inbox, "rqu_2").await;
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Full(150));
    kill(&inbox).await;
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
    assert_eq!(
        inbox.count("FROM requeued_waiting").await,
        100,
        "the decided are forgotten"
    );
}

async fn a_run_that_waits_keeps_its_lease(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    dead_letters(&inbox, 350).await;
    begin(&inbox, "rqu_1").await;
    let (mut first, mut second) = (requeuer(&inbox, "first").await, requeuer(&inbox, "second").await);
    for _ in 0..2 {
        assert_eq!(first.step().await.unwrap(), RequeueStep::Worked);
    }
    for _ in 0..4 {
        inbox.clock.advance(std::time::Duration::from_secs(16));
        assert_eq!(first.step().await.unwrap(), RequeueStep::Full(200));
        assert_eq!(second.step().await.unwrap(), RequeueStep::Held);
    }
}

async fn a_caller_has_two_runs_and_leaves_the_others_to_others(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let (store, now) = (inbox.store().await, inbox.clock.now());
    let create = async |maker: usize, number: usize| {
        let (id, actor) = (format!("rqu_{maker}{number}"), format!("maker {maker}"));
        let run = Requeue::new(id.parse().unwrap(), Map::new(), Scope::All, actor, now, now);
        let entry = AuditEntry::new("requeue_started", now);
        store.create_requeue(&run, entry).await.unwrap()
    };
    for maker in 0..RUNNING_MAX / RUNNING_OF_ONE_MAX {
        for number in 0..RUNNING_OF_ONE_MAX {
            assert_eq!(create(maker, number).await, RequeueCreation::Begun);
        }
        assert_eq!(create(maker, 7).await, RequeueCreation::TooManyOfOne);
    }
    assert_eq!(create(9, 0).await, RequeueCreation::TooMany);
}

/// What arrived after all dead letters and waits before they are requeued, a guest each.
async fn live(inbox: &Inbox, first: usize, count: usize) {
    let events: Vec<SentEvent> = (0..count)
        .map(|number| guest(&format!("live_{number}"), 1, 0, "Costa"))
        .collect();
    inbox.accept(first, &events).await;
}

async fn a7_live_and_requeued_events_share_each_step(ctx: Ctx) {
    const DEAD: usize = 200;
    let inbox = Inbox::open(&ctx).await;
    dead_letters(&inbox, DEAD).await;
    live(&inbox, DEAD, 300).await;
    begin(&inbox, "rqu_1").await;
    let mut requeuer = requeuer(&inbox, "one").await;
    let (store, now) = (inbox.store().await, inbox.clock.now());
    let next = async |limit: usize| {
        let pending = store.pending(now, WAIT_MAX_MS, limit).await.unwrap();
        let requeued = pending.iter().filter(|event| event.requeued).count();
        (pending.len() - requeued, requeued)
    };
    assert_eq!(next(64).await, (64, 0));
    for _ in 0..2 {
        assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
    }
    assert_eq!(next(64).await, (8, 56), "one of eight is live");
    assert_eq!(
        next(256).await,
        (56, 200),
        "what the one has not, the other takes"
    );
    assert_eq!(next(1).await, (1, 0));
    assert_eq!(inbox.projector().await.step().await.unwrap(), Step::Worked(256));
    assert_eq!(
        next(64).await,
        (64, 0),
        "those that are decided keep nothing of a step"
    );
    assert_eq!(inbox.count(WAITING).await, 244);
}

async fn a7_a_requeued_event_is_stale_where_a_later_version_went_before(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    inbox.accept(0, &[guest("g_1", 1, 0, "Silva")]).await;
    kill(&inbox).await;
    inbox.accept(1, &[guest("g_1", 2, 1, "Souza")]).await;
    begin(&inbox, "rqu_1").await;
    requeuer(&inbox, "one").await.step().await.unwrap();
    // Both in one step, the requeued one behind the later version, which waited before it.
    settle(&inbox.projector().await).await;
    assert_eq!(inbox.status("evt_000000").await.0, "stale");
    assert_eq!(inbox.status("evt_000001").await.0, "applied");
}

async fn a_run_looks_past_those_that_do_not_fit(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    dead_letters(&inbox, 1_050).await;
    let filter = json!({"entity_id": "g_1040"});
    begin_over(&inbox, "rqu_1", filter.as_object().unwrap().clone()).await;
    let mut requeuer = requeuer(&inbox, "one").await;
    assert_eq!(
        requeuer.step().await.unwrap(),
        RequeueStep::Looked,
        "a thousand at a time"
    );
    assert_eq!(run(&inbox, "rqu_1").await.status, RequeueStatus::Running);
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
    let run = run(&inbox, "rqu_1").await;
    assert_eq!((run.status, run.requeued), (RequeueStatus::Finished, 1));
    assert_eq!(inbox.status("evt_001040").await.0, "accepted");
}

async fn an_event_that_another_requeues_meanwhile_is_no_dead_letter(ctx: Ctx) {
    let inbox = Arc::new(Inbox::open(&ctx).await);
    dead_letters(&inbox, 1).await;
    // Another replica has requeued it, and has not committed yet.
    let (written, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let first = super::requeue_elsewhere(&inbox.db, &written, &go_on);
    let second = async {
        written.notified().await;
        let now = inbox.clock.now();
        let (id, actor) = ("rqu_1".parse().unwrap(), "somebody".to_owned());
        let run = Requeue::new(id, Map::new(), Scope::All, actor, now, now);
        let store = inbox.store().await;
        let second = tokio::spawn(async move {
            let entry = AuditEntry::new("requeue_finished", now);
            store
                .requeue_event(&"evt_000000".parse().unwrap(), &run, entry)
                .await
        });
        let blocked = "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE db = DATABASE() \
                       AND id <> CONNECTION_ID() AND info LIKE '%FROM inbox % FOR UPDATE'";
        waiting::until("the second waits for the event, or is done", || async {
            second.is_finished() || number(&inbox.db, blocked, params![]).await > 0
        })
        .await;
        go_on.notify_one();
        second.await.unwrap()
    };
    let (first, second) = tokio::join!(first, second);
    first.unwrap();
    assert_eq!(second.unwrap(), RequeueOne::NotDead(EventStatus::Accepted));
}
