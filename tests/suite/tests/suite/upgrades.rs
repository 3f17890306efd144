//! What an older program has stored of names and profiles is made again while both services serve.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use db::Db;
use db::params;
use futures::future::join_all;
use harness::clock::HandClock;
use kit::rebuild::{LEASE_LENGTH, Rebuild, Rebuilder, Step};
use serde_json::json;

use crate::case::{Case, Ctx, cases};
use crate::inbox::{Inbox, guest, sent_event, settle, stay};
use crate::pms::Pms;

pub fn cases() -> Vec<Case> {
    cases![
        case01_numbers_of_an_older_program_are_found_as_they_are_dialled,
        case10_guests_of_an_older_program_are_found_once_their_names_are_folded_again,
        case10_names_that_change_meanwhile_are_not_folded_back,
        case12_profiles_of_an_older_program_are_derived_again,
    ]
}

/// Guests of a case: three batches, the last not full.
const GUESTS: usize = 120;

/// The service's own rebuild of this version is done: that of the next one is the test's.
fn next(rebuild: Rebuild) -> Rebuild {
    Rebuild {
        version: rebuild.version + 1,
        ..rebuild
    }
}

fn rebuilder(db: &Db, clock: &Arc<HandClock>, owner: &str, rebuild: Rebuild) -> Rebuilder {
    Rebuilder::new(db.clone(), clock.clone(), owner.to_owned(), next(rebuild))
}

async fn worked(rebuilder: &mut Rebuilder) -> Step {
    loop {
        match rebuilder.step().await.unwrap() {
            Step::Held => tokio::task::yield_now().await,
            step => return step,
        }
    }
}

async fn finish(rebuilder: &mut Rebuilder) -> usize {
    let mut batches = 0;
    while worked(rebuilder).await == Step::Worked {
        batches += 1;
    }
    batches
}

/// Makes guests, and leaves their rows as a program before this one wrote them.
async fn guests_of_an_older_program(pms: &Pms) -> Vec<String> {
    pms.rebuilt().await;
    let bodies: Vec<_> = (0..GUESTS)
        .map(|nth| json!({"last_name": format!("Łódź{nth:03}")}))
        .collect();
    let mut ids = Vec::new();
    for body in bodies.chunks(20) {
        let made = join_all(body.iter().map(|body| pms.post("/guests", body))).await;
        ids.extend(made.into_iter().map(|made| made.expect(201).id().to_owned()));
    }
    write(&pms.db, "DELETE FROM guest_name_words").await;
    write(&pms.db, "UPDATE guests SET last_name_folded = 'łodz'").await;
    ids.sort();
    ids
}

async fn write(db: &Db, sql: &'static str) {
    let run = db.transaction("degrade", move |tx| {
        Box::pin(async move { tx.execute(sql, params![]).await.map(drop) })
    });
    run.await.unwrap();
}

/// How many guests the list finds.
async fn found(pms: &Pms, typed: &str) -> usize {
    let (mut found, mut next) = (0, String::new());
    loop {
        let page = pms
            .get(&format!("/guests?limit=200&last_name={typed}{next}"))
            .await
            .expect(200);
        found += page.body["data"].as_array().unwrap().len();
        match page.body["pagination"]["next_cursor"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => return found,
        }
    }
}

async fn case01_numbers_of_an_older_program_are_found_as_they_are_dialled(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    pms.rebuilt().await;
    let body = json!({"last_name": "T", "phone": "+44 20 7946 0018"});
    pms.post("/guests", &body).await.expect(201);
    write(
        &pms.db,
        "UPDATE guests SET phone = '+4402079460018', body = REPLACE(body, '+442079460018', '+4402079460018')",
    )
    .await;
    let mut rebuilder = rebuilder(&pms.db, &pms.clock, "first", pms_emitter::store::GUEST_NAMES);
    finish(&mut rebuilder).await;
    for typed in ["%2B44%20(0)20%207946%200018", "%2B4402079460018"] {
        let found = pms.get(&format!("/guests?phone={typed}")).await.expect(200).body;
        assert_eq!(found["data"][0]["phone"], "+4402079460018", "{typed}");
    }
    pms.stop().await;
}

async fn case10_guests_of_an_older_program_are_found_once_their_names_are_folded_again(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let ids = guests_of_an_older_program(&pms).await;
    assert_eq!(found(&pms, "lodz").await, 0);
    let mut first = rebuilder(&pms.db, &pms.clock, "first", pms_emitter::store::GUEST_NAMES);
    assert_eq!(worked(&mut first).await, Step::Worked);
    let done = found(&pms, "lodz").await;
    assert!((1..GUESTS).contains(&done), "{done}");
    // It dies here. Meanwhile one that it has done changes, one that is still to come, and one comes.
    drop(first);
    for id in [&ids[0], &ids[GUESTS - 1]] {
        pms.put(&format!("/guests/{id}"), &json!({"last_name": "Øst"}))
            .await
            .expect(200);
    }
    pms.post("/guests", &json!({"last_name": "Łódźka"}))
        .await
        .expect(201);
    let mut second = rebuilder(&pms.db, &pms.clock, "second", pms_emitter::store::GUEST_NAMES);
    assert_eq!(second.step().await.unwrap(), Step::Held);
    pms.clock.advance(LEASE_LENGTH + Duration::from_millis(1));
    let left = GUESTS + 1 - done;
    assert_eq!(
        finish(&mut second).await,
        left.div_ceil(done),
        "what was done is not done again"
    );
    assert_eq!(
        (found(&pms, "lodz").await, found(&pms, "ost").await),
        (GUESTS - 1, 2)
    );
    let stale = "SELECT COUNT(*) AS n FROM guests WHERE last_name_folded LIKE 'ł%'";
    assert_eq!(pms.count(stale).await, 0, "sorted by the new form too");
    let words = "SELECT COUNT(*) AS n FROM guest_name_words";
    assert_eq!(
        pms.count(words).await,
        i64::try_from(GUESTS).unwrap() + 1 + 2,
        "Øst has two spellings"
    );
    pms.stop().await;
}

async fn case10_names_that_change_meanwhile_are_not_folded_back(ctx: Ctx) {
    let pms = Pms::start(&ctx).await;
    let ids = guests_of_an_older_program(&pms).await;
    let mut rebuilder = rebuilder(&pms.db, &pms.clock, "one", pms_emitter::store::GUEST_NAMES);
    let changes = async {
        for ids in ids.chunks(8) {
            let change = |(nth, id): (usize, &String)| {
                let path = format!("/guests/{id}");
                let pms = &pms;
                // Every other change is of something else: it folds nothing, and must not keep the name from it.
                let bodies = [json!({"last_name": "Ærø"}), json!({"title": "Dr"})];
                async move { pms.put(&path, &bodies[nth % 2]).await.expect(200) }
            };
            join_all(ids.iter().enumerate().map(change)).await;
        }
    };
    tokio::join!(changes, finish(&mut rebuilder));
    assert_eq!(
        (found(&pms, "aero").await, found(&pms, "lodz").await),
        (GUESTS / 2, GUESTS / 2)
    );
    let stale = "SELECT COUNT(*) AS n FROM guests WHERE last_name_folded <> 'aero' AND last_name_folded NOT LIKE 'lodz%'";
    assert_eq!(pms.count(stale).await, 0);
    pms.stop().await;
}

async fn case12_profiles_of_an_older_program_are_derived_again(ctx: Ctx) {
    let inbox = Inbox::open(&ctx).await;
    let mut events: Vec<_> = (0..70)
        .map(|nth| guest(&format!("g{nth:02}"), 1, nth, &format!("Łódź{nth}")))
        .collect();
    events.extend((0..70).map(|nth| stay(&format!("r{nth:02}"), 1, nth, &format!("g{nth:02}"))));
    events.push(stay("r_stub", 1, 5, "stub"));
    events.push(sent_event("guest.erased", "g05", 2, 6, json!({})));
    inbox.accept(0, &events).await;
    let projector = inbox.projector().await;
    settle(&projector).await;
    let profiles = inbox.profiles().await;
    let terms = "SELECT kind, term, profile_id FROM profile_terms ORDER BY kind, term, profile_id";
    let found = async || -> Vec<(String, String)> {
        let rows = inbox.rows(terms).await;
        rows.iter()
            .map(|row| (row.get("term").unwrap(), row.get("profile_id").unwrap()))
            .collect()
    };
    let found_by = found().await;
    inbox
        .write(|run| {
            for sql in [
                "UPDATE profiles SET body = '{}', summary = '{}', sort_name = 'old', index_digest = NULL \
                 WHERE status IS NOT NULL",
                "DELETE FROM profile_terms WHERE kind = 'name'",
                // A source before the others that has no guest at all.
                "INSERT INTO records (source_id, kind, entity_id, revision, version, property_id, digest, deleted, \
                 occurred_at, type, event_id, state) SELECT 'apart', kind, entity_id, revision, version, property_id, \
                 digest, 1, occurred_at, type, NULL, NULL FROM records WHERE entity_id = 'r00'",
                "INSERT INTO profile_terms (kind, term, profile_id) SELECT 'name', 'old', id FROM profiles \
                 WHERE status IS NOT NULL",
            ] {
                run.push((sql, vec![]));
            }
        })
        .await;
    let mut first = rebuilder(&inbox.db, &inbox.clock, "first", crm_receiver::store::PROFILES);
    assert_eq!(worked(&mut first).await, Step::Worked);
    drop(first);
    // Taking in goes on meanwhile.
    inbox
        .accept(1000, &[guest("g00", 2, 100, "Øst"), guest("g69", 2, 100, "Øst")])
        .await;
    settle(&projector).await;
    inbox.clock.advance(LEASE_LENGTH + Duration::from_millis(1));
    let mut second = rebuilder(&inbox.db, &inbox.clock, "second", crm_receiver::store::PROFILES);
    assert_eq!(finish(&mut second).await, 2, "71 guests, 32 of them done before");
    let again = inbox.profiles().await;
    let differ = profiles
        .iter()
        .zip(&again)
        .filter(|(before, after)| before != after);
    let changed: BTreeSet<&String> = differ.map(|((id, _), _)| id).collect();
    assert_eq!(
        (again.len(), changed.len()),
        (profiles.len(), 2),
        "byte for byte but the two"
    );
    let of_the_others = |found: Vec<(String, String)>| -> Vec<(String, String)> {
        found
            .into_iter()
            .filter(|(_, profile)| !changed.contains(profile))
            .collect()
    };
    let found_again = found().await;
    assert!(found_again.iter().all(|(term, _)| term != "old"));
    assert_eq!(of_the_others(found_again), of_the_others(found_by));
    assert!(inbox.profile("g05").await.is_none(), "erased");
}
