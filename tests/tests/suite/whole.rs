//! The whole way on real bookings: what the file says is what the profiles say; and the ledger sees every fault.

use std::time::Duration;

use e2e::client::Client;
use e2e::ledger::{self, Ledger};
use e2e::loader;
use e2e::world::{Books, Settings, World};
use kit::db::Db;
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
    let balance = async || {
        ledger::balance(&books.emitter, &books.receiver, &expected)
            .await
            .unwrap()
    };

    let honest = balance().await;
    assert_eq!(loaded.refused, Weeks::refused());
    assert!(honest.is_balanced(), "{honest:?}");
    assert_eq!(honest.guest_events, weeks.cast.people.len() as u64);
    assert_eq!(honest.reservation_events, offered(&weeks) - loaded.skipped - 7);
    assert_eq!(
        (honest.delivered, honest.applied + honest.stale),
        (honest.events(), honest.events())
    );

    let faults = |ledger: &Ledger| (ledger.lost, ledger.doubled, ledger.wrong_totals);
    write(
        &books.receiver,
        "DELETE FROM audit_entries WHERE id = ?",
        nth_effect(&books, 0).await,
    )
    .await;
    assert_eq!(faults(&balance().await), (1, 0, 0));
    let twice = "INSERT INTO audit_entries (at, action, event_id) SELECT at, action, event_id FROM audit_entries WHERE id = ?";
    write(&books.receiver, twice, nth_effect(&books, 1).await).await;
    assert_eq!(faults(&balance().await), (1, 1, 0));
    forge_a_stay(&books.receiver).await;
    assert_eq!(faults(&balance().await), (1, 1, 1));

    world.stop().await.unwrap();
    other.remove().await.unwrap();
}

/// What the plans offer of reservations.
fn offered(weeks: &Weeks) -> u64 {
    (e2e::plan::calls(&weeks.plans) - weeks.cast.people.len()) as u64
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
