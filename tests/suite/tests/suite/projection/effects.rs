//! What one event does: applied, stale, a conflict, a tombstone, an erasure, a guest who changes.

use serde_json::json;

use crate::case::{Case, Ctx, cases};
use crate::inbox::{Inbox, SentEvent, guest, sent_event, settle, stay};

pub fn cases() -> Vec<Case> {
    cases![
        every_event_has_one_effect,
        a_conflict_leaves_one_state_and_one_dead_letter,
        a_reservation_that_moves_changes_both_guests,
        a_deleted_guest_is_gone_and_comes_back,
        an_erased_guest_leaves_nothing_but_keys,
        consent_and_timeline_outlive_the_payloads,
    ]
}

async fn every_event_has_one_effect(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let events = [
        guest("g", 1, 1, "Old"),
        guest("g", 3, 3, "New"),
        guest("g", 2, 2, "Mid"),
        stay("r", 1, 4, "g"),
    ];
    inbox.accept(0, &events).await;
    let projector = inbox.projector().await;
    settle(&projector).await;
    for (event, effect) in [
        ("evt_000000", "applied"),
        ("evt_000001", "applied"),
        ("evt_000002", "stale"),
        ("evt_000003", "applied"),
    ] {
        assert_eq!(inbox.status(event).await, (effect.to_owned(), None));
        assert_eq!(inbox.actions(event).await, [effect]);
    }
    let profile = inbox.profile("g").await.unwrap();
    assert_eq!(profile["last_name"], "New");
    assert_eq!(profile["records"][0]["version"], 3);
    assert_eq!(profile["metrics"]["stays"], 1);
    assert_eq!(profile["metrics"]["revenue"][0]["total"], "300.00");
    assert_eq!(profile["metrics"]["revenue"][0]["adr"], "90.00");
    assert_eq!(profile["timeline_count"], 4, "the stale one is history");
    assert_eq!(inbox.count("FROM inbox WHERE applied_at IS NULL").await, 0);
    let changed = inbox
        .rows("SELECT changed, entity_version FROM audit_entries WHERE event_id = 'evt_000001'")
        .await;
    assert_eq!(changed[0].get::<String>("changed").unwrap(), "[\"x\"]");
    assert_eq!(changed[0].get::<i64>("entity_version").unwrap(), 3);
}

async fn a_conflict_leaves_one_state_and_one_dead_letter(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let projector = inbox.projector().await;
    let mut stood = Vec::new();
    for order in [["A", "B"], ["B", "A"]] {
        inbox.empty().await;
        for (place, name) in order.into_iter().enumerate() {
            inbox.accept(place, &[guest("g", 2, 1, name)]).await;
            settle(&projector).await;
        }
        let (first, second) = (inbox.status("evt_000000").await, inbox.status("evt_000001").await);
        let dead = [&first, &second]
            .into_iter()
            .filter(|status| status.0 == "dead_letter")
            .count();
        assert_eq!(dead, 1, "{first:?} {second:?}");
        let reason = [first.1, second.1].into_iter().flatten().next().unwrap();
        assert!(reason.starts_with("version_conflict"), "{reason}");
        assert_eq!(
            inbox
                .count("FROM audit_entries WHERE action = 'dead_lettered' AND outcome = 'version_conflict'")
                .await,
            1
        );
        stood.push(inbox.profile("g").await.unwrap()["last_name"].clone());
        // A later version makes an end of it.
        inbox.accept(2, &[guest("g", 3, 2, "C")]).await;
        settle(&projector).await;
        assert_eq!(inbox.profile("g").await.unwrap()["last_name"], "C");
    }
    assert_eq!(stood[0], stood[1], "whichever came first");
}

async fn a_reservation_that_moves_changes_both_guests(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let projector = inbox.projector().await;
    inbox
        .accept(
            0,
            &[
                guest("a", 1, 1, "Ana"),
                stay("r", 1, 2, "a"),
                stay("r2", 1, 2, "stub"),
            ],
        )
        .await;
    settle(&projector).await;
    assert_eq!(inbox.profile("a").await.unwrap()["metrics"]["stays"], 1);
    assert_eq!(inbox.profile("stub").await.unwrap()["status"], "stub");
    inbox
        .accept(10, &[stay("r", 2, 3, "b"), stay("r2", 2, 3, "b")])
        .await;
    settle(&projector).await;
    let (a, b) = (
        inbox.profile("a").await.unwrap(),
        inbox.profile("b").await.unwrap(),
    );
    assert_eq!(
        (&a["metrics"]["stays"], &a["timeline_count"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(
        (&b["metrics"]["stays"], &b["timeline_count"]),
        (&json!(2), &json!(4))
    );
    assert!(inbox.profile("stub").await.is_none(), "nothing names it any more");
    inbox
        .accept(
            20,
            &[sent_event(
                "reservation.deleted",
                "r",
                3,
                4,
                stay("r", 3, 4, "b").payload,
            )],
        )
        .await;
    settle(&projector).await;
    assert_eq!(inbox.profile("b").await.unwrap()["metrics"]["stays"], 1);
}

async fn a_deleted_guest_is_gone_and_comes_back(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let projector = inbox.projector().await;
    let gone = sent_event("guest.deleted", "g", 2, 2, json!({"last_name": "Ana"}));
    inbox.accept(0, &[gone, guest("g", 1, 1, "Ana")]).await;
    settle(&projector).await;
    assert!(inbox.profile("g").await.is_none());
    assert_eq!(inbox.count("FROM profile_terms").await, 0);
    inbox.accept(5, &[guest("g", 3, 3, "Ana")]).await;
    settle(&projector).await;
    assert_eq!(inbox.profile("g").await.unwrap()["status"], "active");
    assert_eq!(
        inbox
            .count("FROM profile_terms WHERE kind = 'name' AND term = 'ana'")
            .await,
        1
    );
}

async fn an_erased_guest_leaves_nothing_but_keys(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let projector = inbox.projector().await;
    let before: Vec<SentEvent> = vec![
        guest("g", 1, 1, "Canary"),
        guest("g", 1, 1, "Canary2"),
        guest("alias", 1, 1, "Canary3"),
        stay("r", 1, 2, "g"),
        guest("other", 1, 1, "Stays"),
    ];
    inbox.accept(0, &before).await;
    settle(&projector).await;
    let erased = sent_event("guest.erased", "g", 2, 3, json!({"aliases": ["alias"]}));
    inbox.accept(10, &[erased, guest("g", 9, 9, "Canary4")]).await;
    settle(&projector).await;
    inbox
        .accept(20, &[stay("r", 2, 4, "g"), guest("alias", 5, 5, "Canary5")])
        .await;
    settle(&projector).await;

    for guest in ["g", "alias"] {
        assert!(inbox.profile(guest).await.is_none(), "{guest}");
    }
    assert!(inbox.profile("other").await.is_some());
    let kept = "FROM inbox JOIN inbox_bodies ON inbox_bodies.event_id = inbox.event_id WHERE entity_id IN ('g', 'alias')";
    assert_eq!(inbox.count(kept).await, 0);
    let of_guest = "entity_kind = 'guest' AND entity_id IN ('g', 'alias')";
    assert_eq!(
        inbox
            .count(&format!("FROM inbox WHERE {of_guest} AND salt IS NOT NULL"))
            .await,
        0
    );
    assert_eq!(
        inbox
            .count(&format!("FROM inbox WHERE {of_guest} AND status = 'dead_letter'"))
            .await,
        0
    );
    assert_eq!(inbox.count("FROM records WHERE state LIKE '%anary%'").await, 0);
    assert_eq!(
        inbox
            .count("FROM profiles WHERE body LIKE '%anary%' OR summary LIKE '%anary%'")
            .await,
        0
    );
    assert_eq!(
        inbox.count("FROM profile_terms WHERE term LIKE '%canary%'").await,
        0
    );
    assert_eq!(
        inbox
            .count("FROM timeline WHERE kind = 'guest' AND entity_id IN ('g', 'alias')")
            .await,
        0
    );
    assert_eq!(inbox.count("FROM record_refs WHERE guest_id = 'g'").await, 0);
    assert_eq!(
        inbox
            .count("FROM records WHERE kind = 'reservation' AND version = 2")
            .await,
        1,
        "facts stay"
    );
    assert_eq!(inbox.actions("evt_000010").await, ["applied", "erased", "erased"]);
    for suppressed in ["evt_000011", "evt_000021"] {
        assert_eq!(inbox.status(suppressed).await.0, "suppressed");
        assert_eq!(inbox.actions(suppressed).await, ["suppressed"]);
    }
}

async fn consent_and_timeline_outlive_the_payloads(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let projector = inbox.projector().await;
    let sent = |version, status: &str| {
        let consent = json!([{"channel": "email", "status": status, "at": 1_700_000_000_000_u64 + version}]);
        let at = i64::try_from(version).unwrap();
        sent_event(
            "guest.consent_changed",
            "g",
            version,
            at,
            json!({"last_name": "Ana", "consent": consent}),
        )
    };
    inbox.accept(0, &[sent(1, "granted")]).await;
    settle(&projector).await;
    inbox
        .write(|run| run.push(("DELETE FROM inbox_bodies", vec![])))
        .await;
    inbox.accept(5, &[sent(2, "withdrawn")]).await;
    settle(&projector).await;
    let profile = inbox.profile("g").await.unwrap();
    assert_eq!(profile["consent"][0]["status"], "withdrawn");
    let history: Vec<_> = profile["consent_history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["status"].clone())
        .collect();
    assert_eq!(history, ["withdrawn", "granted"]);
    assert_eq!(profile["timeline"].as_array().unwrap().len(), 2);
}
