//! What fails beside others: a body that cannot be read, a row that the database refuses, a try that ends the process.

use std::time::Duration;

use crm_receiver::{backlog::Backlog, project::Step};
use harness::engine::Engine;
use serde_json::json;

use crate::case::{Case, Ctx, cases};
use crate::inbox::{Inbox, guest, sent_event, settle, stay};
use crate::ingest::carry_out;

/// As the projector's own: what a test may rely on.
const TRIES: i64 = 8;
/// Long for a projection of four guests, short for one that stalls.
const DEADLINE: Duration = Duration::from_millis(400);
const LONGEST_WAIT: Duration = Duration::from_secs(61);

pub fn cases() -> Vec<Case> {
    cases![
        f33_poison_becomes_a_dead_letter_while_others_pass,
        what_waits_for_its_next_try_is_behind_all_the_while,
        a_failing_row_in_the_middle_fails_alone,
        a_try_that_ends_the_process_counts,
        f43_a_clock_set_back_keeps_nothing_waiting,
        f33_what_outlasts_its_deadline_becomes_a_dead_letter_while_others_pass,
        a_refused_payload_is_refused_again_when_requeued,
        r43_small_events_about_large_records_go_in_smaller_batches,
    ]
}

async fn f33_poison_becomes_a_dead_letter_while_others_pass(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let projector = inbox.projector().await;
    inbox
        .accept_body(
            "evt_poison",
            &guest("p", 1, 1, "Poison"),
            b"{\"payload\": 7}".to_vec(),
        )
        .await;
    inbox
        .accept(0, &[guest("g", 1, 1, "Ana"), stay("r", 1, 2, "g")])
        .await;
    settle(&projector).await;
    assert_eq!(inbox.status("evt_000001").await.0, "applied");
    assert_eq!(
        inbox.status("evt_poison").await,
        ("accepted".to_owned(), Some("its body is no envelope".to_owned()))
    );
    for number in 2..=TRIES {
        settle(&projector).await;
        let tries = inbox
            .rows("SELECT attempts FROM inbox WHERE event_id = 'evt_poison'")
            .await;
        assert_eq!(
            tries[0].get::<i64>("attempts").unwrap(),
            number - 1,
            "it waits its turn"
        );
        inbox.clock.advance(LONGEST_WAIT);
        settle(&projector).await;
    }
    assert_eq!(inbox.status("evt_poison").await.0, "dead_letter");
    assert_eq!(inbox.actions("evt_poison").await, ["dead_lettered"]);

    let now = contract::Clock::now(inbox.clock.as_ref());
    assert!(
        inbox
            .store()
            .await
            .requeue_one(&"evt_poison".parse().unwrap(), now)
            .await
            .unwrap()
    );
    inbox
        .write(|run| {
            let body = json!({"payload": {"last_name": "Cured"}})
                .to_string()
                .into_bytes();
            run.push((
                "UPDATE inbox_bodies SET body = ? WHERE event_id = 'evt_poison'",
                vec![body.into()],
            ));
        })
        .await;
    settle(&projector).await;
    assert_eq!(inbox.status("evt_poison").await, ("applied".to_owned(), None));
    assert_eq!(
        inbox.actions("evt_poison").await,
        ["dead_lettered", "requeued", "applied"]
    );
    assert_eq!(inbox.profile("p").await.unwrap()["last_name"], "Cured");
}

async fn what_waits_for_its_next_try_is_behind_all_the_while(ctx: Ctx) {
    let (inbox, backlog) = (Inbox::open(&ctx).await, Backlog::default());
    let projector = inbox.projector_telling(&backlog).await;
    let behind = || backlog.age_of_oldest(contract::Clock::now(inbox.clock.as_ref()));
    inbox
        .accept_body(
            "evt_poison",
            &guest("p", 1, 1, "Poison"),
            b"{\"payload\": 7}".to_vec(),
        )
        .await;
    inbox.accept(0, &[guest("g", 1, 1, "Ana")]).await;
    settle(&projector).await;
    for tries in 1..=TRIES {
        inbox.clock.advance(Duration::from_millis(500));
        // Not due yet: this look finds nothing.
        assert_eq!(projector.step().await.unwrap(), Step::Idle);
        let waited = LONGEST_WAIT * u32::try_from(tries - 1).unwrap() + Duration::from_millis(500);
        assert!(
            tries == TRIES || behind() >= waited,
            "{:?} after {tries} tries",
            behind()
        );
        inbox.clock.advance(LONGEST_WAIT - Duration::from_millis(500));
        settle(&projector).await;
    }
    assert_eq!(inbox.status("evt_poison").await.0, "dead_letter");
    assert_eq!(behind(), Duration::ZERO, "it waits no longer");
}

async fn a_failing_row_in_the_middle_fails_alone(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let refuse = match ctx.engine {
        Engine::Sqlite => {
            "CREATE TRIGGER refuse BEFORE INSERT ON timeline WHEN NEW.entity_id = 'bad' \
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        }
        Engine::Mysql => "ALTER TABLE timeline ADD CONSTRAINT refuse CHECK (entity_id <> 'bad')",
    };
    inbox.write(move |run| run.push((refuse, vec![]))).await;
    let mut events: Vec<_> = (0..200)
        .map(|n| guest(&format!("g{}", n % 40), 1 + n / 40, 1, "Ana"))
        .collect();
    events[100] = guest("bad", 1, 1, "Bad");
    inbox.accept(0, &events).await;
    let projector = inbox.projector().await;
    settle(&projector).await;
    assert_eq!(inbox.count("FROM inbox WHERE status = 'applied'").await, 199);
    assert_eq!(
        inbox.count("FROM audit_entries WHERE action = 'applied'").await,
        199
    );
    assert_eq!(inbox.status("evt_000100").await.0, "accepted");
    assert!(inbox.profile("bad").await.is_none());
    // A higher version is applied and makes it stale; nothing ever waited for it.
    let cure = match ctx.engine {
        Engine::Sqlite => "DROP TRIGGER refuse",
        Engine::Mysql => "ALTER TABLE timeline DROP CONSTRAINT refuse",
    };
    inbox.write(move |run| run.push((cure, vec![]))).await;
    inbox.accept(500, &[guest("bad", 2, 2, "Better")]).await;
    settle(&projector).await;
    inbox.clock.advance(LONGEST_WAIT);
    settle(&projector).await;
    assert_eq!(inbox.status("evt_000100").await.0, "stale");
    assert_eq!(inbox.profile("bad").await.unwrap()["last_name"], "Better");
}

async fn a_try_that_ends_the_process_counts(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    inbox.accept(0, &[guest("g", 1, 1, "Ana")]).await;
    // Counted, and then the process was gone: eight times.
    inbox
        .write(|run| run.push(("UPDATE inbox SET attempts = 8", vec![])))
        .await;
    settle(&inbox.projector().await).await;
    let (status, reason) = inbox.status("evt_000000").await;
    assert_eq!(status, "dead_letter");
    assert!(reason.unwrap().contains("ended the process"));
    assert!(inbox.profile("g").await.is_none());
}

async fn f43_a_clock_set_back_keeps_nothing_waiting(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let projector = inbox.projector().await;
    inbox.accept(0, &[guest("g", 1, 1, "Ana")]).await;
    let failed = sent_event("guest.updated", "h", 1, 1, json!({"last_name": "Rui"}));
    inbox.accept(1, &[failed]).await;
    inbox
        .write(|run| {
            run.push((
                "UPDATE inbox SET attempts = 3, due_at = due_at + 30000 WHERE entity_id = 'h'",
                vec![],
            ));
        })
        .await;
    let day_before = contract::Clock::now(inbox.clock.as_ref()).plus_millis(-86_400_000);
    inbox.clock.set(day_before);
    settle(&projector).await;
    assert_eq!(inbox.count("FROM inbox WHERE status = 'applied'").await, 2);
}

async fn f33_what_outlasts_its_deadline_becomes_a_dead_letter_while_others_pass(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let stall = match ctx.engine {
        Engine::Sqlite => {
            "CREATE TRIGGER stall BEFORE INSERT ON timeline WHEN NEW.entity_id = 'slow' \
             BEGIN SELECT count(*) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
             WHERE i < 2000000000) SELECT i FROM n); END"
        }
        Engine::Mysql => {
            "CREATE TRIGGER stall BEFORE INSERT ON timeline FOR EACH ROW \
             SET NEW.version = IF(NEW.entity_id = 'slow', NEW.version + SLEEP(2), NEW.version)"
        }
    };
    carry_out(&ctx, stall).await;
    let neighbours = ["a", "slow", "b", "c"].map(|id| guest(id, 1, 1, "Ana"));
    inbox.accept(0, &neighbours).await;
    let projector = inbox.projector_within(DEADLINE).await;
    for _ in 0..=TRIES {
        settle(&projector).await;
        inbox.clock.advance(LONGEST_WAIT);
    }
    assert_eq!(inbox.status("evt_000001").await.0, "dead_letter");
    assert_eq!(inbox.count("FROM inbox WHERE status = 'applied'").await, 3);
}

async fn a_refused_payload_is_refused_again_when_requeued(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let nameless = sent_event("guest.updated", "g", 1, 1, json!({"first_name": "Ana"}));
    inbox.accept(0, &[nameless]).await;
    inbox
        .write(|run| run.push(("UPDATE inbox SET status = 'dead_letter'", vec![])))
        .await;
    let id = "evt_000000".parse().unwrap();
    let now = contract::Clock::now(inbox.clock.as_ref());
    assert!(inbox.store().await.requeue_one(&id, now).await.unwrap());
    let projector = inbox.projector().await;
    for _ in 0..TRIES {
        settle(&projector).await;
        inbox.clock.advance(LONGEST_WAIT);
    }
    let refused = Some("its payload is invalid".to_owned());
    assert_eq!(
        inbox.status("evt_000000").await,
        ("dead_letter".to_owned(), refused)
    );
    assert!(inbox.profile("g").await.is_none());
}

async fn r43_small_events_about_large_records_go_in_smaller_batches(ctx: Ctx) {
    /// Of these records the trees take more than a batch may read, of half of them they do not.
    const RECORDS: usize = 16;
    let inbox = Inbox::open(&ctx).await;
    let (projector, store) = (inbox.projector().await, inbox.store().await);
    let payload = json!({"last_name": "Large", "more": vec![0; 19_000]});
    let id = |nth: usize| format!("g{nth:02}");
    let large: Vec<_> = (0..RECORDS)
        .map(|nth| sent_event("guest.updated", &id(nth), 1, 1, payload.clone()))
        .collect();
    inbox.accept(0, &large).await;
    settle(&projector).await;
    let small: Vec<_> = (0..RECORDS).map(|nth| guest(&id(nth), 2, 2, "Small")).collect();
    inbox.accept(RECORDS, &small).await;
    let now = contract::Clock::now(inbox.clock.as_ref());
    let pending = store.pending(now, 1, RECORDS).await.unwrap();
    let events: Vec<_> = pending.iter().map(|pending| pending.read().unwrap()).collect();
    assert_eq!(events.len(), RECORDS);
    let refused = store.project(events.into(), now).await.unwrap_err();
    assert!(refused.may_be_caused_by_rows(), "{refused}");
    settle(&projector).await;
    for nth in 0..RECORDS {
        let event = format!("evt_{:06}", RECORDS + nth);
        assert_eq!(inbox.status(&event).await, ("applied".to_owned(), None));
    }
}
