//! `cargo chaos` in small: twenty deaths under load balance, each planted bug is found, and so is each fault in real books.

use chaos::contents::Contents;
use chaos::environment::Environment;
use chaos::ledger::Ledger;
use chaos::run::{Options, Outcome, SILENT, clerks_for, run};
use harness::books::Books;
use harness::database::Databases;
use harness::engine::Engine;
use kit::planted::Bug;

use crate::case::{Case, Ctx, cases};
use crate::programs;

pub fn cases() -> Vec<Case> {
    let mut cases = cases![
        twenty_deaths_lose_double_strand_and_reorder_nothing,
        each_fault_in_real_books_is_found,
    ];
    cases.extend(cases![only Engine::Sqlite;
        an_answer_before_the_commit_is_found,
        a_mark_before_the_processing_is_found,
        a_cache_taken_for_the_truth_is_found,
        a_place_before_the_queue_is_found,
    ]);
    cases.extend(cases![only Engine::Mysql; a_missing_fence_is_found]);
    cases
}

const KILLS: u64 = 20;
const EVENTS: u64 = 10_000;
/// Enough to be struck in the middle of.
const EVENTS_FEW: u64 = 400;
/// Few enough clerks, and enough writes, for whole stays.
const CLERKS_WITH_STORIES: usize = 4;
const EVENTS_OF_STORIES: u64 = 200;

fn options(kills: u64, events: u64, bug: Option<Bug>) -> Options {
    Options {
        program: programs::FILE.into(),
        kills,
        events,
        seed: 1,
        clerks: clerks_for(bug),
        bug,
        log_level: SILENT.to_owned(),
    }
}

async fn twenty_deaths_lose_double_strand_and_reorder_nothing(ctx: Ctx) {
    let environment = Environment::fresh(ctx.engine, &ctx.servers).await.unwrap();
    let Outcome { report, .. } = run(&options(KILLS, EVENTS, None), &environment).await.unwrap();
    environment.clear().await.unwrap();
    let (ledger, counters) = (&report.ledger, &report.counters);
    assert!(ledger.is_zero(), "{report}");
    assert_eq!((ledger.confirmed, ledger.events), (EVENTS, EVENTS), "{report}");
    assert_eq!(
        (ledger.refused, ledger.unknown, ledger.dead),
        (0, 0, 0),
        "{report}"
    );
    assert_eq!(ledger.applied + ledger.stale, EVENTS, "{report}");
    assert!(
        ledger.deliveries > 2 * EVENTS && ledger.sent_again > 0,
        "{report}"
    );
    assert_eq!(counters.kills(), KILLS, "{report}");
    match ctx.engine {
        Engine::Sqlite => assert_eq!(counters.locks, 1, "{report}"),
        Engine::Mysql => assert_eq!(counters.pauses, 1, "{report}"),
    }
}

/// The ledger of a run with a bug, which must not be zero.
async fn planted(ctx: Ctx, kills: u64, bug: Bug) -> Ledger {
    let environment = Environment::lasting(ctx.engine, &ctx.servers).await.unwrap();
    let outcome = run(&options(kills, EVENTS_FEW, Some(bug)), &environment)
        .await
        .unwrap();
    environment.clear().await.unwrap();
    assert!(!outcome.report.ledger.is_zero(), "{}", outcome.report);
    outcome.report.ledger
}

async fn an_answer_before_the_commit_is_found(ctx: Ctx) {
    let ledger = planted(ctx, 1, Bug::AckBeforeCommit).await;
    assert!(ledger.lost > 0, "{ledger:?}");
}

async fn a_mark_before_the_processing_is_found(ctx: Ctx) {
    let ledger = planted(ctx, 1, Bug::MarkBeforeProcessing).await;
    assert!(ledger.lost > 0, "{ledger:?}");
}

async fn a_cache_taken_for_the_truth_is_found(ctx: Ctx) {
    let ledger = planted(ctx, 1, Bug::CacheAsTruth).await;
    assert!(ledger.lost > 0, "{ledger:?}");
}

async fn a_place_before_the_queue_is_found(ctx: Ctx) {
    let ledger = planted(ctx, 1, Bug::PlaceBeforeQueue).await;
    assert!(ledger.lost > 0, "{ledger:?}");
}

async fn a_missing_fence_is_found(ctx: Ctx) {
    let ledger = planted(ctx, 1, Bug::MissingFence).await;
    assert!(ledger.doubled > 0, "{ledger:?}");
}

/// Damages sound books, one fault after the other, and hears the witnesses again.
async fn each_fault_in_real_books_is_found(ctx: Ctx) {
    let environment = Environment::lasting(ctx.engine, &ctx.servers).await.unwrap();
    let few_clerks = Options {
        clerks: CLERKS_WITH_STORIES,
        ..options(0, EVENTS_OF_STORIES, None)
    };
    let outcome = run(&few_clerks, &environment).await.unwrap();
    assert!(outcome.report.ledger.is_zero(), "{}", outcome.report);
    let mut databases = Databases::open(&environment.emitter, &environment.receiver)
        .await
        .unwrap();
    let applied = "SELECT MIN(id) FROM audit_entries WHERE action = 'applied'";
    let first = databases.receiver.count(applied).await.unwrap();
    let entity = outcome.history.confirmed.keys().min().unwrap();
    for (of_emitter, damage, expected) in damages(first, &entity.id) {
        let Databases { emitter, receiver } = &mut databases;
        let database = if of_emitter { emitter } else { receiver };
        database.execute(&damage).await.unwrap();
        let books = Books::read(&mut databases).await.unwrap();
        let contents = Contents::read(&mut databases).await.unwrap();
        let ledger = Ledger::balance(&outcome.history, &outcome.wire, &books, &contents);
        assert_eq!(ledger.faults(), expected, "{damage}: {:?}", ledger.findings);
    }
    environment.clear().await.unwrap();
}

/// Statements on the emitter's or the receiver's books, each with all that is found from then on.
fn damages(first_effect: u64, entity: &str) -> Vec<(bool, String, [u64; 5])> {
    let again = "INSERT INTO audit_entries (at, action, event_id, source) \
                 SELECT MIN(at), MIN(action), MIN(event_id), 'env' FROM audit_entries WHERE action = 'delivered'";
    let waits = "UPDATE deliveries SET status = 'pending' WHERE endpoint_id = 'env' \
                 AND event_id = (SELECT MAX(id) FROM events)";
    let one = |table: &str, column: &str, which: &str, has: &str| {
        let key = if table == "records" { "entity_id" } else { "id" };
        format!(
            "{key} = (SELECT chosen FROM (SELECT {which}({key}) AS chosen FROM {table} \
             WHERE {column} LIKE '%{has}%') AS one)"
        )
    };
    let other = |table: &str, column: &str, which: &str, from: &str, to: &str| {
        let one = one(table, column, which, from);
        format!("UPDATE {table} SET {column} = REPLACE({column}, '{from}', '{to}') WHERE {one}")
    };
    let profile = |which, from, to| other("profiles", "body", which, from, to);
    let cancelled = r#""cancellations":1,"#;
    let gone = one("profiles", "body", "MAX", cancelled);
    vec![
        (
            false,
            format!("DELETE FROM audit_entries WHERE id = {first_effect}"),
            [1, 0, 0, 0, 0],
        ),
        (true, again.to_owned(), [1, 1, 0, 0, 0]),
        // Its entry says that it was delivered.
        (true, waits.to_owned(), [2, 1, 1, 0, 0]),
        (
            false,
            format!("UPDATE records SET version = version - 1 WHERE entity_id = '{entity}'"),
            [2, 1, 1, 1, 0],
        ),
        (
            false,
            other("records", "state", "MAX", r#""adults":4"#, r#""adults":3"#),
            [2, 1, 1, 1, 1],
        ),
        (
            false,
            profile("MIN", r#""stays":1,"#, r#""stays":2,"#),
            [2, 1, 1, 1, 2],
        ),
        (
            false,
            profile(
                "MAX",
                r#""currency":"EUR","total":"1"#,
                r#""currency":"EUR","total":"2"#,
            ),
            [2, 1, 1, 1, 3],
        ),
        (
            false,
            profile("MIN", cancelled, r#""cancellations":0,"#),
            [2, 1, 1, 1, 4],
        ),
        (
            false,
            format!("DELETE FROM profiles WHERE {gone}"),
            [2, 1, 1, 1, 5],
        ),
    ]
}
