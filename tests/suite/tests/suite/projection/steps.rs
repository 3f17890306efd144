//! What a projector's look finds: no more than fits into a step, and how old the oldest is that waits, wherever it stands.

use std::time::Duration;

use crm_receiver::{
    backlog::Backlog,
    project::Step,
    store::{BODY_LEN_MAX, STEP_BYTES_MAX},
};
use db::params;
use serde_json::json;

use crate::case::{Case, Ctx, cases};
use crate::inbox::{Inbox, START, SentEvent, guest, settle};

pub fn cases() -> Vec<Case> {
    cases![
        what_another_replica_will_retry_is_behind_a_longer_backlog,
        a_step_takes_no_more_bodies_than_fit,
    ]
}

/// More than one step takes.
const BACKLOG: usize = 260;
/// The longest wait for a next try.
const WAIT_MAX_MS: i64 = 60_000;
const STEP_EVENTS_MAX: usize = 256;
/// More bodies than fit, each as long as one may be.
const LARGE: usize = STEP_BYTES_MAX / BODY_LEN_MAX + 8;

async fn what_another_replica_will_retry_is_behind_a_longer_backlog(ctx: Ctx) {
    let (inbox, known) = (Inbox::open(&ctx).await, Backlog::default());
    let behind = || known.age_of_oldest(contract::Clock::now(inbox.clock.as_ref()));
    inbox.accept(0, &[guest("late", 1, 1, "Late")]).await;
    inbox
        .write(|run| {
            let tried = "UPDATE inbox SET attempts = 1, due_at = ? WHERE event_id = 'evt_000000'";
            run.push((tried, params![START.plus_millis(30_000)]));
        })
        .await;
    inbox.clock.advance(Duration::from_secs(10));
    let backlog: Vec<SentEvent> = (0..BACKLOG)
        .map(|n| guest(&format!("g{}", n % 40), 1 + n as u64 / 40, 1, "Ana"))
        .collect();
    inbox.accept(1, &backlog).await;
    // Due by then, and behind all of the backlog.
    inbox.clock.advance(Duration::from_secs(30));
    let projector = inbox.projector_telling(&known).await;
    assert_eq!(projector.step().await.unwrap(), Step::Worked(STEP_EVENTS_MAX));
    assert_eq!(inbox.status("evt_000000").await.0, "accepted");
    assert_eq!(behind(), Duration::from_secs(40), "since it was received");
    settle(&projector).await;
    assert_eq!(inbox.status("evt_000000").await.0, "applied");
    assert_eq!(behind(), Duration::ZERO);
}

async fn a_step_takes_no_more_bodies_than_fit(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    for nth in 0..LARGE {
        let event = guest(&format!("g{nth}"), 1, 1, "Ana");
        let mut payload = event.payload.clone();
        let body = |payload: &serde_json::Value| {
            let envelope = json!({"type": event.event_type, "changed": ["x"], "payload": payload});
            envelope.to_string().into_bytes()
        };
        payload["text"] = json!("");
        let rest = BODY_LEN_MAX - body(&payload).len();
        payload["text"] = json!("x".repeat(rest));
        inbox
            .accept_body(&format!("evt_{nth:06}"), &event, body(&payload))
            .await;
    }
    let store = inbox.store().await;
    let now = contract::Clock::now(inbox.clock.as_ref());
    let found = store.pending(now, WAIT_MAX_MS, STEP_EVENTS_MAX).await.unwrap();
    assert_eq!(found.len(), STEP_BYTES_MAX / BODY_LEN_MAX);
    let few = store.pending(now, WAIT_MAX_MS, 3).await.unwrap();
    assert_eq!(few.len(), 3);
    settle(&inbox.projector().await).await;
    assert_eq!(
        inbox.count("FROM inbox WHERE status = 'applied'").await,
        i64::try_from(LARGE).unwrap()
    );
}
