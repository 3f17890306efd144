//! Reservations under others' hands: guests deleted while they are booked for, writes that overtake each other, days
//! that end in mid-decision, clients that hang up.

use std::collections::HashSet;
use std::sync::Arc;

use contract::{EventId, ReservationId, UnixMillis};
use db::{Db, Dialect, params};
use futures::{StreamExt, future::join_all, stream};
use harness::receiver_double::ReceiverDouble;
use http::Method;
use kit::idempotency::{Answer, Slot};
use pms_emitter::config::EndpointConfig;
use pms_emitter::domain::change::ChangeOutcome;
use pms_emitter::domain::event::envelope;
use pms_emitter::domain::reservation_command::{Command, apply};
use pms_emitter::store::{NewEvent, ReservationWrite, ReservationWritten, Store};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::case::{Case, Ctx, cases};
use crate::pms::{BEGIN, Pms};
use crate::reservations::{booked, guest, request};

pub fn cases() -> Vec<Case> {
    cases![
        a_guest_is_deleted_or_booked_for_but_never_both,
        writes_at_once_all_commit_one_after_the_other,
        a_decision_of_yesterday_is_not_committed_today,
        a_state_that_was_overtaken_is_not_written,
        f52_a_client_that_hangs_up_leaves_a_whole_write_or_none,
    ]
}

/// Guests that are deleted and booked for at the same time.
const RACES: usize = 1_000;
/// How many of these races run at once.
const RACES_AT_ONCE: usize = 16;
/// Writers of one reservation at once: as many as a write is decided over again.
const WRITERS: usize = 5;
/// Clients that hang up.
const HANG_UPS: usize = 20;
/// Signs what is delivered.
const SECRET: &str = "secret-of-the-hang-up-case";

async fn a_guest_is_deleted_or_booked_for_but_never_both(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let race = |number: usize| {
        let pms = &pms;
        async move {
            let guest = guest(pms).await;
            let (path, body) = (format!("/guests/{guest}"), request(&guest));
            let (delete, book) = (pms.delete(&path), pms.post("/reservations", &body));
            // Either may be first on its way.
            let (deleted, booked) = if number.is_multiple_of(2) {
                tokio::join!(delete, book)
            } else {
                let (booked, deleted) = tokio::join!(book, delete);
                (deleted, booked)
            };
            match (deleted.status, booked.status) {
                (204, 422) => true,
                (409, 201) => false,
                other => panic!("{other:?}: {} {}", deleted.body, booked.body),
            }
        }
    };
    let outcomes: Vec<bool> = stream::iter(0..RACES)
        .map(race)
        .buffer_unordered(RACES_AT_ONCE)
        .collect()
        .await;
    let deleted = outcomes.iter().filter(|deleted| **deleted).count();
    assert!(
        (1..RACES).contains(&deleted),
        "one side always won: it was no race ({deleted})"
    );
    let live_of_deleted =
        "SELECT COUNT(*) AS n FROM reservations r JOIN reservation_guests n ON n.reservation_id = r.id
        JOIN guests g ON g.id = n.guest_id WHERE g.status <> 'active'";
    assert_eq!(pms.count(live_of_deleted).await, 0);
    let live = pms.count("SELECT COUNT(*) AS n FROM reservations").await;
    assert_eq!(live, i64::try_from(RACES - deleted).unwrap());
    pms.stop().await;
}

async fn writes_at_once_all_commit_one_after_the_other(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (made, path) = booked(&pms).await;
    let bodies: Vec<_> = (1..=WRITERS)
        .map(|adults| json!({"adults": adults + 10}))
        .collect();
    let replies = join_all(bodies.iter().map(|body| pms.put(&path, body))).await;
    let mut versions: Vec<u64> = replies
        .into_iter()
        .map(|r| r.expect(200).body["version"].as_u64().unwrap())
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..2 + WRITERS as u64).collect::<Vec<_>>());
    let events = pms.events(made.id()).await;
    assert_eq!(events.len(), 1 + WRITERS);
    assert!(
        events
            .iter()
            .zip(1_u64..)
            .all(|(event, version)| event["entity"]["version"] == json!(version))
    );
    pms.stop().await;
}

/// A check-in that was decided on the state as it is now, and on the property's present day.
async fn check_in(store: &Store, id: &str) -> ReservationWrite {
    let id: ReservationId = id.parse().unwrap();
    let (before, property) = store.reservation(id).await.unwrap().unwrap();
    let body = json!({"room_id": "1"}).as_object().unwrap().clone();
    let command = Command::named("check-in", body).unwrap();
    let now = UnixMillis(BEGIN.0 + 1);
    let Ok(ChangeOutcome::Changed(change)) = apply(&before, &command, &property, now) else {
        panic!("the check-in is due");
    };
    let event: EventId = format!("evt_{}", before.id).parse().unwrap();
    ReservationWrite {
        event: NewEvent {
            envelope: envelope(&event, &change, now, None),
            id: event,
            committed_at: now,
            traceparent: None,
        },
        answer: Answer::ok(change.state.version, &json!({})),
        slot: Slot::without_key(),
        before: Some(before),
        change,
        property,
    }
}

async fn a_decision_of_yesterday_is_not_committed_today(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (made, path) = booked(&pms).await;
    let store = Store::new(pms.db.clone());
    let decided = check_in(&store, made.id()).await;
    pms.post("/properties/MAIN/night-audit", &json!({}))
        .await
        .expect(200);
    assert_eq!(
        store.write_reservation(decided).await,
        Ok(ReservationWritten::Overtaken)
    );
    assert_eq!(pms.get(&path).await.body["status"], "confirmed");
    assert_eq!(pms.events(made.id()).await.len(), 1);
    let decided = check_in(&store, made.id()).await;
    assert_eq!(
        store.write_reservation(decided).await,
        Ok(ReservationWritten::Committed)
    );
    assert_eq!(pms.get(&path).await.body["checked_in_on"], "2026-03-15");
    pms.stop().await;
}

async fn a_state_that_was_overtaken_is_not_written(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let (made, path) = booked(&pms).await;
    let store = Store::new(pms.db.clone());
    let decided = check_in(&store, made.id()).await;
    pms.put(&path, &json!({"adults": 4})).await.expect(200);
    assert_eq!(
        store.write_reservation(decided).await,
        Ok(ReservationWritten::Overtaken)
    );
    let seen = pms.get(&path).await.body;
    assert_eq!(
        (&seen["status"], &seen["adults"], &seen["version"]),
        (&json!("confirmed"), &json!(4), &json!(2))
    );
    pms.stop().await;
}

/// Keeps every write that rests on this guest waiting until it is let go.
struct Hold {
    release: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Hold {
    async fn on(db: &Db, guest: &str) -> Self {
        let (held, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (db, guest) = (db.clone(), guest.to_owned());
        let signals = (Arc::clone(&held), Arc::clone(&release));
        let task = tokio::spawn(async move {
            let hold = db.transaction("hold", move |tx| {
                let (guest, (held, release)) = (guest.clone(), signals.clone());
                Box::pin(async move {
                    tx.execute("UPDATE guests SET guard = guard + 1 WHERE id = ?", params![guest])
                        .await?;
                    held.notify_one();
                    match tx.dialect() {
                        Dialect::Mysql => release.notified().await,
                        // The writer is a thread of its own: it may wait, and its futures may not.
                        Dialect::Sqlite => futures::executor::block_on(release.notified()),
                    }
                    Ok(())
                })
            });
            hold.await.unwrap();
        });
        held.notified().await;
        Self { release, task }
    }

    async fn let_go(self) {
        self.release.notify_one();
        self.task.await.unwrap();
    }
}

async fn f52_a_client_that_hangs_up_leaves_a_whole_write_or_none(ctx: Ctx) {
    let double = ReceiverDouble::start().await.unwrap();
    let endpoint = EndpointConfig {
        url: double.url().parse().unwrap(),
        secrets: SECRET.parse().unwrap(),
    };
    let pms = Pms::start_with(&ctx, BEGIN, Some(endpoint)).await;
    let mut written_unanswered = 0;
    for number in 0..HANG_UPS {
        let guest = guest(&pms).await;
        let body = request(&guest);
        let key = format!("hang-up-{number}");
        let hold = Hold::on(&pms.db, &guest).await;
        let text = body.to_string();
        let mut client = TcpStream::connect(pms.address()).await.unwrap();
        let head = format!(
            "POST /api/v1/reservations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             idempotency-key: {key}\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        client
            .write_all(format!("{head}{text}").as_bytes())
            .await
            .unwrap();
        // Answers to others say that the server has come round since.
        for _ in 0..number % 4 {
            pms.get(&format!("/guests/{guest}")).await.expect(200);
        }
        drop(client);
        pms.get(&format!("/guests/{guest}")).await.expect(200);
        hold.let_go().await;
        let retried = pms
            .send(
                Method::POST,
                "/reservations",
                &[("idempotency-key", &key)],
                Some(&body),
            )
            .await;
        let retried = retried.expect(201);
        written_unanswered += usize::from(retried.header("idempotency-replayed") == "true");
        assert_eq!(pms.events(retried.id()).await.len(), 1);
        let seen = pms
            .get(&format!("/reservations?guest_id={guest}"))
            .await
            .expect(200);
        assert_eq!(
            seen.body["data"].as_array().unwrap().len(),
            1,
            "one booking, however often it was sent"
        );
    }
    assert!(
        written_unanswered > 0,
        "no write outlived its client: nothing was held"
    );
    let log = "SELECT COUNT(*) AS n FROM events WHERE entity_kind = 'reservation'";
    assert_eq!(pms.count(log).await, i64::try_from(HANG_UPS).unwrap());
    // And every one of them is delivered, the guests' as well.
    let delivered = double.wait_for(2 * HANG_UPS).await;
    let ids: HashSet<_> = delivered.iter().map(|request| request.id().to_owned()).collect();
    assert_eq!(ids.len(), 2 * HANG_UPS);
    pms.stop().await;
}
