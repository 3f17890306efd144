//! The whole way on real bookings: what the file says is what the profiles say; and the ledger sees every fault,
//! which is how the demo ends.

use std::time::Duration;

use db::Db;
use demo::conclusion::Conclusion;
use harness::client::Client;
use harness::ledger;
use harness::loader::{self, Loaded};
use harness::world::{Books, Settings, World};
use serde_json::Value;

use crate::bookings::Weeks;
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![real_bookings_end_as_the_file_says_and_planted_faults_are_seen]
}

const SETTLED_WITHIN: Duration = Duration::from_secs(60);

async fn real_bookings_end_as_the_file_says_and_planted_faults_are_seen(ctx: Ctx) {
    let other = ctx.servers.fresh(ctx.engine, "whole_receiver").await.unwrap();
    let world = World::start(Settings::on(ctx.url(), other.parsed()))
        .await
        .unwrap();
    let weeks = Weeks::of_2015();
    let client = Client::new(world.emitter_api());
    let loaded = loader::load(&client, &weeks.bookings, &weeks.cast, &weeks.plans, &|_| {})
        .await
        .unwrap();
    world.settled(SETTLED_WITHIN).await.unwrap();
    let expected = weeks.expected(&loaded);
    let books = world.books().clone();
    let honest = ledger::balance(&books.emitter, &books.receiver, &expected)
        .await
        .unwrap();
    assert_eq!(loaded.refused, Weeks::refused());
    assert!(honest.is_balanced(), "{honest:?}");
    assert_eq!(honest.guest_events, weeks.cast.people.len() as u64);
    assert_eq!(honest.reservation_events, offered(&weeks) - loaded.skipped - 7);
    assert_eq!(
        (honest.delivered, honest.applied + honest.stale),
        (honest.events(), honest.events())
    );

    let end = async || end(&books, &weeks, &loaded).await;
    assert_eq!(end().await, (0, [0, 0, 0]));
    let receiver = &books.receiver;
    let (first, second) = (nth_effect(&books, 0).await, nth_effect(&books, 1).await);
    write(
        receiver,
        "UPDATE audit_entries SET action = 'hidden' WHERE id = ?",
        first,
    )
    .await;
    assert_eq!(end().await, (1, [1, 0, 0]));
    write(
        receiver,
        "UPDATE audit_entries SET action = 'applied' WHERE id = ?",
        first,
    )
    .await;
    assert_eq!(end().await, (0, [0, 0, 0]));
    write(receiver, TWICE, second).await;
    assert_eq!(end().await, (1, [0, 1, 0]));
    write(receiver, PHANTOM_EVENT, second).await;
    assert_eq!(end().await, (1, [0, 1, 0]), "an event without an effect yet");
    write(receiver, PHANTOM_EFFECT, second).await;
    assert_eq!(end().await, (1, [0, 2, 0]), "of an event that nobody sent");
    write(receiver, EFFECT_OF_NOTHING, second).await;
    assert_eq!(end().await, (1, [0, 3, 0]), "of no event");
    let planted = "DELETE FROM audit_entries WHERE id > ? AND actor = 'planted'";
    let cleared = receiver.transaction("clear", move |tx| {
        Box::pin(tx.execute(planted, vec![second.into()]))
    });
    assert_eq!(cleared.await.unwrap(), 3);
    forge_a_stay(receiver).await;
    assert_eq!(end().await, (1, [0, 0, 1]));

    world.stop().await.unwrap();
    other.remove().await.unwrap();
}

/// The effect of an event, once more.
const TWICE: &str = "INSERT INTO audit_entries (at, action, event_id, actor)
    SELECT at, action, event_id, 'planted' FROM audit_entries WHERE id = ?";
/// An event that the emitter never sent, like that of an effect.
const PHANTOM_EVENT: &str =
    "INSERT INTO inbox (event_id, source_id, idempotency_key, status, type, schema_version,
        correlation_id, occurred_at, received_at, attempts, due_at)
    SELECT 'phantom', source_id, 'phantom', status, type, schema_version,
        correlation_id, occurred_at, received_at, attempts, due_at
    FROM inbox WHERE event_id = (SELECT event_id FROM audit_entries WHERE id = ?)";
/// Its effect.
const PHANTOM_EFFECT: &str = "INSERT INTO audit_entries (at, action, event_id, actor)
    SELECT at, action, 'phantom', 'planted' FROM audit_entries WHERE id = ?";
/// An effect of no event.
const EFFECT_OF_NOTHING: &str = "INSERT INTO audit_entries (at, action, actor)
    SELECT at, action, 'planted' FROM audit_entries WHERE id = ?";

/// The demo's end over these books: its exit code, and what its last line says of lost, doubled and wrong.
async fn end(books: &Books, weeks: &Weeks, loaded: &Loaded) -> (u8, [u64; 3]) {
    let took = Duration::from_secs(1);
    let conclusion = Conclusion::of(books, &weeks.bookings, &weeks.cast, loaded, took).await;
    let conclusion = conclusion.unwrap();
    let line: Value = serde_json::from_str(&conclusion.last_line().unwrap()).unwrap();
    let faults = ["lost", "doubled", "wrong_totals"].map(|fault| line[fault].as_u64().unwrap());
    (conclusion.end.code(), faults)
}

/// What the plans offer of reservations.
fn offered(weeks: &Weeks) -> u64 {
    (harness::plan::calls(&weeks.plans) - weeks.cast.people.len()) as u64
}

/// The id of the `nth` effect.
async fn nth_effect(books: &Books, nth: i64) -> i64 {
    let effect = "SELECT id FROM audit_entries WHERE action = 'applied' ORDER BY id LIMIT 1 OFFSET ?";
    let rows = books
        .receiver
        .read("effect", move |tx| Box::pin(tx.query(effect, vec![nth.into()])))
        .await
        .unwrap();
    rows[0].get("id").unwrap()
}

async fn write(db: &Db, sql: &'static str, id: i64) {
    let written = db
        .transaction("plant", move |tx| Box::pin(tx.execute(sql, vec![id.into()])))
        .await
        .unwrap();
    assert_eq!(written, 1, "{sql}");
}

/// Gives one profile a stay that nobody had.
async fn forge_a_stay(receiver: &Db) {
    let forged = receiver.transaction("forge", |tx| {
        Box::pin(async move {
            let rows = tx
                .query("SELECT id, body FROM profiles ORDER BY id LIMIT 1", vec![])
                .await?;
            let (id, body): (String, String) = (rows[0].get("id")?, rows[0].get("body")?);
            let mut profile: Value = serde_json::from_str(&body).unwrap();
            let stays = profile["metrics"]["stays"].as_u64().unwrap();
            profile["metrics"]["stays"] = (stays + 1).into();
            let forged = profile.to_string();
            tx.execute(
                "UPDATE profiles SET body = ? WHERE id = ?",
                vec![forged.into(), id.into()],
            )
            .await
        })
    });
    assert_eq!(forged.await.unwrap(), 1);
}
