//! Any order, any batches, any number of projectors: the same profiles, and each effect once.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use crate::case::{Case, Ctx, cases};
use crate::inbox::{Inbox, START, SentEvent, guest, sent_event, settle, stay};

pub fn cases() -> Vec<Case> {
    cases![
        f32_any_order_of_arrival_ends_in_the_same_bytes,
        projectors_at_once_apply_each_event_once,
        neighbours_at_once_lose_nothing_of_each_other,
    ]
}

/// Guests who change, reservations that move between them, tombstones, conflicts, and an erasure.
fn stream() -> Vec<SentEvent> {
    let mut events = Vec::new();
    for n in 0..12 {
        let id = format!("g{}", n % 6);
        for version in 1..=3 {
            events.push(guest(&id, version, i64::from(n), &format!("Name{}", n % 4)));
        }
    }
    for n in 0..24_u64 {
        let id = format!("r{}", n % 8);
        let at = i64::try_from(n).unwrap();
        events.push(stay(&id, 1 + n / 8, at, &format!("g{}", (n * 5) % 8)));
    }
    events.push(sent_event(
        "guest.deleted",
        "g1",
        4,
        50,
        json!({"last_name": "Gone"}),
    ));
    events.push(sent_event(
        "reservation.deleted",
        "r1",
        4,
        51,
        stay("r1", 4, 51, "g2").payload,
    ));
    events.push(sent_event(
        "guest.erased",
        "g3",
        4,
        52,
        json!({"aliases": ["g4"]}),
    ));
    events.push(sent_event(
        "guest.merged",
        "g5",
        4,
        53,
        json!({"last_name": "Merged", "merged_into": "g0"}),
    ));
    events
}

/// A shuffle that is the same in every run: the n-th event goes to a place of its own by a multiplication modulo a
/// prime.
fn shuffled(events: &[SentEvent], factor: usize) -> Vec<SentEvent> {
    const PRIME: usize = 10_007;
    let mut places: Vec<(usize, &SentEvent)> = events
        .iter()
        .enumerate()
        .map(|(n, event)| ((n + 1) * factor % PRIME, event))
        .collect();
    places.sort_by_key(|(place, _)| *place);
    places.into_iter().map(|(_, event)| event.clone()).collect()
}

async fn f32_any_order_of_arrival_ends_in_the_same_bytes(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let projector = inbox.projector().await;
    let mut outcomes = BTreeSet::new();
    for (factor, batch) in [(1, 100), (4_001, 7), (7_919, 1), (5_003, 20)] {
        inbox.empty().await;
        for (number, part) in shuffled(&stream(), factor).chunks(batch).enumerate() {
            inbox.accept(number * batch, part).await;
            settle(&projector).await;
        }
        assert_eq!(inbox.count("FROM inbox WHERE status = 'accepted'").await, 0);
        outcomes.insert(inbox.profiles().await);
    }
    assert_eq!(outcomes.len(), 1);
    assert!(outcomes.first().unwrap().len() > 4);
}

async fn projectors_at_once_apply_each_event_once(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let events = shuffled(&stream(), 7_919);
    for copy in 0..5 {
        inbox.accept(copy * 1_000, &events).await;
    }
    let projectors = [
        inbox.projector().await,
        inbox.projector().await,
        inbox.projector().await,
    ];
    let running = projectors.iter().map(|projector| async move {
        // An overtaken one sees it as no work of its own; too many writers at once are an error that passes.
        loop {
            match projector.step().await {
                Ok(crm_receiver::project::Step::Idle) => return,
                Ok(crm_receiver::project::Step::Worked(_)) => {}
                Err(error) => assert!(!error.is_outage(), "{error}"),
            }
        }
    });
    futures::future::join_all(running).await;

    let accepted = inbox.count("FROM inbox").await;
    assert_eq!(inbox.count("FROM inbox WHERE status = 'accepted'").await, 0);
    let effects = "FROM audit_entries WHERE action IN ('applied', 'stale', 'suppressed')";
    let without = "FROM inbox WHERE status <> 'dead_letter' AND NOT EXISTS \
                   (SELECT 1 FROM audit_entries WHERE audit_entries.event_id = inbox.event_id)";
    assert_eq!(inbox.count(without).await, 0, "lost");
    let doubled =
        format!("FROM (SELECT event_id {effects} GROUP BY event_id HAVING COUNT(*) > 1) AS doubled");
    assert_eq!(inbox.count(&doubled).await, 0, "doubled");
    let at_once = inbox.profiles().await;
    inbox.empty().await;
    inbox.accept(0, &stream()).await;
    settle(&inbox.projector().await).await;
    assert!(accepted > 300);
    assert_eq!(at_once, inbox.profiles().await);
}

/// Several stores project different events of one guest at the same moment: two versions of the record, and stays that
/// share nothing but the guest.
async fn neighbours_at_once_lose_nothing_of_each_other(ctx: Ctx) {
    const ROUNDS: usize = 40;
    let inbox = Inbox::open(&ctx).await;
    let stores = futures::future::join_all((0..4).map(|_| inbox.store())).await;
    for round in 0..ROUNDS {
        let guest_id = format!("g{round}");
        let events = [
            guest(&guest_id, 1, 1, "Old"),
            guest(&guest_id, 2, 2, "New"),
            stay(&format!("a{round}"), 1, 3, &guest_id),
            stay(&format!("b{round}"), 1, 4, &guest_id),
        ];
        inbox.accept(round * 10, &events).await;
        let pending = stores[0].pending(START, 0, events.len()).await.unwrap();
        let together = Arc::new(tokio::sync::Barrier::new(events.len()));
        let projecting = stores.iter().zip(&pending).map(|(store, pending)| {
            let (store, event, together) = (store.clone(), pending.read().unwrap(), together.clone());
            tokio::spawn(async move {
                together.wait().await;
                while store.project([event.clone()].into(), START).await.is_err() {}
            })
        });
        for projected in projecting.collect::<Vec<_>>() {
            projected.await.unwrap();
        }
        let profile = inbox.profile(&guest_id).await.unwrap();
        assert_eq!(profile["last_name"], "New", "round {round}");
        assert_eq!(profile["metrics"]["stays"], 2, "round {round}");
        assert_eq!(profile["timeline_count"], 4, "round {round}");
    }
    let done = inbox
        .count("FROM audit_entries WHERE action IN ('applied', 'stale')")
        .await;
    assert_eq!(done, 4 * i64::try_from(ROUNDS).unwrap());
}
