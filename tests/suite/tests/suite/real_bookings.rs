//! The whole way on real bookings: what the file says is what the profiles say; and the ledger sees every fault,
//! which is how the demo ends.

use std::time::Duration;

use demo::conclusion::Conclusion;
use harness::client::Client;
use harness::database::{Database, Databases, SETTLED_WITHIN};
use harness::ledger;
use harness::loader::{self, Loaded};
use harness::world::{Settings, World};
use serde_json::Value;

use crate::bookings::Weeks;
use crate::case::{Case, Ctx, cases};

pub fn cases() -> Vec<Case> {
    cases![real_bookings_end_as_the_file_says_and_planted_faults_are_seen]
}

async fn real_bookings_end_as_the_file_says_and_planted_faults_are_seen(ctx: Ctx) {
    let other = ctx.servers.fresh(ctx.engine, "whole_receiver").await.unwrap();
    let world = World::start(Settings::on(ctx.database.url(), other.url()))
        .await
        .unwrap();
    let weeks = Weeks::of_2015();
    let client = Client::new(world.emitter_api());
    let loaded = loader::load(&client, &weeks.bookings, &weeks.cast, &weeks.plans, &|_| {})
        .await
        .unwrap();
    world.settled(SETTLED_WITHIN).await.unwrap();
    let expected = weeks.expected(&loaded);
    let mut databases = world.databases().await.unwrap();
    let honest = ledger::balance(&mut databases, &expected).await.unwrap();
    assert_eq!(loaded.refused, Weeks::refused());
    assert!(honest.is_balanced(), "{honest:?}");
    assert_eq!(honest.guest_events, weeks.cast.people.len() as u64);
    assert_eq!(honest.reservation_events, offered(&weeks) - loaded.skipped - 7);
    assert_eq!(
        (honest.delivered, honest.applied + honest.stale),
        (honest.events(), honest.events())
    );

    let run = (&weeks, &loaded);
    assert_eq!(end(&mut databases, run).await, (0, [0, 0, 0]));
    let first = nth_effect(&mut databases.receiver, 0).await;
    let second = nth_effect(&mut databases.receiver, 1).await;
    let hidden = format!("UPDATE audit_entries SET action = 'hidden' WHERE id = {first}");
    write(&mut databases.receiver, &hidden).await;
    assert_eq!(end(&mut databases, run).await, (1, [1, 0, 0]));
    let shown = format!("UPDATE audit_entries SET action = 'applied' WHERE id = {first}");
    write(&mut databases.receiver, &shown).await;
    assert_eq!(end(&mut databases, run).await, (0, [0, 0, 0]));
    for (planted, doubled, what) in [
        (TWICE, 1, "an effect twice"),
        (PHANTOM_EVENT, 1, "an event without an effect yet"),
        (PHANTOM_EFFECT, 2, "of an event that nobody sent"),
        (EFFECT_OF_NOTHING, 3, "of no event"),
    ] {
        write(
            &mut databases.receiver,
            &planted.replace('?', &second.to_string()),
        )
        .await;
        assert_eq!(end(&mut databases, run).await, (1, [0, doubled, 0]), "{what}");
    }
    let planted = format!("DELETE FROM audit_entries WHERE id > {second} AND actor = 'planted'");
    assert_eq!(databases.receiver.execute(&planted).await.unwrap(), 3);
    write(&mut databases.receiver, A_STAY_MORE).await;
    assert_eq!(end(&mut databases, run).await, (1, [0, 0, 1]));
    drop(databases);

    world.stop().await.unwrap();
    other.remove().await.unwrap();
}

/// The effect of an event, once more. The question mark stands for the id of an effect, here and below.
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

/// One profile with a stay that nobody had.
const A_STAY_MORE: &str = r#"UPDATE profiles SET body = REPLACE(body, '"stays":1,', '"stays":2,')
    WHERE id = (SELECT chosen FROM
        (SELECT MIN(id) AS chosen FROM profiles WHERE body LIKE '%"stays":1,%') AS one)"#;

/// The demo's end over these books: its exit code, and what its last line says of lost, doubled and wrong.
async fn end(databases: &mut Databases, (weeks, loaded): (&Weeks, &Loaded)) -> (u8, [u64; 3]) {
    let took = Duration::from_secs(1);
    let conclusion = Conclusion::of(databases, &weeks.bookings, &weeks.cast, loaded, took).await;
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
async fn nth_effect(receiver: &mut Database, nth: u64) -> u64 {
    let effect =
        format!("SELECT id FROM audit_entries WHERE action = 'applied' ORDER BY id LIMIT 1 OFFSET {nth}");
    receiver.count(&effect).await.unwrap()
}

/// Writes exactly one row.
async fn write(receiver: &mut Database, sql: &str) {
    assert_eq!(receiver.execute(sql).await.unwrap(), 1, "{sql}");
}
