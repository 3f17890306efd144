//! Runs that requeue dead letters, stepped by hand: in batches, with a bound on what waits, once, and on where one died.

use crate::case::{Case, Ctx, cases};
use crate::inbox::{Inbox, SentEvent, guest, settle};
use contract::{Clock, Scope};
use crm_receiver::{
    backlog::Backlog,
    project::{RequeueStep, Requeuer, WAIT_MAX_MS},
    store::{Requeue, RequeueStatus},
};
use db::params;
use kit::audit::AuditEntry;
use serde_json::Map;
use std::sync::Arc;

pub fn cases() -> Vec<Case> {
    cases![
        a7_a_run_goes_in_batches_and_waits_while_too_many_wait,
        a7_a_run_goes_on_where_another_process_left_it,
        what_fails_again_is_not_requeued_again_by_the_same_run,
        a_cancelled_run_requeues_no_more,
        a_requeued_event_waits_since_it_was_requeued,
        a_run_that_fails_keeps_no_other_from_going_on,
    ]
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
    inbox.clock.advance(std::time::Duration::from_millis(1));
    let now = inbox.clock.now();
    let (actor, latest) = ("somebody".to_owned(), now.plus_millis(WAIT_MAX_MS));
    let run = Requeue::new(id.parse().unwrap(), Map::new(), Scope::All, actor, now, latest);
    let entry = AuditEntry::new("requeue_started", now);
    assert!(inbox.store().await.create_requeue(&run, entry).await.unwrap());
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
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Full);
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
    assert_eq!(requeuer.step().await.unwrap(), RequeueStep::Worked);
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
    assert_eq!(first.step().await.unwrap(), RequeueStep::Full);
    settle(&inbox.projector().await).await;
    assert_eq!(
        first.step().await.unwrap(),
        RequeueStep::Held,
        "its lease is another's"
    );
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
